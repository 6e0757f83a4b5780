"""Mobile networks of inverted residuals: MobileNet V1 to V3 and MnasNet."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.spec import flag, quantity, text
from perfmodel.workload.nets.blocks import inverted_residual
from perfmodel.workload.nets.builder import Feature, Net
from perfmodel.workload.nets.image import Classifier, divisible


@dataclass(frozen=True, kw_only=True)
class MobileNetV1(Classifier):
    """MobileNet, arXiv:1704.04861."""

    multiplier: Value = quantity("1", default=1.0, doc="width multiplier")

    def build(self, net: Net, x: Feature) -> None:
        """Stem, 13 depthwise separable convolutions, head."""
        x = self.trunk(net, x)[-1]
        net.linear(net.global_pool(x), self.classes, name="head")

    def trunk(self, net: Net, x: Feature) -> list[Feature]:
        """Output of each layer."""
        x = net.conv(x, divisible(32 * self.multiplier), 3, 2, act="relu6", name="stem")
        found = []
        plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5]
        plan += [(1024, 2), (1024, 1)]
        for index, (out, stride) in enumerate(plan):
            with net.scope(f"layer{index + 1}"):
                x = net.depthwise(x, 3, stride, act="relu6")
                x = net.conv(x, divisible(out * self.multiplier), 1, act="relu6", name="pointwise")
            found.append(x)
        return found


@dataclass(frozen=True, kw_only=True)
class MobileNetV2(Classifier):
    """MobileNetV2, arXiv:1801.04381."""

    multiplier: Value = quantity("1", default=1.0, doc="width multiplier")

    def build(self, net: Net, x: Feature) -> None:
        """Stem, inverted residuals, 1x1 to 1280, head."""
        x = self.trunk(net, x)[-1]
        x = net.conv(x, divisible(1280 * max(1.0, self.multiplier)), 1, act="relu6", name="last")
        net.linear(net.global_pool(x), self.classes, name="head")

    def trunk(self, net: Net, x: Feature) -> list[Feature]:
        """Output of each block."""
        x = net.conv(x, divisible(32 * self.multiplier), 3, 2, act="relu6", name="stem")
        plan = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
                (6, 320, 1, 1)]
        found = []
        for index, (expand, out, depth, stride) in enumerate(plan):
            width = divisible(out * self.multiplier)
            for layer in range(depth):
                step = stride if layer == 0 else 1
                x = inverted_residual(
                    net, x, width, expand * x.channels, 3, step, expand=expand != 1,
                    residual=step == 1 and x.channels == width, name=f"stage{index + 1}.{layer}",
                )
                found.append(x)
        return found


#: kernel, hidden, out, channel attention, hard swish, stride [arXiv:1905.02244, tables 1 and 2]
V3_LARGE = [
    (3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1), (5, 72, 40, 1, 0, 2),
    (5, 120, 40, 1, 0, 1), (5, 120, 40, 1, 0, 1), (3, 240, 80, 0, 1, 2), (3, 200, 80, 0, 1, 1),
    (3, 184, 80, 0, 1, 1),
    (3, 184, 80, 0, 1, 1), (3, 480, 112, 1, 1, 1), (3, 672, 112, 1, 1, 1), (5, 672, 160, 1, 1, 2),
    (5, 960, 160, 1, 1, 1), (5, 960, 160, 1, 1, 1),
]
V3_SMALL = [
    (3, 16, 16, 1, 0, 2), (3, 72, 24, 0, 0, 2), (3, 88, 24, 0, 0, 1), (5, 96, 40, 1, 1, 2),
    (5, 240, 40, 1, 1, 1), (5, 240, 40, 1, 1, 1), (5, 120, 48, 1, 1, 1), (5, 144, 48, 1, 1, 1),
    (5, 288, 96, 1, 1, 2),
    (5, 576, 96, 1, 1, 1), (5, 576, 96, 1, 1, 1),
]


@dataclass(frozen=True, kw_only=True)
class MobileNetV3(Classifier):
    """MobileNetV3, arXiv:1905.02244.  `minimal`: 3x3 kernels, ReLU, no channel attention."""

    size: str = text(default="large", choices=("large", "small"), doc="large or small")
    multiplier: Value = quantity("1", default=1.0, doc="width multiplier")
    minimal: bool = flag(default=False, doc="minimalistic variant")

    def build(self, net: Net, x: Feature) -> None:
        """Trunk, 1x1 to six times the width, two linear layers."""
        swish = "relu" if self.minimal else "hardswish"
        x = self.trunk(net, x)[-1]
        x = net.conv(x, 6 * x.channels, 1, act=swish, name="last")
        x = net.linear(net.global_pool(x), self.last_width(), act=swish, name="last_linear")
        net.linear(x, self.classes, name="head")

    def last_width(self) -> float:
        """Width of the linear layer before the head."""
        return divisible((1280 if self.size == "large" else 1024) * self.multiplier)

    def trunk(self, net: Net, x: Feature, tail: int = 1) -> list[Feature]:
        """Output of the stem and of each block.  tail: divides the widths of the last three blocks."""
        swish = "relu" if self.minimal else "hardswish"
        x = net.conv(x, divisible(16 * self.multiplier), 3, 2, act=swish, name="stem")
        found = [x]
        plan = V3_LARGE if self.size == "large" else V3_SMALL
        for index, (kernel, hidden, out, attention, hard, stride) in enumerate(plan):
            cut = tail if index >= len(plan) - 3 else 1
            cut_hidden = tail if index >= len(plan) - 2 else 1
            wide = divisible(hidden / cut_hidden * self.multiplier)
            width = divisible(out / cut * self.multiplier)
            squeezed = divisible(wide / 4) if attention and not self.minimal else 0
            x = inverted_residual(
                net, x, width, wide, 3 if self.minimal else kernel, stride, act=swish if hard else "relu",
                expand=wide != x.channels, squeezed=squeezed,
                residual=stride == 1 and x.channels == width, name=f"block{index + 1}",
            )
            found.append(x)
        return found


@dataclass(frozen=True, kw_only=True)
class MnasNet(Classifier):
    """MnasNet-B1, arXiv:1807.11626."""

    multiplier: Value = quantity("1", default=1.0, doc="width multiplier")

    def build(self, net: Net, x: Feature) -> None:
        """Stem with a separable convolution, inverted residuals, 1x1 to 1280, head."""
        widths = [divisible(w * self.multiplier) for w in (32, 16, 24, 40, 80, 96, 192, 320)]
        x = net.conv(x, widths[0], 3, 2, name="stem")
        x = net.conv(net.depthwise(x, 3), widths[1], 1, act="none", name="pointwise")
        plan = [(3, 3, 2, 3), (3, 5, 2, 3), (6, 5, 2, 3), (6, 3, 1, 2), (6, 5, 2, 4), (6, 3, 1, 1)]
        for index, (expand, kernel, stride, depth) in enumerate(plan):
            for layer in range(depth):
                out, step = widths[index + 2], stride if layer == 0 else 1
                x = inverted_residual(
                    net, x, out, expand * x.channels, kernel, step, act="relu",
                    residual=step == 1 and x.channels == out, name=f"stage{index + 1}.{layer}",
                )
        x = net.conv(x, 1280, 1, name="last")
        net.linear(net.global_pool(x), self.classes, name="head")
