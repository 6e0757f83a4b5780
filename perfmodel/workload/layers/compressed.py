"""Attention layers with a compressed cache (DeepSeek-V4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from perfmodel.algebra import Value
from perfmodel.ops.attention import attention
from perfmodel.ops.compressed import compressed_attention
from perfmodel.ops.core import Op, Split, Tensor
from perfmodel.ops.elementwise import elementwise, norm
from perfmodel.ops.matmul import matmul
from perfmodel.ops.mla import indexer
from perfmodel.spec import block, quantity
from perfmodel.workload.layers.mla import Indexer
from perfmodel.workload.step import Step


@dataclass(frozen=True, kw_only=True)
class CompressedAttention:
    """Low-rank queries, one key that is also the value, a window and compressed entries, grouped output."""

    heads: Value = quantity("count", doc="query heads")
    head_dim: Value = quantity("count", doc="width of a head, of the key and of the value")
    q_rank: Value = quantity("count", doc="rank of the query projection")
    rope_dim: Value = quantity("count", doc="rotated part of a head")
    window: Value = quantity("count", doc="tokens seen as they are")
    ratio: Value | None = quantity(
        "count", default=None, doc="tokens per compressed entry; absent: window only"
    )
    indexer: Indexer | None = block(Indexer, default=None, doc="picks the entries each query attends to")
    out_groups: Value = quantity("count", doc="groups of the output projection")
    out_rank: Value = quantity("count", doc="width of a group between the two output projections")

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Ops of the layer."""
        tokens, width = step.tokens, self.heads * self.head_dim
        return [
            matmul(tokens, self.q_rank, hidden, name="query_down"),
            norm(tokens, self.q_rank, name="query_norm"),
            matmul(tokens, width, self.q_rank, name="query_up").divided(tp="n"),
            norm(tokens * self.heads, self.head_dim, affine=False, name="query_head_norm").divided(tp="r"),
            matmul(tokens, self.head_dim, hidden, name="kv"),
            norm(tokens, self.head_dim, name="kv_norm"),
            elementwise(tokens * (self.heads + 1.0) * self.rope_dim, operations=3, name="rope").divided(
                tp="i"
            ),
            *self.compress(hidden, step),
            self.core(step),
            matmul(
                tokens, self.out_rank, width / self.out_groups, self.out_groups, name="out_groups"
            ).divided(tp="b"),
            matmul(tokens, hidden, self.out_groups * self.out_rank, name="attention_out").divided(tp="k"),
        ]

    def compress(self, hidden: Value, step: Step) -> list[Op]:
        """Compressed entries and, where there is an indexer, its own entries, scores and choice."""
        if self.ratio is None:
            return []
        series = 1.0 if self.indexer is None else 2.0  # overlapping windows need two series
        ops = self.compressor(hidden, step, series * self.head_dim, self.head_dim, "entries")
        if self.indexer is None:
            return ops
        heads, width = self.indexer.heads, self.indexer.head_dim
        scores = indexer(
            step.batch,
            step.query,
            step.context,
            heads,
            width,
            self.indexer.top_k,
            ratio=self.ratio,
            name="indexer",
        )
        return [
            *ops,
            *self.compressor(hidden, step, 2.0 * width, width, "index_entries"),
            matmul(step.tokens, heads * width, self.q_rank, name="index_query"),
            matmul(step.tokens, heads, hidden, name="index_weights"),
            scores,
        ]

    def compressor(self, hidden: Value, step: Step, width: Value, key: Value, name: str) -> list[Op]:
        """Values and gates of each token, gated mean per window with a learned bias per position, norm."""
        tokens, ratio = step.tokens, 1.0 if self.ratio is None else self.ratio
        mean = elementwise(
            tokens * width, inputs=2, operations=5, special=1, parameters=ratio * width, name=f"{name}_mean"
        )
        return [
            matmul(tokens, 2.0 * width, hidden, name=name),
            mean,
            norm(tokens / ratio, key, name=f"{name}_norm"),
        ]

    def core(self, step: Step) -> Op:
        """Attention with learned sinks."""
        if self.ratio is None:
            op = attention(
                step.batch,
                step.query,
                step.context,
                self.heads,
                1.0,
                self.head_dim,
                window=self.window,
                name="attention",
            )
            shared = tuple(t for t in op.tensors if t.name != "V")  # the value is the key
            op = replace(op, tensors=(*shared, Tensor("sinks", ("h", "g"), kind="weight")))
            return op.divided(tp=Split("h", parts=1.0, balance="g"))
        picks = None if self.indexer is None else self.indexer.top_k
        op = compressed_attention(
            step.batch,
            step.query,
            step.context,
            self.heads,
            self.head_dim,
            self.window,
            self.ratio,
            picks,
            name="attention",
        )
        op = replace(op, tensors=(*op.tensors, Tensor("sinks", ("h",), kind="weight")))
        return op.divided(tp="h")
