"""Residual networks: ResNet, ResNeXt, Wide ResNet, with channel attention, and RegNet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from perfmodel.algebra import Value
from perfmodel.errors import ArgumentError
from perfmodel.spec import flag, numbers, quantity, text
from perfmodel.workload.nets.blocks import equal, squeeze_excite, stage
from perfmodel.workload.nets.builder import Feature, Net
from perfmodel.workload.nets.image import Classifier, divisible

#: depth -> (blocks per stage, bottleneck blocks)
DEPTHS = {
    18: ((2, 2, 2, 2), False), 34: ((3, 4, 6, 3), False), 26: ((2, 2, 2, 2), True),
    50: ((3, 4, 6, 3), True), 101: ((3, 4, 23, 3), True), 152: ((3, 8, 36, 3), True),
}


@dataclass(frozen=True, kw_only=True)
class ResNet(Classifier):
    """ResNet [1] and its variants ResNeXt [2] and Wide ResNet [3].

    [1] He et al., arXiv:1512.03385.  [2] Xie et al., arXiv:1611.05431.  [3] Zagoruyko, arXiv:1605.07146.
    """

    depth: Value = quantity("count", default=50.0, doc="number of layers: 18, 26, 34, 50, 101 or 152")
    layers: tuple[Value, ...] | None = numbers("count", default=None, doc="blocks per stage instead of depth")
    bottleneck: bool = flag(default=True, doc="block type where `layers` is given")
    groups: Value = quantity("count", default=1.0, doc="groups of the 3x3 convolutions (ResNeXt)")
    group_width: Value = quantity("count", default=64.0, doc="channels per group in the first stage")
    squeeze: Value | None = quantity("count", default=None, doc="channel attention: reduction; absent: none")
    stem: str = text(default="imagenet", choices=("imagenet", "cifar"), doc="7x7/2 and pooling, or one 3x3")

    def __post_init__(self) -> None:
        if self.layers is None and self.depth not in DEPTHS:
            raise ArgumentError("depth", self.depth, ", ".join(map(str, DEPTHS)) + ", or give `layers`")

    def build(self, net: Net, x: Feature) -> None:
        """Stem, four stages, head."""
        x = self.trunk(net, x)[-1]
        net.linear(net.global_pool(x), self.classes, name="head")

    def trunk(self, net: Net, x: Feature, strides: tuple[int, ...] = (1, 2, 2, 2)) -> list[Feature]:
        """Stem and stages; the output of each stage."""
        if self.stem == "imagenet":
            x = net.pool(net.conv(x, 64, 7, 2, name="stem"), 3, 2, padding=1, name="stem_pool")
        else:
            x = net.conv(x, 64, 3, name="stem")
        outputs = []
        for index in range(min(len(self.plan()[0]), len(strides))):
            x = self.stage(net, x, index, strides[index])
            outputs.append(x)
        return outputs

    def plan(self) -> tuple[tuple[Value, ...], bool]:
        """Blocks per stage and whether they are bottlenecks."""
        if self.layers is not None:
            return self.layers, self.bottleneck
        return DEPTHS[int(self.depth)]

    def stage(self, net: Net, x: Feature, index: int, stride: int) -> Feature:
        """One stage on its own, e.g. on the regions of a two-stage detector."""
        layers, bottleneck = self.plan()
        block = partial(self.deep if bottleneck else self.basic, net, 64.0 * 2**index, stride)
        return stage(net, x, layers[index], block, f"stage{index + 1}")

    def basic(self, net: Net, planes: Value, stride: int, x: Feature, first: bool) -> Feature:
        """Two 3x3 convolutions."""
        stride = stride if first else 1
        skip = shortcut(net, x, planes, stride)
        y = net.conv(x, planes, 3, stride, name="conv1")
        y = net.conv(y, planes, 3, act="none", name="conv2")
        return net.combine(self.attend(net, y), skip, act="relu")

    def deep(self, net: Net, planes: Value, stride: int, x: Feature, first: bool) -> Feature:
        """1x1 reduction, 3x3 (grouped), 1x1 expansion by four."""
        stride = stride if first else 1
        width = planes * self.group_width / 64.0 * self.groups
        skip = shortcut(net, x, 4 * planes, stride)
        y = net.conv(x, width, 1, name="conv1")
        y = net.conv(y, width, 3, stride, groups=self.groups, name="conv2")
        y = net.conv(y, 4 * planes, 1, act="none", name="conv3")
        return net.combine(self.attend(net, y), skip, act="relu")

    def attend(self, net: Net, x: Feature) -> Feature:
        """Channel attention where asked for."""
        if self.squeeze is None:
            return x
        return squeeze_excite(net, x, x.channels / self.squeeze, gate="sigmoid")


def shortcut(net: Net, x: Feature, out: Value, stride: int) -> Feature:
    """The input itself, or its 1x1 projection where the shape changes."""
    if stride == 1 and equal(x.channels, out):
        return x
    return net.conv(x, out, 1, stride, act="none", name="shortcut")


@dataclass(frozen=True, kw_only=True)
class RegNet(Classifier):
    """RegNet X and Y: widths on a quantised line [1].

    [1] Radosavovic et al., Designing Network Design Spaces, arXiv:2003.13678.
    """

    depth: Value = quantity("count", doc="blocks in all")
    initial_width: Value = quantity("count", doc="w0 of the width line")
    slope: Value = quantity("1", doc="wa of the width line")
    multiplier: Value = quantity("1", doc="wm, ratio of the quantised widths")
    group_width: Value = quantity("count", doc="channels per group")
    squeeze: Value | None = quantity("1", default=None, doc="channel attention ratio (RegNet Y)")
    stem_width: Value = quantity("count", default=32.0, doc="channels of the stem")

    def build(self, net: Net, x: Feature) -> None:
        """Stem, stages, head."""
        x = net.conv(x, self.stem_width, 3, 2, name="stem")
        for index, (width, depth) in enumerate(self.stages()):
            x = stage(net, x, depth, partial(self.block, net, width), f"stage{index + 1}")
        net.linear(net.global_pool(x), self.classes, name="head")

    def stages(self) -> list[tuple[float, float]]:
        """(width, blocks) of each stage: the line w0 + wa j, rounded to w0 wm^s and to multiples of 8."""
        counted: dict[float, float] = {}
        for j in range(int(self.depth)):
            power = round(math.log((self.initial_width + self.slope * j) / self.initial_width)
                          / math.log(self.multiplier))
            width = round(self.initial_width * self.multiplier**power / 8) * 8.0
            counted[width] = counted.get(width, 0.0) + 1.0
        # each width becomes a multiple of its group width
        found = []
        for width, depth in counted.items():
            group = min(self.group_width, width)
            found.append((divisible(width, int(group)), depth))
        return found

    def block(self, net: Net, width: float, x: Feature, first: bool) -> Feature:
        """1x1, grouped 3x3, channel attention, 1x1."""
        stride = 2 if first else 1
        skip = shortcut(net, x, width, stride)
        y = net.conv(x, width, 1, name="conv1")
        y = net.conv(y, width, 3, stride, groups=width / min(self.group_width, width), name="conv2")
        if self.squeeze is not None:
            y = squeeze_excite(net, y, round(self.squeeze * x.channels), gate="sigmoid")
        return net.combine(net.conv(y, width, 1, act="none", name="conv3"), skip, act="relu")
