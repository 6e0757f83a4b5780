"""Training step of a sequence model under tensor, pipeline and data parallelism.

    step = (m + (pp - 1)/v) (t_forward + t_backward) s + exposed gradient all-reduce + optimiser

m micro-batches per pipeline, v model chunks per stage (interleaving) [1], s the share of the layers in the
largest stage: 1/pp where pp v divides the layers.  The backward pass has ops of its own: gradients of inputs
and weights, each as large as the forward product; recomputation repeats the forward.
A model with adapters trains these alone: other weights have no gradient and no optimiser state, and may be
stored in a narrower format [4].

References
[1] Narayanan et al., Efficient large-scale language model training, SC 2021, arXiv:2104.04473.
[2] Korthikanti et al., Reducing activation recomputation, arXiv:2205.05198 (activation memory, selective).
[3] Rajbhandari et al., ZeRO, arXiv:1910.02054 (optimiser, gradient and weight sharding).
[4] Dettmers et al., QLoRA, arXiv:2305.14314.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np

from perfmodel.algebra import Value, ceil_div, maximum, total
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
from perfmodel.ops.core import Op, Tensor, Work
from perfmodel.result import Result
from perfmodel.scenario.feasible import divides, layers_of
from perfmodel.scenario.solve import TOO_LARGE, Scenario
from perfmodel.workload.compression import trainable
from perfmodel.workload.graph import Graph
from perfmodel.workload.learning import (
    DROPOUT,
    LOGIT_BYTES,
    LOSS,
    backward,
    fixed,
    with_dropout,
    with_loss,
)
from perfmodel.workload.partition import sequence_parallel as split_tokens
from perfmodel.workload.step import Step
from perfmodel.workload.transforms import tensor_parallel
from perfmodel.workload.workload import Workload
from perfmodel.workload.workload import workload as workload_of

RECOMPUTE = ("none", "selective", "full")

#: core of eager attention, which selective recomputation runs again as a whole [2]
CORE = ("attention_scores", "attention_softmax", f"attention_softmax_{DROPOUT}", "attention_values")

#: bytes per parameter of the optimiser: fp32 copy, first and second moment of Adam
OPTIMISER_BYTES = 12.0

REASONS = (
    "",
    TOO_LARGE,
    "tp must divide the heads, widths and vocabulary that it splits",
    "tp x pp x dp must equal the devices used, at most those of the system",
    "dp x micro_batch must divide the batch",
    "pp x interleave must not exceed the layers of the model",
)

#: ops that keep nothing for the backward pass: messages aside, indices, and what the next op keeps [2]
UNKEPT = ("embedding", "softmax")


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
    loss: str = "fused",
    dropout: bool = False,
    precision: str | Mapping[str, str] | Precision = "bf16",
    fidelity: str = "roofline",
    progress: Callable[[float], None] | None = None,
) -> Result:
    """One optimiser step over `batch` sequences of `sequence` tokens.

    workload           with ``transform.adapt``: only the adapters learn
    batch, sequence    global batch [sequences], tokens per sequence
    tp, pp, dp         tensor-, pipeline- and data-parallel sizes; their product are the devices used
    micro_batch        sequences that one pipeline takes at a time
    interleave         model chunks per pipeline stage
    recompute          activations kept: all (``none``), all but the attention scores (``selective``), or the
                       input of each layer only (``full``, the forward pass runs twice)
    sequence_parallel  norms and residuals are split over the tensor-parallel group too
    attention          ``fused`` never stores the scores, ``eager`` passes them through memory and keeps them
    loss               ``fused`` keeps the probabilities of all positions in fp32; ``eager`` holds the logits
                       and two gradients too, as code of a framework does, ``eager16`` all in 16 bits
    dropout            of attention probabilities and before residual additions, as GPT is trained
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
    for name, flag in (("sequence_parallel", sequence_parallel), ("dropout", dropout)):
        if not isinstance(flag, bool):
            raise ArgumentError(name, flag, "True or False")
    if zero not in (0, 1, 2, 3) or isinstance(zero, bool):
        raise ArgumentError("zero", zero, "0, 1, 2 or 3")
    fixed = {
        "recompute": choice("recompute", recompute, RECOMPUTE),
        "sequence_parallel": sequence_parallel,
        "dropout": dropout,
        "zero": zero,
        "precision": precision_of(precision),
        "attention": choice("attention", attention, ("fused", "eager")),
        "loss": choice("loss", loss, tuple(LOGIT_BYTES)),
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
        loss: str,
        dropout: bool,
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
        self.logit_bytes = LOGIT_BYTES[loss]
        learns = with_loss(with_dropout(self.whole) if dropout else self.whole, loss)
        #: adapters beside weights that stay as they are
        self.frozen = any(t.role == "adapter" for op in self.whole.ops for t in op.tensors)
        self.graph = tensor_parallel(tp)(learns)
        if sequence_parallel:
            self.graph = split_tokens(tp)(self.graph)

    def cost(self, op: Op) -> OpCost:
        """Cost of one op of a micro-batch."""
        return self.model(op, self.system, self.precision)

    @cached_property
    def forward(self) -> list[OpCost]:
        """Cost of each op of the forward pass of one micro-batch."""
        return [self.cost(op) for op in self.graph.ops]

    @cached_property
    def backward(self) -> list[OpCost]:
        """Cost of each op of the backward pass of one micro-batch, what is computed again first."""
        again = [c for c in self.forward if self.recompute == "full" or (
            self.recompute == "selective" and c.op.name.endswith(CORE))]
        ops = (made for op in reversed(self.graph.ops) for made in backward(op, frozen=self.frozen))
        return [*again, *(self.cost(op) for op in ops)]

    @property
    def micro_batches(self) -> Value:
        """Micro-batches of one pipeline in a step."""
        return self.batch / (self.dp * self.micro_batch)

    def gradient_exchange(self) -> Value:
        """Gradient all-reduce of one device over the slowest link of the system [s]."""
        links = [*self.system.links, *self.system.device.links]
        if not links and np.all(np.equal(self.dp, 1.0)):
            return 0.0
        _, link = link_of(self.system, (links[-1:] or [""])[0])
        size = self.parameters * self.precision.bytes("communication")
        return collective_time("all_reduce", size, self.dp, link.bandwidth, link.latency, "ring")

    @cached_property
    def share(self) -> Value:
        """Share of the layers in the largest stage, whose pace is that of all."""
        layers = layers_of(self.workload)
        if np.isinf(layers):  # a model that does not say how many it has is cut evenly
            return 1.0 / self.pp
        return ceil_div(layers, self.pp * self.interleave) * self.interleave / layers

    @property
    def parameters(self) -> Value:
        """Weights of one device of the largest stage that learn, before any sharding over dp."""
        learn = trainable(self.graph) if self.frozen else self.graph.elements("weight")
        return learn * self.share

    def step_time(self) -> Value:
        """Time of one optimiser step [s]."""
        forward, backward = (total(c.time for c in costs) for costs in (self.forward, self.backward))
        slots = self.micro_batches + (self.pp - 1.0) / self.interleave
        compute = slots * (forward + backward) * self.share
        hidden = 0.0 * backward if self.zero >= 2 else backward * self.share  # behind the last backward pass
        exposed = maximum(self.gradient_exchange() - hidden, 0.0)
        return compute + exposed + self.cost(self.update()).time

    def update(self) -> Op:
        """Adam over the parameters of one device: fp32 gradient, copy and moments; the gradient is also read
        for its norm and cleared."""
        share = self.dp if self.zero >= 1 else 1.0
        state = ("copy", "mean", "variance")
        tensors = (
            *(Tensor(name, ("i",), format="fp32") for name in ("norm", "gradient", *state)),
            *(Tensor(f"new_{name}", ("i",), format="fp32", output=True) for name in ("gradient", *state)),
            Tensor("weight", ("i",), output=True),
        )
        count = self.parameters / share
        return Op("elementwise", {"i": count, "p": 0.0}, tensors, (Work("vector", 12.0 * count),), "update")

    def memory(self) -> tuple[Value, Value]:
        """Weights with gradients and optimiser state, and activations, of the first stage [B]."""
        stored = self.graph.bytes("weight", self.precision) * self.share
        weights = stored / (self.dp if self.zero >= 3 else 1.0) + self.parameters * (
            4.0 / (self.dp if self.zero >= 2 else 1.0)
            + OPTIMISER_BYTES / (self.dp if self.zero >= 1 else 1.0)
        )
        # the first stage holds pp micro-batches of its layers; interleaving adds a little [2]
        chunks = 1.0 + (self.pp - 1.0) / (self.pp * self.interleave) * (self.interleave > 1.0)
        return weights, chunks * self.pp * self.share * total(self.kept(op) for op in self.graph.ops)

    @cached_property
    def layer_starts(self) -> frozenset[str]:
        """Ops that read the input of a layer: its first norm, or the first of a run of ops of one name."""
        ops = [op for op in self.graph.ops if op.exchange is None and op.family not in UNKEPT]
        norms = frozenset(op.name for op in ops if op.name.endswith("mixer_norm"))
        return norms or frozenset(
            next(run).name for _, run in groupby(ops, key=lambda op: op.name.rpartition(".")[0])
        )

    def kept(self, op: Op) -> Value:
        """Bytes that the backward pass of one op needs from the forward pass: what the op read [B] [2]."""
        size = self.precision.bytes("activation")
        if op.exchange is not None or op.family in UNKEPT:
            return 0.0
        if op.name.endswith(LOSS):  # with a pipeline another stage has them
            return op.elements(output=True) * op.count * self.logit_bytes * np.equal(self.pp, 1.0)
        if self.recompute == "full" and op.name not in self.layer_starts:
            return 0.0
        if self.frozen and fixed(op):  # what it read is needed for the gradient of its weights only
            return 0.0
        if op.family == "norm":  # reads two streams, but keeps only their sum
            return op.count * op.loops["r"] * op.loops["d"] * size
        if op.name.endswith(DROPOUT):
            core = op.name.endswith(CORE)
            kept = 0.0 if core and self.recompute == "selective" else 1.0  # a byte of mask
            return kept * op.count * op.loops["i"] * (1.0 + (size if core else 0.0))
        read: Value = 0.0
        for tensor in op.tensors:
            if tensor.output or tensor.kind not in ("activation", "kv"):
                continue
            if self.recompute == "selective" and tensor.name == "P":
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
            self.pp * self.interleave > layers_of(self.workload),
        ]
        reason: Any = np.zeros((), dtype=np.int64)
        for number, failed in reversed(list(enumerate(checks, start=1))):
            reason = np.where(failed, number, reason)
        if np.any(reason > 0):
            seconds = np.where(reason > 0, np.nan, seconds)
        products = 3.0 * self.whole.flops
        if self.frozen:
            products = products - total(op.flops for op in self.whole.ops if fixed(op))
        flops = products * self.batch / self.micro_batch
        key = self.precision.format("activation").compute
        peak = self.system.device.compute["matrix"].peak.get(key, np.nan)
        spent = [*self.forward, *self.backward]
        # dynamic power while the passes run, idle power over the whole step
        busy, passes = total(c.time for c in spent), self.micro_batches * self.dp * self.tp
        energy = energy_of(spent, self.system, busy) * passes
        energy = energy + energy_of((), self.system, seconds * devices - busy * passes)
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
    step = TrainingStep(**point)
    return {"forward": step.forward, "backward": step.backward}


TRAINING = Scenario("training", _metrics, _phases, reasons=REASONS, blame=("tp", "pp", "dp", "batch"))
