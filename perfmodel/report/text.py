"""Results in words: the summary of a REPL, the explanation, and the page of a notebook."""

from __future__ import annotations

import html as escaping
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from perfmodel.errors import ArgumentError
from perfmodel.report.tables import bound_of, interval_metrics
from perfmodel.table import scalar, show

if TYPE_CHECKING:
    from perfmodel.engine.roofline import OpCost
    from perfmodel.result import Result

#: what a reader wants first, in this order, and what each is called
HEADLINES: Mapping[str, str] = {
    "ttft": "time to first token",
    **{f"ttft_p{p}": f"  {p} % of the requests" for p in (50, 90, 99)},
    "tpot": "time per output token",
    **{f"tpot_p{p}": f"  {p} % of the requests" for p in (50, 90, 99)},
    "step_time": "time of one step",
    "latency": "latency",
    "throughput": "throughput",
    "goodput": "goodput",
    "attainment": "requests within the objective",
    "capacity": "highest rate within the objective",
    "mfu": "model FLOP utilisation",
    "mbu": "memory bandwidth utilisation",
    "memory": "memory per device",
    "energy_per_token": "energy per token",
    "energy": "energy",
    "power": "power, all devices",
    "cost_per_token": "rent for 1e6 tokens",
    "flops": "operations",
    "bytes": "traffic",
    "intensity": "operational intensity",
}

_BOUND_WORDS = {
    "compute": "arithmetic",
    "memory": "memory bandwidth",
    "links": "the links between devices",
    "overhead": "kernel launches and message latency",
}


#: points of a sweep up to which its summary computes every headline
FEW = 64

#: metrics shown in percent
FRACTIONS = ("mfu", "mbu", "attainment")

#: metrics shown for a million of what they count, and the unit that is left
PER_MILLION: Mapping[str, str] = {"cost_per_token": "USD"}

#: inputs that the title of a result leaves out
UNSAID = ("system", "workload", "attention", "logits", "reserve", "fidelity", "slo", "requests", "seed",
          "burstiness", "acceptance", "percentile", "trace_index")  # fmt: skip

#: inputs that it names even where they are 1
ALWAYS = ("batch", "concurrency", "input", "output", "sequence")


def title(result: Result) -> str:
    """The question in one line."""
    parts = []
    for name, value in result.inputs.items():
        if (
            name in UNSAID
            or any(value is nothing for nothing in (None, False))
            or (isinstance(value, str) and not value)
            or (isinstance(value, float) and value in (0.0, float("inf")))
            or name in result.axes
        ):
            continue
        text = getattr(value, "name", value) if not isinstance(value, float) else f"{value:g}"
        if text != "1" or (name in ALWAYS and result.scenario != "kernel"):  # an op has a batch of its own
            parts.append(f"{name} {text}")
    workload, system = (
        "" if name in result.axes else _name(result.inputs.get(name)) for name in ("workload", "system")
    )
    where = f" on {system}" if system else ""
    asked = f"{result.scenario} of {workload}" if workload else result.scenario
    return f"{asked}{where}" + (f": {', '.join(parts)}" if parts else "")


def _name(value: Any) -> str:
    return value if isinstance(value, str) else str(getattr(value, "name", ""))


def headline_rows(result: Result) -> list[tuple[str, str, str]]:
    """(label, value, interval) of the headline metrics of one point."""
    low, high = (result.low, result.high) if result.band is not None else (None, None)
    spread = interval_metrics(result)
    rows = []
    for metric, label in HEADLINES.items():
        if metric not in result.metrics:
            continue
        value = getattr(result, metric)
        interval = ""
        if low is not None and high is not None and metric in spread and np.isfinite(value):
            ends = sorted((getattr(low, metric), getattr(high, metric)))
            interval = " .. ".join(shown(result, metric, end) for end in ends) if ends[0] < ends[1] else ""
        if np.isfinite(value):
            rows.append((label, shown(result, metric, value), interval))
    return rows


def shown(result: Result, metric: str, value: Any) -> str:
    """A metric in the unit that a reader thinks in."""
    if metric in PER_MILLION:
        return show(1e6 * value, PER_MILLION[metric])
    return show(value, "%" if metric in FRACTIONS else result.unit(metric))


def bound_text(result: Result) -> str:
    """What bounds the result, in a phrase."""
    if "bound" not in result.metrics or result.axes:
        return ""
    phases = [m for m in ("prefill_bound", "decode_bound") if m in result.metrics]
    if phases:
        return ", ".join(f"{m.removesuffix('_bound')} by {_BOUND_WORDS[getattr(result, m)]}" for m in phases)
    return "by " + _BOUND_WORDS.get(str(result.bound), str(result.bound))


def summary(result: Result) -> str:
    """Headline metrics with SI units, interval, bound and fidelity."""
    if result.axes:
        return _sweep_summary(result)
    rows = headline_rows(result)
    wide = max((len(label) for label, _, _ in rows), default=0)
    lines = [title(result)]
    for label, value, interval in rows:
        lines.append(f"  {label:<{wide}}  {value:>14}" + (f"   {interval}" if interval else ""))
    if bound := bound_text(result):
        lines.append(f"  bound: {bound}")
    if "mapping" in result.metrics:
        lines.append("  mapping: " + str(result.mapping).strip().replace("\n", "\n    "))
    lines.append(f"  fidelity: {result.fidelity}{fidelity_note(result)}")
    return "\n".join(lines)


def fidelity_note(result: Result) -> str:
    """What the interval means."""
    if result.fidelity == "calibrated":
        return (
            " (corrected by measurements)"
            if _measured(result)
            else " (corrected by measurements of other devices)"
        )
    if result.fidelity == "roofline" and result.band is not None:
        return " (best case; the interval reaches to a cautious, uncalibrated estimate)"
    return " (not calibrated)" if result.band is not None else ""


def _measured(result: Result) -> bool:
    """Whether measurements of the device, or of one of its architecture, stand behind the corrections."""
    from perfmodel.engine.kernels.calibration import calibrations_of

    device = None if result.system is None else result.system.device
    return device is None or device.achieved is not None or any(True for _ in calibrations_of(device.name))


def _sweep_summary(result: Result) -> str:
    size = int(np.prod(result.shape))
    lines = [f"{title(result)}", f"  {size:,} points: " + " x ".join(_axis_words(result))]
    waiting = []
    for metric, label in HEADLINES.items():
        if metric not in result.data and (metric not in result.more or size > FEW):
            waiting += [metric] if metric in result.more else []
            continue
        values = np.asarray(getattr(result, metric))
        if np.any(np.isfinite(values)):
            ends = (shown(result, metric, end) for end in (np.nanmin(values), np.nanmax(values)))
            lines.append(f"  {label}: {' .. '.join(ends)}")
    if waiting:
        lines.append(f"  computed when asked for: {', '.join(waiting)}")
    if "feasible" in result.data:
        lines.append(f"  feasible: {int(np.sum(np.asarray(result.feasible)))} of {size:,}")
    lines.append(f"  fidelity: {result.fidelity}")
    return "\n".join(lines)


def _axis_words(result: Result) -> list[str]:
    words = []
    for name, values in result.axes.items():
        if len(values) <= 6:
            inside = ", ".join(v if isinstance(v, str) else f"{v:g}" for v in values)
        else:
            inside = (
                f"{values[0]:g} .. {values[-1]:g}, {len(values)} values"
                if not isinstance(values[0], str)
                else (f"{values[0]} .. {values[-1]}, {len(values)} values")
            )
        words.append(f"{name} [{inside}]")
    return words


# --- explanation ------------------------------------------------------------------------------------


def explain(result: Result, at: Mapping[str, Any]) -> str:
    """What bounds each phase, which ops take the time, and what would help most."""
    point = result.point(**at)
    lines = [title(result)]
    if point:
        lines[0] += " at " + ", ".join(
            f"{k} {v if isinstance(v, str) else f'{v:g}'}" for k, v in point.items()
        )
    lines += bound_lines(result, point)
    lines += help_lines(result, point)
    return "\n".join(lines)


def bound_lines(result: Result, point: Mapping[str, Any]) -> list[str]:
    """What bounds each phase at a point, or the steps of a scenario whose ops are not costed one by one.

    A sweep over names asks its question there once more.
    Raises ArgumentError where a scenario has neither ops nor a bound.
    """
    from perfmodel.explore.again import SCENARIOS
    from perfmodel.explore.sensitivity import at_point

    if result.phases is not None:
        found = result.costs(**point)
    elif result.scenario not in SCENARIOS or "bound" not in result.metrics:
        raise ArgumentError("explain", result.scenario, "a scenario that is made of ops or steps")
    else:
        one = at_point(result, point)
        if one.phases is None:
            return [f"A mean step is bound {bound_text(one)}."]
        found = one.costs()
    return [line for phase, costs in found.items() for line in phase_lines(phase, costs)]


def phase_lines(phase: str, costs: Sequence[OpCost], top: int = 3) -> list[str]:
    """Sentences about one phase."""
    whole = sum(scalar(c.time) for c in costs)
    if not whole:
        return [f"{phase}: nothing to do"]
    by_bound: dict[str, float] = {}
    for cost in costs:
        busy, serial = scalar(cost.busy_time), scalar(cost.serial_time)
        by_bound["overhead"] = by_bound.get("overhead", 0.0) + serial
        if cost.parts:
            longest = max(cost.parts, key=lambda r: scalar(cost.parts[r]))
            by_bound[longest] = by_bound.get(longest, 0.0) + busy
    ranked = sorted(by_bound.items(), key=lambda item: -item[1])
    shares = ", ".join(f"{resource_words(r)} {100 * t / whole:.0f} %" for r, t in ranked if t > 0.005 * whole)
    ops = sorted(costs, key=lambda c: -scalar(c.time))[:top]
    named = ", ".join(
        f"{c.op.name or c.op.family} {100 * scalar(c.time) / whole:.0f} % ({resource_words(bound_of(c))})"
        for c in ops
    )
    return [
        f"{phase}: one pass takes {show(whole, 's')}, bound by {resource_words(ranked[0][0])} ({shares}).",
        f"  Most time: {named}.",
    ]


def resource_words(resource: str) -> str:
    """A resource path in words: ``memory.hbm`` -> ``hbm bandwidth``."""
    kind, _, rest = resource.partition(".")
    if kind == "compute":
        unit, _, key = rest.partition(".")
        return f"{key} {unit} units"
    if kind == "memory":
        return f"{rest} bandwidth"
    if kind == "links":
        return f"{rest} bandwidth"
    return "launches and latency" if kind == "overhead" else resource


def help_lines(result: Result, point: Mapping[str, Any], top: int = 3) -> list[str]:
    """The hardware numbers that the main metrics depend on most."""
    from perfmodel.explore.again import SCENARIOS
    from perfmodel.explore.sensitivity import at_point, sensitivity

    metrics = [m for m in ("ttft", "tpot", "step_time", "latency") if m in result.metrics]
    if len(metrics) > 1 and "latency" in metrics:
        metrics.remove("latency")
    if result.scenario not in SCENARIOS:
        return []
    one = at_point(result, point)
    lines = []
    for metric in metrics:
        table = sensitivity(one, metric)
        helps = [(row["field"], row["sensitivity"]) for row in table if abs(row["sensitivity"]) > 0.01][:top]
        if helps:
            what = "; ".join(_what_if(metric, field, slope) for field, slope in helps)
            lines.append(f"What would help {metric}: {what}.")
    return lines


def _what_if(metric: str, field: str, slope: float) -> str:
    """Change of the field by 10 % in the direction that makes the metric smaller."""
    sign, factor = ("-", 0.9) if slope > 0 else ("+", 1.1)
    return f"{field} {sign}10 % -> {metric} {_percent(factor**slope - 1)}"


def _percent(change: float) -> str:
    return f"{100 * change:+.1f} %"


def html(result: Result) -> str:
    """Notebook display: the headline metrics as a table."""
    if result.axes:
        return f"<pre>{escaping.escape(summary(result))}</pre>"
    rows = "".join(
        f"<tr><td>{escaping.escape(label)}</td><td style='text-align:right'>{escaping.escape(value)}</td>"
        f"<td>{escaping.escape(interval)}</td></tr>"
        for label, value, interval in headline_rows(result)
    )
    bound = bound_text(result)
    foot = f"fidelity: {result.fidelity}{fidelity_note(result)}" + (f"; bound: {bound}" if bound else "")
    return (
        f"<b>{escaping.escape(title(result))}</b><table><tr><th></th><th>value</th><th>interval</th></tr>{rows}</table>"
        f"<small>{escaping.escape(foot)}</small>"
    )
