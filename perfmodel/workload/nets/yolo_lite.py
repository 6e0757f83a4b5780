"""YOLOv6-Lite: a mobile detector of shuffled inverted blocks with channel attention."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.spec import quantity, text
from perfmodel.workload.nets.blocks import squeeze_excite
from perfmodel.workload.nets.builder import Feature, Net
from perfmodel.workload.nets.image import Image

SWISH = "hardswish"
#: size -> width multiplier
LITE_SCALES = {"s": 0.7, "m": 1.1, "l": 1.5}


@dataclass(frozen=True, kw_only=True)
class YoloV6Lite(Image):
    """YOLOv6-Lite S, M and L; network without decoding and non-maximum suppression [1].

    [1] Published code https://github.com/meituan/YOLOv6, release 0.4, configs/yolov6_lite.
    """

    height: Value = quantity("count", default=320.0, doc="input rows")
    scale: str = text(default="s", choices=tuple(LITE_SCALES), doc="size")
    classes: Value = quantity("count", default=80.0, doc="classes; COCO has 80")

    def build(self, net: Net, x: Feature) -> None:
        """Backbone, neck, head of four levels."""
        maps = self.backbone(net, x)
        for index, level in enumerate(self.neck(net, maps)):
            with net.scope(f"detect{index}"):
                y = self.separable(net, level, level.channels, "stem")
                kind = self.separable(net, y, y.channels, "class_conv")
                net.conv(kind, self.classes, 1, norm=False, act="none", name="class")
                box = self.separable(net, y, y.channels, "box_conv")
                net.conv(box, 4, 1, norm=False, act="none", name="box")

    def backbone(self, net: Net, x: Feature) -> list[Feature]:
        """Maps of stride 8, 16 and 32."""
        x = net.conv(x, 24, 3, 2, act=SWISH, name="stem")
        maps = []
        for index, (out, depth) in enumerate(zip((32, 64, 128, 256), (1, 3, 7, 3), strict=True)):
            width = rounded(out * LITE_SCALES[self.scale], 16)
            inner = rounded(width // 2, 8)
            with net.scope(f"stage{index + 1}"):
                with net.scope("0"):
                    x = self.shrink(net, x, inner, width)
                if depth > 1:
                    with net.scope("rest", depth - 1):
                        x = self.keep(net, x, inner)
            maps.append(x)
        return maps[1:]

    def shrink(self, net: Net, x: Feature, inner: float, out: float) -> Feature:
        """Strided block: a depthwise branch and an inverted one with attention, then a separable layer."""
        a = net.depthwise(x, 3, 2, act="none", name="left")
        a = net.conv(a, out / 2, 1, act=SWISH, name="left_out")
        b = net.conv(x, inner // 2, 1, act=SWISH, name="expand")
        b = squeeze_excite(net, net.depthwise(b, 3, 2, act="none"), inner // 2 // 4)
        b = net.conv(b, out / 2, 1, act=SWISH, name="project")
        y = net.depthwise(net.concat(a, b), 3, act=SWISH, name="join_depthwise")
        return net.conv(y, out, 1, act=SWISH, name="join")

    def keep(self, net: Net, x: Feature, inner: float) -> Feature:
        """Half of the channels through an inverted block with attention, then a shuffle."""
        half = x.reshaped(x.channels / 2, x.height, x.width)
        y = net.conv(half, inner, 1, act=SWISH, name="expand")
        y = squeeze_excite(net, net.depthwise(y, 3, act="none"), inner // 4)
        y = net.conv(y, x.channels / 2, 1, act=SWISH, name="project")
        return net.copy(net.concat(half, y), name="shuffle")

    def separable(self, net: Net, x: Feature, out: Value, name: str, stride: int = 1) -> Feature:
        """5x5 depthwise and 1x1 convolution, both with bias and norm."""
        y = net.depthwise(x, 5, stride, act=SWISH, bias=True, name=f"{name}_depthwise")
        return net.conv(y, out, 1, act=SWISH, bias=True, name=name)

    def partial(self, net: Net, x: Feature, name: str) -> Feature:
        """Cross-stage partial block of 96 channels."""
        with net.scope(name):
            a = net.conv(x, 48, 1, act=SWISH, name="conv1")
            a = self.separable(net, net.conv(a, 48, 1, act=SWISH, name="inner"), 48, "block")
            b = net.conv(x, 48, 1, act=SWISH, name="conv2")
            return net.conv(net.concat(a, b), 96, 1, act=SWISH, name="conv3")

    def neck(self, net: Net, maps: list[Feature]) -> list[Feature]:
        """Path up and down on 96 channels, and a fourth level."""
        c3, c4, c5 = (net.conv(m, 96, 1, act=SWISH, name=f"reduce{i}") for i, m in enumerate(maps))
        p4 = self.partial(net, net.concat(net.upsample(c5, name="up5"), c4), "path4")
        n3 = self.partial(net, net.concat(net.upsample(p4, name="up4"), c3), "path3")
        n4 = self.partial(net, net.concat(self.separable(net, n3, 96, "down4", 2), p4), "out4")
        n5 = self.partial(net, net.concat(self.separable(net, n4, 96, "down5", 2), c5), "out5")
        n6 = net.combine(self.separable(net, c5, 96, "top6", 2), self.separable(net, n5, 96, "down6", 2))
        return [n3, n4, n5, n6]


def rounded(channels: float, by: int) -> float:
    """Nearest multiple, never more than 10 % down."""
    found = max(by, int(channels + by / 2) // by * by)
    return float(found + by if found < 0.9 * channels else found)
