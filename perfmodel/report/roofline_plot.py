"""Roofline plot: peaks, bandwidths, ridge point, and the ops where the model puts them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from perfmodel.axes import pick
from perfmodel.report import canvas
from perfmodel.table import scalar
from perfmodel.units import format_si

if TYPE_CHECKING:
    from perfmodel.engine.roofline import OpCost
    from perfmodel.hardware.device import Device
    from perfmodel.result import Result


@dataclass(frozen=True)
class Dot:
    """Ops at one place of the plot."""

    intensity: float
    rate: float
    share: float
    names: tuple[str, ...]
    phase: int


def roofline(result: Result, at: Mapping[str, Any]) -> Any:
    """Log-log plot of FLOP/s over operational intensity for the ops at one point.

    One horizontal line per distinct peak of the matrix unit (the format in use is drawn strong), one diagonal
    per memory level, markers by phase with areas that show the share of time.
    """
    phases = result.costs(**at)
    system = pick({"system": result.system}, result.point(**at))["system"]
    device: Device = system.device
    dots = [dot for i, costs in enumerate(phases.values()) for dot in _dots(costs, i)]
    figure, axes = canvas.new(9.0, 5.6)
    used = _used_peaks(phases)
    _frame(axes, device, dots, used)
    _peaks(axes, device, used)
    _levels(axes, device, used)
    hidden = [_hidden_share(costs) for costs in phases.values()]
    note = ", ".join(
        f"{100 * h:.0f} % of {name}" for name, h in zip(phases, hidden, strict=True) if h > 0.005
    )
    if note:
        axes.text(
            0.0,
            -0.17,
            f"Ops without matrix FLOP (norms, collectives ...) are not drawn: {note} time.",
            transform=axes.transAxes,
            fontsize=8,
            color="#555555",
        )
    workload = getattr(result.inputs.get("workload"), "name", result.scenario)
    axes.set_title(
        f"{workload} on one {device.title or device.name}, {result.fidelity}", loc="left", fontsize=11
    )
    _markers(figure, axes, dots, tuple(phases), _roof(axes, device, used))
    return figure


def _used_peaks(phases: Mapping[str, Sequence[OpCost]]) -> set[str]:
    return {
        r.rpartition(".")[2]
        for costs in phases.values()
        for c in costs
        for r in c.demand
        if r.startswith("compute.matrix.") and scalar(c.op.flops)
    }


def _dots(costs: Sequence[OpCost], phase: int) -> list[Dot]:
    """Ops with matrix FLOP; those that nearly coincide become one dot."""
    whole = sum(scalar(c.time) for c in costs) or 1.0
    merged: list[Dot] = []
    for cost in costs:
        flops, moved, time = (
            scalar(cost.op.flops),
            scalar(cost.count * cost.demand.matching("memory")),
            scalar(cost.time),
        )
        if not flops or not moved or not time:
            continue
        name = (cost.op.name or cost.op.family).removeprefix("block.")
        dot = Dot(flops / moved, flops / time, time / whole, (name,), phase)
        for i, other in enumerate(merged):
            near = max(
                abs(math.log10(dot.intensity / other.intensity)), abs(math.log10(dot.rate / other.rate))
            )
            if near < 0.06:
                merged[i] = Dot(
                    other.intensity, other.rate, other.share + dot.share, other.names + dot.names, phase
                )
                break
        else:
            merged.append(dot)
    return merged


def _hidden_share(costs: Sequence[OpCost]) -> float:
    whole = sum(scalar(c.time) for c in costs) or 1.0
    return sum(scalar(c.time) for c in costs if not scalar(c.op.flops)) / whole


def _frame(axes: Any, device: Device, dots: Sequence[Dot], used: set[str]) -> None:
    matrix = device.compute.get("matrix")
    peaks = [scalar(p) for p in matrix.peak.values()] if matrix else [1e12]
    strongest = max([scalar(matrix.peak[u]) for u in used if matrix and u in matrix.peak] or peaks)
    bandwidth = scalar(device.main_memory.bandwidth or np.nan)
    ridge = strongest / bandwidth
    low = min([d.intensity for d in dots] + [ridge / 100]) / 2.5
    high = max([d.intensity for d in dots] + [ridge * 5]) * 12.0  # room for the names of the peaks
    floor = min([d.rate for d in dots] + [low * bandwidth * 4]) / 2.5
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(floor, max([*peaks, strongest]) * 3.0))
    axes.set_xlabel(f"operational intensity [FLOP/B from {device.main_memory_name}]")
    axes.set_ylabel("performance of one device")
    canvas.log_ticks(axes.yaxis, "FLOP/s")
    axes.grid(True, which="major", color="#eeeeee", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.axvline(ridge, color=canvas.GREY, linewidth=0.8, linestyle=":")
    axes.text(ridge * 1.06, floor * 1.25, f"ridge {ridge:.3g} FLOP/B", fontsize=8, color="#555555")


def _peaks(axes: Any, device: Device, used: set[str]) -> None:
    """Horizontal lines; formats with the same peak share one."""
    matrix = device.compute.get("matrix")
    if matrix is None:
        return
    groups: dict[float, list[str]] = {}
    for name, peak in matrix.peak.items():
        groups.setdefault(scalar(peak), []).append(name)
    left, right = axes.get_xlim()
    bandwidth = scalar(device.main_memory.bandwidth or np.nan)
    written: list[float] = []
    for peak, names in sorted(groups.items(), reverse=True):
        strong = bool(used & set(names))
        start = max(peak / bandwidth, left) if bandwidth > 0 else left
        if start >= right or peak < axes.get_ylim()[0]:
            continue
        axes.plot(
            [start, right],
            [peak, peak],
            color="black" if strong else GREY_LINE,
            linewidth=1.6 if strong else 0.9,
        )
        if all(abs(math.log10(peak / other)) > 0.12 for other in written):
            axes.text(
                right,
                peak * 1.05,
                f"{', '.join(names)}  {format_si(peak, 'FLOP/s')}",
                ha="right",
                va="bottom",
                fontsize=8,
                color="black" if strong else "#777777",
            )
            written.append(peak)


GREY_LINE = "#bbbbbb"


def _levels(axes: Any, device: Device, used: set[str]) -> None:
    """Diagonal lines of the memory levels, with their labels along the line."""
    left, right = axes.get_xlim()
    floor, top = axes.get_ylim()
    matrix = device.compute.get("matrix")
    peaks = [scalar(matrix.peak[u]) for u in used if matrix and u in matrix.peak]
    if not peaks and matrix:
        peaks = [scalar(p) for p in matrix.peak.values()]
    ceiling = max(peaks) if peaks else top
    for i, (name, level) in enumerate(device.memory.items()):
        if level.bandwidth is None:
            continue
        rate = scalar(level.bandwidth)
        end = min(ceiling / rate, right)
        if end <= left:
            continue
        start = max(left, floor / rate)
        axes.plot(
            [start, end],
            [start * rate, end * rate],
            color="black" if i == 0 else GREY_LINE,
            linewidth=1.6 if i == 0 else 0.9,
            linestyle="-" if i == 0 else "--",
        )
        # labels sit at a third of the visible line, each level a bit lower than the last
        place = start * (end / start) ** (0.42 - 0.1 * i)
        axes.text(
            place,
            place * rate * 1.12,
            f"{name}  {format_si(rate, 'B/s')}",
            rotation=_slope(axes),
            rotation_mode="anchor",
            fontsize=8,
            ha="center",
            va="bottom",
            color="black" if i == 0 else "#777777",
        )


def _roof(axes: Any, device: Device, used: set[str]) -> list[tuple[float, float, float]]:
    """Points along the strong lines, which names keep clear of: (intensity, rate, radius in points)."""
    matrix, rate = device.compute.get("matrix"), scalar(device.main_memory.bandwidth or np.nan)
    peaks = [scalar(matrix.peak[one]) for one in used if matrix and one in matrix.peak]
    left, right = axes.get_xlim()
    across = np.geomspace(left, right, 200)
    points = {(x, min(x * rate, peak)) for peak in peaks for x in across} if rate > 0 else set()
    return [(x, y, 2.0) for x, y in sorted(points)]


def _slope(axes: Any) -> float:
    """Angle on the page of a line of slope one in log-log space."""
    box = axes.get_position()
    width, height = axes.figure.get_size_inches()
    x0, x1 = np.log10(axes.get_xlim())
    y0, y1 = np.log10(axes.get_ylim())
    return float(np.degrees(np.arctan2(box.height * height / (y1 - y0), box.width * width / (x1 - x0))))


def _markers(
    figure: Any,
    axes: Any,
    dots: Sequence[Dot],
    phases: Sequence[str],
    roof: Sequence[tuple[float, float, float]],
) -> None:
    for i, phase in enumerate(phases):
        mine = [d for d in dots if d.phase == i]
        if mine:
            axes.scatter(
                [d.intensity for d in mine],
                [d.rate for d in mine],
                s=[_area(d) for d in mine],
                color=canvas.COLOURS[i],
                marker=canvas.MARKERS[i],
                alpha=0.55,
                edgecolors="black",
                linewidths=0.6,
                zorder=3,
            )
            axes.scatter(
                [],
                [],
                s=50,
                color=canvas.COLOURS[i],
                marker=canvas.MARKERS[i],
                edgecolors="black",
                linewidths=0.6,
                label=f"{phase} (area: share of time)",
            )
    if axes.get_legend_handles_labels()[0]:  # a collective has no op with operands
        axes.legend(loc="upper left", frameon=False, fontsize=9)
    ranked = sorted(dots, key=lambda d: -d.share)[:10]
    canvas.place_labels(
        figure,
        axes,
        [(d.intensity, d.rate, _words(d), canvas.COLOURS[d.phase]) for d in ranked if d.share > 0.004],
        [*((d.intensity, d.rate, 0.5 * math.sqrt(_area(d))) for d in dots), *roof],
    )


def _area(dot: Dot) -> float:
    """Area of a marker [pt2]."""
    return 30.0 + 700.0 * dot.share


def _words(dot: Dot) -> str:
    more = f" +{len(dot.names) - 2}" if len(dot.names) > 3 else ""
    return f"{', '.join(dot.names[: 2 if len(dot.names) > 3 else 3])}{more}  {100 * dot.share:.0f} %"
