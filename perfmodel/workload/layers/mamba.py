"""Mamba layers: projections, short convolution, scan, gate.

References
[1] Gu, Dao, Mamba, arXiv:2312.00752.
[2] Dao, Gu, Mamba-2, arXiv:2405.21060.
"""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.ops.core import Op, Split
from perfmodel.ops.elementwise import elementwise, norm
from perfmodel.ops.matmul import matmul
from perfmodel.ops.scan import causal_conv1d, scan, ssd
from perfmodel.spec import flag, quantity
from perfmodel.workload.step import Step


@dataclass(frozen=True, kw_only=True)
class Mamba:
    """Selective state space layer [1]."""

    inner: Value = quantity("count", doc="inner width (channels)")
    state: Value = quantity("count", default=16.0, doc="state size per channel")
    kernel: Value = quantity("count", default=4.0, doc="taps of the convolution")
    dt_rank: Value = quantity("count", doc="rank of the step-size projection")
    heads: Value = quantity("count", default=1.0, doc="groups with a dt, B, C projection of their own")
    bias: bool = flag(default=False, doc="bias on the input and output projections")
    conv_bias: bool = flag(default=True, doc="bias on the convolution")
    inner_norms: bool = flag(default=False, doc="norms on dt, B and C")

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Input projection, convolution, dt-B-C projection, scan, gate, output projection."""
        tokens, inner, columns = step.tokens, self.inner, self.dt_rank + 2.0 * self.state
        ops = [
            matmul(tokens, 2.0 * inner, hidden, bias=self.bias, name="ssm_in").divided(tp="n"),
            causal_conv1d(
                step.batch, step.query, inner, self.kernel, bias=self.conv_bias, name="conv1d"
            ).divided(tp="c"),
            matmul(tokens, columns, inner / self.heads, self.heads, name="ssm_x").divided(tp="k"),
        ]
        if self.inner_norms:
            ops.append(norm(tokens, columns, name="ssm_norms"))
        step_size = matmul(tokens, inner / self.heads, self.dt_rank, self.heads, name="ssm_dt")
        # softplus of dt with one bias per channel
        dt = elementwise(tokens * inner, operations=2, special=2, parameters=inner, name="softplus")
        return [
            *ops,
            step_size.divided(tp="n"),
            dt.divided(tp="i"),
            scan(step.batch, step.query, inner, self.state, name="scan").divided(tp="c"),
            elementwise(tokens * inner, inputs=2, operations=2, special=1, name="ssm_gate").divided(tp="i"),
            matmul(tokens, hidden, inner, bias=self.bias, name="ssm_out").divided(tp="k"),
        ]


@dataclass(frozen=True, kw_only=True)
class Mamba2:
    """State-space dual layer [2]."""

    heads: Value = quantity("count", doc="heads")
    head_dim: Value = quantity("count", default=64.0, doc="channels per head")
    state: Value = quantity("count", default=128.0, doc="state size per channel")
    groups: Value = quantity("count", default=1.0, doc="groups that share B and C")
    kernel: Value = quantity("count", default=4.0, doc="taps of the convolution")
    chunk: Value = quantity("count", default=256.0, doc="tokens per chunk of the scan")
    bias: bool = flag(default=False, doc="bias on the input and output projections")
    conv_bias: bool = flag(default=True, doc="bias on the convolution")
    gated_norm: bool = flag(default=True, doc="norm with a weight per channel after the gate")

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Input projection, convolution over x, B, C, chunked scan, gate and norm, output projection."""
        tokens, inner = step.tokens, self.heads * self.head_dim
        mixed = inner + 2.0 * self.groups * self.state
        shared = 2.0 * self.state  # B and C of a group are needed by all its heads
        conv = causal_conv1d(step.batch, step.query, mixed, self.kernel, bias=self.conv_bias, name="conv1d")
        core = ssd(
            step.batch, step.query, self.heads, self.head_dim, self.state, self.groups, self.chunk, name="ssd"
        )
        projected = matmul(tokens, inner + mixed + self.heads, hidden, bias=self.bias, name="ssm_in")
        ops = [
            projected.divided(tp=Split("n", parts=self.groups, unit=shared)),
            conv.divided(tp=Split("c", parts=self.groups, unit=shared)),
            core.divided(tp=Split("g", parts=self.groups, balance="h")),
            elementwise(tokens * inner, inputs=2, operations=2, special=1, name="ssm_gate").divided(tp="i"),
        ]
        if self.gated_norm:
            ops.append(norm(tokens, inner, name="ssm_norm").divided(tp="d"))
        out = matmul(tokens, hidden, inner, bias=self.bias, name="ssm_out").divided(tp="k")
        return [*ops, out]
