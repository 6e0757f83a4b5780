"""EfficientNet and EfficientNetV2."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from perfmodel.algebra import Value
from perfmodel.spec import flag, text
from perfmodel.workload.nets.blocks import inverted_residual, stage
from perfmodel.workload.nets.builder import Feature, Net
from perfmodel.workload.nets.image import Classifier, divisible

#: fused, expansion, kernel, stride, in, out, depth [arXiv:1905.11946 table 1; arXiv:2104.00298 table 4]
EFFICIENT_V1 = [
    (0, 1, 3, 1, 32, 16, 1), (0, 6, 3, 2, 16, 24, 2), (0, 6, 5, 2, 24, 40, 2), (0, 6, 3, 2, 40, 80, 3),
    (0, 6, 5, 1, 80, 112, 3), (0, 6, 5, 2, 112, 192, 4), (0, 6, 3, 1, 192, 320, 1),
]
EFFICIENT_V2 = {
    "v2-s": [(1, 1, 3, 1, 24, 24, 2), (1, 4, 3, 2, 24, 48, 4), (1, 4, 3, 2, 48, 64, 4),
             (0, 4, 3, 2, 64, 128, 6), (0, 6, 3, 1, 128, 160, 9), (0, 6, 3, 2, 160, 256, 15)],
    "v2-m": [(1, 1, 3, 1, 24, 24, 3), (1, 4, 3, 2, 24, 48, 5), (1, 4, 3, 2, 48, 80, 5),
             (0, 4, 3, 2, 80, 160, 7), (0, 6, 3, 1, 160, 176, 14), (0, 6, 3, 2, 176, 304, 18),
             (0, 6, 3, 1, 304, 512, 5)],
    "v2-l": [(1, 1, 3, 1, 32, 32, 4), (1, 4, 3, 2, 32, 64, 7), (1, 4, 3, 2, 64, 96, 7),
             (0, 4, 3, 2, 96, 192, 10), (0, 6, 3, 1, 192, 224, 19), (0, 6, 3, 2, 224, 384, 25),
             (0, 6, 3, 1, 384, 640, 7)],
}
#: variant -> width and depth multiplier
EFFICIENT_SCALE = {
    "b0": (1.0, 1.0), "b1": (1.0, 1.1), "b2": (1.1, 1.2), "b3": (1.2, 1.4), "b4": (1.4, 1.8),
    "b5": (1.6, 2.2), "b6": (1.8, 2.6), "b7": (2.0, 3.1),
}


@dataclass(frozen=True, kw_only=True)
class EfficientNet(Classifier):
    """EfficientNet, arXiv:1905.11946, and EfficientNetV2, arXiv:2104.00298.

    lite: ReLU6, no channel attention, stem and head not scaled.
    """

    variant: str = text(
        default="b0", choices=(*EFFICIENT_SCALE, *EFFICIENT_V2), doc="b0 to b7, v2-s, v2-m, v2-l"
    )
    lite: bool = flag(default=False, doc="EfficientNet-Lite")

    def build(self, net: Net, x: Feature) -> None:
        """Stem, stages, 1x1, head."""
        x = self.trunk(net, x)[-1]
        last = 1280 if self.lite or self.variant.startswith("v2") else 4 * x.channels
        x = net.conv(x, last, 1, act="relu6" if self.lite else "silu", name="last")
        net.linear(net.global_pool(x), self.classes, name="head")

    def trunk(self, net: Net, x: Feature) -> list[Feature]:
        """Output of each stage."""
        wide, deep = EFFICIENT_SCALE.get(self.variant, (1.0, 1.0))
        plan = EFFICIENT_V2.get(self.variant, EFFICIENT_V1)
        act = "relu6" if self.lite else "silu"
        x = net.conv(x, 32 if self.lite else divisible(plan[0][4] * wide), 3, 2, act=act, name="stem")
        found = []
        for index, (fused, expand, kernel, stride, _, out, depth) in enumerate(plan):
            layers = depth if self.lite and index in (0, len(plan) - 1) else math.ceil(depth * deep)
            block = partial(self.block, net, divisible(out * wide), fused, expand, kernel, stride)
            x = stage(net, x, layers, block, f"stage{index + 1}")
            found.append(x)
        return found

    def block(
        self, net: Net, out: float, fused: int, expand: int, kernel: int, stride: int, x: Feature, first: bool
    ) -> Feature:
        """MBConv, or the fused form with one dense 3x3 convolution."""
        stride = stride if first else 1
        residual, act = stride == 1 and x.channels == out, "relu6" if self.lite else "silu"
        if fused:
            return fused_residual(net, x, out, expand, kernel, stride, act, residual)
        return inverted_residual(
            net, x, out, divisible(x.channels * expand), kernel, stride, act=act, expand=expand != 1,
            squeezed=0 if self.lite else max(1, x.channels // 4), se_act="silu", se_gate="sigmoid",
            residual=residual,
        )


def fused_residual(
    net: Net, x: Feature, out: Value, expand: Value, kernel: int, stride: int, act: str, residual: bool
) -> Feature:
    """Fused MBConv: dense convolution to the hidden width, then 1x1; one convolution where expand is 1."""
    with net.scope("block"):
        if expand == 1:
            y = net.conv(x, out, kernel, stride, act=act)
        else:
            y = net.conv(x, divisible(x.channels * expand), kernel, stride, act=act, name="expand")
            y = net.conv(y, out, 1, act="none", name="project")
        return net.combine(y, x) if residual else y
