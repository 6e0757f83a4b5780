"""Cross-attention from a decoder to the outputs of an encoder.

Reference
[1] Wang et al., HAT, arXiv:2005.14187 (attention to the outputs of several encoder layers).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from perfmodel.algebra import Value
from perfmodel.ops.core import Op, Split, Tensor
from perfmodel.ops.matmul import matmul
from perfmodel.ops.sparse_attention import cross_attention
from perfmodel.spec import flag, quantity
from perfmodel.workload.step import Step


@dataclass(frozen=True, kw_only=True)
class Cross:
    """Queries from the decoder, keys and values from the encoder."""

    heads: Value = quantity("count", doc="heads")
    head_dim: Value = quantity("count", doc="width of one head")
    source_width: Value | None = quantity("count", default=None, doc="encoder width; absent: model width")
    span: Value = quantity("count", default=1.0, doc="encoder layers attended to, side by side [1]")
    bias: bool = flag(default=False, doc="bias on all four projections")
    key_bias: bool = flag(default=True, doc="where there are biases: the key projection has one too")

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Query projection, key and value projection (once per source), attention, output projection."""
        width = self.heads * self.head_dim
        source = step.batch * step.source_tokens * self.span
        inner = hidden if self.source_width is None else self.source_width
        query = matmul(step.tokens, width, hidden, bias=self.bias, name="cross_query")
        # the projection multiplies each source token; its weights are stored once, whatever the span
        kv = matmul(source, 2.0 * width, inner, bias=self.bias and self.key_bias, name="cross_kv")
        if self.bias and not self.key_bias:
            tensors = (*kv.tensors, Tensor("bias", ("u",), kind="weight"))
            kv = replace(kv, loops={**kv.loops, "u": width}, tensors=tensors)
        core = cross_attention(
            step.batch,
            step.query,
            step.source_tokens * self.span,
            self.heads,
            self.heads,
            self.head_dim,
            name="cross_attention",
        )
        out = matmul(step.tokens, hidden, width, bias=self.bias, name="cross_out")
        shared = [kv.divided(tp="n")] if step.encode else []
        return [query.divided(tp="n"), *shared, core.divided(tp=Split("h")), out.divided(tp="k")]
