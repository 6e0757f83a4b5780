"""Sweep plots: a metric over one axis, lines or a heat map for a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from perfmodel.errors import ArgumentError, UnitError, UnknownNameError
from perfmodel.report import canvas
from perfmodel.report.tables import is_text, own_value
from perfmodel.report.text import title
from perfmodel.units import format_si

if TYPE_CHECKING:
    from perfmodel.result import Result


def default_metric(result: Result) -> str:
    """The metric that a sweep shows if none is named."""
    for metric in ("throughput", "latency", "step_time"):
        if metric in result.metrics:
            return metric
    return result.metrics[0]


def sweep(
    result: Result, metric: str = "", x: str = "", lines: str = "", log: bool | None = None, **at: Any
) -> Any:
    """Metric over one axis, one line per value of a second axis; a heat map if the second has many values.

    Further axes are held at the values in `at` (default: their first).
    """
    metric = metric or default_metric(result)
    if metric not in result.metrics:
        raise UnknownNameError("metric", metric, result.metrics)
    varying = [name for name, values in result.axes.items() if len(values) > 1]
    if not varying:
        raise ArgumentError("plot", "sweep", "a result with at least one axis of two or more values")
    x, lines = _choose(result, varying, x, lines)
    values = _plane(result, metric, x, lines, at)
    label = metric if metric in result.labels else result.unit(metric)
    if lines and len(result.axes[lines]) > 8 and not is_text(result.axes[x]):
        return _heat_map(result, metric, x, lines, values, _held(result, varying, x, lines, at))
    divisor, unit = canvas.scaled(list(values.reshape(-1)), label)
    figure, axes = canvas.new(7.5, 4.6)
    for i, row in enumerate(values):
        if is_text(result.axes[x]):
            _bars(axes, result.axes[x], row / divisor, i, len(values), _line_name(result, lines, i))
        else:
            _line(axes, result.axes[x], row / divisor, i, _line_name(result, lines, i))
    _scales(axes, result.axes[x], values, log, x)
    axes.set_xlabel(_axis_label(x, result.axes[x]))
    axes.set_ylabel(canvas.label(metric, unit))
    if lines:
        axes.legend(
            title=canvas.axis_name(lines),
            frameon=False,
            fontsize=9,
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
        )
    held = _held(result, varying, x, lines, at)
    canvas.set_title(axes, title(result) + (f" {held}" if held else ""))
    return figure


def _choose(result: Result, varying: Sequence[str], x: str, lines: str) -> tuple[str, str]:
    for name in (x, lines):
        if name and name not in result.axes:
            raise UnknownNameError("axis", name, result.axes)
    if not x:
        numeric = [n for n in varying if not is_text(result.axes[n]) and n != lines]
        x = max(numeric or [n for n in varying if n != lines] or varying, key=lambda n: len(result.axes[n]))
    others = [n for n in varying if n != x]
    return x, lines or (others[0] if others else "")


def _plane(result: Result, metric: str, x: str, lines: str, at: Mapping[str, Any]) -> Any:
    """Values with the lines first and the x axis last; the other axes at one point."""
    point = result.point(**{k: v for k, v in at.items() if k not in (x, lines)})
    values = np.asarray(
        result.data.get(metric) if metric in result.labels else getattr(result, metric), dtype=np.float64
    )
    values = np.broadcast_to(values, result.shape)
    names = list(result.axes)
    index: list[Any] = []
    for name in names:
        if name in (x, lines):
            index.append(slice(None))
        else:
            index.append(list(map(own_value, result.axes[name])).index(own_value(point[name])))
    plane = values[tuple(index)]
    if not lines:
        return plane.reshape(1, -1)
    return plane.T if names.index(x) < names.index(lines) else plane


def axis_unit(name: str) -> str:
    """Unit of an axis by its name: that of the hardware field, else of the argument."""
    field = name.rpartition(".")[2]
    known = {
        "bandwidth": "B/s",
        "capacity": "B",
        "latency": "s",
        "overhead": "s",
        "clock": "Hz",
        "size": "B",
        "idle": "W",
        "rate": "request/s",
        "reserve": "B",
    }
    if ".peak." in name:
        return "FLOP/s"
    counted = dict.fromkeys(("tp", "pp", "dp", "ep"), "devices")
    counted |= dict.fromkeys(("input", "output", "query", "context", "sequence"), "tokens")
    counted |= {"batch": "sequences", "micro_batch": "sequences", "concurrency": "requests"}
    return known.get(field, counted.get(name, ""))


def _line(axes: Any, places: Any, values: Any, number: int, name: str) -> None:
    style = {
        "color": canvas.COLOURS[number % 8],
        "marker": canvas.MARKERS[number % 8],
        "markersize": 4,
        "label": name,
    }
    if len(places) > 40:
        style["marker"] = ""
    axes.plot(np.asarray(places, dtype=float), values, linewidth=1.6, **style)


def _bars(axes: Any, places: Any, values: Any, number: int, groups: int, name: str) -> None:
    """Bars of one group beside those of the others; a missing value leaves a gap."""
    width = 0.8 / groups
    where = np.arange(len(places)) - 0.4 + width * (number + 0.5)
    axes.bar(where, values, width=0.92 * width, color=canvas.COLOURS[number % 8], label=name)
    axes.set_xticks(np.arange(len(places)), list(places))


def _line_name(result: Result, lines: str, number: int) -> str:
    if not lines:
        return ""
    value = result.axes[lines][number]
    if isinstance(value, str):
        return value
    divisor, unit = canvas.scaled([float(value)], _physical(axis_unit(lines)))
    return f"{float(value) / divisor:g} {unit}".strip()


def _physical(unit: str) -> str:
    return unit if unit not in ("sequences", "tokens", "devices", "requests") else ""


def _scales(axes: Any, places: Any, values: Any, log: bool | None, x: str) -> None:
    """Logarithmic scales where the values span more than a decade; SI ticks on the x axis."""
    finite = values[np.isfinite(values) & (values > 0)]
    if log or (log is None and finite.size and finite.max() > 20 * finite.min()):
        axes.set_yscale("log")
        canvas.plain_log_ticks(axes.yaxis)
    else:
        axes.set_ylim(bottom=0.0)
    axes.grid(True, which="major", color="#eeeeee")
    axes.set_axisbelow(True)
    if is_text(places):
        if sum(len(p) for p in places) > 50:
            axes.tick_params(axis="x", labelrotation=30)
        return
    from matplotlib.ticker import FuncFormatter, NullFormatter

    numbers = np.asarray(places, dtype=float)
    if numbers.min() > 0 and numbers.max() > 20 * numbers.min():
        axes.set_xscale("log", base=2 if numbers.max() < 1e6 else 10)
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value, x)))


def tick(value: float, name: str) -> str:
    """Tick text of an axis: with unit and SI prefix for physical quantities, plain for counts."""
    unit = _physical(axis_unit(name))
    if not unit:
        return f"{value:g}"
    try:
        return format_si(value, unit)
    except UnitError:
        return f"{value:g} {unit}"


def _axis_label(name: str, values: Any) -> str:
    counted = axis_unit(name)
    return canvas.axis_name(name) + (
        f" [{counted}]" if counted and not _physical(counted) and not is_text(values) else ""
    )


def _held(result: Result, varying: Sequence[str], x: str, lines: str, at: Mapping[str, Any]) -> str:
    point = result.point(**{k: v for k, v in at.items() if k not in (x, lines)})
    words = []
    for name in varying:
        if name not in (x, lines):
            value = point[name]
            words.append(f"{canvas.axis_name(name)} {value if isinstance(value, str) else tick(value, name)}")
    return "at " + ", ".join(words) if words else ""


def _heat_map(result: Result, metric: str, x: str, y: str, values: Any, held: str) -> Any:
    figure, axes = canvas.new(7.5, 5.0)
    divisor, unit = canvas.scaled(list(values.reshape(-1)), result.unit(metric))
    mesh = axes.pcolormesh(
        np.asarray(result.axes[x], dtype=float),
        np.arange(len(result.axes[y])) if is_text(result.axes[y]) else np.asarray(result.axes[y], float),
        np.ma.masked_invalid(values / divisor),
        shading="nearest",
        cmap="viridis",
    )
    axes.set_facecolor("#e5e5e5")
    for axis, name in ((axes.xaxis, x), (axes.yaxis, y)):
        numbers = result.axes[name]
        if not is_text(numbers):
            axis_is_log = numbers[0] > 0 and numbers[-1] > 20 * numbers[0]
            if axis_is_log:
                (axes.set_xscale if name == x else axes.set_yscale)(
                    "log", base=2 if numbers[-1] < 1e6 else 10
                )
            from matplotlib.ticker import FuncFormatter, NullFormatter

            axis.set_major_formatter(FuncFormatter(lambda value, _, name=name: tick(value, name)))
            axis.set_minor_formatter(NullFormatter())
        else:
            axis.set_ticks(np.arange(len(numbers)), list(numbers))
    axes.set_xlabel(_axis_label(x, result.axes[x]))
    axes.set_ylabel(_axis_label(y, result.axes[y]))
    bar = figure.colorbar(mesh, ax=axes)
    bar.set_label(canvas.label(metric, unit))
    grey = "" if np.all(np.isfinite(values)) else "(grey: infeasible)"
    canvas.set_title(axes, " ".join(part for part in (title(result), held, grey) if part))
    return figure
