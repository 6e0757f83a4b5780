"""Mixture of attention heads: query and output projections are experts.

Reference
[1] Shen et al., JetMoE, arXiv:2404.07413.
"""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.ops.attention import attention
from perfmodel.ops.core import Op, Split
from perfmodel.ops.elementwise import elementwise
from perfmodel.ops.matmul import grouped_matmul, matmul
from perfmodel.ops.moe import routed_rows, router_topk
from perfmodel.spec import quantity
from perfmodel.workload.step import Step


@dataclass(frozen=True, kw_only=True)
class ExpertAttention:
    """Each token picks `top_k` of `experts` query-output pairs; keys and values are shared by all [1]."""

    experts: Value = quantity("count", doc="pairs of query and output projections")
    top_k: Value = quantity("count", doc="pairs per token")
    kv_heads: Value = quantity("count", doc="heads of each pair, and key-value heads")
    head_dim: Value = quantity("count", doc="width of one head")

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Router, queries of the chosen experts, keys and values, attention, outputs."""
        tokens, width = step.tokens, self.kv_heads * self.head_dim
        touched, rows = routed_rows(self.experts, self.top_k, tokens)
        core = attention(
            step.batch,
            step.query,
            step.context,
            self.top_k * self.kv_heads,
            self.kv_heads,
            self.head_dim,
            causal=step.causal,
            name="attention",
        )
        rotated = tokens * (self.top_k + 1.0) * width
        return [
            matmul(tokens, self.experts, hidden, name="attention_router"),
            router_topk(tokens, self.experts, self.top_k, name="attention_topk"),
            grouped_matmul(rows, width, hidden, touched, stored_experts=self.experts, name="query").divided(
                tp="n", ep="e"
            ),
            matmul(tokens, 2.0 * width, hidden, name="kv").divided(tp="n"),
            elementwise(rotated, operations=3, name="rope").divided(tp="i"),
            core.divided(tp=Split("h")),
            grouped_matmul(
                rows, hidden, width, touched, stored_experts=self.experts, name="attention_out"
            ).divided(tp="k", ep="e"),
            elementwise(tokens * hidden, inputs=2, parameters=hidden, name="attention_bias"),
        ]
