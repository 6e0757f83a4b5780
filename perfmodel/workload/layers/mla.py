"""Multi-head latent attention with its projections, optionally with an indexer (DeepSeek sparse attention).

References
[1] DeepSeek-AI, DeepSeek-V2, arXiv:2405.04434.
[2] DeepSeek-AI, DeepSeek-V3.2, arXiv:2512.02556.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from perfmodel.algebra import Value, is_symbolic
from perfmodel.ops.attention import attended_pairs, attention
from perfmodel.ops.core import Op, Split, Tensor
from perfmodel.ops.elementwise import elementwise, norm
from perfmodel.ops.matmul import matmul
from perfmodel.ops.mla import indexer, mla
from perfmodel.spec import block, flag, quantity, text
from perfmodel.workload.step import Step

MODES = ("auto", "absorbed", "expanded", "mha")


@dataclass(frozen=True, kw_only=True)
class Indexer:
    """Light scorer that picks the tokens each query attends to [2]."""

    heads: Value = quantity("count", doc="index heads")
    head_dim: Value = quantity("count", doc="width of one index head")
    top_k: Value = quantity("count", doc="tokens kept per query")
    key_norm: bool = flag(default=True, doc="layer norm on the index keys")

    def ops(self, hidden: Value, query_width: Value, step: Step) -> list[Op]:
        """Projections of index queries, keys and head weights, then scores and selection."""
        tokens = step.tokens
        width = self.heads * self.head_dim
        ops = [
            matmul(tokens, width, query_width, name="index_query"),
            matmul(tokens, self.head_dim + self.heads, hidden, name="index_key"),
        ]
        if self.key_norm:
            ops.append(norm(tokens, self.head_dim, kind="layer", bias=True, name="index_key_norm"))
        scores = indexer(
            step.batch,
            step.query,
            step.context,
            self.heads,
            self.head_dim,
            self.top_k,
            causal=step.causal,
            name="indexer",
        )
        return [*ops, scores]


@dataclass(frozen=True, kw_only=True)
class Mla:
    """Latent attention [1].

    mode  ``absorbed``: queries and outputs in the latent space (decode); ``expanded``: keys and values of the
          whole context are expanded again in every pass; ``mha``: the cache holds expanded keys and values;
          ``auto``: absorbed for as long as it needs fewer operations than expanding (short queries)
    """

    heads: Value = quantity("count", doc="query heads")
    q_rank: Value | None = quantity("count", default=None, doc="rank of the query projection; absent: full")
    kv_rank: Value = quantity("count", doc="width of the cached latent")
    rope_dim: Value = quantity("count", doc="rotated key width, shared by the heads")
    nope_dim: Value = quantity("count", doc="key width without rotation, per head")
    v_dim: Value = quantity("count", doc="value width per head")
    bias: bool = flag(default=False, doc="bias on the down and output projections")
    q_norm: bool = flag(default=True, doc="norm on the low-rank query")
    gate: bool = flag(default=False, doc="sigmoid gate per head on the output")
    indexer: Indexer | None = block(Indexer, default=None, doc="sparse attention to the best tokens")
    mode: str = text(default="auto", choices=MODES, doc="form of the computation and of the cache")

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Down projections, queries, attention in the chosen form, output projection."""
        ops = [*self.queries(hidden, step), *self.latent(hidden, step)]
        if self.indexer is not None:
            ops += self.indexer.ops(hidden, hidden if self.q_rank is None else self.q_rank, step)
        ops += {"absorbed": self.absorbed, "expanded": self.expanded, "mha": self.mha}[self.form(step)](step)
        if self.gate:
            width = step.tokens * self.heads * self.v_dim
            ops.append(matmul(step.tokens, self.heads, hidden, name="gate").divided(tp="n"))
            ops.append(elementwise(width, inputs=2, operations=2, special=1, name="gated").divided(tp="i"))
        out = matmul(step.tokens, hidden, self.heads * self.v_dim, bias=self.bias, name="attention_out")
        return [*ops, out.divided(tp="k")]

    def form(self, step: Step) -> str:
        """The mode, with ``auto`` resolved by comparing the operations of both forms per cached token."""
        if self.mode != "auto":
            return self.mode
        if not step.causal:
            return "expanded"  # the full square is what profilers count, and modules expand
        if is_symbolic(step.query, step.context):
            return "absorbed"
        # both forms project the new tokens once; expanding also projects the cached ones, absorbing works on
        # wider pairs: without cached tokens expanding always needs fewer operations
        once = self.kv_rank * (self.nope_dim + self.v_dim) * (step.context - step.query)
        extra = 2.0 * self.kv_rank - self.nope_dim - self.v_dim
        pairs = attended_pairs(step.query, step.context)
        return "absorbed" if bool(np.all(extra * pairs < once)) else "expanded"

    def picks(self, step: Step) -> Value | None:
        """Tokens each query attends to; None: all, also where the full square is wanted."""
        return self.indexer.top_k if self.indexer is not None and step.causal else None

    def queries(self, hidden: Value, step: Step) -> list[Op]:
        """Query projection, through a low rank or directly, and its rotation."""
        tokens, width = step.tokens, self.heads * (self.nope_dim + self.rope_dim)
        ops: list[Op] = []
        if self.q_rank is None:
            ops.append(matmul(tokens, width, hidden, name="query").divided(tp="n"))
        else:
            ops.append(matmul(tokens, self.q_rank, hidden, bias=self.bias, name="query_down"))
            if self.q_norm:
                ops.append(norm(tokens, self.q_rank, name="query_norm"))
            ops.append(matmul(tokens, width, self.q_rank, name="query_up").divided(tp="n"))
        rotated = tokens * self.heads * self.rope_dim
        return [*ops, elementwise(rotated, operations=3, name="rope").divided(tp="i")]

    def latent(self, hidden: Value, step: Step) -> list[Op]:
        """Latent and rotated key of the new tokens."""
        tokens = step.tokens
        return [
            matmul(tokens, self.kv_rank + self.rope_dim, hidden, bias=self.bias, name="latent_down"),
            norm(tokens, self.kv_rank, name="latent_norm"),
        ]

    def absorbed(self, step: Step) -> list[Op]:
        """Queries into the latent space, attention over latents, outputs back."""
        tokens, heads = step.tokens, self.heads
        picks = self.picks(step)
        core = mla(
            step.batch,
            step.query,
            step.context,
            heads,
            self.kv_rank,
            self.rope_dim,
            self.nope_dim,
            self.v_dim,
            causal=step.causal,
            selected=picks,
            name="attention",
        )
        return [
            matmul(tokens, self.kv_rank, self.nope_dim, heads, name="absorb_query").divided(tp="b"),
            core.divided(tp="h"),
            matmul(tokens, self.v_dim, self.kv_rank, heads, name="absorb_value").divided(tp="b"),
        ]

    def expanded(self, step: Step) -> list[Op]:
        """Keys and values of the whole context from the cached latents, then plain attention."""
        rows = step.batch * step.context
        up = self.up(rows)
        tensors = [replace(t, kind="kv") if t.name == "A" else t for t in up.tensors]
        rope_key = Tensor("rope_key", ("m", "r"), kind="kv")
        up = replace(up, loops={**up.loops, "r": self.rope_dim}, tensors=(*tensors, rope_key))
        return [up.divided(tp="n"), self.plain(step, cached=False)]

    def mha(self, step: Step) -> list[Op]:
        """Keys and values of the new tokens, kept expanded in the cache, then plain attention."""
        return [self.up(step.tokens).divided(tp="n"), self.plain(step, cached=True)]

    def up(self, rows: Value) -> Op:
        """Up projection of `rows` latents to keys and values."""
        return matmul(rows, self.heads * (self.nope_dim + self.v_dim), self.kv_rank, name="latent_up")

    def plain(self, step: Step, cached: bool) -> Op:
        """Attention over expanded keys and values."""
        op = attention(
            step.batch,
            step.query,
            step.context,
            self.heads,
            self.heads,
            self.nope_dim + self.rope_dim,
            causal=step.causal,
            value_dim=self.v_dim,
            cached=cached,
            name="attention",
            window=self.picks(step),
        )
        return op.divided(tp=Split("h"))
