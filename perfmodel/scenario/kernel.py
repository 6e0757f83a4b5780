"""One operator, or one collective, on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from perfmodel.arguments import number
from perfmodel.engine.collective import collective_time, sent_bytes
from perfmodel.engine.rates import link_of
from perfmodel.errors import ArgumentError
from perfmodel.formats import Precision
from perfmodel.hardware.catalog import system as system_of
from perfmodel.hardware.device import Device, System
from perfmodel.ops.core import Op
from perfmodel.ops.deferred import Deferred, built
from perfmodel.result import Result
from perfmodel.scenario.forward import forward
from perfmodel.workload.graph import Graph
from perfmodel.workload.step import Step
from perfmodel.workload.workload import Workload


@dataclass(frozen=True)
class Single:
    """Dimensions of a workload that consists of given ops."""

    ops: tuple[Op | Deferred, ...]

    def graph(self, step: Step, name: str) -> Graph:
        """The ops themselves."""
        return Graph(name, tuple(built(op) for op in self.ops))


def kernel(
    op: Op | Deferred | Sequence[Op | Deferred],
    system: str | Device | System,
    *,
    precision: str | Mapping[str, str] | Precision = "bf16",
    fidelity: str = "roofline",
) -> Result:
    """Latency, energy and bound of one operator (or of a few, one after the other).

    Sizes of the op may be lists: ``pm.op.matmul(m=[1, 64, 4096], n=4096, k=4096)`` gives an axis ``m``.
    Metrics as in pm.forward.
    """
    ops = (op,) if isinstance(op, (Op, Deferred)) else tuple(op) if isinstance(op, (list, tuple)) else ()
    if not ops or not all(isinstance(item, (Op, Deferred)) for item in ops):
        raise ArgumentError("op", op, "an op such as pm.op.matmul(m=64, n=4096, k=4096), or a list of ops")
    name = ops[0].name or ops[0].family
    answer = forward(Workload(name, "ops", Single(ops)), system, precision=precision, fidelity=fidelity)
    return replace(answer, scenario="kernel")


def collective(pattern: str, size: Any, system: str | Device | System, *, link: str = "") -> Result:
    """Time of a collective over all devices of a system.

    pattern  all_reduce, all_gather, reduce_scatter, all_to_all, broadcast, point_to_point
    size     full tensor [B]; may be a list
    Metrics: latency [s], throughput [B/s of the tensor], bytes sent per device [B].
    """
    from perfmodel.axes import Mesh

    where = system_of(system)
    inputs = {"size": number("size", size), "system": where}
    mesh = Mesh.of(inputs)

    def solve(size: Any, system: System) -> dict[str, Any]:
        _, line = link_of(system, link)
        latency = collective_time(pattern, size, system.count, line.bandwidth, line.latency, line.topology)
        sent = sent_bytes(pattern, size, system.count)
        return {"latency": latency, "throughput": size / latency, "bytes": sent}

    return Result("collective", "roofline", mesh.axes, mesh.evaluate(solve, inputs), inputs, where)
