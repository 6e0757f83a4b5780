"""Layers with a recurrent state other than Mamba: delta rules, linear attention, short convolutions, RG-LRU.

References
[1] Yang et al., Gated Delta Networks, arXiv:2412.06464 (Qwen3-Next uses it with a convolution and a gate).
[2] Kimi Team, Kimi Linear, arXiv:2510.26692.
[3] MiniMax, MiniMax-01 (lightning attention), arXiv:2501.08313.
[4] Liquid AI, LFM2, arXiv:2511.23404 (gated short convolution).
[5] De et al., Griffin (RG-LRU), arXiv:2402.19427.
[6] Peng et al., RWKV, arXiv:2305.13048.
"""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.ops.core import Op, Split
from perfmodel.ops.elementwise import elementwise, norm
from perfmodel.ops.matmul import matmul
from perfmodel.ops.scan import causal_conv1d, gated_delta_rule, linear_attention, rglru, wkv
from perfmodel.spec import flag, quantity
from perfmodel.workload.step import Step


@dataclass(frozen=True, kw_only=True)
class GatedDelta:
    """Gated delta network [1]: projections, convolution, delta rule, gated norm."""

    key_heads: Value = quantity("count", doc="heads of queries and keys")
    value_heads: Value = quantity("count", doc="heads of values")
    key_dim: Value = quantity("count", doc="width of a key head")
    value_dim: Value = quantity("count", doc="width of a value head")
    kernel: Value = quantity("count", default=4.0, doc="taps of the convolution")
    chunk: Value = quantity("count", default=64.0, doc="tokens per chunk")

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Ops of the layer."""
        tokens = step.tokens
        keys, values = self.key_heads * self.key_dim, self.value_heads * self.value_dim
        mixed = 2.0 * keys + values
        rule = gated_delta_rule(
            step.batch,
            step.query,
            self.value_heads,
            self.key_dim,
            self.value_dim,
            self.key_heads,
            self.chunk,
            name="delta_rule",
        )
        # decay per head from a learned rate and a bias, both stored per value head
        heads = self.value_heads
        decay = elementwise(
            tokens * heads, inputs=2, operations=3, special=3, parameters=2.0 * heads, name="decay"
        )
        shared = 2.0 * self.key_dim  # query and key of a head are needed by all its value heads
        conv = causal_conv1d(step.batch, step.query, mixed, self.kernel, bias=False, name="conv1d")
        projected = matmul(tokens, mixed + values, hidden, name="linear_qkvz")
        return [
            projected.divided(tp=Split("n", parts=self.key_heads, unit=shared)),
            matmul(tokens, 2.0 * self.value_heads, hidden, name="linear_ba").divided(tp="n"),
            conv.divided(tp=Split("c", parts=self.key_heads, unit=shared)),
            decay.divided(tp="i"),
            rule.divided(tp=Split("h", parts=self.key_heads, balance="g")),
            norm(tokens * self.value_heads, self.value_dim, name="linear_norm").divided(tp="r"),
            gate(tokens * values, "linear_gate"),
            matmul(tokens, hidden, values, name="linear_out").divided(tp="k"),
        ]


@dataclass(frozen=True, kw_only=True)
class KimiDelta:
    """Kimi delta attention [2]: a delta rule with one decay per channel, decay and output gates."""

    heads: Value = quantity("count", doc="heads")
    head_dim: Value = quantity("count", doc="width of a head")
    kernel: Value = quantity("count", default=4.0, doc="taps of the convolutions")
    chunk: Value = quantity("count", default=64.0, doc="tokens per chunk")
    full_gates: bool = flag(default=False, doc="gates of full rank; False: through the width of one head")

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Ops of the layer."""
        tokens, d = step.tokens, self.head_dim
        width = self.heads * d
        rule = gated_delta_rule(
            step.batch, step.query, self.heads, d, d, None, self.chunk, channel_decay=True, name="delta_rule"
        )
        decay = elementwise(
            tokens * width, operations=3, special=3, parameters=width + self.heads, name="decay"
        )
        inner = width if self.full_gates else d
        gates = [matmul(tokens, 2.0 * inner + self.heads, hidden, name="gates_down")]
        if not self.full_gates:
            gates.append(matmul(tokens, width, d, 2.0, name="gates_up").divided(tp="n"))
        return [
            matmul(tokens, 3.0 * width, hidden, name="linear_qkv").divided(tp="n"),
            causal_conv1d(
                step.batch, step.query, 3.0 * width, self.kernel, bias=False, name="conv1d"
            ).divided(tp="c"),
            *gates,
            decay.divided(tp="i"),
            rule.divided(tp="h"),
            norm(tokens * self.heads, d, name="linear_norm").divided(tp="r"),
            gate(tokens * width, "linear_gate"),
            matmul(tokens, hidden, width, name="linear_out").divided(tp="k"),
        ]


@dataclass(frozen=True, kw_only=True)
class LinearAttention:
    """Linear attention with a fixed decay per head, an output gate and a norm (lightning attention [3])."""

    heads: Value = quantity("count", doc="heads")
    head_dim: Value = quantity("count", doc="width of a head")
    chunk: Value = quantity("count", default=256.0, doc="tokens per chunk")
    gate: bool = flag(default=True, doc="sigmoid gate on the output")
    out_norm: bool = flag(default=True, doc="norm before the gate")

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Ops of the layer."""
        tokens, width = step.tokens, self.heads * self.head_dim
        core = linear_attention(
            step.batch,
            step.query,
            self.heads,
            self.head_dim,
            self.head_dim,
            self.chunk,
            decay=True,
            name="linear_attention",
        )
        qkv = matmul(tokens, 3.0 * width, hidden, name="linear_qkv")
        ops = [qkv.divided(tp="n"), core.divided(tp="h")]
        if self.out_norm:
            ops.append(norm(tokens, width, name="linear_norm").divided(tp="d"))
        if self.gate:
            ops.append(matmul(tokens, width, hidden, name="linear_gate").divided(tp="n"))
            ops.append(gate(tokens * width, "gate"))
        return [*ops, matmul(tokens, hidden, width, name="linear_out").divided(tp="k")]


@dataclass(frozen=True, kw_only=True)
class ShortConv:
    """Gated short convolution [4]: three projections, a depthwise convolution between two gates."""

    kernel: Value = quantity("count", default=3.0, doc="taps of the convolution")
    bias: bool = flag(default=False, doc="bias on the projections and the convolution")

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Ops of the layer."""
        tokens = step.tokens
        conv = causal_conv1d(step.batch, step.query, hidden, self.kernel, bias=self.bias, name="conv1d")
        return [
            matmul(tokens, 3.0 * hidden, hidden, bias=self.bias, name="conv_in").divided(tp="n"),
            elementwise(tokens * hidden, inputs=2, name="conv_gate_in").divided(tp="i"),
            conv.divided(tp="c"),
            elementwise(tokens * hidden, inputs=2, name="conv_gate_out").divided(tp="i"),
            matmul(tokens, hidden, hidden, bias=self.bias, name="conv_out").divided(tp="k"),
        ]


@dataclass(frozen=True, kw_only=True)
class Rglru:
    """Recurrent block of Griffin [5]: two branches, convolution, recurrence with block-diagonal gates."""

    width: Value = quantity("count", doc="width of the recurrence")
    blocks: Value = quantity("count", doc="blocks of the diagonal gates")
    kernel: Value = quantity("count", default=4.0, doc="taps of the convolution")

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Ops of the layer."""
        tokens, width = step.tokens, self.width
        part = width / self.blocks
        gates = elementwise(tokens * 2.0 * width, parameters=2.0 * width, special=1, name="gate_bias")
        return [
            matmul(tokens, 2.0 * width, hidden, bias=True, name="recurrent_in").divided(tp="n"),
            causal_conv1d(step.batch, step.query, width, self.kernel, name="conv1d").divided(tp="c"),
            matmul(tokens, 2.0 * part, part, self.blocks, name="gates").divided(tp="b"),
            gates.divided(tp="i"),
            rglru(step.batch, step.query, width, name="recurrence").divided(tp="c"),
            gate(tokens * width, "gate"),
            matmul(tokens, hidden, width, bias=True, name="recurrent_out").divided(tp="k"),
        ]


@dataclass(frozen=True, kw_only=True)
class TimeMix:
    """Token mixer of RWKV-4 [6]: mixed inputs for key, value and receptance, then the WKV recurrence."""

    width: Value = quantity("count", doc="width of keys and values")

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Ops of the layer."""
        tokens, width = step.tokens, self.width
        mix = elementwise(
            tokens * hidden, inputs=2, outputs=3, operations=9, parameters=3.0 * hidden, name="mix"
        )
        return [
            mix,
            matmul(tokens, 3.0 * width, hidden, name="time_kvr").divided(tp="n"),
            wkv(step.batch, step.query, width, name="wkv").divided(tp="c"),
            elementwise(tokens * width, inputs=2, special=1, name="gate").divided(tp="i"),
            matmul(tokens, hidden, width, name="time_out").divided(tp="k"),
        ]


@dataclass(frozen=True, kw_only=True)
class ChannelMix:
    """Feed-forward part of RWKV-4 [6]: squared ReLU with a receptance gate."""

    width: Value = quantity("count", doc="inner width")

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Ops of the part."""
        tokens = step.tokens
        mix = elementwise(
            tokens * hidden, inputs=2, outputs=2, operations=6, parameters=2.0 * hidden, name="channel_mix"
        )
        return [
            mix,
            matmul(tokens, self.width, hidden, name="channel_key").divided(tp="n"),
            elementwise(tokens * self.width, operations=2, name="activation").divided(tp="i"),
            matmul(tokens, hidden, self.width, name="channel_value").divided(tp="k"),
            matmul(tokens, hidden, hidden, name="channel_receptance"),
            elementwise(tokens * hidden, inputs=2, special=1, name="channel_gate"),
        ]


def gate(elements: Value, name: str) -> Op:
    """Product with the sigmoid of another tensor."""
    return elementwise(elements, inputs=2, operations=2, special=1, name=name).divided(tp="i")
