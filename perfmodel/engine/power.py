"""Energy of a pass: idle power times time, plus the work done.

A device whose description prices each FLOP and each byte is charged by that ledger.  Otherwise the span
between idle and peak power is spent in proportion to what is busy: fully when the matrix unit runs at its
peak, and by MEMORY_SHARE when the memory runs at its peak, never above the peak power.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from perfmodel.algebra import Value, maximum, minimum, total
from perfmodel.engine.energy import energy_parts
from perfmodel.engine.roofline import OpCost
from perfmodel.hardware.array import SpatialArray
from perfmodel.hardware.device import System

#: Part of the dynamic power that a memory at full bandwidth draws.  Convention [recalled]: decode of large
#: models is seen at 50-70 % of the board limit.
MEMORY_SHARE = 0.5

#: Idle power as a fraction of peak where the description has none [recalled].
IDLE_SHARE = 0.15


def energy_of(costs: Sequence[OpCost], system: System, duration: Value) -> Value:
    """Energy of one device during a pass of `duration` [s] made of `costs` [J]."""
    device = system.device
    power = device.power
    peak = power.peak if power is not None else None
    idle = power.idle if power is not None and power.idle is not None else None
    static = device.array.static_power if isinstance(device.array, SpatialArray) else idle
    asked = prices(system)
    if asked or any(cost.energy is not None for cost in costs):
        spent = total(_op_energy(cost, asked) for cost in costs)
        return spent + (0.0 if static is None else static) * duration
    if peak is None:
        return np.nan * duration
    idle = IDLE_SHARE * peak if idle is None else idle
    span = maximum(peak - idle, 0.0)
    dynamic = total(_busy_share(cost) * cost.count for cost in costs) * span
    return idle * duration + minimum(dynamic, span * duration)


def prices(system: System) -> dict[str, Value]:
    """Energy per FLOP, byte and message byte by resource; empty if the device prices no operation [J]."""
    device = system.device
    found: dict[str, Value] = {}
    for unit, described in device.compute.items():
        for key, price in described.energy.items():
            found[f"compute.{unit}.{key}"] = price
    if isinstance(device.array, SpatialArray):
        for key, price in device.array.mac_energy.items():
            found.setdefault(f"compute.matrix.{key}", price / 2.0)  # a multiply-accumulate is two FLOP
    if not found:
        return {}
    for level, memory in device.memory.items():
        if memory.read_energy is not None:
            found[f"memory.{level}"] = memory.read_energy
    for name, link in {**device.links, **system.links}.items():
        if link.energy is not None:
            found[f"links.{name}"] = link.energy
    return found


def _op_energy(cost: OpCost, asked: Mapping[str, Value]) -> Value:
    """Energy of all repetitions: what a mapping priced, or the ledger of the demand [J]."""
    if cost.energy is not None:
        return cost.energy * cost.count
    return total(energy_parts(cost.demand.amounts, asked).values()) * cost.count


def _busy_share(cost: OpCost) -> Value:
    """Seconds at full dynamic power that one repetition is worth."""
    compute = total(t for r, t in cost.parts.items() if r.startswith("compute."))
    memory = total(t for r, t in cost.parts.items() if r.startswith("memory."))
    return compute + MEMORY_SHARE * memory
