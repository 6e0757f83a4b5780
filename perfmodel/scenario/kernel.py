"""One operator, or one collective, on its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from perfmodel.algebra import Value, total
from perfmodel.arguments import choice, number, text
from perfmodel.engine.fidelity import FIDELITIES, CostModel
from perfmodel.engine.roofline import OpCost, collective_demand
from perfmodel.errors import ArgumentError
from perfmodel.formats import Precision
from perfmodel.formats import precision as precision_of
from perfmodel.hardware.catalog import system as system_of
from perfmodel.hardware.device import Device, System
from perfmodel.ops.core import Exchange, Op
from perfmodel.ops.deferred import Deferred, built
from perfmodel.result import Result
from perfmodel.scenario.forward import FORWARD, graph_of
from perfmodel.scenario.kernel_mapping import as_labels, mapping_texts
from perfmodel.scenario.runtime_names import kernels_of
from perfmodel.scenario.solve import Scenario
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
    runtime: str = "vllm",
) -> Result:
    """Latency, energy, bound and mapping of one operator (or of a few, one after the other).

    runtime  software whose kernels answer at fidelity ``calibrated``

    Sizes of the op may be lists: ``pm.op.matmul(m=[1, 64, 4096], n=4096, k=4096)`` gives an axis ``m``.
    Metrics as in pm.forward, and ``mapping``, found when it is asked for: a text with the tile, split and
    waves that the kernel model of a GPU chooses, or the loop nest on a spatial array.  At fidelity
    ``roofline``, whose time needs no mapping, it is that of ``dataflow``.
    """
    ops = (op,) if isinstance(op, (Op, Deferred)) else tuple(op) if isinstance(op, (list, tuple)) else ()
    if not ops or not all(isinstance(item, (Op, Deferred)) for item in ops):
        raise ArgumentError("op", op, "an op such as pm.op.matmul(m=64, n=4096, k=4096), or a list of ops")
    name = ops[0].name or ops[0].family
    inputs: dict[str, Any] = {"batch": 1.0, "query": 1.0, "context": None, "tp": 1.0}
    inputs |= {"system": system_of(system), "workload": Workload(name, "ops", Single(ops))}
    fixed = {"precision": precision_of(precision), "logits": "all", "attention": "fused"}
    calibrated = choice("fidelity", fidelity, FIDELITIES) == "calibrated"
    scenario = replace(
        FORWARD, name="kernel", more={"mapping": partial(_mapping, calibrated=calibrated, runtime=runtime)}
    )
    return _readable(scenario.solve(inputs, fixed, fidelity, runtime))


def _readable(answer: Result) -> Result:
    """The result, and the ends of its interval, with texts as labels of `mapping`."""
    labels: dict[str, Any] = {**answer.labels, "mapping": ()}
    band = None if answer.band is None else partial(_end, answer.band)
    more = {"mapping": partial(_labelled, answer.more["mapping"], labels)}
    return replace(answer, labels=labels, more=more, band=band)


def _end(band: Callable[[str], Result], which: str) -> Result:
    return _readable(band(which))


def _mapping(*, system: System, precision: Precision, calibrated: bool, runtime: str, **point: Any) -> Any:
    ops = graph_of(**point).ops
    return {
        "mapping": mapping_texts(ops, system, precision, calibrated=calibrated, runtime=kernels_of(runtime))
    }


def _labelled(texts: Any, labels: dict[str, Any]) -> Mapping[str, Any]:
    return as_labels(texts()["mapping"], labels)


def collective(
    pattern: str,
    size: Any,
    system: str | Device | System,
    *,
    link: str = "",
    fidelity: str = "roofline",
    runtime: str = "vllm",
) -> Result:
    """Time of a collective over all devices of a system.

    pattern  all_reduce, all_gather, reduce_scatter, all_to_all, broadcast, point_to_point
    size     full tensor [B]; may be a list
    link     the one link that carries it; empty: the fastest, and wider ones beyond its devices
    Metrics: latency [s], throughput [B/s of the tensor], bytes sent per device over all links [B].
    """
    inputs = {"size": number("size", size), "system": system_of(system)}
    fixed = {"pattern": text("pattern", pattern), "link": text("link", link)}
    return COLLECTIVE.solve(inputs, fixed, fidelity, runtime)


#: a message is counted in bytes
IN_BYTES = precision_of({"communication": "int8"})


def _exchanged(
    *, pattern: str, size: Value, link: str, system: System, model: CostModel, **_: Any
) -> Mapping[str, Sequence[OpCost]]:
    exchange = Exchange(pattern, size, system.count, link=link)
    op = Op("collective", {}, (), (), pattern, exchange=exchange, launches=0.0)
    return {"collective": [model(op, system, IN_BYTES)]}


def _collective(
    *, pattern: str, size: Value, link: str, system: System, **point: Any
) -> Mapping[str, Value]:
    (spent,) = _exchanged(pattern=pattern, size=size, link=link, system=system, **point)["collective"]
    asked = collective_demand(Exchange(pattern, size, system.count, link=link), IN_BYTES, system)
    sent = total(amount for resource, amount in asked.items() if resource.startswith("links."))
    with np.errstate(divide="ignore"):  # one device has nothing to send
        return {"latency": spent.time, "throughput": np.divide(size, spent.time), "bytes": sent}


COLLECTIVE = Scenario("collective", _collective, _exchanged)
