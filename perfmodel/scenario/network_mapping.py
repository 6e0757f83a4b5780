"""pm.map_network: a whole pass of a workload on a spatial array, on one core or on several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perfmodel.arguments import choice, whole
from perfmodel.engine.dataflow.accelerator import Accelerator, Widths, widths
from perfmodel.engine.dataflow.adapter import accelerator as adapt
from perfmodel.engine.dataflow.mapper import OBJECTIVES
from perfmodel.engine.dataflow.multicore import LayerCost, ScheduleCost, layer_by_layer, pipelined
from perfmodel.engine.dataflow.network import Plan, Spent, Stage, plan
from perfmodel.engine.spatial import best_mapping
from perfmodel.errors import ArgumentError
from perfmodel.formats import Precision
from perfmodel.hardware.catalog import device as find_device
from perfmodel.hardware.device import Device
from perfmodel.scenario.mapping import check_priced, numbers_of
from perfmodel.table import Column, Table
from perfmodel.workload.workload import Workload
from perfmodel.workload.workload import workload as workload_of

SCHEDULES = ("layer_by_layer", "pipelined")


@dataclass(frozen=True)
class NetworkMapping:
    """A pass on an array.

    workload, objective  what was mapped, and what was minimised
    plan                 mapping of each op, and the tensors that stay on the chip
    cores, schedule      how many arrays share the outermost level, and how they share the work
    scheduled            cycles per item in steady state and of the first, bytes per item
    """

    workload: str
    objective: str
    plan: Plan
    cores: int
    schedule: str
    scheduled: ScheduleCost

    @property
    def latency(self) -> float:
        """Time of the first item [s]."""
        return float(self.scheduled.latency) / float(self.plan.accelerator.clock)

    @property
    def throughput(self) -> float:
        """Passes per second in steady state."""
        return float(self.plan.accelerator.clock) / float(self.scheduled.interval)

    @property
    def cycles(self) -> float:
        """Cycles per pass in steady state."""
        return float(self.scheduled.interval)

    @property
    def traffic(self) -> float:
        """Bytes with the outermost level per pass."""
        return float(self.scheduled.traffic)

    @property
    def energy(self) -> float:
        """Energy of a pass [J], nan where the device prices nothing; static power of all cores included."""
        array = self.plan.accelerator
        if not array.priced:
            return float("nan")
        far = array.levels[0]
        # what the schedule saves of the outermost level is not paid
        saved = (self.plan.traffic - self.traffic) * float(far.read_energy)
        static = float(array.static_power) * self.cores * self.cycles / float(array.clock)
        return self.plan.total("energy") - saved + static

    @property
    def utilisation(self) -> float:
        """Multiply-accumulates over what all positions could do meanwhile."""
        array = self.plan.accelerator
        macs = sum(stage.count * sum(float(found.problem.macs) for found in stage.mappings)
                   for stage in self.plan.stages)
        return macs / (self.cycles * self.cores * float(array.positions) * float(array.rate))

    def table(self) -> Table:
        """One row per op: repetitions, cycles, energy, bytes with the outermost level, what bounds it."""
        columns = (Column("op"), Column("count", "1"), Column("cycles", "1"), Column("energy", "J"),
                   Column("traffic", "B"), Column("bound"), Column("stays"))
        stays = {one.first for one in self.plan.held}
        pairs = enumerate(zip(self.plan.stages, self.plan.spent, strict=True))
        far = self.plan.accelerator.levels[0].name
        rows = [_row(stage, spent, far, i in stays) for i, (stage, spent) in pairs]
        return Table(columns, tuple(rows), f"{self.workload} on {self.plan.accelerator.name}")

    def explain(self) -> str:
        """Totals and the table in words."""
        held = len(self.plan.held)
        return "\n".join((
            self.table().to_text(), "",
            f"{self.cores} x {self.plan.accelerator.name}, {self.schedule}",
            f"{self.cycles:.6g} cycles per pass, array busy {self.utilisation:.1%}",
            f"first after {self.latency:.6g} s, {self.throughput:.6g} passes/s, {self._joules()}",
            f"{self.traffic:.6g} B with the outermost level; {held} tensors stay on the chip",
        ))

    def _joules(self) -> str:
        return f"{self.energy:.6g} J each" if self.plan.accelerator.priced else "energy not priced"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers under stable keys, SI units; no energy where the device prices nothing."""
        return {
            "workload": self.workload, "accelerator": self.plan.accelerator.name, "objective": self.objective,
            "cores": self.cores, "schedule": self.schedule, "cycles": self.cycles, "latency": self.latency,
            "throughput": self.throughput,
            "energy": self.energy if self.plan.accelerator.priced else None, "traffic": self.traffic,
            "utilisation": self.utilisation, "ops": list(self.table()),
            "mappings": {stage.name: [found.text().splitlines() for found in stage.mappings]
                         for stage in self.plan.stages if stage.mappings},
        }


def _row(stage: Stage, spent: Spent, far: str, stays: bool) -> tuple[Any, ...]:
    parts = (found.price.bottlenecks for found in stage.mappings)
    inside = {name: float(value) for part in parts for name, value in part.items()
              if name.partition(".")[0] != far}
    outside = spent.cycles - stage.edges > stage.busy
    bound = far if outside or not inside else max(inside, key=inside.__getitem__)
    moved = spent.weights + spent.read + spent.written
    return (stage.name, stage.count, stage.count * spent.cycles, stage.count * spent.energy,
            stage.count * moved, bound, "output" if stays else "")


def map_network(
    workload: str | Workload,
    accelerator: Accelerator | Device | str | Path,
    objective: str = "latency",
    *,
    batch: Any = 1,
    query: Any = 1,
    context: Any = None,
    precision: str | Mapping[str, str] | Precision | Widths | None = None,
    keep: bool = True,
    cores: Any = 1,
    schedule: str = "layer_by_layer",
    resident: bool = False,
) -> NetworkMapping:
    """Best mapping of every op of a pass, and what stays on the chip between ops.

    accelerator     Accelerator, device, shipped name or path of a device with an ``array:`` block
    objective       ``latency``, ``energy`` or ``edp``
    batch, query, context  size of the pass, as in pm.forward
    precision       policy, or Widths; None: int8, or the first format of a device that lacks it
    keep            let tensors stay on the chip between ops where that pays
    cores, schedule arrays that share the outermost level: all on one op after the other
                    (``layer_by_layer``), or consecutive ops on their own core (``pipelined``)
    resident        pipelined: each core keeps the weights of its ops

    Raises InfeasibleError where an op does not fit, ArgumentError, UnknownNameError.
    """
    goal = choice("objective", objective, OBJECTIVES)
    how = choice("schedule", schedule, SCHEDULES)
    number = _one("cores", cores)
    net = workload_of(workload)
    tokens = _one("query", query)
    graph = net.graph(batch=_one("batch", batch), query=tokens,
                      context=tokens if context is None else _one("context", context, tokens))
    if isinstance(accelerator, Accelerator):
        array, wide, key = accelerator, widths(precision or "int8"), "int8"
    else:
        described = find_device(accelerator)
        wide, key = numbers_of(described, precision)
        array = adapt(described, key)
    check_priced(goal, array)
    made = plan(graph.ops, array, wide, goal, lambda op, on: best_mapping(op, on, wide, key, goal), keep=keep)
    return NetworkMapping(net.name, goal, made, number, how, _schedule(made, number, how, resident))


def _one(name: str, value: Any, low: int = 1) -> int:
    number = whole(name, value, low=low)
    if not isinstance(number, float):
        raise ArgumentError(name, value, "one number (map one size at a time)")
    return int(number)


def _schedule(made: Plan, cores: int, how: str, resident: bool) -> ScheduleCost:
    if cores == 1 and how == "layer_by_layer":
        cycles = made.total("cycles")
        return ScheduleCost(cycles, cycles, made.traffic)
    layers = [
        LayerCost(stage.count * (stage.busy + stage.edges), stage.count * spent.weights,
                  stage.count * spent.read, stage.count * spent.written, stage.split)
        for stage, spent in zip(made.stages, made.spent, strict=True)
    ]
    far = made.accelerator.levels[0]
    if how == "pipelined":
        return pipelined(layers, cores, far.bandwidth, resident=resident, duplex=not far.shared_ports)
    return layer_by_layer(layers, cores, far.bandwidth, duplex=not far.shared_ports)
