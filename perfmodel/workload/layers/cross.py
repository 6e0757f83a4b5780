"""Cross-attention from a decoder to the outputs of an encoder.

Reference
[1] Wang et al., HAT, arXiv:2005.14187 (attention to the outputs of several encoder layers).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from perfmodel.algebra import Value
from perfmodel.ops.core import Op, Split, Tensor
from perfmodel.ops.elementwise import elementwise
from perfmodel.ops.matmul import matmul
from perfmodel.ops.sparse_attention import cross_attention
from perfmodel.spec import flag, quantity
from perfmodel.workload.step import Step


@dataclass(frozen=True, kw_only=True)
class Cross:
    """Queries from the decoder, keys and values from the encoder."""

    heads: Value = quantity("count", doc="heads")
    kv_heads: Value | None = quantity("count", default=None, doc="key-value heads; absent: as many as heads")
    head_dim: Value = quantity("count", doc="width of one head")
    source_width: Value | None = quantity("count", default=None, doc="encoder width; absent: model width")
    span: Value = quantity("count", default=1.0, doc="encoder layers attended to, side by side [1]")
    bias: bool = flag(default=False, doc="bias on all four projections")
    key_bias: bool = flag(default=True, doc="where there are biases: the key projection has one too")
    tokens: Value | None = quantity("count", default=None, doc="tokens of the source; absent: of the pass")
    qk_norm: bool = flag(default=False, doc="norm of each head of queries and keys, one weight vector each")
    gates: Value | None = quantity("count", default=None, doc="learned gates, one number each")

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Query projection, key and value projection (once per source), attention, output projection."""
        width = self.heads * self.head_dim
        kv_heads = self.heads if self.kv_heads is None else self.kv_heads
        length = (step.source_tokens if self.tokens is None else self.tokens) * self.span
        source = step.batch * length
        inner = hidden if self.source_width is None else self.source_width
        query = matmul(step.tokens, width, hidden, bias=self.bias, name="cross_query")
        # the projection multiplies each source token; its weights are stored once, whatever the span
        kv = matmul(
            source, 2.0 * kv_heads * self.head_dim, inner, bias=self.bias and self.key_bias, name="cross_kv"
        )
        if self.bias and not self.key_bias:
            tensors = (*kv.tensors, Tensor("bias", ("u",), kind="weight"))
            kv = replace(kv, loops={**kv.loops, "u": width}, tensors=tensors)
        core = cross_attention(
            step.batch,
            step.query,
            length,
            self.heads,
            kv_heads,
            self.head_dim,
            name="cross_attention",
        )
        out = matmul(step.tokens, hidden, width, bias=self.bias, name="cross_out")
        shared = [kv.divided(tp="n")] if step.encode else []
        ops = [query.divided(tp="n"), *shared, *self.scaled(step), core.divided(tp=Split("h"))]
        return [*ops, out.divided(tp="k")]

    def scaled(self, step: Step) -> list[Op]:
        """Norm of queries and keys, and learned gates."""
        size = step.tokens * self.heads * self.head_dim
        ops = []
        if self.qk_norm:
            weights = 2.0 * self.head_dim
            ops.append(elementwise(size, operations=5, parameters=weights, name="cross_qk_norm"))
        if self.gates is not None:
            ops.append(elementwise(size, operations=1, parameters=self.gates, name="cross_gates"))
        return ops
