"""Single-stage detectors of the YOLO family: v3, v4, v5, v7, v8, v10, 11, 12, one table each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.errors import ArgumentError
from perfmodel.spec import quantity, text
from perfmodel.workload.nets import yolo_blocks as blocks
from perfmodel.workload.nets import yolo_early
from perfmodel.workload.nets.builder import Feature, Net
from perfmodel.workload.nets.image import Image

#: scale -> depth multiplier, width multiplier, most channels
SCALES = {
    "v5": {"n": (0.33, 0.25, 1024), "s": (0.33, 0.5, 1024), "m": (0.67, 0.75, 1024), "l": (1, 1, 1024),
           "x": (1.33, 1.25, 1024)},
    "v8": {"n": (0.33, 0.25, 1024), "s": (0.33, 0.5, 1024), "m": (0.67, 0.75, 768), "l": (1, 1, 512),
           "x": (1, 1.25, 512)},
    "v10": {"n": (0.33, 0.25, 1024), "s": (0.33, 0.5, 1024), "m": (0.67, 0.75, 768), "b": (0.67, 1, 512),
            "l": (1, 1, 512), "x": (1, 1.25, 512)},
    "11": {"n": (0.5, 0.25, 1024), "s": (0.5, 0.5, 1024), "m": (0.5, 1, 512), "l": (1, 1, 512),
           "x": (1, 1.5, 512)},
}
SCALES["12"] = SCALES["11"]
for _early in ("v3", "v4", "v7"):
    SCALES[_early] = SCALES["v5"]

#: v10: layers (of the backbone 6, 8 and of the head 13, 19, 22) that are compact inverted blocks
COMPACT = {"n": {22: "cib_large"}, "s": {8: "cib_large", 22: "cib_large"},
           "m": {8: "cib", 19: "cib", 22: "cib"},
           "b": {8: "cib", 13: "cib", 19: "cib", 22: "cib"}, "l": {8: "cib", 13: "cib", 19: "cib", 22: "cib"},
           "x": {6: "cib", 8: "cib", 13: "cib", 19: "cib", 22: "cib"}}


@dataclass(frozen=True, kw_only=True)
class Yolo(Image):
    """YOLO v3 to v5, v7, v8, v10, 11 and 12, network without decoding and non-maximum suppression.

    v3, v4 and v7 have the widths and depths of v5, as in arXiv:2307.13901.

    head  ``anchor``: one 1x1 layer with three anchors per level (v5 as published);
          ``decoupled``: box and class branches with a distribution over 16 bins per side
    """

    height: Value = quantity("count", default=640.0, doc="input rows")
    version: str = text(default="v8", choices=tuple(SCALES), doc="architecture")
    scale: str = text(default="n", choices=("n", "s", "m", "b", "l", "x"), doc="size")
    classes: Value = quantity("count", default=80.0, doc="classes; COCO has 80")
    depth_multiplier: Value | None = quantity("1", default=None, doc="instead of that of the size")
    width_multiplier: Value | None = quantity("1", default=None, doc="instead of that of the size")
    most: Value | None = quantity("count", default=None, doc="most channels before scaling")
    head: str = text(default="decoupled", choices=("decoupled", "anchor"), doc="detection head")

    def __post_init__(self) -> None:
        if self.scale not in SCALES[self.version]:
            raise ArgumentError("scale", self.scale, ", ".join(SCALES[self.version]))

    def build(self, net: Net, x: Feature) -> None:
        """Backbone, neck and head."""
        levels = TABLES[self.version](Stack(net, self, x))
        if self.head == "anchor":
            for index, level in enumerate(levels):
                net.conv(level, 3 * (self.classes + 5), 1, norm=False, act="none", name=f"detect{index}")
            return
        light = self.version in ("v10", "11", "12")
        blocks.detect(net, levels, self.classes, light=light, branches=2 if self.version == "v10" else 1)


class Stack:
    """Layers by number, as the published tables count them, with channels and depths scaled."""

    def __init__(self, net: Net, yolo: Yolo, x: Feature) -> None:
        self.net, self.x, self.scale = net, x, yolo.scale
        deep, wide, most = SCALES[yolo.version][yolo.scale]
        self.deep = deep if yolo.depth_multiplier is None else yolo.depth_multiplier
        self.wide = wide if yolo.width_multiplier is None else yolo.width_multiplier
        self.most = most if yolo.most is None else yolo.most
        self.layers: list[Feature] = []
        self.compact = COMPACT[yolo.scale] if yolo.version == "v10" else {}

    def width(self, channels: int) -> float:
        """Scaled channels: a multiple of 8, rounded up."""
        return float(-(-min(channels, self.most) * self.wide // 8) * 8)

    def depth(self, repeats: int) -> int:
        """Scaled number of repetitions."""
        return max(round(repeats * self.deep), 1) if repeats > 1 else repeats

    @property
    def label(self) -> str:
        """Name of the next layer."""
        return f"layer{len(self.layers)}"

    def keep(self, x: Feature) -> Stack:
        """Take x as the next layer."""
        self.layers.append(x)
        self.x = x
        return self

    def conv(self, out: int, kernel: int = 3, stride: int = 2) -> Stack:
        """Convolution."""
        padding = 2 if kernel == 6 else "same"
        return self.keep(self.net.conv(self.x, self.width(out), kernel, stride, padding=padding, act="silu",
                                       name=self.label))

    def down(self, out: int) -> Stack:
        """Spatial-channel decoupled downsampling."""
        return self.keep(blocks.scdown(self.net, self.x, self.width(out), self.label))

    def c3(self, out: int, repeats: int, residual: bool = True) -> Stack:
        """Block of v5."""
        return self.keep(blocks.c3(self.net, self.x, self.width(out), self.depth(repeats), residual,
                                   name=self.label))

    def c2f(self, out: int, repeats: int, residual: bool = False) -> Stack:
        """Block of v8, or its compact form in v10."""
        inner = self.compact.get(len(self.layers), "bottleneck")
        return self.keep(blocks.c2f(self.net, self.x, self.width(out), self.depth(repeats), residual,
                                    inner=inner, name=self.label))

    def c3k2(self, out: int, repeats: int, deep: bool, ratio: float = 0.5) -> Stack:
        """Block of 11: c3k inside where `deep` or in the sizes m, l, x."""
        inner = "c3k" if deep or self.scale in "mlx" else "half"
        return self.keep(blocks.c2f(self.net, self.x, self.width(out), self.depth(repeats), True, inner=inner,
                                    ratio=ratio, name=self.label))

    def area(self, out: int, repeats: int, areas: int) -> Stack:
        """Block of 12; areas 0: c3k inside."""
        large = self.scale in "lx"
        return self.keep(blocks.area_block(
            self.net, self.x, self.width(out), self.depth(repeats), max(areas, 1), attention=areas > 0,
            ratio=1.2 if large else 2.0, scaled=large, name=self.label))

    def sppf(self, out: int) -> Stack:
        """Spatial pyramid pooling."""
        return self.keep(blocks.sppf(self.net, self.x, self.width(out), name=self.label))

    def psa(self, repeats: int = 1) -> Stack:
        """Partial self attention."""
        return self.keep(blocks.psa(self.net, self.x, self.depth(repeats), self.label))

    def up(self) -> Stack:
        """Nearest upsampling by two."""
        return self.keep(self.net.upsample(self.x, name=self.label))

    def take(self, layer: int) -> Stack:
        """Go on from an earlier layer, which does not count as a new one."""
        self.x = self.layers[layer]
        return self

    def bottleneck(self, out: int, repeats: int = 1, residual: bool = True) -> Stack:
        """1x1 to half of the width, 3x3, the addition; several in a row."""
        x = self.x
        with self.net.scope(self.label):
            for index in range(self.depth(repeats)):
                x = blocks.bottleneck(self.net, x, self.width(out), residual, (1, 3), 0.5, f"m{index}")
        return self.keep(x)

    def cat(self, layer: int) -> Stack:
        """Join with an earlier layer."""
        return self.keep(self.net.concat(self.x, self.layers[layer], name=self.label))

    def at(self, *numbers: int) -> list[Feature]:
        """Outputs of layers."""
        return [self.layers[number] for number in numbers]


def _v5(s: Stack) -> list[Feature]:
    s.conv(64, 6).conv(128).c3(128, 3).conv(256).c3(256, 6).conv(512).c3(512, 9)
    s.conv(1024).c3(1024, 3).sppf(1024)
    s.conv(512, 1, 1).up().cat(6).c3(512, 3, False).conv(256, 1, 1).up().cat(4).c3(256, 3, False)
    s.conv(256).cat(14).c3(512, 3, False).conv(512).cat(10).c3(1024, 3, False)
    return s.at(17, 20, 23)


def _v8(s: Stack) -> list[Feature]:
    s.conv(64).conv(128).c2f(128, 3, True).conv(256).c2f(256, 6, True).conv(512).c2f(512, 6, True)
    s.conv(1024).c2f(1024, 3, True).sppf(1024).up().cat(6).c2f(512, 3).up().cat(4).c2f(256, 3)
    s.conv(256).cat(12).c2f(512, 3).conv(512).cat(9).c2f(1024, 3)
    return s.at(15, 18, 21)


def _v10(s: Stack) -> list[Feature]:
    s.conv(64).conv(128).c2f(128, 3, True).conv(256).c2f(256, 6, True).down(512).c2f(512, 6, True)
    s.down(1024).c2f(1024, 3, True).sppf(1024).psa().up().cat(6).c2f(512, 3).up().cat(4).c2f(256, 3)
    s.conv(256).cat(13).c2f(512, 3).down(512).cat(10).c2f(1024, 3)
    return s.at(16, 19, 22)


def _v11(s: Stack) -> list[Feature]:
    s.conv(64).conv(128).c3k2(256, 2, False, 0.25).conv(256).c3k2(512, 2, False, 0.25)
    s.conv(512).c3k2(512, 2, True).conv(1024).c3k2(1024, 2, True).sppf(1024).psa(2)
    s.up().cat(6).c3k2(512, 2, False).up().cat(4).c3k2(256, 2, False)
    s.conv(256).cat(13).c3k2(512, 2, False).conv(512).cat(10).c3k2(1024, 2, True)
    return s.at(16, 19, 22)


def _v12(s: Stack) -> list[Feature]:
    s.conv(64).conv(128).c3k2(256, 2, False, 0.25).conv(256).c3k2(512, 2, False, 0.25)
    s.conv(512).area(512, 4, 4).conv(1024).area(1024, 4, 1)
    s.up().cat(6).area(512, 2, 0).up().cat(4).area(256, 2, 0)
    s.conv(256).cat(11).area(512, 2, 0).conv(512).cat(8).c3k2(1024, 2, True)
    return s.at(14, 17, 20)


TABLES: dict[str, Callable[[Stack], list[Feature]]] = {
    "v3": yolo_early.v3, "v4": yolo_early.v4, "v5": _v5, "v7": yolo_early.v7, "v8": _v8, "v10": _v10,
    "11": _v11, "12": _v12,
}
