"""Inference of a language model: one prefill, then one pass per further token."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from perfmodel.algebra import Value, total
from perfmodel.arguments import choice, number, whole
from perfmodel.engine import capacity
from perfmodel.engine.fidelity import CostModel
from perfmodel.engine.power import energy_of
from perfmodel.engine.rates import domains
from perfmodel.engine.roofline import OpCost
from perfmodel.formats import Precision
from perfmodel.formats import precision as precision_of
from perfmodel.hardware.catalog import system as system_of
from perfmodel.hardware.device import System
from perfmodel.result import Result
from perfmodel.scenario.feasible import REASONS, Parallel, reasons
from perfmodel.scenario.solve import Scenario
from perfmodel.workload.graph import Graph
from perfmodel.workload.partition import expert_parallel, merge_batches
from perfmodel.workload.step import Step
from perfmodel.workload.transforms import pipeline_parallel, tensor_parallel
from perfmodel.workload.workload import Workload, language_model

#: Gauss-Legendre nodes on [-1/2, 1/2] and weights: the mean over the growing context, exact up to degree 5.
NODES = (-0.3872983346207417, 0.0, 0.3872983346207417)
WEIGHTS = (5.0 / 18.0, 8.0 / 18.0, 5.0 / 18.0)


def inference(
    workload: str | Workload,
    system: str | System,
    *,
    batch: Any = 1,
    input: Any = 1024,
    output: Any = 128,
    tp: Any = 1,
    pp: Any = 1,
    dp: Any = 1,
    ep: Any = 1,
    precision: str | Mapping[str, str] | Precision = "bf16",
    fidelity: str = "roofline",
    logits: str = "last",
    attention: str = "fused",
    reserve: Any = 0.0,
    runtime: str = "vllm",
    progress: Callable[[float], None] | None = None,
) -> Result:
    """Latency, throughput, energy and memory of generating `output` tokens for `batch` prompts at once.

    workload, system  names, paths or objects; fields varied with a list become axes
    batch             sequences served together, by all replicas
    input, output     prompt and generated tokens per sequence
    tp, pp            tensor- and pipeline-parallel devices; tp x pp x dp must not exceed the system
    dp                replicas, which share out the sequences
    ep                replicas that share out the experts of a layer between them; it divides dp
    precision         policy name or mapping tensor kind -> format
    fidelity          ``roofline`` (bounds), ``dataflow`` (tiles and waves) or ``calibrated``
    logits            positions of the prompt that go through the head: ``last`` or ``all``
    reserve           bytes per device that the runtime keeps for itself [B]
    runtime           software whose kernels answer at fidelity ``calibrated``

    Any number may be a list: it becomes a named axis of the Result.
    Metrics: ttft [s], tpot [s] (mean over the growing context), latency [s], throughput [token/s, generated],
    memory, weights, kv_cache, activations [B per device], energy_per_token [J, all devices], power [W, all
    devices], cost_per_token [USD, rent of all devices], mfu, mbu of the whole request, bound, decode_bound,
    prefill_bound.

    Raises InfeasibleError if one point does not fit (a sweep masks it and says why in `reason`),
    ArgumentError, UnknownNameError, PrecisionError for bad input.
    """
    inputs = {
        "batch": whole("batch", batch),
        "input": whole("input", input),
        "output": whole("output", output),
        "tp": whole("tp", tp),
        "pp": whole("pp", pp),
        "dp": whole("dp", dp),
        "ep": whole("ep", ep),
        "reserve": number("reserve", reserve, above=False),
        "system": system_of(system),
        "workload": language_model(workload),
    }
    fixed = {
        "precision": precision_of(precision),
        "logits": choice("logits", logits, ("last", "all")),
        "attention": choice("attention", attention, ("fused", "eager")),
    }
    return INFERENCE.solve(inputs, fixed, fidelity, runtime, progress)


#: what may bound a phase; index = code
BOUNDS = ("compute", "memory", "links", "overhead")


class Passes:
    """The passes of one inference over a mesh (all values are floats or open-mesh arrays)."""

    def __init__(
        self,
        *,
        workload: Workload,
        system: System,
        batch: Value,
        input: Value,
        output: Value,
        tp: Value,
        pp: Value,
        dp: Value,
        ep: Value,
        reserve: Value,
        precision: Precision,
        logits: str,
        attention: str,
        model: CostModel,
        ndim: int,
    ) -> None:
        self.workload, self.system, self.precision, self.model, self.ndim = (
            workload,
            system,
            precision,
            model,
            ndim,
        )
        self.batch, self.input, self.output = batch, input, output
        self.tp, self.pp, self.dp, self.ep = tp, pp, dp, ep
        self.reserve, self.logits, self.attention = reserve, logits, attention
        # with pipeline stages the batch of a replica runs as pp micro-batches, one per stage
        self.micro_batch = batch / (dp * pp)
        self.prefill = self.graph(query=input, context=input, logits=logits)

    def graph(self, query: Value, context: Value, logits: str) -> Graph:
        """Ops of one micro-batch on one tensor-parallel group."""

        def passed(sequences: Value) -> Graph:
            step = Step(sequences, query, context, logits=logits, attention=self.attention)
            step = self.workload.pass_step(step, self.input, decode=query is not self.input)
            return self.workload.graph(step)

        graph = self.shared_out(passed(self.micro_batch), passed)
        return pipeline_parallel(self.pp, self.tp)(tensor_parallel(self.tp)(graph))

    def shared_out(self, graph: Graph, passed: Callable[[Value], Graph]) -> Graph:
        """Ops of one replica whose experts see the tokens of all `ep` that share them."""
        if np.all(np.equal(self.ep, 1.0)):
            return graph
        nodes = domains(self.system, self.ep * self.tp)
        spread = expert_parallel(self.ep, nodes=nodes, stride=self.tp)
        return spread(merge_batches(graph, passed(self.micro_batch * self.ep)))

    def decode(self, middle: bool = False) -> Graph:
        """Decode pass at the mean context, or at the quadrature nodes along a leading array axis."""
        # pass j = 1 .. output-1 attends to input + j tokens
        steps = np.maximum(self.output - 1.0, 1.0)
        centre = self.input + 0.5 * (steps + 1.0)
        if middle:
            return self.graph(query=1.0, context=centre, logits="last")
        nodes = np.reshape(NODES, (3,) + (1,) * self.ndim)
        return self.graph(query=1.0, context=centre + nodes * steps, logits="last")

    def costs(self, graph: Graph) -> list[OpCost]:
        """Cost of each op."""
        return [self.model(op, self.system, self.precision) for op in graph.ops]

    def mean(self, value: Value) -> Value:
        """Mean over the quadrature axis, where there is one."""
        if np.ndim(value) <= self.ndim:
            return value
        return np.tensordot(WEIGHTS, value, axes=1) if np.shape(value)[0] == 3 else value[0]

    def times(self) -> tuple[Value, Value]:
        """Time of the prefill and mean time of a decode pass, of the whole batch [s]."""
        prefill = self.duration(self.costs(self.prefill))
        decode = self.duration(self.costs(self.decode()))
        # pp micro-batches flow through pp stages: the last one leaves (2 pp - 1)/pp passes after the start
        return prefill * (2.0 * self.pp - 1.0) / self.pp, decode

    def duration(self, costs: Sequence[OpCost]) -> Value:
        """Time of all ops one after the other, averaged over the quadrature axis [s]."""
        return total([self.mean(cost.busy_time) for cost in costs] + [cost.serial_time for cost in costs])

    def memory(self) -> capacity.Footprint:
        """Memory of one device at the end of the generation."""
        context = self.input + self.output
        step = Step(self.batch / self.dp, 1.0, context, logits="last", attention=self.attention)
        step = self.workload.pass_step(step, self.input, decode=True)
        last = tensor_parallel(self.tp)(self.workload.graph(step))
        whole_graph = capacity.footprint(self.prefill, self.precision, state=last, reserve=self.reserve)
        return replace(
            whole_graph,
            weights=whole_graph.weights / self.pp,
            kv_cache=whole_graph.kv_cache / self.pp,
            state=whole_graph.state / self.pp,
        )

    def metrics(self) -> dict[str, Any]:
        """The metrics that every inference Result holds."""
        ttft, tpot = self.times()
        footprint = self.memory()
        latency = ttft + (self.output - 1.0) * tpot
        reason = self.reason(footprint.total, latency)
        data = {
            "ttft": ttft,
            "tpot": tpot,
            "latency": latency,
            "throughput": self.batch * self.output / latency,
        }
        return {
            **_possible(data, reason),
            "memory": footprint.total,
            "weights": footprint.weights,
            "kv_cache": footprint.kv_cache,
            "state": footprint.state,
            "activations": footprint.activations,
            "feasible": np.asarray(reason == 0, dtype=np.float64),
            "reason": reason,
        }

    def reason(self, memory: Value, latency: Value) -> Any:
        """Why a point cannot be, an index into REASONS."""
        split = Parallel(self.tp, self.pp, self.dp, self.ep)
        return reasons(self.workload, self.system, split, self.batch, memory, latency)

    def energy_metrics(self) -> dict[str, Any]:
        """Energy, power and utilisation of the whole request."""
        passes = np.maximum(self.output - 1.0, 0.0)
        devices = self.tp * self.pp * self.dp
        ttft, tpot = self.times()
        latency = ttft + passes * tpot
        busy, flops, moved = 0.0, 0.0, 0.0
        for graph, times, stretch in ((self.prefill, 1.0, ttft), (self.decode(middle=True), passes, tpot)):
            costs = self.costs(graph)
            # every micro-batch runs every stage once, so a device does a pp-th of the ops of pp micro-batches
            busy = busy + times * energy_of(costs, self.system, stretch)
            flops = flops + times * total(c.op.flops for c in costs)
            moved = moved + times * total(c.count * c.demand.matching("memory") for c in costs)
        device = self.system.device
        peak = device.compute["matrix"].peak.get(self.precision.format("activation").compute)
        energy, tokens = busy * devices, self.batch * self.output
        data = {
            "energy": energy,
            "energy_per_token": energy / tokens,
            "power": energy / latency,
            "cost_per_token": np.nan if device.rent is None else devices * device.rent * latency / tokens,
            "mfu": flops / latency / peak if peak is not None else np.nan,
            "mbu": moved / latency / device.main_memory.bandwidth,
        }
        return _possible(data, self.reason(self.memory().total, latency))

    def bounds(self) -> dict[str, Any]:
        """What takes most of the time, per phase and over the whole request, as an index into BOUNDS."""
        passes = np.maximum(self.output - 1.0, 0.0)
        prefill = self.shares(self.costs(self.prefill))
        decode = self.shares(self.costs(self.decode(middle=True)))
        whole_request = [p + passes * d for p, d in zip(prefill, decode, strict=True)]
        return {
            "prefill_bound": _largest(prefill),
            "decode_bound": _largest(decode),
            "bound": _largest(whole_request),
        }

    def shares(self, costs: Sequence[OpCost]) -> list[Value]:
        """Time bound by each of BOUNDS, summed over ops [s]."""
        sums: list[Value] = [0.0] * len(BOUNDS)
        for cost in costs:
            for i, value in enumerate(cost.shares()):
                sums[i] = sums[i] + value
        return sums


def _possible(data: Mapping[str, Value], reason: Any) -> dict[str, Any]:
    """The metrics, nan at points that cannot be."""
    if not np.any(reason > 0):
        return dict(data)
    hole = np.where(reason > 0, np.nan, 1.0)
    return {name: value * hole for name, value in data.items()}


def _largest(shares: Sequence[Value]) -> Any:
    return np.argmax(np.stack(np.broadcast_arrays(*shares)), axis=0)


def _metrics(**point: Any) -> Mapping[str, Any]:
    return Passes(**point).metrics()


def _energy(**point: Any) -> Mapping[str, Any]:
    return Passes(**point).energy_metrics()


def _bounds(**point: Any) -> Mapping[str, Any]:
    return Passes(**point).bounds()


def _phases(**point: Any) -> Mapping[str, Sequence[OpCost]]:
    passes = Passes(**point)
    return {"prefill": passes.costs(passes.prefill), "decode": passes.costs(passes.decode(middle=True))}


_BOUND_METRICS = ("bound", "prefill_bound", "decode_bound")

INFERENCE = Scenario(
    name="inference",
    metrics=_metrics,
    phases=_phases,
    reasons=REASONS,
    blame=("tp", "pp", "dp", "ep", "batch"),
    more={
        **dict.fromkeys(("energy", "energy_per_token", "power", "cost_per_token", "mfu", "mbu"), _energy),
        **dict.fromkeys(_BOUND_METRICS, _bounds),
    },
    labels=dict.fromkeys(_BOUND_METRICS, BOUNDS),
)
