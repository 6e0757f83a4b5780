"""Roofline: demand of an op on every resource, and the time no implementation can beat.

    time = count x ( max over resources (amount / rate) + launches x overhead + steps x latency )

Reference
[1] Williams, Waterman, Patterson, Roofline: an insightful visual performance model, CACM 52(4), 2009,
    doi:10.1145/1498765.1498785.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from perfmodel.algebra import Value, maximum, minimum, where
from perfmodel.counts import LAUNCH, Demand
from perfmodel.engine import collective
from perfmodel.engine.rates import compute_key, joins, link_of, rate, route
from perfmodel.formats import Format, Precision
from perfmodel.hardware.device import Link, System
from perfmodel.ops.core import Exchange, Op


@dataclass(frozen=True)
class OpCost:
    """Cost of one op.

    demand  amounts of one repetition
    parts   time on each resource, of one repetition [s]; these overlap
    serial  launch and message latency of one repetition [s]; added to the longest part
    count   repetitions
    busy    time of one repetition without `serial`, where a kernel model knows better than the longest part
    energy  of one repetition [J], where a mapping priced every access
    """

    op: Op
    demand: Demand
    parts: Mapping[str, Value]
    serial: Value
    count: Value
    busy: Value | None = None
    energy: Value | None = None

    @property
    def busy_time(self) -> Value:
        """Time without launches, all repetitions [s]: the longest part, or what a kernel model says."""
        if self.busy is not None:
            return self.busy * self.count
        # counts multiply the parts, not their maximum: on an open mesh the parts are the smaller arrays
        return maximum(*(part * self.count for part in self.parts.values())) if self.parts else 0.0

    @property
    def serial_time(self) -> Value:
        """Launches and message latency, all repetitions [s]."""
        return self.serial * self.count

    @property
    def time(self) -> Value:
        """Time of all repetitions [s]."""
        return self.busy_time + self.serial_time

    def shares(self) -> tuple[Value, Value, Value, Value]:
        """Time of all repetitions by what bounds it: compute, memory, links, overhead [s].

        The busy time belongs to the longest of the first three, launches and message latency to the last.
        """
        longest = {
            kind: maximum(*found) * self.count if found else 0.0
            for kind in ("compute", "memory", "links")
            for found in [[t for r, t in self.parts.items() if r.startswith(kind)]]
        }
        compute, memory, links = longest.values()
        first = np.logical_and(compute >= memory, compute >= links)
        second = np.logical_and(memory >= links, np.logical_not(first))
        rest = np.logical_not(np.logical_or(first, second))
        if self.busy is not None:  # the same bound, at the time of the kernel model
            compute = memory = links = self.busy_time
        return (
            where(first, compute, 0.0),
            where(second, memory, 0.0),
            where(rest, links, 0.0),
            self.serial_time,
        )


def compute_format(op: Op, precision: Precision) -> Format:
    """Format in which the op computes: its widest input operand."""
    inputs = [t for t in op.tensors if not t.output and t.kind not in ("index", "state")]
    candidates = [precision.of(tensor) for tensor in inputs] or [precision.format("activation")]
    return max(candidates, key=lambda f: f.bits)


def demand(op: Op, system: System, precision: Precision) -> Demand:
    """What one repetition of the op asks of the system.

    Bytes are compulsory: each operand crosses the outermost memory once.
    Raises PrecisionError if a matrix product needs a format that the device lacks.
    """
    amounts: dict[str, Value] = {}
    device = system.device
    for work in op.work:
        key = compute_key(device, work.unit, compute_format(op, precision).compute)
        if key is not None:
            amounts[key] = amounts[key] + work.operations if key in amounts else work.operations
    moved = moved_bytes(op, precision)
    if op.tensors:
        amounts[f"memory.{device.main_memory_name}"] = moved
    amounts[LAUNCH] = op.launches
    if op.exchange is not None:
        amounts |= collective_demand(op.exchange, precision, system)
        # a group of one sends nothing and starts nothing
        amounts[LAUNCH] = op.launches * minimum(op.exchange.group - 1.0, 1.0)
    return Demand(amounts)


def collective_levels(
    exchange: Exchange, precision: Precision, system: System
) -> list[tuple[str, Link, Value, Value]]:
    """Each link that a collective uses, nearest first, with its group and message [B]."""
    links = route(system, exchange.link, exchange.group * exchange.stride)
    element, crossing = precision.bytes(exchange.kind), exchange.crossing
    levels = collective.by_level(
        exchange.pattern, exchange.elements * element, exchange.group, joins(links, exchange.stride),
        None if crossing is None else crossing * element,
    )
    return [(*where, *part) for where, part in zip(links, levels, strict=False)]


def collective_demand(exchange: Exchange, precision: Precision, system: System) -> dict[str, Value]:
    """Bytes and message steps of each link that a collective uses."""
    asked: dict[str, Value] = {}
    for name, link, group, message in collective_levels(exchange, precision, system):
        asked[f"links.{name}"] = collective.sent_bytes(exchange.pattern, message, group)
        asked[f"steps.{name}"] = collective.steps(exchange.pattern, group, link.topology)
    return asked


def moved_bytes(op: Op, precision: Precision) -> Value:
    """Compulsory bytes of one repetition [B]."""
    moved: Value = 0.0
    for tensor in op.tensors:
        moved = moved + tensor.footprint(op.loops) * precision.of(tensor).bytes
    return moved


def cost(op: Op, system: System, precision: Precision) -> OpCost:
    """Roofline cost of one op on a system."""
    asked = demand(op, system, precision)
    parts: dict[str, Value] = {}
    serial: Value = 0.0
    launch = system.device.launch
    for resource, amount in asked.amounts.items():
        if resource == LAUNCH:
            serial = serial + amount * (launch.overhead if launch is not None else 0.0)
        elif resource.startswith("steps."):
            serial = serial + amount * link_of(system, resource.removeprefix("steps."))[1].latency
        else:
            speed = rate(system, resource)
            if speed is not None:
                parts[resource] = amount / speed
    return OpCost(op, asked, parts, serial, op.count)
