"""Attention with its projections: multi-head, grouped-query, multi-query, windowed, gated, cross."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from perfmodel.algebra import Value, is_symbolic
from perfmodel.errors import ArgumentError
from perfmodel.ops.attention import attention
from perfmodel.ops.core import Op, Split, Tensor
from perfmodel.ops.elementwise import elementwise, norm
from perfmodel.ops.matmul import matmul
from perfmodel.spec import flag, quantity, text
from perfmodel.workload.step import Step

#: none; one weight vector per head width; over all heads at once; one vector per head; without weights
QK_NORMS = ("none", "head", "all", "per_head", "unit")
GATES = ("none", "element", "head")


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Multi-head, grouped-query or multi-query attention with its projections."""

    heads: Value = quantity("count", doc="query heads")
    kv_heads: Value | None = quantity("count", default=None, doc="key-value heads; absent: as many as heads")
    head_dim: Value = quantity("count", doc="width of one query and key head")
    value_dim: Value | None = quantity("count", default=None, doc="width of one value head; absent: head_dim")
    window: Value | None = quantity("count", default=None, doc="sliding window [tokens]; absent: full")
    chunk: Value | None = quantity("count", default=None, doc="attention inside chunks of this many tokens")
    qkv_bias: bool = flag(default=False, doc="bias on the query, key and value projections")
    q_bias: bool = flag(default=False, doc="bias on the query projection alone")
    v_bias: bool = flag(default=False, doc="bias on the value projection alone")
    out_bias: bool = flag(default=False, doc="bias on the output projection")
    qk_norm: str = text(default="none", choices=QK_NORMS, doc="normalisation of queries and keys")
    qk_norm_bias: bool = flag(default=False, doc="that normalisation carries a bias")
    sinks: bool = flag(default=False, doc="one learned logit per query head in the softmax denominator")
    gate: str = text(default="none", choices=GATES, doc="sigmoid gate on the output, per element or per head")
    out_norm: bool = flag(default=False, doc="norm before the output projection")
    rotary: Value = quantity(
        "1",
        default=1.0,
        positive=False,
        low=0.0,
        high=1.0,
        doc="share of each head that is rotated; 0: no rotary embedding",
    )
    input_width: Value | None = quantity("count", default=None, doc="width of the input; absent: model width")
    shared_kv: bool = flag(default=False, doc="keys and values are those of an earlier layer")
    value_is_key: bool = flag(default=False, doc="values are the keys before rotation; no value projection")
    bidirectional: bool = flag(default=False, doc="every token sees every other; no causal mask")
    relative_buckets: Value | None = quantity("count", default=None, doc="rows of a relative position table")

    @property
    def kv(self) -> Value:
        """Key-value heads."""
        return self.heads if self.kv_heads is None else self.kv_heads

    @property
    def value_width(self) -> Value:
        """Width of one value head."""
        return self.head_dim if self.value_dim is None else self.value_dim

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Projections, normalisation, rotation and attention.

        Raises ArgumentError where the key-value heads do not divide the heads.
        """
        wrong = not is_symbolic(self.heads, self.kv) and (
            np.any(np.less(self.kv, 1)) or np.any(np.mod(self.heads, self.kv) != 0)
        )
        if wrong:
            raise ArgumentError("kv_heads", self.kv, f"a divisor of heads = {self.heads}")
        tokens = step.tokens
        ops = [self.projection(hidden, tokens), *self.prepare(tokens), *self.core(step)]
        if self.gate != "none":
            gated = elementwise(
                tokens * self.heads * self.value_width, inputs=2, operations=2, special=1, name="gate"
            )
            ops.append(gated.divided(tp="i"))
        if self.out_norm:
            ops.append(norm(tokens, self.heads * self.value_width, name="out_norm").divided(tp="d"))
        out = matmul(tokens, hidden, self.heads * self.value_width, bias=self.out_bias, name="attention_out")
        return [*ops, out.divided(tp="k")]

    def projection(self, hidden: Value, tokens: Value) -> Op:
        """One product for queries, keys, values and the gate."""
        d, v, kv = self.head_dim, self.value_width, self.kv
        gates = {"none": 0.0, "element": self.heads * v, "head": self.heads}[self.gate]
        key = 0.0 if self.shared_kv else kv * d
        value = 0.0 if self.shared_kv or self.value_is_key else kv * v
        inner = hidden if self.input_width is None else self.input_width
        op = matmul(tokens, self.heads * d + key + value + gates, inner, bias=self.qkv_bias, name="qkv")
        extra = (self.heads * d if self.q_bias else 0.0) + (value if self.v_bias else 0.0)
        if self.q_bias or self.v_bias:
            tensors = (*op.tensors, Tensor("bias", ("u",), kind="weight"))
            op = replace(op, loops={**op.loops, "u": extra}, tensors=tensors)
        if self.shared_kv:
            return op.divided(tp="n")
        return op.divided(tp=Split("n", parts=kv, unit=d + (0.0 if self.value_is_key else v)))

    def prepare(self, tokens: Value) -> list[Op]:
        """Normalisation and rotation of queries and keys."""
        kv = 0.0 if self.shared_kv else self.kv
        d = self.head_dim
        ops: list[Op] = []
        heads = Split("i", parts=self.kv, unit=tokens * d)
        if self.qk_norm in ("head", "unit", "per_head"):
            vectors = (self.heads + kv) if self.qk_norm == "per_head" else (1.0 if self.shared_kv else 2.0)
            size = 0.0 if self.qk_norm == "unit" else vectors * d * (2.0 if self.qk_norm_bias else 1.0)
            op = elementwise(tokens * (self.heads + kv) * d, operations=5, parameters=size, name="qk_norm")
            ops.append(op.divided(tp=heads))
        if self.qk_norm == "all":
            for name, width in (("q_norm", self.heads * d), ("k_norm", kv * d)):
                ops.append(norm(tokens, width, bias=self.qk_norm_bias, name=name).divided(tp="d"))
        if not (isinstance(self.rotary, float) and self.rotary == 0.0):
            rotated = tokens * (self.heads + kv) * d * self.rotary
            ops.append(elementwise(rotated, operations=3, name="rope").divided(tp=heads))
        return ops

    def core(self, step: Step) -> list[Op]:
        """Scores, softmax and values."""
        share = Split("h", parts=self.kv, balance="g")
        # the full square of a profiler knows neither mask nor window
        window, chunk = (self.window, self.chunk) if step.causal else (None, None)
        fused = attention(
            step.batch,
            step.query,
            step.context,
            self.heads,
            self.kv,
            self.head_dim,
            causal=step.causal and not self.bidirectional,
            window=window,
            chunk=chunk,
            value_dim=self.value_width,
            cached=not self.bidirectional,  # an encoder keeps nothing for a later token
            owns_cache=not self.shared_kv,
            name="attention",
        )
        return [self.extras(fused.divided(tp=share))]

    def extras(self, op: Op) -> Op:
        """Learned sinks and relative position tables, added to the op that computes the scores."""
        added = []
        if self.sinks:
            added.append(Tensor("sinks", ("h", "g"), kind="weight"))
        loops = dict(op.loops)
        if self.relative_buckets is not None:
            loops["buckets"] = self.relative_buckets
            added.append(Tensor("relative", ("h", "g", "buckets"), kind="weight"))
        return replace(op, loops=loops, tensors=(*op.tensors, *added)) if added else op
