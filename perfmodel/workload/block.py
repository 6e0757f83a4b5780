"""One layer of a language model: norms, token mixers and feed-forward parts around a residual stream."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from perfmodel.algebra import Value
from perfmodel.ops.core import Op, Tensor
from perfmodel.ops.elementwise import elementwise, norm
from perfmodel.ops.matmul import matmul
from perfmodel.ops.scan import causal_conv1d
from perfmodel.spec import block, flag, quantity
from perfmodel.workload.layers import (
    AltUp,
    Attention,
    ChannelMix,
    CompressedAttention,
    ConvolvedAttention,
    Cross,
    ExpertAttention,
    GatedDelta,
    KimiDelta,
    LinearAttention,
    Mamba,
    Mamba2,
    Mla,
    Mlp,
    Moe,
    PerLayerInput,
    Rglru,
    ShortConv,
    TimeMix,
)
from perfmodel.workload.step import Step

NORMS = ("rms", "layer", "none")


class Part(Protocol):
    """A token mixer or a feed-forward part."""

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Ops of the part for a model of width `hidden`."""
        ...


@dataclass(frozen=True)
class NormRule:
    """How a model normalises its residual stream."""

    kind: str = "rms"
    bias: bool = False
    affine: bool = True

    def ops(self, rows: Value, width: Value, name: str, residual: bool = True) -> list[Op]:
        """The norm, fused with the residual addition before it; nothing where the model has none."""
        if self.kind == "none":
            return []
        affine, bias = self.affine, self.bias and self.affine
        return [norm(rows, width, kind=self.kind, residual=residual, bias=bias, affine=affine, name=name)]


@dataclass(frozen=True, kw_only=True)
class Block:
    """`repeat` equal layers: a mixer, a feed-forward part, or both, each with its norm.

    Parts that are absent cost nothing.  Several mixers in one block run on the same input (parallel hybrid).
    """

    repeat: Value = quantity("count", default=1.0, doc="number of equal layers")
    copies: Value | None = quantity("count", default=None, doc="stored copies of the weights; absent: each")
    attention: Attention | None = block(Attention, default=None, doc="attention")
    expert_attention: ExpertAttention | None = block(
        ExpertAttention, default=None, doc="mixture of attention heads"
    )
    mla: Mla | None = block(Mla, default=None, doc="latent attention")
    compressed_attention: CompressedAttention | None = block(
        CompressedAttention, default=None, doc="window and compressed entries"
    )
    convolved_attention: ConvolvedAttention | None = block(
        ConvolvedAttention, default=None, doc="attention behind short convolutions and the like"
    )
    mamba: Mamba | None = block(Mamba, default=None, doc="Mamba-1 mixer")
    mamba2: Mamba2 | None = block(Mamba2, default=None, doc="Mamba-2 mixer")
    gated_delta: GatedDelta | None = block(GatedDelta, default=None, doc="gated delta network")
    kimi_delta: KimiDelta | None = block(KimiDelta, default=None, doc="Kimi delta attention")
    linear_attention: LinearAttention | None = block(LinearAttention, default=None, doc="linear attention")
    short_conv: ShortConv | None = block(ShortConv, default=None, doc="gated short convolution")
    rglru: Rglru | None = block(Rglru, default=None, doc="gated linear recurrence of Griffin")
    time_mix: TimeMix | None = block(TimeMix, default=None, doc="token mixer of RWKV-4")
    cross: Cross | None = block(Cross, default=None, doc="attention to an encoder")
    mlp: Mlp | None = block(Mlp, default=None, doc="dense feed-forward part")
    moe: Moe | None = block(Moe, default=None, doc="mixture of experts")
    per_layer: PerLayerInput | None = block(PerLayerInput, default=None, doc="input of a per-layer embedding")
    altup: AltUp | None = block(AltUp, default=None, doc="alternating updates of several streams")
    channel_mix: ChannelMix | None = block(ChannelMix, default=None, doc="feed-forward part of RWKV-4")
    parallel: bool = flag(default=False, doc="mixer and feed-forward read the same residual stream")
    two_norms: bool = flag(default=False, doc="where parallel: mixer and feed-forward have a norm each")
    pre_norms: bool = flag(default=True, doc="a norm before each part")
    extra_norms: Value | None = quantity("count", default=None, doc="further norms of the model width")
    post_norms: bool = flag(default=False, doc="a norm after each part, before the residual addition")

    residual_scales: Value | None = quantity(
        "count", default=None, doc="learned vectors of the model width around the residual additions"
    )
    part_conv: Value | None = quantity(
        "count", default=None, doc="taps of a short convolution behind each of both parts"
    )
    streams: Value | None = quantity("count", default=None, doc="residual streams mixed around each part")
    out_projection: bool = flag(default=False, doc="a further projection of the output, one per layer")
    mlp_adapter: Value | None = quantity(
        "count", default=None, doc="rank of a low-rank term on the up projection"
    )
    attention_adapter: Value | None = quantity(
        "count", default=None, doc="rank of low-rank terms on q, k and v"
    )

    def mixers(self) -> list[Part]:
        """Token mixers of the layer."""
        parts = (
            self.attention,
            self.expert_attention,
            self.mla,
            self.compressed_attention,
            self.convolved_attention,
            self.mamba,
            self.mamba2,
            self.gated_delta,
            self.kimi_delta,
            self.linear_attention,
            self.short_conv,
            self.rglru,
            self.time_mix,
        )
        return [part for part in parts if part is not None]

    def feed_forward(self) -> list[Part]:
        """Feed-forward parts of the layer."""
        parts = (self.mlp, self.moe, self.channel_mix, self.per_layer, self.altup)
        return [part for part in parts if part is not None]

    def ops(self, hidden: Value, step: Step, rule: NormRule) -> list[Op]:
        """Ops of all `repeat` layers."""
        ops = self.one(hidden, step, rule)
        if self.copies is not None:
            ops = [_stored_once(op, self.copies / self.repeat) for op in ops]
        return [op.repeated(self.repeat) for op in (*ops, *self.own(hidden, step))]

    def own(self, hidden: Value, step: Step) -> list[Op]:
        """Ops whose weights each layer has for itself, also where the rest is shared."""
        tokens, ops = step.tokens, []
        if self.attention is not None and self.attention_adapter is not None:
            width = hidden if self.attention.input_width is None else self.attention.input_width
            ops.append(matmul(tokens, self.attention_adapter, width, 3.0, name="qkv_adapter_down"))
            ops.append(matmul(tokens, width, self.attention_adapter, 3.0, name="qkv_adapter_up"))
        if self.mlp is not None and self.mlp_adapter is not None:
            up = 2.0 * self.mlp.width if self.mlp.gated else self.mlp.width
            ops.append(matmul(tokens, self.mlp_adapter, hidden, name="mlp_adapter_down"))
            ops.append(matmul(tokens, up, self.mlp_adapter, name="mlp_adapter_up").divided(tp="n"))
        if self.out_projection:
            ops.append(matmul(tokens, hidden, hidden, name="out_projection"))
        if self.residual_scales is not None:
            scales = self.residual_scales
            ops.append(elementwise(
                tokens * hidden, inputs=2, operations=scales, parameters=scales * hidden,
                name="residual_scales",
            ))
        if self.part_conv is not None:
            ops += [
                causal_conv1d(step.batch, step.query, hidden, self.part_conv, bias=False, name=f"{part}_conv")
                for part in ("mixer", "mlp")
            ]
        return ops

    def input_width(self, hidden: Value, stage: str) -> Value:
        """Width of the normalised input of a stage."""
        wide = self.attention.input_width if stage == "mixer" and self.attention is not None else None
        return hidden if wide is None else wide

    def one(self, hidden: Value, step: Step, rule: NormRule) -> list[Op]:
        """Ops of one layer."""
        ops: list[Op] = []
        cross: list[Part] = [] if self.cross is None else [self.cross]
        for stage, parts in (("mixer", self.mixers()), ("cross", cross), ("mlp", self.feed_forward())):
            if not parts:
                continue
            alone = stage == "mlp" and self.parallel and not self.two_norms
            if self.streams is not None:
                ops += mix(step.tokens, hidden, self.streams, stage)
            if self.pre_norms and not alone:
                ops += rule.ops(step.tokens, self.input_width(hidden, stage), f"{stage}_norm")
            for part in parts:
                ops += part.ops(hidden, step)
            if self.post_norms:
                ops += rule.ops(step.tokens, hidden, f"{stage}_post_norm", residual=not self.pre_norms)
        if self.extra_norms is not None:
            further = rule.ops(step.tokens, hidden, "extra_norm", residual=False)
            ops += [op.repeated(self.extra_norms) for op in further]
        if rule.kind == "none":
            ops.append(elementwise(step.tokens * hidden, inputs=2, name="residual"))
        return ops


def mix(tokens: Value, hidden: Value, streams: Value, name: str) -> list[Op]:
    """Hyper-connection around a part: weights from all streams, collapse to one input, mix and expand.

    ``n`` streams: a product with (2 + n) n x n hidden weights, (2 + n) n biases and three scales; the n x n
    mixing matrix is normalised by Sinkhorn iterations.  Reference: Xie et al., mHC, arXiv:2512.24880.
    """
    wide, outputs = streams * hidden, (2.0 + streams) * streams
    return [
        norm(tokens, wide, affine=False, name=f"{name}_stream_norm"),
        matmul(tokens, outputs, wide, bias=True, name=f"{name}_stream_weights"),
        elementwise(tokens * outputs, operations=80, special=1, parameters=3.0, name=f"{name}_sinkhorn"),
        elementwise(tokens * wide, inputs=1, outputs=1, operations=2, name=f"{name}_collapse"),
        matmul(streams, hidden, streams, tokens, weight=False, name=f"{name}_stream_mix"),
    ]


def _stored_once(op: Op, share: Value) -> Op:
    """The op with the stored part of its weights scaled: layers that share one copy."""

    def scaled(tensor: Tensor) -> Tensor:
        if tensor.kind != "weight":
            return tensor
        return replace(tensor, stored=tensor.storage(op.loops) * share)

    return replace(op, tensors=tuple(scaled(t) for t in op.tensors))
