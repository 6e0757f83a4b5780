"""Tables of results: ops at one point, points of a sweep, validation; and results as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from perfmodel.axes import Axis
from perfmodel.errors import UnknownNameError, optional
from perfmodel.table import Column, Table, plain, scalar, show

if TYPE_CHECKING:
    from perfmodel.engine.roofline import OpCost
    from perfmodel.result import Result
    from perfmodel.validation.report import Validation

__all__ = [
    "Column",
    "Table",
    "as_dict",
    "bound_of",
    "breakdown",
    "points",
    "show",
    "to_pandas",
    "to_xarray",
    "validation_table",
    "validation_text",
]

# --- ops at one point -------------------------------------------------------------------------------


def bound_of(cost: OpCost) -> str:
    """Resource that takes longest, such as ``memory.hbm``, or ``overhead`` (launches and message latency)."""
    if not cost.parts or float(np.asarray(cost.serial_time)) > float(np.asarray(cost.busy_time)):
        return "overhead"
    return max(cost.parts, key=lambda resource: float(np.asarray(cost.parts[resource])))


def breakdown(result: Result, phase: str | None, at: Mapping[str, Any]) -> Table:
    """Ops at one point: count, time, share of the phase, bound, FLOP, bytes, intensity and FLOP/s."""
    phases = result.costs(**at)
    if phase is not None and phase not in phases:
        raise UnknownNameError("phase", phase, phases)
    columns = (
        Column("phase"),
        Column("op"),
        Column("count", "1"),
        Column("time", "s"),
        Column("share", "%"),
        Column("bound"),
        Column("flops", "FLOP"),
        Column("bytes", "B"),
        Column("intensity", "FLOP/B"),
        Column("rate", "FLOP/s"),
    )
    rows = [row for name, costs in phases.items() if phase in (None, name) for row in _op_rows(name, costs)]
    where = ", ".join(f"{name} {_axis_text(value)}" for name, value in result.point(**at).items())
    title = f"{result.scenario}, time of one pass by op" + (f" at {where}" if where else "")
    return Table(columns, tuple(rows), title)


def _op_rows(phase: str, costs: Sequence[OpCost]) -> Iterator[tuple[Any, ...]]:
    times = [scalar(cost.time) for cost in costs]
    whole = sum(times) or 1.0
    for cost, time in zip(costs, times, strict=True):
        count = scalar(cost.count)
        flops = scalar(cost.op.flops)
        moved = count * scalar(cost.demand.matching("memory"))
        yield (
            phase,
            cost.op.name or cost.op.family,
            count,
            time,
            time / whole,
            bound_of(cost),
            flops,
            moved,
            flops / moved if moved else None,
            flops / time if time else None,
        )


# --- points of a sweep ------------------------------------------------------------------------------


def _axis_text(value: Any) -> str:
    return value if isinstance(value, str) else f"{float(value):g}"


def values_of(result: Result, metric: str) -> Any:
    """Flat array of a metric over all points, texts for labels."""
    return np.asarray(getattr(result, metric)).reshape(-1)


def computed_metrics(result: Result) -> tuple[str, ...]:
    """All metrics except those that need more than the result can give."""
    return tuple(m for m in result.metrics if m != "reason" or result.axes)


def column_metrics(result: Result) -> tuple[str, ...]:
    """Metrics that stand beside the axes: one that is an axis itself is there already."""
    return tuple(m for m in computed_metrics(result) if m not in result.axes)


def points(result: Result, metrics: Sequence[str] | None = None) -> Table:
    """One row per point: axes first, then the metrics (None: all).

    Raises UnknownNameError for a metric that the result does not have.
    """
    for metric in metrics or ():
        if metric not in result.metrics:
            raise UnknownNameError("metric", metric, result.metrics)
    metrics = column_metrics(result) if metrics is None else metrics
    columns = [Column(name, "" if is_text(values) else "1") for name, values in result.axes.items()]
    columns += [Column(m, "" if m in result.labels else result.unit(m)) for m in metrics]
    arrays = [values_of(result, metric).tolist() for metric in metrics]
    places = product(*(list(values) for values in result.axes.values()))
    rows = tuple(
        (*map(own_value, place), *row) for place, row in zip(places, zip(*arrays, strict=True), strict=True)
    )
    return Table(tuple(columns), rows, result.scenario)


def own_value(value: Any) -> Any:
    """Value of an axis: a text, or a number as float."""
    return value if isinstance(value, str) else float(value)


def is_text(values: Any) -> bool:
    """Whether an axis holds names."""
    return isinstance(values[0], str)


def as_dict(result: Result) -> dict[str, Any]:
    """Plain data: metrics by name (nested lists over the axes), units, axes, question, interval."""
    metrics = computed_metrics(result)
    data: dict[str, Any] = {
        "scenario": result.scenario,
        "fidelity": result.fidelity,
        "inputs": _question(result),
        "axes": {name: plain(list(values)) for name, values in result.axes.items()},
        "units": {metric: result.unit(metric) for metric in metrics if metric not in result.labels},
    }
    data |= {metric: plain(np.asarray(getattr(result, metric))[()]) for metric in metrics}
    if result.band is not None:
        for end in ("low", "high"):
            other = getattr(result, end)
            data[end] = {
                metric: plain(np.asarray(getattr(other, metric))[()]) for metric in interval_metrics(result)
            }
    return data


def interval_metrics(result: Result) -> tuple[str, ...]:
    """Metrics that differ between the ends of the interval: times, and what follows from them."""
    wanted = ["ttft", "tpot", "latency", "throughput", "step_time", "energy_per_token", "energy", "power"]
    wanted += ["cost_per_token", "goodput", "attainment", "capacity"]
    wanted += [f"{metric}_p{p}" for metric in ("ttft", "tpot", "latency") for p in (50, 90, 99)]
    return tuple(metric for metric in wanted if metric in result.metrics)


def _question(result: Result) -> dict[str, Any]:
    """The question: objects by name, axes by their values."""

    def shown(value: Any) -> Any:
        if isinstance(value, Axis):
            return plain(value.values)
        if isinstance(value, (list, tuple)):
            return [shown(item) for item in value]
        return plain(value)  # objects give their name

    return {name: shown(value) for name, value in result.inputs.items()}


def to_pandas(result: Result) -> Any:
    """pandas.DataFrame with one row per point; units are in ``frame.attrs["units"]``."""
    pandas = optional("pandas")
    grids = np.meshgrid(*(np.asarray(values) for values in result.axes.values()), indexing="ij", copy=False)
    data = {name: grid.reshape(-1) for name, grid in zip(result.axes, grids, strict=True)}
    data |= {metric: values_of(result, metric) for metric in column_metrics(result)}
    frame = pandas.DataFrame(data)
    frame.attrs["units"] = {metric: result.unit(metric) for metric in result.metrics}
    return frame


def to_xarray(result: Result) -> Any:
    """xarray.Dataset over the axes (needs xarray)."""
    xarray = optional("xarray")
    names = tuple(result.axes)
    data = {
        metric: (
            names,
            np.asarray(getattr(result, metric)).reshape(result.shape),
            {"units": result.unit(metric)},
        )
        for metric in column_metrics(result)
    }
    coords = {name: np.asarray(values) for name, values in result.axes.items()}
    return xarray.Dataset(
        data, coords=coords, attrs={"scenario": result.scenario, "fidelity": result.fidelity}
    )


# --- validation -------------------------------------------------------------------------------------


def validation_table(validation: Validation) -> Table:
    """One row per case: predicted, published, error, tolerance, status, source."""
    columns = (
        Column("case"),
        Column("quantity"),
        Column("predicted", "1"),
        Column("published", "1"),
        Column("unit"),
        Column("error", "%"),
        Column("tolerance"),
        Column("status"),
        Column("fidelity"),
        Column("source"),
    )
    rows = tuple(
        (
            o.published.case,
            o.published.quantity,
            o.predicted,
            o.published.value,
            o.published.unit,
            o.error if o.published.value else None,
            o.published.tolerance,
            o.status,
            o.fidelity,
            o.published.source,
        )
        for o in validation.outcomes
    )
    return Table(columns, rows, "predicted and published")


def scores_table(scores: Mapping[str, Any]) -> Table:
    """Errors by group of a file of measurements."""
    groups: Sequence[Mapping[str, Any]] = scores.get("groups", ())
    names = list(dict.fromkeys(name for group in groups for name in group))
    fractions = ("mape", "median", "p90", "bias")
    columns = tuple(
        Column(
            n,
            "%" if n in fractions else "1" if any(isinstance(g.get(n), (int, float)) for g in groups) else "",
        )
        for n in names
    )
    return Table(columns, tuple(tuple(group.get(n) for n in names) for group in groups), "errors by group")


def validation_text(validation: Validation) -> str:
    """Table and summary of a validation as text."""
    table = scores_table(validation.scores) if validation.scores else validation_table(validation)
    summary = "\n".join(summary_lines(validation.summary()))
    return f"{table.to_text()}\n{summary}"


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """Summary as ``name: value`` lines; errors in percent."""
    lines = []
    for name, value in summary.items():
        if isinstance(value, Mapping):
            inner = ", ".join(f"{key} {_summary_value(key, item)}" for key, item in value.items())
            lines.append(f"{name}: {inner}")
        else:
            lines.append(f"{name.replace('_', ' ')}: {_summary_value(name, value)}")
    return lines


def _summary_value(name: str, value: Any) -> str:
    fractions = (
        "mape",
        "median",
        "p90",
        "bias",
        "within_tolerance",
        "mean_error",
        "median_error",
        "max_error",
    )
    if value is None or not isinstance(value, (int, float)):
        return str(value)
    if name in fractions:
        return f"{100.0 * value:.3g} %"
    return f"{value:d}" if isinstance(value, int) else f"{value:.3g}"
