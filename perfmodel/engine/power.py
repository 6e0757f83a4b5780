"""Energy of a pass: idle power times time, plus the work done.

A device whose description prices each FLOP and each byte is charged by that ledger.  Otherwise the span
between idle and peak power is spent in proportion to what is busy: fully when the matrix unit runs at its
peak, and by MEMORY_SHARE when the memory runs at its peak, never above the peak power.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perfmodel.algebra import Value, minimum, total
from perfmodel.engine.rates import link_of
from perfmodel.engine.roofline import OpCost
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
    if priced := _ledger(costs, system):
        return total(priced) + (idle or 0.0) * duration
    if peak is None:
        return np.nan * duration
    idle = IDLE_SHARE * peak if idle is None else idle
    dynamic = total(_busy_share(cost) * cost.count for cost in costs) * (peak - idle)
    return idle * duration + minimum(dynamic, (peak - idle) * duration)


def _busy_share(cost: OpCost) -> Value:
    """Seconds at full dynamic power that one repetition is worth."""
    compute = total(t for r, t in cost.parts.items() if r.startswith("compute."))
    memory = total(t for r, t in cost.parts.items() if r.startswith("memory."))
    return compute + MEMORY_SHARE * memory


def _ledger(costs: Sequence[OpCost], system: System) -> list[Value]:
    """Energy of each op from the energies per FLOP, byte and message byte; empty if the device has none."""
    device = system.device
    if not any(unit.energy for unit in device.compute.values()):
        return []
    spent: list[Value] = []
    for cost in costs:
        for resource, amount in cost.demand.amounts.items():
            kind, _, rest = resource.partition(".")
            price: Value = None
            if kind == "compute":
                unit, _, key = rest.partition(".")
                price = device.compute[unit].energy.get(key)
            elif kind == "memory":
                price = device.memory[rest].read_energy
            elif kind == "links":
                price = link_of(system, rest)[1].energy
            if price is not None:
                spent.append(amount * price * cost.count)
    return spent
