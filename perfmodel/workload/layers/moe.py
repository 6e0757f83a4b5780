"""Mixture of experts: router, routed experts, shared experts.

Reference
[1] DeepSeek-AI, DeepSeek-V3, arXiv:2412.19437.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from perfmodel.algebra import Value
from perfmodel.ops.core import Op, Split, Tensor
from perfmodel.ops.elementwise import elementwise, norm
from perfmodel.ops.matmul import grouped_matmul, matmul
from perfmodel.ops.moe import combine, permute, routed_rows, router_topk
from perfmodel.spec import block, flag, numbers, quantity, text
from perfmodel.workload.layers.mlp import Mlp, activation
from perfmodel.workload.step import Step


@dataclass(frozen=True, kw_only=True)
class Moe:
    """Feed-forward part with `experts` of which each token visits `top_k`."""

    experts: Value = quantity("count", doc="routed experts")
    top_k: Value = quantity("count", doc="experts per token")
    width: Value = quantity("count", doc="inner width of one expert")
    gated: bool = flag(default=True, doc="gate and up projection; False: up projection only")
    bias: bool = flag(default=False, doc="bias on the projections of the experts")
    out_bias: bool = flag(default=False, doc="one bias on the sum of the experts")
    activation: str = text(default="silu", doc="activation function")
    shared: Mlp | None = block(Mlp, default=None, doc="expert that every token visits")
    shared_gate: bool = flag(default=False, doc="sigmoid gate on the shared expert")
    router: bool = flag(default=True, doc="learned router; False: tokens are hashed to experts")
    router_width: Value | None = quantity("count", default=None, doc="hidden width of a two-layer router")
    router_bias: bool = flag(default=False, doc="one bias or correction per expert")
    router_rows: Value | None = quantity(
        "count", default=None, doc="scores per token where they are not one per expert"
    )
    router_depth: Value | None = quantity(
        "count", default=None, doc="square layers between, with norm and biases"
    )
    router_memory: bool = flag(default=False, doc="the router adds its state of the layer before, scaled")
    router_scale: bool = flag(default=False, doc="learned scale per channel before the router")
    expert_scale: bool = flag(default=False, doc="learned scale per expert")
    latent: Value | None = quantity(
        "count", default=None, doc="width the experts work in; absent: model width"
    )
    empty_experts: Value | None = quantity("count", default=None, doc="experts that pass tokens on")
    capacity_factor: Value | None = quantity("1", default=None, doc="rows per expert over the mean, padded")
    popularity: tuple[Value, ...] = numbers(
        "1", default=(), doc="chance of each expert per token; empty: equal"
    )
    groups: Value | None = quantity("count", default=None, doc="groups of experts for limited routing")
    group_limit: Value | None = quantity("count", default=None, doc="groups a token may reach")

    @property
    def picks(self) -> Value:
        """Mean number of computing experts per token."""
        if self.empty_experts is None:
            return self.top_k
        return self.top_k * self.experts / (self.experts + self.empty_experts)

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Router, movement of tokens, experts, weighted sum; then the shared expert."""
        tokens, work_width = step.tokens, hidden if self.latent is None else self.latent
        touched, rows = routed_rows(
            self.experts, self.picks, tokens, self.capacity_factor, self.popularity or None
        )
        ops = self.routing(hidden, tokens) if self.router else []
        if self.latent is not None:
            ops.append(matmul(tokens, self.latent, hidden, name="latent_in"))
        up = 2.0 * self.width if self.gated else 1.0 * self.width
        reach = {} if self.group_limit is None else {"groups": self.groups, "limit": self.group_limit}
        ops += [
            replace(permute(tokens, self.picks, work_width, name="dispatch"), attributes=reach),
            self.expert(rows, up, work_width, touched, "expert_up", "n"),
            activation(touched * rows * self.width, self.gated, self.activation, "expert_activation").divided(
                tp="i", ep="i"
            ),
            self.expert(rows, work_width, self.width, touched, "expert_down", "k"),
            replace(combine(tokens, self.picks, work_width, name="combine"), attributes=reach),
        ]
        if self.out_bias:
            ops.append(elementwise(tokens * work_width, parameters=work_width, name="moe_bias"))
        if self.latent is not None:
            ops.append(matmul(tokens, hidden, self.latent, name="latent_out"))
        return [*ops, *self.shared_ops(hidden, step)]

    def routing(self, hidden: Value, tokens: Value) -> list[Op]:
        """Scores and choice of experts."""
        choices = self.experts if self.empty_experts is None else self.experts + self.empty_experts
        choices = choices if self.router_rows is None else self.router_rows
        ops: list[Op] = []
        if self.router_scale:
            ops.append(elementwise(tokens * hidden, parameters=hidden, name="router_scale"))
        inner = hidden
        if self.router_width is not None:
            deep = self.router_depth is not None
            ops.append(matmul(tokens, self.router_width, hidden, bias=deep, name="router_in"))
            inner = self.router_width
        if self.router_memory:
            ops.append(elementwise(
                tokens * inner, inputs=2, operations=2, parameters=inner, name="router_memory"
            ))
        if self.router_depth is not None:
            ops.append(norm(tokens, inner, name="router_norm"))
            square = matmul(tokens, inner, inner, bias=True, name="router_layer")
            ops.append(square.repeated(self.router_depth))
        scores = matmul(tokens, choices, inner, bias=self.router_bias, name="router")
        if self.expert_scale:
            scale = Tensor("expert_scale", ("n",), kind="weight")
            scores = replace(scores, tensors=(*scores.tensors, scale))
        return [*ops, scores, router_topk(tokens, choices, self.top_k, name="topk")]

    def expert(self, rows: Value, n: Value, k: Value, touched: Value, name: str, loop: str) -> Op:
        """One product of all touched experts."""
        op = grouped_matmul(rows, n, k, touched, stored_experts=self.experts, name=name)
        if self.bias:
            bias = Tensor("bias", ("e", "n"), kind="weight", role="expert", stored=self.experts * n)
            op = replace(op, tensors=(*op.tensors, bias))
        return op.divided(tp=loop, ep=Split("e"))

    def shared_ops(self, hidden: Value, step: Step) -> list[Op]:
        """The expert that every token visits, and its gate."""
        if self.shared is None:
            return []
        ops = [op.named("shared_" + op.name) for op in self.shared.ops(hidden, step)]
        if self.shared_gate:
            ops.append(matmul(step.tokens, 1.0, hidden, name="shared_gate"))
        return ops
