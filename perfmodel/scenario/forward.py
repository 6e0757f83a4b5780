"""One forward pass of any workload."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from perfmodel.algebra import total
from perfmodel.arguments import choice, whole
from perfmodel.engine import capacity
from perfmodel.engine.fidelity import CostModel
from perfmodel.engine.power import energy_of
from perfmodel.engine.roofline import OpCost
from perfmodel.formats import Precision
from perfmodel.formats import precision as precision_of
from perfmodel.hardware.catalog import system as system_of
from perfmodel.hardware.device import Device, System
from perfmodel.result import Result
from perfmodel.scenario.feasible import divides, unmapped
from perfmodel.scenario.solve import NO_MAPPING, TOO_LARGE, Scenario, first_reason
from perfmodel.workload.graph import Graph
from perfmodel.workload.step import Step
from perfmodel.workload.transforms import tensor_parallel
from perfmodel.workload.workload import Workload
from perfmodel.workload.workload import workload as workload_of


def forward(
    workload: str | Workload,
    system: str | Device | System,
    *,
    batch: Any = 1,
    query: Any = 1,
    context: Any = None,
    tp: Any = 1,
    precision: str | Mapping[str, str] | Precision = "bf16",
    fidelity: str = "roofline",
    logits: str = "all",
    attention: str = "fused",
    runtime: str = "vllm",
    progress: Callable[[float], None] | None = None,
) -> Result:
    """One pass of a workload: a CNN on images, an encoder on sentences, one step of a decoder.

    batch           items processed together
    query, context  tokens of a sequence model (context None: as many as query); other models ignore them
    tp              tensor-parallel devices

    Metrics: latency [s], throughput [items/s], energy [J per pass, all devices], power [W], memory [B per
    device], flops, bytes, intensity, mfu, mbu, bound.  Any number may be a list: it becomes a named axis.
    Raises InfeasibleError if one point does not fit; a sweep masks it.
    """
    inputs = {
        "batch": whole("batch", batch),
        "query": whole("query", query),
        "context": None if context is None else whole("context", context),
        "tp": whole("tp", tp),
        "system": system_of(system),
        "workload": workload_of(workload),
    }
    fixed = {
        "precision": precision_of(precision),
        "logits": choice("logits", logits, ("last", "all")),
        "attention": choice("attention", attention, ("fused", "eager")),
    }
    return FORWARD.solve(inputs, fixed, fidelity, runtime, progress)


REASONS = (
    "",
    TOO_LARGE,
    "tp must divide the heads, widths and vocabulary that it splits; 1 where no op can be split",
    "tp must not exceed the devices of the system",
    "context must be at least query (it holds the new tokens too)",
    NO_MAPPING,
)

#: what may bound a pass; index = code
BOUNDS = ("compute", "memory", "links", "overhead")


def graph_of(
    *,
    workload: Workload,
    batch: Any,
    query: Any,
    context: Any,
    tp: Any,
    logits: str,
    attention: str,
    **_: Any,
) -> Graph:
    """Ops of the pass on one device."""
    step = Step(batch, query, query if context is None else context, logits=logits, attention=attention)
    return tensor_parallel(tp)(workload.graph(step))


def costs(graph: Graph, system: System, precision: Precision, model: CostModel) -> list[OpCost]:
    """Cost of each op."""
    return [model(op, system, precision) for op in graph.ops]


def metrics(
    *, system: System, precision: Precision, model: CostModel, batch: Any, tp: Any, **rest: Any
) -> dict[str, Any]:
    """Metrics of the pass; floats or open-mesh arrays."""
    graph = graph_of(batch=batch, tp=tp, **rest)
    spent = costs(graph, system, precision, model)
    device = system.device
    latency = total([c.busy_time for c in spent] + [c.serial_time for c in spent])
    footprint = capacity.footprint(graph, precision)
    reason = _reason(system, tp, footprint.total, latency, **rest)
    if np.any(reason > 0):
        latency = np.where(reason > 0, np.nan, latency)
    energy = energy_of(spent, system, latency) * tp
    moved = total(c.count * c.demand.matching("memory") for c in spent)
    peak = device.compute["matrix"].peak.get(precision.format("activation").compute, np.nan)
    bandwidth = device.main_memory.bandwidth
    sums = [total(parts) for parts in zip(*(c.shares() for c in spent), strict=True)]
    return {
        "latency": latency,
        "throughput": batch / latency,
        "energy": energy,
        "power": energy / latency,
        "memory": footprint.total,
        "weights": footprint.weights,
        "activations": footprint.activations,
        "flops": graph.flops,
        "bytes": moved,
        "intensity": graph.flops / moved,
        "mfu": graph.flops / latency / peak,
        "mbu": moved / latency / (np.nan if bandwidth is None else bandwidth),
        "bound": np.argmax(np.stack(np.broadcast_arrays(*sums)), axis=0),
        "feasible": np.asarray(reason == 0, dtype=np.float64),
        "reason": reason,
    }


def _reason(
    system: System,
    tp: Any,
    memory: Any,
    latency: Any,
    *,
    workload: Workload,
    query: Any,
    context: Any,
    **_: Any,
) -> Any:
    """Code of the first reason against each point, an index into REASONS."""
    limit = system.device.main_memory.capacity
    checks = [
        memory > limit if limit is not None else np.False_,
        np.logical_not(divides(workload, tp)),
        tp > system.count,
        np.False_ if context is None else np.asarray(workload.generates & np.less(context, query)),
        unmapped(latency),
    ]
    return first_reason(checks)


def _phases(
    *, system: System, precision: Precision, model: CostModel, **rest: Any
) -> Mapping[str, Sequence[OpCost]]:
    return {"forward": costs(graph_of(**rest), system, precision, model)}


FORWARD = Scenario(
    "forward", metrics, _phases, reasons=REASONS, labels={"bound": BOUNDS}, blame=("tp", "query", "context")
)
