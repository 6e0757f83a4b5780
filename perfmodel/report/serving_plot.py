"""Serving against the rate: percentiles of the first and of further tokens, limits and the capacity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from perfmodel.errors import ArgumentError
from perfmodel.report import canvas
from perfmodel.report.text import title

if TYPE_CHECKING:
    from perfmodel.result import Result

STYLES = {50: ":", 90: "-", 99: "--"}


def shows(result: Result) -> bool:
    """Whether the rate of an open loop is what varies."""
    varying = [name for name, values in result.axes.items() if len(values) > 1]
    return varying == ["rate"] and "ttft_p90" in result.metrics


def serving(result: Result, **_: Any) -> Any:
    """Two panels over the rate, a line for each percentile; grey: a limit; green: up to the capacity.

    Raises ArgumentError for a result in which anything else than the rate of an open loop varies.
    """
    if not shows(result):
        raise ArgumentError("plot", "serving", "an open loop with an axis `rate` and no other")
    rates = np.asarray(result.axes["rate"], dtype=np.float64)
    capacity = float(np.asarray(result.capacity).reshape(-1)[0])
    figure, first = canvas.new(9.5, 4.2)
    first.remove()
    panels = figure.subplots(1, 2, sharex=True)
    for axes, metric, colour in zip(panels, ("ttft", "tpot"), canvas.COLOURS, strict=False):
        axes.spines[["top", "right"]].set_visible(False)
        lines = {p: np.asarray(getattr(result, f"{metric}_p{p}")).reshape(-1) for p in STYLES}
        divisor, unit = canvas.scaled([v for line in lines.values() for v in line], "s")
        for p, line in lines.items():
            axes.plot(rates, line / divisor, STYLES[p], color=colour, label=f"{p} %", marker=".")
        limit = result.inputs.get(f"{metric}_limit")
        if isinstance(limit, float) and np.isfinite(limit):
            axes.axhline(limit / divisor, color=canvas.GREY, lw=1.0)
        if np.isfinite(capacity):
            axes.axvspan(0.0, capacity, color=canvas.COLOURS[2], alpha=0.08, lw=0)
        axes.set(xlabel="requests per second", xlim=(0.0, float(rates.max()) * 1.02), ylim=(0.0, None))
        axes.set_ylabel(canvas.label(metric, unit))
    panels[0].legend(title="of the requests", frameon=False, loc="center left", fontsize=9)
    canvas.set_heading(figure, f"{title(result)}; capacity {capacity:.3g} requests/s")
    return figure
