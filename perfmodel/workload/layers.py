"""Blocks of a decoder: what a mixer or a feed-forward part is, and the ops it becomes.

Each part is a small dataclass (its YAML form) with a method ``ops(hidden, step)``.  A new kind of layer is
one more dataclass here or in a module of its own, and one more optional field of ``Block``.
"""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.ops.attention import attention, eager_attention
from perfmodel.ops.core import Op, Split
from perfmodel.ops.elementwise import elementwise
from perfmodel.ops.matmul import matmul
from perfmodel.spec import flag, quantity, text
from perfmodel.workload.step import Step


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Multi-head, grouped-query or multi-query attention with its projections."""

    heads: Value = quantity("count", doc="query heads")
    kv_heads: Value | None = quantity("count", default=None, doc="key-value heads; absent: as many as heads")
    head_dim: Value = quantity("count", doc="width of one head")
    window: Value | None = quantity("count", default=None, doc="sliding window [tokens]; absent: full")
    qkv_bias: bool = flag(default=False, doc="bias on the query, key and value projections")
    out_bias: bool = flag(default=False, doc="bias on the output projection")
    qk_norm: bool = flag(default=False, doc="normalise query and key heads, one weight vector of head_dim each")
    rope: bool = flag(default=True, doc="rotary position embedding")

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Projections, rotation and attention."""
        kv = self.heads if self.kv_heads is None else self.kv_heads
        d, tokens = self.head_dim, step.tokens
        groups = Split("n", parts=kv, unit=2.0 * d)
        ops = [
            matmul(tokens, (self.heads + 2 * kv) * d, hidden, bias=self.qkv_bias, name="qkv").divided(tp=groups)
        ]
        rotated = tokens * (self.heads + kv) * d
        heads = Split("i", parts=kv, unit=tokens * d)
        if self.qk_norm:
            # one weight vector of head_dim for the queries and one for the keys
            ops.append(
                elementwise(rotated, operations=5, parameters=2.0 * d, name="qk_norm").divided(tp=heads)
            )
        if self.rope:
            ops.append(elementwise(rotated, operations=3, name="rope").divided(tp=heads))
        ops += self.core(kv, step)
        ops.append(
            matmul(tokens, hidden, self.heads * d, bias=self.out_bias, name="attention_out").divided(tp="k")
        )
        return ops

    def core(self, kv: Value, step: Step) -> list[Op]:
        """Scores, softmax and values, fused or eager."""
        share = Split("h", parts=kv, balance="g")
        if step.attention == "eager":
            parts = eager_attention(step.batch, step.query, step.context, self.heads, kv, self.head_dim)
            scores, probabilities, values = parts
            return [scores.divided(tp=share), probabilities.divided(tp="r"), values.divided(tp=share)]
        fused = attention(
            step.batch, step.query, step.context, self.heads, kv, self.head_dim,
            causal=step.causal, window=self.window, name="attention",
        )
        return [fused.divided(tp=share)]


@dataclass(frozen=True, kw_only=True)
class Mlp:
    """Feed-forward part: gated (SwiGLU, GeGLU) or plain."""

    width: Value = quantity("count", doc="inner width")
    gated: bool = flag(default=True, doc="gate and up projection; False: up projection only")
    bias: bool = flag(default=False, doc="bias on all projections")
    activation: str = text(default="silu", doc="activation function")

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Up (and gate), activation, down."""
        up = 2.0 * self.width if self.gated else 1.0 * self.width
        special = 0 if self.activation in ("relu", "relu2") else 1
        act = elementwise(
            step.tokens * self.width, inputs=2 if self.gated else 1,
            operations=3 if self.gated else 2, special=special, name="activation",
        )
        return [
            matmul(step.tokens, up, hidden, bias=self.bias, name="up").divided(tp="n"),
            act.divided(tp="i"),
            matmul(step.tokens, hidden, self.width, bias=self.bias, name="down").divided(tp="k"),
        ]
