"""Training step of a sequence model under tensor, pipeline and data parallelism.

    step = (m + (pp - 1)/v) (t_forward + t_backward)/pp + exposed gradient all-reduce + optimiser

m micro-batches per pipeline, v model chunks per stage (interleaving) [1].  The backward pass computes the
gradients of inputs and weights, each as large as the forward product; recomputation repeats the forward.

References
[1] Narayanan et al., Efficient large-scale language model training, SC 2021, arXiv:2104.04473.
[2] Korthikanti et al., Reducing activation recomputation, arXiv:2205.05198 (activation memory, selective).
[3] Rajbhandari et al., ZeRO, arXiv:1910.02054 (optimiser, gradient and weight sharding).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from perfmodel.algebra import Value, maximum, total
from perfmodel.arguments import choice, whole
from perfmodel.engine.collective import collective_time
from perfmodel.engine.fidelity import CostModel
from perfmodel.engine.power import energy_of
from perfmodel.engine.rates import link_of
from perfmodel.engine.roofline import OpCost
from perfmodel.errors import ArgumentError
from perfmodel.formats import Precision
from perfmodel.formats import precision as precision_of
from perfmodel.hardware.catalog import system as system_of
from perfmodel.hardware.device import Device, System
from perfmodel.ops.core import Op
from perfmodel.result import Result
from perfmodel.scenario.feasible import divides
from perfmodel.scenario.solve import TOO_LARGE, Scenario
from perfmodel.workload.graph import Graph
from perfmodel.workload.step import Step
from perfmodel.workload.transforms import tensor_parallel
from perfmodel.workload.workload import Workload
from perfmodel.workload.workload import workload as workload_of

RECOMPUTE = ("none", "selective", "full")

#: ops that make the attention scores of the eager path; selective recomputation repeats them
SCORES = ("attention_scores", "softmax")

#: bytes per parameter of the optimiser: fp32 copy, first and second moment of Adam
OPTIMISER_BYTES = 12.0

REASONS = (
    "",
    TOO_LARGE,
    "tp must divide the heads, widths and vocabulary that it splits",
    "tp x pp x dp must equal the devices used, at most those of the system",
    "dp x micro_batch must divide the batch",
)


def training(
    workload: str | Workload,
    system: str | Device | System,
    *,
    batch: Any,
    sequence: Any,
    tp: Any = 1,
    pp: Any = 1,
    dp: Any = 1,
    micro_batch: Any = 1,
    interleave: Any = 1,
    recompute: str = "none",
    sequence_parallel: bool = False,
    zero: int = 0,
    attention: str = "fused",
    precision: str | Mapping[str, str] | Precision = "bf16",
    fidelity: str = "roofline",
    progress: Callable[[float], None] | None = None,
) -> Result:
    """One optimiser step over `batch` sequences of `sequence` tokens.

    batch, sequence    global batch [sequences], tokens per sequence
    tp, pp, dp         tensor-, pipeline- and data-parallel sizes; their product are the devices used
    micro_batch        sequences that one pipeline takes at a time
    interleave         model chunks per pipeline stage
    recompute          activations kept: all (``none``), all but the attention scores (``selective``), or the
                       input of each layer only (``full``, the forward pass runs twice)
    sequence_parallel  norms and residuals are split over the tensor-parallel group too
    attention          ``fused`` never stores the scores, ``eager`` passes them through memory and keeps them
    zero               1: optimiser state, 2: gradients too, 3: weights too are sharded over dp

    Metrics: step_time [s], throughput [token/s], mfu (causal model FLOP, recomputation not counted), memory,
    weights, activations [B per device], energy [J per step, all devices], power [W], flops [per step].
    Any number may be a list: it becomes a named axis.
    Raises InfeasibleError for one point that does not fit.
    """
    inputs = {
        "batch": whole("batch", batch),
        "sequence": whole("sequence", sequence),
        "tp": whole("tp", tp),
        "pp": whole("pp", pp),
        "dp": whole("dp", dp),
        "micro_batch": whole("micro_batch", micro_batch),
        "interleave": whole("interleave", interleave),
        "system": system_of(system),
        "workload": workload_of(workload),
    }
    if not isinstance(sequence_parallel, bool):
        raise ArgumentError("sequence_parallel", sequence_parallel, "True or False")
    if zero not in (0, 1, 2, 3) or isinstance(zero, bool):
        raise ArgumentError("zero", zero, "0, 1, 2 or 3")
    fixed = {
        "recompute": choice("recompute", recompute, RECOMPUTE),
        "sequence_parallel": bool(sequence_parallel),
        "zero": zero,
        "precision": precision_of(precision),
        "attention": choice("attention", attention, ("fused", "eager")),
    }
    return TRAINING.solve(inputs, fixed, fidelity, progress=progress)


class TrainingStep:
    """One step over a mesh; all values are floats or open-mesh arrays."""

    def __init__(
        self,
        *,
        workload: Workload,
        system: System,
        batch: Value,
        sequence: Value,
        tp: Value,
        pp: Value,
        dp: Value,
        micro_batch: Value,
        interleave: Value,
        recompute: str,
        sequence_parallel: bool,
        zero: int,
        attention: str,
        precision: Precision,
        model: CostModel,
        ndim: int = 0,
    ) -> None:
        self.workload, self.system, self.precision, self.model = workload, system, precision, model
        self.batch, self.sequence, self.micro_batch = batch, sequence, micro_batch
        self.tp, self.pp, self.dp, self.interleave = tp, pp, dp, interleave
        self.recompute, self.sequence_parallel, self.zero = recompute, sequence_parallel, zero
        self.whole: Graph = workload.graph(
            Step(micro_batch, sequence, sequence, logits="all", attention=attention)
        )
        self.graph = tensor_parallel(tp)(self.whole)

    def costs(self) -> list[OpCost]:
        """Forward cost of each op for one micro-batch."""
        return [self.model(op, self.system, self.precision) for op in self.graph.ops]

    def forward_backward(self) -> tuple[Value, Value]:
        """Forward and backward time of one micro-batch through all layers [s]."""
        costs = self.costs()
        forward = total(c.time for c in costs)
        once = total(c.time for c in costs if c.op.exchange is not None)
        # two products per forward product; messages of the backward pass equal those of the forward
        backward = 2.0 * (forward - once) + once
        if self.recompute == "full":
            backward = backward + forward
        elif self.recompute == "selective":
            backward = backward + total(c.time for c in costs if c.op.family in SCORES)
        return forward, backward

    @property
    def micro_batches(self) -> Value:
        """Micro-batches of one pipeline in a step."""
        return self.batch / (self.dp * self.micro_batch)

    def gradient_exchange(self) -> Value:
        """Gradient all-reduce of one device over the slowest link of the system [s]."""
        name = [*self.system.links, *self.system.device.links][-1:] or [""]
        _, link = link_of(self.system, name[0])
        size = self.parameters * self.precision.bytes("communication")
        return collective_time("all_reduce", size, self.dp, link.bandwidth, link.latency, "ring")

    @property
    def parameters(self) -> Value:
        """Weights of one device, before any sharding over dp."""
        return self.graph.elements("weight") / self.pp

    def step_time(self) -> Value:
        """Time of one optimiser step [s]."""
        forward, backward = self.forward_backward()
        slots = self.micro_batches + (self.pp - 1.0) / self.interleave
        compute = slots * (forward + backward) / self.pp
        hidden = 0.0 * backward if self.zero >= 2 else backward / self.pp  # behind the last backward pass
        exposed = maximum(self.gradient_exchange() - hidden, 0.0)
        share = self.dp if self.zero >= 1 else 1.0
        touched = self.parameters / share * (2.0 * OPTIMISER_BYTES + 3.0 * self.precision.bytes("weight"))
        return compute + exposed + touched / self.system.device.main_memory.bandwidth

    def memory(self) -> tuple[Value, Value]:
        """Weights with gradients and optimiser state, and activations, of the first stage [B]."""
        p, b = self.parameters, self.precision.bytes("weight")
        weights = p * (
            b / (self.dp if self.zero >= 3 else 1.0)
            + 4.0 / (self.dp if self.zero >= 2 else 1.0)
            + OPTIMISER_BYTES / (self.dp if self.zero >= 1 else 1.0)
        )
        # the first stage holds pp micro-batches of a pp-th of the layers; interleaving adds a little [2]
        chunks = 1.0 + (self.pp - 1.0) / (self.pp * self.interleave) * (self.interleave > 1.0)
        return weights, chunks * total(self.kept(op) for op in self.graph.ops)

    def kept(self, op: Op) -> Value:
        """Bytes that the backward pass of one op needs from the forward pass: what the op read [B] [2]."""
        size = self.precision.bytes("activation")
        if op.exchange is not None or op.family == "embedding":
            return 0.0
        if self.recompute == "full" and not op.name.endswith("mixer_norm"):
            return 0.0
        if op.family == "norm":  # reads two streams, but keeps only their sum
            share = self.tp if self.sequence_parallel else 1.0
            return op.count * op.loops["r"] * op.loops["d"] * size / share
        read: Value = 0.0
        for tensor in op.tensors:
            if tensor.output or tensor.kind not in ("activation", "kv"):
                continue
            if self.recompute == "selective" and (op.family == "softmax" or tensor.name == "P"):
                continue  # made again from queries and keys
            split = op.split.get("tp")
            divided = split is not None and split.loop in tensor.axes
            # sequence parallelism keeps a part of what the group reads whole
            share = self.tp if self.sequence_parallel and not divided else 1.0
            read = read + tensor.footprint(op.loops) / share
        return op.count * read * size

    def metrics(self) -> dict[str, Any]:
        """Metrics of the step."""
        seconds = self.step_time()
        weights, activations = self.memory()
        memory = weights + activations
        devices = self.tp * self.pp * self.dp
        limit = self.system.device.main_memory.capacity
        checks = [
            memory > limit if limit is not None else np.False_,
            np.logical_not(divides(self.workload, self.tp)),
            devices > self.system.count,
            np.mod(self.batch, self.dp * self.micro_batch) != 0,
        ]
        reason: Any = np.zeros((), dtype=np.int64)
        for number, failed in reversed(list(enumerate(checks, start=1))):
            reason = np.where(failed, number, reason)
        if np.any(reason > 0):
            seconds = np.where(reason > 0, np.nan, seconds)
        flops = 3.0 * self.whole.flops * self.batch / self.micro_batch
        key = self.precision.format("activation").compute
        peak = self.system.device.compute["matrix"].peak.get(key, np.nan)
        forward = total(c.time for c in self.costs())
        passes = 4.0 if self.recompute == "full" else 3.0
        # idle power over the whole step, dynamic power while the passes run
        energy = (
            energy_of(self.costs(), self.system, forward) * passes * self.micro_batches * self.dp * self.tp
        )
        return {
            "step_time": seconds,
            "throughput": self.batch * self.sequence / seconds,
            "mfu": flops / seconds / (devices * peak),
            "flops": flops,
            "memory": memory,
            "weights": weights,
            "activations": activations,
            "energy": energy,
            "power": energy / seconds,
            "feasible": np.asarray(reason == 0, dtype=np.float64),
            "reason": reason,
        }


def _metrics(**point: Any) -> Mapping[str, Any]:
    return TrainingStep(**point).metrics()


def _phases(**point: Any) -> Mapping[str, Sequence[OpCost]]:
    return {"forward": TrainingStep(**point).costs()}


TRAINING = Scenario("training", _metrics, _phases, reasons=REASONS, blame=("tp", "pp", "dp", "batch"))
