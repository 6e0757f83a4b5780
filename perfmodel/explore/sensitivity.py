"""Sensitivity: by how many percent a metric moves when a hardware number moves by one percent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from perfmodel.axes import Axis, _map_axes
from perfmodel.errors import ArgumentError, UnknownNameError
from perfmodel.explore.again import ask_again
from perfmodel.hardware.device import System
from perfmodel.result import Result
from perfmodel.spec import get_path, paths, replace_path
from perfmodel.table import Column, Table

#: relative step of the central difference; truncation and rounding error are both below 1e-6
STEP = 1e-4
#: the same where requests are replayed: a percentile jumps from one step of the engine to the next
WIDE_STEP = 0.1
AXIS = "variation"


def sensitivity(result: Result, metric: str = "", *, fields: Iterable[str] | None = None, **at: Any) -> Table:
    """Logarithmic derivatives d ln(metric) / d ln(field) at one point, largest first.

    result  answer of pm.inference or pm.forward; `at` names the point of a sweep
    metric  any numeric metric (default: tpot, else latency)
    fields  paths of hardware numbers (default: all of the system)

    A value of -1 means: 1 % more of the field makes the metric 1 % smaller.  At a corner of the roofline,
    where two bounds are equal, the slopes of both sides are averaged.
    All variations are evaluated in one call, as one axis.
    """
    metric = metric or ("tpot" if "tpot" in result.metrics else "latency")
    if metric not in result.metrics or metric in result.labels:
        raise UnknownNameError("metric", metric, [m for m in result.metrics if m not in result.labels])
    point = result.point(**at)
    system = at_point(result, point).inputs["system"]
    chosen = numeric_fields(system) if fields is None else tuple(fields)
    step = WIDE_STEP if "trace_index" in result.inputs else STEP
    varied = _varied(system, chosen, step)
    values = np.asarray(getattr(ask_again(result, point, system=varied), metric), dtype=np.float64)
    up, down = values[0::2], values[1::2]
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = (np.log(up) - np.log(down)) / (np.log1p(step) - np.log1p(-step))
    slopes = np.where(np.abs(slopes) < 1e-9, 0.0, slopes) + 0.0
    order = sorted(range(len(chosen)), key=lambda i: (-abs(slopes[i]) if np.isfinite(slopes[i]) else 0.0, i))
    rows = tuple((chosen[i], _value(get_path(system, chosen[i])), float(slopes[i])) for i in order)
    columns = (Column("field"), Column("value", "1"), Column("sensitivity", "1"))
    return Table(columns, rows, f"d ln {metric} / d ln field")


def at_point(result: Result, point: Mapping[str, Any]) -> Result:
    """The result at one point of its axes; itself if it has none."""
    return ask_again(result, point) if result.axes else result


def numeric_fields(system: System) -> tuple[str, ...]:
    """Paths of all numbers of a system that can move a metric, without labels such as year and price."""
    skipped = (
        "year",
        "price",
        "embodied_carbon",
        "area",
        "transistors",
        "process",
        "sources",
        "achieved",
    )
    found = []
    for path in paths(system):
        parts = path.split(".")
        number = isinstance(get_path(system, path), float)
        if number and path != "count" and not any(part in skipped for part in parts):
            found.append(path)
    return tuple(found)


def _value(value: Any) -> float:
    return float(np.asarray(value))


def _varied(system: System, fields: tuple[str, ...], step: float) -> System:
    """The system with one axis along which each field in turn is a little larger, then a little smaller."""
    if not fields:
        raise ArgumentError("fields", fields, "at least one path")
    varied: Any = system
    for i, path in enumerate(fields):
        value = get_path(system, path)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise ArgumentError("fields", path, "paths of numbers")
        factors = np.ones(2 * len(fields))
        factors[2 * i], factors[2 * i + 1] = 1.0 + step, 1.0 - step
        varied = _put(varied, path, value * factors)
    # every array becomes the same axis: a row of the mesh is one variation
    renamed: System = _map_axes(varied, "", lambda axis: Axis(AXIS, axis.values))
    return renamed


def _put(system: Any, path: str, values: Any) -> Any:
    try:
        return replace_path(system, path, values)
    except ArgumentError:  # counts and limited ranges cannot move by a fraction: left as they are
        return system
