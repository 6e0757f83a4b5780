"""Ops on a spatial array: the best mapping answers at fidelity ``dataflow``.

Operators that are one loop nest of multiply-accumulates are mapped; the others keep their roofline cost.
A mapping is searched per distinct op and point of the mesh.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from perfmodel.algebra import Value, maximum, product
from perfmodel.engine.dataflow.accelerator import Accelerator, Widths, widths
from perfmodel.engine.dataflow.adapter import accelerator
from perfmodel.engine.dataflow.mapper import MappingResult, map_op
from perfmodel.engine.dataflow.problem import PRODUCTS
from perfmodel.engine.power import prices
from perfmodel.engine.roofline import OpCost, compute_format, cost
from perfmodel.errors import ArgumentError, InfeasibleError
from perfmodel.formats import Precision
from perfmodel.hardware.array import SpatialArray
from perfmodel.hardware.device import System
from perfmodel.ops.core import Op

#: mappings found in this process: a network repeats its layers, a sweep asks again
_FOUND: dict[tuple[Any, ...], MappingResult] = {}
_MOST_KEPT = 10_000
#: points of a mesh that one op may have
MOST_POINTS = 10_000
#: share of the fastest time that may be given up for a mapping of less energy: a few cycles of fill and drain
SLACK = 1e-5


def mapped_cost(op: Op, system: System, precision: Precision, *, objective: str = "latency") -> OpCost:
    """Cost of an op under its best mapping; its roofline cost where it is not one product.

    Sizes and hardware numbers may be arrays: a mapping is searched per point.
    Time is never below the roofline: what the mapping does not model (elementwise tails) is bounded by it.
    Raises InfeasibleError where no mapping fits; on a mesh such a point is nan.
    """
    bound = cost(op, system, precision)
    if op.family not in PRODUCTS:
        return bound
    latency, energy = _figures(op, system, precision, objective)
    # a description without energies prices nothing: the device's power answers, not an energy of zero
    return replace(
        bound, busy=maximum(latency, bound.busy_time / op.count), energy=energy if prices(system) else None
    )


def _figures(op: Op, system: System, precision: Precision, objective: str) -> tuple[Value, Value]:
    """Latency [s] and energy without static power [J], which is charged once for the whole pass."""
    found = mappings(op, system, precision, objective)
    figures = np.full((2, *found.shape), np.nan)
    for index in np.ndindex(found.shape):
        if found[index] is None:
            continue
        figures[(0, *index)] = found[index].latency
        figures[(1, *index)] = found[index].energy - found[index].price.energy.get("static", 0.0)
    return (figures[0], figures[1]) if found.shape else (float(figures[0]), float(figures[1]))


def mappings(op: Op, system: System, precision: Precision, objective: str = "latency") -> Any:
    """Best mapping at every point [mesh], an object array of MappingResult.

    On a mesh, None where no mapping fits; a single point raises InfeasibleError.
    """
    designs_shape = np.broadcast_shapes(*_shapes(system.device))
    shape = mesh_shape(op, system)
    if int(np.prod(shape)) > MOST_POINTS:
        raise ArgumentError("points", int(np.prod(shape)), f"at most {MOST_POINTS} mappings of one op")
    designs = [
        described(replace(system, device=_at(system.device, designs_shape, index)), op, precision)
        for index in np.ndindex(designs_shape)
    ]
    number = np.broadcast_to(np.arange(len(designs)).reshape(designs_shape), shape)
    found = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        try:
            found[index] = best_mapping(_at(op, shape, index), *designs[number[index]], objective)
        except InfeasibleError:
            if not shape:
                raise
    return found


def mesh_shape(op: Op, system: System) -> tuple[int, ...]:
    """Shape of the mesh that sizes and hardware numbers span."""
    return np.broadcast_shapes(*_shapes(system.device), *(np.shape(bound) for bound in op.loops.values()))


def _shapes(part: Any) -> Iterator[tuple[int, ...]]:
    """Shapes of the arrays in a description."""
    if isinstance(part, np.ndarray):
        yield part.shape
    elif isinstance(part, (Mapping, tuple)):
        for value in part.values() if isinstance(part, Mapping) else part:
            yield from _shapes(value)
    elif is_dataclass(part):
        for f in fields(part):
            if f.compare:
                yield from _shapes(getattr(part, f.name))


def best_mapping(
    op: Op, array: Accelerator, wide: Widths, format_key: str, objective: str
) -> MappingResult:
    """Best mapping of one op, found once per process; of equally fast ones, one of little energy."""
    sizes = tuple((name, float(np.asarray(value))) for name, value in op.loops.items())
    axes = tuple(repr(tensor.axes) for tensor in op.tensors)
    key = (repr(array), repr(wide), format_key, op.family, sizes, axes, objective)
    found = _FOUND.get(key)  # another thread may clear the table at any time
    if found is None:
        if len(_FOUND) >= _MOST_KEPT:
            _FOUND.clear()
        found = _FOUND[key] = _search(_whole(op), array, objective, wide)
    return found


def _search(op: Op, array: Accelerator, objective: str, wide: Widths) -> MappingResult:
    best = map_op(op, array, objective, precision=wide)
    if objective != "latency" or not np.any(array.mac_energy):
        return best
    thrifty = map_op(op, array, "edp", precision=wide)
    return thrifty if thrifty.cycles <= (1.0 + SLACK) * best.cycles else best


def _at(part: Any, shape: tuple[int, ...], index: tuple[int, ...]) -> Any:
    """The part at one point of the mesh: every array in it becomes its number there."""
    if isinstance(part, np.ndarray):
        return float(np.broadcast_to(part, shape)[index])
    if isinstance(part, Mapping):
        return {name: _at(value, shape, index) for name, value in part.items()}
    if isinstance(part, tuple):
        return tuple(_at(value, shape, index) for value in part)
    if is_dataclass(part) and not isinstance(part, type):
        return replace(
            part, **{f.name: _at(getattr(part, f.name), shape, index) for f in fields(part) if f.compare}
        )
    return part


def described(system: System, op: Op, precision: Precision) -> tuple[Accelerator, Widths, str]:
    """Accelerator, operand widths and number format of an op on a device with an ``array:`` block."""
    device = system.device
    key = compute_format(op, precision).compute
    wide = widths(precision)
    if isinstance(device.array, SpatialArray):
        wide = Widths(wide.weight, wide.input, wide.output, device.array.partial)
    return accelerator(device, key), wide, key


def _whole(op: Op) -> Op:
    """With whole loop bounds: a mean (tokens per expert) is rounded up, as a tile is."""
    loops = {name: float(np.ceil(float(np.asarray(value)) - 1e-9)) for name, value in op.loops.items()}
    grown = product(loops.values()) / product(float(np.asarray(value)) for value in op.loops.values())
    work = tuple(replace(part, operations=part.operations * grown) for part in op.work)
    return replace(op, loops=loops, work=work)
