"""Pictures of results: roofline, breakdown, sweep, Pareto front, predicted against measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from perfmodel.arguments import choice
from perfmodel.errors import ArgumentError
from perfmodel.report import canvas, serving_plot
from perfmodel.report.canvas import render
from perfmodel.report.roofline_plot import roofline
from perfmodel.report.sweep_plot import sweep
from perfmodel.report.tables import bound_of
from perfmodel.report.text import title
from perfmodel.table import scalar
from perfmodel.units import format_si

if TYPE_CHECKING:
    from perfmodel.result import Result

__all__ = ["breakdown", "pareto", "plot", "predicted", "render", "roofline", "sweep"]

KINDS = ("roofline", "breakdown", "sweep", "pareto", "serving")

#: ops drawn one by one; the smaller ones are summed
BARS = 24


def plot(result: Result, kind: str | None = None, **options: Any) -> Any:
    """Figure of a kind; by default ``serving`` for an open loop over rates, ``sweep`` for any other result
    with axes and ``roofline`` for one point.

    roofline, breakdown  options name the point: ``batch=8``
    sweep                metric, x (axis), lines (axis), log
    pareto               x, y (metrics)
    serving              percentiles against the rate
    """
    varying = [name for name, values in result.axes.items() if len(values) > 1]
    if kind is None:
        own = "serving" if serving_plot.shows(result) and not options else "sweep"
        if not varying and result.phases is None:
            allowed = "a sweep: a list for some argument (a single point has no ops to draw)"
            raise ArgumentError("plot", result.scenario, allowed)
        kind = own if varying else "roofline"
    chosen = choice("kind", kind, KINDS)
    if chosen == "sweep":
        return sweep(result, **options)
    if chosen == "pareto":
        return pareto(result, **options)
    if chosen == "serving":
        return serving_plot.serving(result, **options)
    return (roofline if chosen == "roofline" else breakdown)(result, options)


def breakdown(result: Result, at: Mapping[str, Any]) -> Any:
    """One bar per op, grouped by phase, coloured by what bounds the op."""
    phases = result.costs(**at)
    tables = []
    for name, costs in phases.items():
        rows = [
            ((c.op.name or c.op.family).removeprefix("block."), scalar(c.time), bound_of(c)) for c in costs
        ]
        whole = sum(t for _, t, _ in rows) or 1.0
        least = max(0.005 * whole, sorted((row[1] for row in rows), reverse=True)[:BARS][-1])
        kept = [row for row in rows if row[1] >= least]
        rest = whole - sum(t for _, t, _ in kept)
        tables.append((name, kept, rest, whole))
    longest = max(len(kept) + (rest > 0) for _, kept, rest, _ in tables)
    figure, first = canvas.new(5.2 * len(tables), 1.7 + 0.24 * longest)
    first.remove()
    grid = figure.subplots(1, len(tables), squeeze=False)[0]
    for axes, (name, kept, rest, whole) in zip(grid, tables, strict=True):
        _bars(axes, name, kept, rest, whole)
    handles = [_patch(colour, kind) for kind, colour in canvas.BOUND_COLOURS.items()]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9, title="bound by"
    )
    canvas.set_heading(figure, title(result))
    return figure


def _bars(axes: Any, phase: str, rows: Sequence[tuple[str, float, str]], rest: float, whole: float) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    divisor, unit = canvas.scaled([t for _, t, _ in rows], "s")
    labels = [name for name, _, _ in rows] + (["others"] if rest > 1e-12 * whole else [])
    values = [t / divisor for _, t, _ in rows] + ([rest / divisor] if len(labels) > len(rows) else [])
    colours = [canvas.BOUND_COLOURS[bound.partition(".")[0]] for _, _, bound in rows] + ["#dddddd"]
    places = np.arange(len(labels))[::-1]
    axes.barh(places, values, color=colours[: len(labels)], height=0.7)
    for place, value in zip(places, values, strict=True):
        axes.text(value, place, f" {100 * value * divisor / whole:.1f} %", va="center", fontsize=8)
    axes.set_yticks(places, labels, fontsize=8)
    axes.set_xlim(0.0, max(values) * 1.16)
    axes.set_xlabel(f"time of one pass [{unit}]")
    axes.set_title(f"{phase}: {format_si(whole, 's')}", loc="left", fontsize=10)


def _patch(colour: str, text: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=colour, label=text)


def pareto(result: Result, x: str = "", y: str = "", **_: Any) -> Any:
    """All points in the plane of two metrics, the non-dominated ones joined."""
    from perfmodel.explore.pareto import direction, possible
    from perfmodel.explore.pareto import pareto as front_of

    x = x or ("tpot" if "tpot" in result.metrics else "latency")
    y = y or "throughput"
    front = front_of(result, [x, y])
    left, right = (np.asarray(getattr(result, m), dtype=float).reshape(-1) for m in (x, y))
    figure, axes = canvas.new(7.5, 4.8)
    dx, ux = canvas.scaled(list(left), result.unit(x))
    dy, uy = canvas.scaled(list(right), result.unit(y))
    shown = np.isfinite(left) & np.isfinite(right) & possible(result).reshape(-1)
    for label, mine, colour in _kinds(result, shown):
        axes.scatter(
            left[mine] / dx, right[mine] / dy, s=14, color=colour, label=label, rasterized=True, linewidths=0
        )
    order = np.argsort(left[front.index])
    best = front.index[order]
    axes.plot(
        left[best] / dx,
        right[best] / dy,
        color="black",
        markerfacecolor="none",
        marker="o",
        markersize=4,
        linewidth=1.4,
        label=f"{len(best)} not dominated",
    )
    for axis, values in (("x", left), ("y", right)):
        finite = values[np.isfinite(values) & (values > 0)]
        if finite.size and finite.max() > 20 * finite.min():
            getattr(axes, f"set_{axis}scale")("log")
            canvas.plain_log_ticks(getattr(axes, f"{axis}axis"))
    words = {-1: "less is better", 1: "more is better"}
    axes.set_xlabel(f"{canvas.label(x, ux)}, {words[direction(x)]}")
    axes.set_ylabel(f"{canvas.label(y, uy)}, {words[direction(y)]}")
    axes.grid(True, which="major", color="#eeeeee")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=9, loc="best")
    canvas.set_title(axes, title(result))
    return figure


def _kinds(result: Result, feasible: Any) -> list[tuple[str, Any, str]]:
    """Feasible points by the first axis of names: label, mask, colour."""
    names = [n for n, v in result.axes.items() if len(v) > 1 and isinstance(v[0], str)]
    if not names:
        return [(f"{feasible.sum():,} feasible points", feasible, "#bbbbbb")]
    place = list(result.axes).index(names[0])
    index = np.indices(result.shape)[place].reshape(-1)
    return [
        (str(value), feasible & (index == i), canvas.COLOURS[i % 8])
        for i, value in enumerate(result.axes[names[0]])
    ]


def predicted(
    measured: Sequence[float],
    predicted: Sequence[float],
    groups: Sequence[str] | None = None,
    unit: str = "s",
    name: str = "latency",
) -> Any:
    """Predicted against measured on log axes, with the line of equality and the band of a factor of two.

    groups  one label per point; each gets a colour
    """
    actual, guess = np.asarray(measured, dtype=float), np.asarray(predicted, dtype=float)
    kinds = np.asarray(groups if groups is not None else [name] * len(actual), dtype=object)
    figure, axes = canvas.new(6.2, 5.6)
    ends = np.array(
        [min(np.nanmin(actual), np.nanmin(guess)) / 1.3, max(np.nanmax(actual), np.nanmax(guess)) * 1.3]
    )
    axes.fill_between(ends, ends / 2, ends * 2, color="#f0f0f0", label="within a factor of 2")
    axes.plot(ends, ends, color="black", linewidth=1.0, label="equal")
    for i, kind in enumerate(dict.fromkeys(kinds)):
        mine = kinds == kind
        error = np.nanmean(np.abs(guess[mine] / actual[mine] - 1.0))
        axes.scatter(
            actual[mine],
            guess[mine],
            s=14,
            alpha=0.7,
            color=canvas.COLOURS[i % 8],
            marker=canvas.MARKERS[i % 8],
            linewidths=0,
            label=f"{kind}: {100 * error:.1f} % mean error, n = {mine.sum()}",
        )
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        canvas.log_ticks(axis, unit)
    axes.set_xlabel(f"measured {name}")
    axes.set_ylabel(f"predicted {name}")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return figure
