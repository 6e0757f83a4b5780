"""Pictures of results: roofline, breakdown, sweep, Pareto front, predicted against measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from perfmodel.arguments import choice
from perfmodel.errors import ArgumentError, UnknownNameError
from perfmodel.report import canvas
from perfmodel.report.canvas import render
from perfmodel.report.roofline_plot import roofline
from perfmodel.report.tables import bound_of
from perfmodel.table import scalar

if TYPE_CHECKING:
    from perfmodel.result import Result

__all__ = ["breakdown", "pareto", "plot", "predicted", "render", "roofline", "sweep"]

KINDS = ("roofline", "breakdown", "sweep", "pareto")


def plot(result: Result, kind: str | None = None, **options: Any) -> Any:
    """Figure of a kind; by default ``sweep`` for a result with axes and ``roofline`` for one point.

    roofline, breakdown  options name the point: ``batch=8``
    sweep                metric, x (axis), lines (axis), log
    pareto               x, y (metrics)
    """
    varying = [name for name, values in result.axes.items() if len(values) > 1]
    if kind is None:
        kind = "sweep" if varying else "roofline"
    chosen = choice("kind", kind, KINDS)
    if chosen == "sweep":
        return sweep(result, **options)
    if chosen == "pareto":
        return pareto(result, **options)
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
        kept = [row for row in rows if row[1] > 0.005 * whole]
        rest = whole - sum(t for _, t, _ in kept)
        tables.append((name, kept, rest, whole))
    longest = max(len(kept) + (rest > 0) for _, kept, rest, _ in tables)
    figure, first = canvas.new(5.2 * len(tables), 1.4 + 0.27 * longest)
    first.remove()
    grid = figure.subplots(1, len(tables), squeeze=False)[0]
    for axes, (name, kept, rest, whole) in zip(grid, tables, strict=True):
        _bars(axes, name, kept, rest, whole)
    handles = [_patch(colour, kind) for kind, colour in canvas.BOUND_COLOURS.items()]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9, title="bound by"
    )
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
    from perfmodel.units import format_si

    axes.set_title(f"{phase}: {format_si(whole, 's')}", loc="left", fontsize=10)


def _patch(colour: str, text: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=colour, label=text)


# --- sweeps -----------------------------------------------------------------------------------------


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
    if lines and len(result.axes[lines]) > 8 and not _texts(result.axes[x]):
        return _heat_map(result, metric, x, lines, values)
    divisor, unit = canvas.scaled(list(values.reshape(-1)), label)
    figure, axes = canvas.new(7.5, 4.6)
    for i, row in enumerate(values):
        _line(axes, result.axes[x], row / divisor, i, _line_name(result, lines, i))
    _scales(axes, result.axes[x], values, log)
    axes.set_xlabel(canvas.label(x, "" if _texts(result.axes[x]) else axis_unit(x)))
    axes.set_ylabel(canvas.label(metric, unit))
    if lines:
        axes.legend(
            title=lines.replace("_", " "),
            frameon=False,
            fontsize=9,
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
        )
    held = _held(result, varying, x, lines, at)
    from perfmodel.report.text import title

    axes.set_title("\n".join([title(result), *([held] if held else [])]), loc="left", fontsize=10)
    return figure


def _choose(result: Result, varying: Sequence[str], x: str, lines: str) -> tuple[str, str]:
    for name in (x, lines):
        if name and name not in result.axes:
            raise UnknownNameError("axis", name, result.axes)
    if not x:
        numeric = [n for n in varying if not _texts(result.axes[n]) and n != lines]
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
            index.append(list(map(_plain, result.axes[name])).index(_plain(point[name])))
    plane = values[tuple(index)]
    if not lines:
        return plane.reshape(1, -1)
    return plane.T if names.index(x) < names.index(lines) else plane


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else float(value)


def _texts(values: Any) -> bool:
    return isinstance(values[0], str)


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
    counted = {
        "batch": "sequences",
        "input": "tokens",
        "output": "tokens",
        "query": "tokens",
        "context": "tokens",
        "tp": "devices",
        "pp": "devices",
    }
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
    axes.plot(
        list(places) if _texts(places) else np.asarray(places, dtype=float), values, linewidth=1.6, **style
    )


def _line_name(result: Result, lines: str, number: int) -> str:
    if not lines:
        return ""
    value = result.axes[lines][number]
    if isinstance(value, str):
        return value
    divisor, unit = canvas.scaled([float(value)], _physical(axis_unit(lines)))
    return f"{float(value) / divisor:g} {unit}".strip()


def _physical(unit: str) -> str:
    return unit if unit not in ("sequences", "tokens", "devices") else ""


def _scales(axes: Any, places: Any, values: Any, log: bool | None) -> None:
    """Logarithmic scales where the values span more than a decade; SI ticks on the x axis."""
    finite = values[np.isfinite(values) & (values > 0)]
    if log or (log is None and finite.size and finite.max() > 20 * finite.min()):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0.0)
    axes.grid(True, which="major", color="#eeeeee")
    axes.set_axisbelow(True)
    if _texts(places):
        if sum(len(p) for p in places) > 50:
            axes.tick_params(axis="x", labelrotation=30)
        return
    from matplotlib.ticker import FuncFormatter, NullFormatter

    numbers = np.asarray(places, dtype=float)
    if numbers.min() > 0 and numbers.max() > 20 * numbers.min():
        axes.set_xscale("log", base=2 if numbers.max() < 1e6 else 10)
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def short(value: float) -> str:
    """A number with an SI prefix and no unit: 4 T, 16 k."""
    for factor, prefix in ((1e15, " P"), (1e12, " T"), (1e9, " G"), (1e6, " M"), (1e4, "")):
        if abs(value) >= factor and prefix:
            return f"{value / factor:g}{prefix}"
    return f"{value:g}"


def _held(result: Result, varying: Sequence[str], x: str, lines: str, at: Mapping[str, Any]) -> str:
    point = result.point(**{k: v for k, v in at.items() if k not in (x, lines)})
    others = [n for n in varying if n not in (x, lines)]
    return (
        "at " + ", ".join(f"{n} {point[n] if isinstance(point[n], str) else short(point[n])}" for n in others)
        if others
        else ""
    )


def _heat_map(result: Result, metric: str, x: str, y: str, values: Any) -> Any:
    figure, axes = canvas.new(7.5, 5.0)
    divisor, unit = canvas.scaled(list(values.reshape(-1)), result.unit(metric))
    mesh = axes.pcolormesh(
        np.asarray(result.axes[x], dtype=float),
        np.arange(len(result.axes[y])) if _texts(result.axes[y]) else np.asarray(result.axes[y], dtype=float),
        np.ma.masked_invalid(values / divisor),
        shading="nearest",
        cmap="viridis",
    )
    axes.set_facecolor("#e5e5e5")
    for axis, name in ((axes.xaxis, x), (axes.yaxis, y)):
        numbers = result.axes[name]
        if not _texts(numbers):
            axis_is_log = numbers[0] > 0 and numbers[-1] > 20 * numbers[0]
            if axis_is_log:
                (axes.set_xscale if name == x else axes.set_yscale)(
                    "log", base=2 if numbers[-1] < 1e6 else 10
                )
            from matplotlib.ticker import FuncFormatter, NullFormatter

            axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
            axis.set_minor_formatter(NullFormatter())
        else:
            axis.set_ticks(np.arange(len(numbers)), list(numbers))
    axes.set_xlabel(canvas.label(x, axis_unit(x)))
    axes.set_ylabel(canvas.label(y, axis_unit(y)))
    bar = figure.colorbar(mesh, ax=axes)
    bar.set_label(canvas.label(metric, unit))
    from perfmodel.report.text import title

    axes.set_title(title(result) + "   (grey: infeasible)", loc="left", fontsize=10)
    return figure


def pareto(result: Result, x: str = "", y: str = "", **_: Any) -> Any:
    """All points in the plane of two metrics, the non-dominated ones joined."""
    from perfmodel.explore.pareto import direction
    from perfmodel.explore.pareto import pareto as front_of
    from perfmodel.report.text import title

    x = x or ("tpot" if "tpot" in result.metrics else "latency")
    y = y or "throughput"
    front = front_of(result, [x, y])
    left, right = (np.asarray(getattr(result, m), dtype=float).reshape(-1) for m in (x, y))
    figure, axes = canvas.new(7.5, 4.8)
    dx, ux = canvas.scaled(list(left), result.unit(x))
    dy, uy = canvas.scaled(list(right), result.unit(y))
    axes.scatter(
        left / dx,
        right / dy,
        s=9,
        color="#bbbbbb",
        label=f"{np.isfinite(left).sum():,} feasible points",
        rasterized=True,
    )
    order = np.argsort(left[front.index])
    best = front.index[order]
    axes.plot(
        left[best] / dx,
        right[best] / dy,
        color=canvas.COLOURS[1],
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
    axes.set_title(title(result), loc="left", fontsize=10)
    return figure


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
