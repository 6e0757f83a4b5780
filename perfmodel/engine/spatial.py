"""Ops on a spatial array: the best mapping answers at fidelity ``dataflow``.

Operators that are one loop nest of multiply-accumulates are mapped; the others keep their roofline cost.
A mapping is searched per distinct op, so sizes must be numbers here; hardware sweeps of one op are
``pm.map`` with arrays in the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from perfmodel.algebra import Value, maximum
from perfmodel.engine.dataflow.accelerator import Accelerator, Widths, widths
from perfmodel.engine.dataflow.adapter import accelerator
from perfmodel.engine.dataflow.mapper import MappingResult, map_op
from perfmodel.engine.power import prices
from perfmodel.engine.roofline import OpCost, compute_format, cost
from perfmodel.errors import ArgumentError
from perfmodel.formats import Precision
from perfmodel.hardware.array import SpatialArray
from perfmodel.hardware.device import System
from perfmodel.ops.core import Op

#: families that the mapping engine takes: a single product over the loops
MAPPED = ("matmul", "grouped_matmul", "conv1d", "conv2d", "conv3d")

#: mappings found in this process: a network repeats its layers, a sweep asks again
_FOUND: dict[tuple[Any, ...], MappingResult] = {}
_MOST_KEPT = 10_000


def mapped_cost(op: Op, system: System, precision: Precision, *, objective: str = "latency") -> OpCost:
    """Cost of an op under its best mapping; its roofline cost where it is not one product.

    Time is never below the roofline: what the mapping does not model (elementwise tails) is bounded by it.
    Raises ArgumentError for sizes that are arrays, InfeasibleError where no mapping fits.
    """
    bound = cost(op, system, precision)
    if op.family not in MAPPED:
        return bound
    found = best_mapping(op, system, precision, objective)
    # a description without energies prices nothing: the device's power answers, not an energy of zero
    # static power is charged once, for the whole pass
    energy = found.energy - found.price.energy.get("static", 0.0) if prices(system) else None
    return replace(bound, busy=maximum(found.latency, bound.busy_time / op.count), energy=energy)


def best_mapping(op: Op, system: System, precision: Precision, objective: str) -> MappingResult:
    """Best mapping of one op, found once per process."""
    if any(np.size(bound) > 1 for bound in op.loops.values()):
        raise ArgumentError("fidelity", "dataflow", "single sizes on a spatial array; ask point by point")
    array, wide, format_key = described(system, op, precision)
    sizes = tuple((name, float(np.asarray(value).reshape(-1)[0])) for name, value in op.loops.items())
    axes = tuple(repr(tensor.axes) for tensor in op.tensors)
    key = (repr(array), repr(wide), format_key, op.family, sizes, axes, objective)
    if key not in _FOUND:
        if len(_FOUND) >= _MOST_KEPT:
            _FOUND.clear()
        _FOUND[key] = map_op(replace(op, loops=_whole(op.loops)), array, objective, precision=wide)
    return _FOUND[key]


def described(system: System, op: Op, precision: Precision) -> tuple[Accelerator, Widths, str]:
    """Accelerator, operand widths and number format of an op on a device with an ``array:`` block."""
    device = system.device
    key = compute_format(op, precision).compute
    wide = widths(precision)
    if isinstance(device.array, SpatialArray):
        wide = Widths(wide.weight, wide.input, wide.output, device.array.partial)
    return accelerator(device, key), wide, key


def _whole(loops: Mapping[str, Value]) -> dict[str, float]:
    """Loop bounds as whole numbers: a mean (tokens per expert) is rounded up, as a tile is."""
    return {
        name: float(np.ceil(float(np.asarray(value).reshape(-1)[0]) - 1e-9)) for name, value in loops.items()
    }
