"""Layers that a ``network:`` block of a workload file can list.

Each dataclass is the YAML form of one layer; ``build(net, parts, sizes)`` appends it.  Sizes are
expressions over the variables of the file (`let`), the parameters of the block, and the shape of the layer's
input: ``channels``, ``height``, ``width``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

from perfmodel.algebra import Value
from perfmodel.spec import flag, text
from perfmodel.workload.expression import check
from perfmodel.workload.nets import blocks, yolo_blocks
from perfmodel.workload.nets.builder import ACTIVATIONS, Feature, Net, share_of

#: reads an expression of a layer
Sizes = Callable[[str], Value]
NORMS = ("none", "batch", "group")
_SIZE = "size"


def size(default: str | None = None, doc: str = "") -> Any:
    """An expression; checked when the file is read."""
    made = text(doc=doc) if default is None else text(default=default, doc=doc)
    return field(default=made.default, metadata={**made.metadata, _SIZE: True})


@dataclass(frozen=True, kw_only=True)
class Part:
    """One layer."""

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.metadata.get(_SIZE) and getattr(self, item.name) is not None:
                check(getattr(self, item.name))

    def build(self, net: Net, parts: tuple[Feature, ...], sizes: Sizes, name: str) -> Feature:
        """Append the ops and return the output."""
        raise NotImplementedError

    def unstrided(self) -> Part:
        """The layer as it is from its second repetition on."""
        return replace(self, stride="1") if hasattr(self, "stride") else self  # type: ignore[call-arg]


@dataclass(frozen=True, kw_only=True)
class Conv(Part):
    """Convolution, norm and activation in one kernel."""

    out: str = size(doc="output channels")
    kernel: str = size("1", "kernel rows and columns")
    stride: str = size("1", "step between windows")
    padding: str = text(default="same", doc="same, valid, or positions on each side")
    groups: str = size("1", "channel groups; `channels` for depthwise")
    dilation: str = size("1", "distance of kernel elements")
    norm: str = text(default="batch", choices=NORMS, doc="norm behind the convolution")
    act: str = text(default="relu", choices=tuple(ACTIVATIONS), doc="activation")
    bias: bool | None = flag(default=None, doc="stored bias; absent: where there is no norm")
    one_row: bool = flag(default=False, doc="slides along the height only (a sequence)")

    def build(self, net: Net, parts: tuple[Feature, ...], sizes: Sizes, name: str) -> Feature:
        """Convolution, then a group norm if asked for."""
        group = self.norm == "group"
        kernel, stride = sizes(self.kernel), sizes(self.stride)
        padding = padding_of(self.padding, sizes)
        if self.one_row:
            kernel, stride = (kernel, 1.0), (stride, 1.0)
            padding = padding if isinstance(padding, str) else (padding, 0.0)
        y = net.conv(
            parts[0], sizes(self.out), kernel, stride, padding=padding, groups=sizes(self.groups),
            dilation=sizes(self.dilation),
            norm=self.norm == "batch", act="none" if group else self.act,
            bias=False if group and self.bias is None else self.bias, name=name,
        )
        return net.group_norm(y, self.act, name=f"{name}_norm") if group else y


def padding_of(given: str, sizes: Sizes) -> Value:
    """``same`` and ``valid`` as they are, else the value."""
    return given if given in ("same", "valid") else sizes(given)


@dataclass(frozen=True, kw_only=True)
class Linear(Part):
    """Matrix product on every position."""

    out: str = size(doc="output channels")
    bias: bool = flag(default=True, doc="stored bias")
    act: str = text(default="none", choices=tuple(ACTIVATIONS), doc="activation")

    def build(self, net: Net, parts: tuple[Feature, ...], sizes: Sizes, name: str) -> Feature:
        """One product."""
        return net.linear(parts[0], sizes(self.out), bias=self.bias, act=self.act, name=name)


@dataclass(frozen=True, kw_only=True)
class Pool(Part):
    """Maximum or mean over windows."""

    kernel: str = size(doc="window rows and columns; `height` for all rows")
    stride: str = size("1", "step between windows")
    padding: str = text(default="same", doc="same, valid, or positions on each side")
    ceil: bool = flag(default=False, doc="a last window that is partly inside counts")

    def build(self, net: Net, parts: tuple[Feature, ...], sizes: Sizes, name: str) -> Feature:
        """One kernel."""
        return net.pool(parts[0], sizes(self.kernel), sizes(self.stride),
                        padding=padding_of(self.padding, sizes), ceil_mode=self.ceil, name=name)


@dataclass(frozen=True, kw_only=True)
class GlobalPool(Part):
    """Mean over all positions."""

    def build(self, net: Net, parts: tuple[Feature, ...], sizes: Sizes, name: str) -> Feature:
        """One kernel."""
        return net.global_pool(parts[0], name=name)


@dataclass(frozen=True, kw_only=True)
class Norm(Part):
    """Normalisation as a kernel of its own."""

    kind: str = text(default="layer", choices=("layer", "rms", "batch", "group"), doc="what is normalised")
    act: str = text(default="none", choices=tuple(ACTIVATIONS), doc="activation behind it (batch, group)")

    def build(self, net: Net, parts: tuple[Feature, ...], sizes: Sizes, name: str) -> Feature:
        """One kernel."""
        if self.kind in ("layer", "rms"):
            return net.layer_norm(parts[0], rms=self.kind == "rms", bias=self.kind == "layer", name=name)
        if self.kind == "batch":
            return net.batch_norm(parts[0], self.act, name=name)
        return net.group_norm(parts[0], self.act, name=name)


@dataclass(frozen=True, kw_only=True)
class Activation(Part):
    """Activation as a kernel of its own."""

    kind: str = text(choices=tuple(ACTIVATIONS), doc="activation")

    def build(self, net: Net, parts: tuple[Feature, ...], sizes: Sizes, name: str) -> Feature:
        """One kernel."""
        return net.act(parts[0], self.kind, name=name)


@dataclass(frozen=True, kw_only=True)
class Combine(Part):
    """Elementwise sum or product of the inputs."""

    act: str = text(default="none", choices=tuple(ACTIVATIONS), doc="activation behind it")

    def build(self, net: Net, parts: tuple[Feature, ...], sizes: Sizes, name: str) -> Feature:
        """One kernel; the first input is the main branch."""
        return net.combine(*parts, act=self.act, name=name)


@dataclass(frozen=True, kw_only=True)
class Concat(Part):
    """Inputs side by side along the channels."""

    def build(self, net: Net, parts: tuple[Feature, ...], sizes: Sizes, name: str) -> Feature:
        """Free where producers write in place."""
        return net.concat(*parts, name=name)


@dataclass(frozen=True, kw_only=True)
class Resize(Part):
    """Upsampling, or pixel shuffle."""

    factor: str = size("2", "enlargement of both sides")
    kind: str = text(default="nearest", choices=("nearest", "bilinear", "depth_to_space"), doc="how")

    def build(self, net: Net, parts: tuple[Feature, ...], sizes: Sizes, name: str) -> Feature:
        """One copy."""
        if self.kind == "depth_to_space":
            return net.depth_to_space(parts[0], sizes(self.factor), name=name)
        return net.upsample(parts[0], sizes(self.factor), bilinear=self.kind == "bilinear", name=name)


@dataclass(frozen=True, kw_only=True)
class Reshape(Part):
    """Another view of the same data; free."""

    to: str = text(default="vector", choices=("vector", "tokens"), doc="one vector, or a token per position")

    def build(self, net: Net, parts: tuple[Feature, ...], sizes: Sizes, name: str) -> Feature:
        """No op."""
        return parts[0].flat() if self.to == "vector" else parts[0].tokens()


@dataclass(frozen=True, kw_only=True)
class Attention(Part):
    """Self attention with its projections, without norm and residual."""

    heads: str = size(doc="heads")
    head_dim: str = size("0", "width of a head; 0: channels / heads")
    bias: bool = flag(default=True, doc="bias on the query, key and value projections")

    def build(self, net: Net, parts: tuple[Feature, ...], sizes: Sizes, name: str) -> Feature:
        """Query, key and value in one product, attention, output."""
        heads = sizes(self.heads)
        width = sizes(self.head_dim) if self.head_dim != "0" else share_of(heads, parts[0].channels)
        with net.scope(name):
            y = net.linear(parts[0], 3 * heads * width, bias=self.bias, name="qkv")
            y = net.attend(y, heads=heads, head_dim=width)
            return net.linear(y, parts[0].channels, name="out")


@dataclass(frozen=True, kw_only=True)
class SqueezeExcite(Part):
    """Channel attention."""

    squeezed: str = size(doc="channels between the two layers")
    act: str = text(default="relu", choices=tuple(ACTIVATIONS), doc="activation between them")
    gate: str = text(default="sigmoid", choices=tuple(ACTIVATIONS), doc="activation of the factor")

    def build(self, net: Net, parts: tuple[Feature, ...], sizes: Sizes, name: str) -> Feature:
        """Pool, two products, scale."""
        squeezed = sizes(self.squeezed)
        return blocks.squeeze_excite(net, parts[0], squeezed, act=self.act, gate=self.gate, name=name)


@dataclass(frozen=True, kw_only=True)
class Residual(Part):
    """ResNet block: basic (two 3x3) or bottleneck (1x1, 3x3, 1x1)."""

    out: str = size(doc="output channels")
    stride: str = size("1", "stride of the first 3x3 convolution")
    ratio: str = size("4", "out / inner channels of a bottleneck")
    groups: str = size("1", "groups of the 3x3 convolution")
    kind: str = text(default="bottleneck", choices=("basic", "bottleneck"), doc="block type")
    act: str = text(default="relu", choices=tuple(ACTIVATIONS), doc="activation")

    def build(self, net: Net, parts: tuple[Feature, ...], sizes: Sizes, name: str) -> Feature:
        """Two or three convolutions and the addition."""
        with net.scope(name):
            return blocks.residual_block(
                net, parts[0], sizes(self.out), sizes(self.stride), basic=self.kind == "basic",
                inner=sizes(self.out) / sizes(self.ratio), groups=sizes(self.groups), act=self.act,
            )


@dataclass(frozen=True, kw_only=True)
class MBConv(Part):
    """Inverted residual."""

    out: str = size(doc="output channels")
    expand: str = size("6", "hidden / input channels; 1: no expansion layer")
    expand_always: bool = flag(default=False, doc="an expansion layer even where expand is 1")
    kernel: str = size("3", "kernel of the depthwise convolution")
    stride: str = size("1", "stride of the depthwise convolution")
    squeezed: str = size("0", "channels of the channel attention; 0: none")
    fused: bool = flag(default=False, doc="one dense convolution in place of expansion and depthwise")
    skip: bool = flag(default=True, doc="addition where the shape stays")
    act: str = text(default="relu6", choices=tuple(ACTIVATIONS), doc="activation")

    def build(self, net: Net, parts: tuple[Feature, ...], sizes: Sizes, name: str) -> Feature:
        """Expansion, depthwise, channel attention, projection; the addition where the shape stays."""
        x, out, stride, kernel = parts[0], sizes(self.out), sizes(self.stride), sizes(self.kernel)
        hidden = sizes(self.expand) * x.channels
        residual = self.skip and blocks.equal(stride, 1) and blocks.equal(out, x.channels)
        if self.fused:
            with net.scope(name):
                y = net.conv(x, hidden, kernel, stride, act=self.act, name="expand")
                y = net.conv(y, out, 1, act="none", name="project")
                return net.combine(y, x) if residual else y
        return blocks.inverted_residual(
            net, x, out, hidden, kernel, stride, act=self.act,
            expand=self.expand != "1" or self.expand_always, squeezed=sizes(self.squeezed),
            se_act=self.act, se_gate="sigmoid",
            residual=residual, name=name,
        )


@dataclass(frozen=True, kw_only=True)
class Csp(Part):
    """Cross-stage partial block of the YOLO family: c2f (YOLOv8) or c3 (YOLOv5)."""

    out: str = size(doc="output channels")
    depth: str = size("1", "bottlenecks")
    kind: str = text(default="c2f", choices=("c2f", "c3"), doc="block type")
    residual: bool = flag(default=True, doc="bottlenecks add their input")

    def build(self, net: Net, parts: tuple[Feature, ...], sizes: Sizes, name: str) -> Feature:
        """Split, bottlenecks, join."""
        block = yolo_blocks.c2f if self.kind == "c2f" else yolo_blocks.c3
        return block(net, parts[0], sizes(self.out), int(sizes(self.depth)), self.residual, name=name)


@dataclass(frozen=True, kw_only=True)
class Encoder(Part):
    """Pre-norm transformer encoder layer."""

    heads: str = size(doc="heads")
    mlp: str = size("4*channels", "inner width of the feed-forward part")
    act: str = text(default="gelu", choices=tuple(ACTIVATIONS), doc="activation")
    qkv_bias: bool = flag(default=True, doc="bias on the query, key and value projections")

    def build(self, net: Net, parts: tuple[Feature, ...], sizes: Sizes, name: str) -> Feature:
        """Attention and feed-forward part, each with norm and addition."""
        with net.scope(name):
            return blocks.encoder_layer(net, parts[0], sizes(self.heads), sizes(self.mlp), act=self.act,
                                        qkv_bias=self.qkv_bias)
