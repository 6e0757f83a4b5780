"""What a training step keeps of its forward pass for the backward pass.

Reference
[1] Korthikanti et al., Reducing activation recomputation, arXiv:2205.05198.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from perfmodel.algebra import Value, total
from perfmodel.formats import Precision
from perfmodel.ops.core import Op
from perfmodel.workload.graph import Graph
from perfmodel.workload.learning import DROPOUT, LOSS, fixed

#: core of eager attention, which selective recomputation runs again as a whole [1]
CORE = ("attention_scores", "attention_softmax", f"attention_softmax_{DROPOUT}", "attention_values")

#: ops that keep nothing for the backward pass: messages aside, indices, and what the next op keeps [1]
UNKEPT = ("embedding", "softmax")


@dataclass(frozen=True)
class Kept:
    """Activations of one pass of `graph` that its backward pass needs [1].

    recompute    ``none``, ``selective`` (all but the core of attention) or ``full`` (inputs of layers only)
    sharers      devices that each keep a part of what all of them read whole (sequence parallelism)
    gathered     devices that each keep a part of the keys and values (context parallelism)
    frozen       adapters alone learn: what fixed products read is not needed
    logit_bytes  bytes kept for each logit
    """

    graph: Graph
    precision: Precision
    recompute: str
    sharers: Value
    gathered: Value
    frozen: bool
    logit_bytes: Value

    @property
    def total(self) -> Value:
        """Bytes of the whole pass [B]."""
        return total(self.of(op) for op in self.graph.ops)

    @cached_property
    def layer_starts(self) -> frozenset[str]:
        """Ops that read the input of a layer: its first norm, or the first of a run of ops of one name."""
        ops = [op for op in self.graph.ops if op.exchange is None and op.family not in UNKEPT]
        norms = frozenset(op.name for op in ops if op.name.endswith("mixer_norm"))
        return norms or frozenset(
            next(run).name for _, run in groupby(ops, key=lambda op: op.name.rpartition(".")[0])
        )

    def of(self, op: Op) -> Value:
        """Bytes that the backward pass of one op needs from the forward pass: what the op read [B] [1]."""
        size = self.precision.bytes("activation")
        if op.exchange is not None or op.family in UNKEPT:
            return 0.0
        if op.name.endswith(LOSS):
            return op.elements(output=True) * op.count * self.logit_bytes
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
            holders = self.gathered if tensor.kind == "kv" else 1.0
            read = read + tensor.footprint(op.loops) / holders / (1.0 if divided else self.sharers)
        return op.count * read * size
