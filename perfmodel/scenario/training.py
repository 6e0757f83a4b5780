"""Training step of a sequence model under tensor, context, pipeline and data parallelism.

    step = (m + (pp - 1)/v) max((t_forward + t_backward) s, exchanges behind it)
           + exposed gradient all-reduce + optimiser

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
[5] Lepikhin et al., GShard, arXiv:2006.16668 (expert parallelism).
[6] DeepSeek-AI, DeepSeek-V3, arXiv:2412.19437, section 3.2.1 (DualPipe).
[7] Liu et al., Ring Attention, arXiv:2310.01889; Llama Team, arXiv:2407.21783, section 3.3.2 (context
    parallelism: keys and values are gathered, tokens dealt so that causal work is even).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from perfmodel.algebra import Value, ceil_div, maximum, minimum, total
from perfmodel.arguments import choice, whole
from perfmodel.engine.fidelity import CostModel
from perfmodel.engine.power import energy_of
from perfmodel.engine.rates import domains
from perfmodel.engine.roofline import OpCost
from perfmodel.errors import ArgumentError
from perfmodel.formats import Precision
from perfmodel.formats import precision as precision_of
from perfmodel.hardware.catalog import system as system_of
from perfmodel.hardware.device import Device, System
from perfmodel.ops.core import Exchange, Op, Tensor, Work
from perfmodel.result import Result
from perfmodel.scenario.activations import CORE, Kept
from perfmodel.scenario.feasible import divides, experts_of, layers_of, unmapped
from perfmodel.scenario.solve import NO_MAPPING, TOO_LARGE, Scenario, first_reason
from perfmodel.workload.compression import trainable
from perfmodel.workload.graph import Graph
from perfmodel.workload.learning import (
    LOGIT_BYTES,
    backward,
    fixed,
    with_dropout,
    with_loss,
)
from perfmodel.workload.partition import context_parallel, expert_parallel, merge_batches
from perfmodel.workload.partition import sequence_parallel as split_tokens
from perfmodel.workload.step import Step
from perfmodel.workload.transforms import tensor_parallel
from perfmodel.workload.workload import Workload
from perfmodel.workload.workload import workload as workload_of

RECOMPUTE = ("none", "selective", "full")

#: bytes per parameter of the optimiser: fp32 copy, first and second moment of Adam
OPTIMISER_BYTES = 12.0

REASONS = (
    "",
    TOO_LARGE,
    "tp must divide the heads, widths and vocabulary that it splits",
    "tp x cp x pp x dp must equal the devices used, at most those of the system",
    "dp x micro_batch must divide the batch",
    "pp x interleave must not exceed the layers of the model, embedding and head counted",
    "ep must divide dp and the experts of a layer",
    "2 cp must divide the sequence",
    NO_MAPPING,
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
    ep: Any = 1,
    cp: Any = 1,
    micro_batch: Any = 1,
    interleave: Any = 1,
    recompute: str = "none",
    sequence_parallel: bool = False,
    zero: int = 0,
    attention: str = "fused",
    loss: str = "fused",
    dropout: bool = False,
    overlap: bool = False,
    precision: str | Mapping[str, str] | Precision = "bf16",
    fidelity: str = "roofline",
    progress: Callable[[float], None] | None = None,
) -> Result:
    """One optimiser step over `batch` sequences of `sequence` tokens.

    workload           with ``transform.adapt``: only the adapters learn
    batch, sequence    global batch [sequences], tokens per sequence
    tp, cp, pp, dp     tensor-, context-, pipeline- and data-parallel sizes: their product are the devices
    ep                 data-parallel devices that share out the experts of a layer between them [5]
    cp                 devices that share the tokens of a sequence; keys and values go round [7]
    micro_batch        sequences that one pipeline takes at a time
    interleave         model chunks per pipeline stage
    recompute          activations kept: all (``none``), all but the attention scores (``selective``), or the
                       input of each layer only (``full``, the forward pass runs twice)
    sequence_parallel  norms and residuals are split over the tensor-parallel group too
    attention          ``fused`` never stores the scores, ``eager`` passes them through memory and keeps them
    loss               ``fused`` keeps the probabilities of all positions in fp32; ``eager`` holds the logits
                       and two gradients too, as code of a framework does, ``eager16`` all in 16 bits
    dropout            of attention probabilities and before residual additions, as GPT is trained
    overlap            exchanges of experts and of keys and values run behind products [6, 7]
    zero               1: optimiser state, 2: gradients too, 3: weights too are sharded over dp cp

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
        "ep": whole("ep", ep),
        "cp": whole("cp", cp),
        "micro_batch": whole("micro_batch", micro_batch),
        "interleave": whole("interleave", interleave),
        "system": system_of(system),
        "workload": workload_of(workload),
    }
    flags = {"sequence_parallel": sequence_parallel, "dropout": dropout, "overlap": overlap}
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise ArgumentError(name, flag, "True or False")
    if not isinstance(zero, (int, float)) or zero not in (0, 1, 2, 3) or isinstance(zero, bool):
        raise ArgumentError("zero", zero, "0, 1, 2 or 3")
    fixed = {
        "recompute": choice("recompute", recompute, RECOMPUTE),
        **flags,
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
        ep: Value,
        cp: Value,
        micro_batch: Value,
        interleave: Value,
        recompute: str,
        sequence_parallel: bool,
        zero: int,
        attention: str,
        loss: str,
        dropout: bool,
        overlap: bool,
        precision: Precision,
        model: CostModel,
        ndim: int = 0,
    ) -> None:
        self.workload, self.system, self.precision, self.model = workload, system, precision, model
        self.batch, self.sequence, self.micro_batch = batch, sequence, micro_batch
        self.tp, self.pp, self.dp, self.ep, self.cp, self.interleave = tp, pp, dp, ep, cp, interleave
        self.recompute, self.sequence_parallel, self.zero = recompute, sequence_parallel, zero
        self.overlap = overlap
        self.logit_bytes = LOGIT_BYTES[loss]

        def passed(sequences: Value, tokens: Value = sequence / cp) -> Graph:
            return workload.graph(Step(sequences, tokens, sequence, logits="all", attention=attention))

        def taught(graph: Graph) -> Graph:
            return with_loss(with_dropout(graph) if dropout else graph, loss)

        alone = np.all(np.equal(cp, 1.0))
        self.whole = passed(micro_batch, sequence)
        learns = taught(self.whole if alone else passed(micro_batch))
        if np.any(np.not_equal(ep, 1.0)):  # experts see the tokens of all that share them
            spread = expert_parallel(ep, nodes=domains(system, ep * tp * cp), stride=tp * cp)
            learns = spread(merge_batches(learns, taught(passed(micro_batch * ep))))
        #: adapters beside weights that stay as they are
        self.frozen = any(t.role == "adapter" for op in self.whole.ops for t in op.tensors)
        self.graph = tensor_parallel(tp)(learns)
        if not alone:
            self.graph = context_parallel(cp, stride=tp)(self.graph)
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

    @cached_property
    def copies(self) -> list[tuple[Value, Value, Value]]:
        """Weights of one device of the largest stage: those that learn [elements], all [B], and how many
        devices hold the same; fewer do where experts are shared out."""
        experts = [op for op in self.graph.ops if "ep" in op.split]
        others = [op for op in self.graph.ops if "ep" not in op.split]
        found = []
        replicas = self.dp * self.cp
        for ops, devices in ((others, replicas), (experts, replicas / self.ep)):
            part = self.graph.with_ops(ops)
            learn = trainable(part) if self.frozen else part.elements("weight")
            found.append((learn * self.share, part.bytes("weight", self.precision) * self.share, devices))
        return found if experts else found[:1]

    def between_copies(self, pattern: str, elements: Sequence[Value]) -> Value:
        """Time of a collective of so many elements among the devices that hold the same weights [s]."""
        if np.all(np.equal(self.dp * self.cp, 1.0)):
            return 0.0
        seconds: Value = 0.0
        for size, (_, _, devices) in zip(elements, self.copies, strict=True):
            exchange = Exchange(pattern, size, devices, stride=self.tp * self.dp * self.cp / devices)
            seconds = seconds + self.cost(Op("collective", {}, (), (), pattern, exchange=exchange)).time
        return seconds

    def gradient_exchange(self) -> Value:
        """All-reduce of the gradients of one device [s]."""
        return self.between_copies("all_reduce", [learn for learn, _, _ in self.copies])

    def gathering(self) -> Value:
        """Time in which a micro-batch collects its weights, once each way, where they are sharded [s] [3]."""
        if self.zero < 3:
            return 0.0
        element = self.precision.bytes("communication")
        return 2.0 * self.between_copies("all_gather", [stored / element for _, stored, _ in self.copies])

    def messages(self) -> Value:
        """Time in which a micro-batch passes from chunk to chunk, forward and back [s]."""
        if np.all(np.equal(self.pp, 1.0)):
            return 0.0
        state, apart = self.whole.ops[0].elements(output=True) / self.cp, self.tp * self.cp * self.dp
        exchange = Exchange("point_to_point", state, minimum(self.pp, 2.0), stride=apart)
        hop = Op("collective", {}, (), (), "stage_to_stage", exchange=exchange)
        return 2.0 * self.interleave * self.cost(hop).time

    @cached_property
    def share(self) -> Value:
        """Share of the layers in the largest stage, whose pace is that of all."""
        layers = layers_of(self.workload)
        if np.isinf(layers):  # a model that does not say how many it has is cut evenly
            return 1.0 / self.pp
        return ceil_div(layers, self.pp * self.interleave) * self.interleave / layers

    def step_time(self) -> Value:
        """Time of one optimiser step [s]."""
        forward, backward = (total(c.time for c in costs) for costs in (self.forward, self.backward))
        slots = self.micro_batches + (self.pp - 1.0) / self.interleave
        behind: Value = 0.0
        if self.overlap:
            passes = (*self.forward, *self.backward)
            sent = total(c.time for c in passes if c.op.exchange and (
                c.op.exchange.pattern == "all_to_all" or c.op.exchange.kind == "kv"))
            behind = minimum(sent, forward + backward - sent)
        products = (forward + backward - behind) * self.share
        # weights are collected while the layer before computes, messages travel behind another micro-batch
        compute = slots * maximum(products, self.gathering(), self.messages())
        hidden = 0.0 * backward if self.zero >= 2 else backward * self.share  # behind the last backward pass
        exposed = maximum(self.gradient_exchange() - hidden, 0.0)
        return compute + exposed + self.cost(self.update()).time

    def update(self) -> Op:
        """Adam over the parameters of one device: fp32 gradient, copy and moments; the gradient is also read
        for its norm and cleared."""
        state = ("copy", "mean", "variance")
        tensors = (
            *(Tensor(name, ("i",), format="fp32") for name in ("norm", "gradient", *state)),
            *(Tensor(f"new_{name}", ("i",), format="fp32", output=True) for name in ("gradient", *state)),
            Tensor("weight", ("i",), output=True),
        )
        count = total(learn / (devices if self.zero >= 1 else 1.0) for learn, _, devices in self.copies)
        return Op("elementwise", {"i": count, "p": 0.0}, tensors, (Work("vector", 12.0 * count),), "update")

    def memory(self) -> tuple[Value, Value]:
        """Weights with gradients and optimiser state, and activations, of the first stage [B]."""
        weights: Value = 0.0
        for learn, stored, devices in self.copies:
            weights = weights + stored / (devices if self.zero >= 3 else 1.0) + learn * (
                4.0 / (devices if self.zero >= 2 else 1.0)
                + OPTIMISER_BYTES / (devices if self.zero >= 1 else 1.0)
            )
        # the first stage holds pp micro-batches of its layers; interleaving adds a little [2]
        chunks = 1.0 + (self.pp - 1.0) / (self.pp * self.interleave) * (self.interleave > 1.0)
        sharers = self.tp if self.sequence_parallel else 1.0
        logits = self.logit_bytes * np.equal(self.pp, 1.0)  # else a later stage has them
        kept = Kept(self.graph, self.precision, self.recompute, sharers, self.cp, self.frozen, logits)
        return weights, chunks * self.pp * self.share * kept.total

    def metrics(self) -> dict[str, Any]:
        """Metrics of the step."""
        seconds = self.step_time()
        weights, activations = self.memory()
        memory = weights + activations
        devices = self.tp * self.cp * self.pp * self.dp
        limit = self.system.device.main_memory.capacity
        checks = [
            memory > limit if limit is not None else np.False_,
            np.logical_not(divides(self.workload, self.tp)),
            devices > self.system.count,
            np.mod(self.batch, self.dp * self.micro_batch) != 0,
            self.pp * self.interleave > layers_of(self.workload) + 2.0,
            (np.mod(self.dp, self.ep) != 0) | (np.mod(experts_of(self.workload), self.ep) != 0),
            (np.mod(self.sequence, 2.0 * self.cp) != 0) & (np.asarray(self.cp) > 1),
            unmapped(seconds),
        ]
        reason = first_reason(checks)
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
        busy, passes = total(c.time for c in spent), self.micro_batches * self.dp * self.cp * self.tp
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


TRAINING = Scenario("training", _metrics, _phases, reasons=REASONS,
                    blame=("tp", "cp", "pp", "dp", "ep", "batch"))
