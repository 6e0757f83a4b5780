"""YOLOv6 as deployed: re-parameterised 3x3 convolutions in sequence, pyramid up and down, decoupled head."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.spec import flag, quantity, text
from perfmodel.workload.nets.builder import Feature, Net
from perfmodel.workload.nets.image import Image
from perfmodel.workload.nets.yolo_blocks import detect, sppf

#: scale -> depth and width multiplier, share of channels in the cross-stage blocks (0: plain stacks), bins
V6_SCALES = {
    "n": (0.33, 0.25, 0.0, 0), "t": (0.25, 0.5, 0.0, 0), "s": (0.33, 0.5, 0.0, 0),
    "m": (0.6, 0.75, 2 / 3, 16), "l": (1.0, 1.0, 0.5, 16),
}


@dataclass(frozen=True, kw_only=True)
class YoloV6(Image):
    """YOLOv6 N, T, S, M, L, and with a fourth level for 1280 pixels N6, S6, M6, L6 [1].

    Counted as deployed: the branches of a block are merged into one 3x3 convolution with a bias.
    Release 0.2 has a path up and down; release 0.4 joins three maps at every step up.
    [1] Li et al., arXiv:2209.02976 and arXiv:2301.05586.
    """

    height: Value = quantity("count", default=640.0, doc="input rows")
    scale: str = text(default="s", choices=tuple(V6_SCALES), doc="size")
    release: str = text(default="0.2", choices=("0.2", "0.4"), doc="release of the published code")
    six: bool = flag(default=False, doc="fourth level, for 1280 x 1280, release 0.4")
    relu: bool = flag(default=False, doc="ReLU in the large size, which has SiLU otherwise")
    classes: Value = quantity("count", default=80.0, doc="classes; COCO has 80")
    depth_multiplier: Value | None = quantity("1", default=None, doc="instead of that of the size")
    width_multiplier: Value | None = quantity("1", default=None, doc="instead of that of the size")
    head: str = text(default="own", choices=("own", "decoupled"), doc="own head, or that of YOLOv8")

    def build(self, net: Net, x: Feature) -> None:
        """Backbone, neck, head."""
        maps = self.backbone(net, x)
        if self.six:
            levels = self.join_neck(net, maps, (512, 256, 128), (256, 512, 1024))
        elif self.release == "0.4":
            levels = self.join_neck(net, maps, (256, 128), (256, 512))
        else:
            levels = self.neck(net, maps)
        if self.head == "decoupled":
            detect(net, levels, self.classes)
            return
        bins = V6_SCALES[self.scale][3]
        for index, level in enumerate(levels):
            with net.scope(f"detect{index}"):
                y = self.conv(net, level, level.channels, 1, act="silu", name="stem")
                kind = self.conv(net, y, y.channels, 3, act="silu", name="class_conv")
                net.conv(kind, self.classes, 1, norm=False, act="none", name="class")
                box = self.conv(net, y, y.channels, 3, act="silu", name="box_conv")
                net.conv(box, 4 * (bins + 1), 1, norm=False, act="none", name="box")

    @property
    def act(self) -> str:
        """Activation of the blocks."""
        return "silu" if self.scale == "l" and not self.relu else "relu"

    def wide(self, channels: float) -> float:
        """Scaled channels: a multiple of 8, rounded up."""
        multiplier = V6_SCALES[self.scale][1] if self.width_multiplier is None else self.width_multiplier
        return float(-(-channels * multiplier // 8) * 8)

    def depth(self, repeats: int) -> int:
        """Scaled number of repetitions."""
        multiplier = V6_SCALES[self.scale][0] if self.depth_multiplier is None else self.depth_multiplier
        return max(round(repeats * multiplier), 1)

    def conv(
        self, net: Net, x: Feature, out: float, kernel: int, stride: int = 1, *, act: str = "relu", name: str
    ) -> Feature:
        """Convolution with the norm merged into its bias."""
        return net.conv(x, out, kernel, stride, norm=False, act=act, name=name)

    def stack(self, net: Net, x: Feature, out: float, repeats: int, name: str) -> Feature:
        """Plain convolutions in a row, or a cross-stage block of pairs with scaled shortcuts."""
        number, share = self.depth(repeats), V6_SCALES[self.scale][2]
        with net.scope(name):
            if not share:
                for index in range(number):
                    x = self.conv(net, x, out, 3, name=f"conv{index}")
                return x
            inner = float(int(out * share))
            act = self.act
            a = self.conv(net, x, inner, 1, act=act, name="conv1")
            b = self.conv(net, x, inner, 1, act=act, name="conv2")
            with net.scope("pair", max(number // 2, 1)):
                y = self.conv(net, a, inner, 3, act=act, name="first")
                y = self.conv(net, y, inner, 3, act=act, name="second")
                a = net.combine(y, a, parameters=1, operations=2)
            return self.conv(net, net.concat(a, b), out, 1, act=act, name="conv3")

    def backbone(self, net: Net, x: Feature) -> list[Feature]:
        """Maps of stride 4 and more."""
        widths = (128, 256, 512, 768, 1024) if self.six else (128, 256, 512, 1024)
        repeats = (6, 12, 18, 6, 6) if self.six else (6, 12, 18, 6)
        x = self.conv(net, x, self.wide(64), 3, 2, act=self.act, name="stem")
        maps = []
        for index, (width, depth) in enumerate(zip(widths, repeats, strict=True)):
            x = self.conv(net, x, self.wide(width), 3, 2, act=self.act, name=f"reduce{index + 2}")
            x = self.stack(net, x, self.wide(width), depth, f"stage{index + 2}")
            maps.append(x)
        if (self.six or self.release == "0.4") and not V6_SCALES[self.scale][2]:
            maps[-1] = self.pyramid_pool(net, x)
        else:
            maps[-1] = sppf(net, x, x.channels, act=self.act, norm=False)
        return maps

    def pyramid_pool(self, net: Net, x: Feature) -> Feature:
        """Cross-stage spatial pyramid pooling."""
        half = x.channels / 2
        with net.scope("pool"):
            y = self.conv(net, self.conv(net, x, half, 1, name="conv1"), half, 3, name="conv3")
            parts = [self.conv(net, y, half, 1, name="conv4")]
            for _ in range(3):
                parts.append(net.pool(parts[-1], 5, 1))
            y = self.conv(net, net.concat(*parts), half, 1, name="conv5")
            y = self.conv(net, y, half, 3, name="conv6")
            return self.conv(net, net.concat(self.conv(net, x, half, 1, name="conv2"), y), x.channels, 1,
                             name="conv7")

    def neck(self, net: Net, maps: list[Feature]) -> list[Feature]:
        """Path aggregation over three levels."""
        _, c3, c4, c5 = maps
        p5 = self.conv(net, c5, self.wide(256), 1, name="neck.reduce0")
        y = net.concat(net.upconv(p5, p5.channels, name="neck.up0"), c4)
        y = self.stack(net, y, self.wide(256), 12, "neck.p4")
        p4 = self.conv(net, y, self.wide(128), 1, name="neck.reduce1")
        y = net.concat(net.upconv(p4, p4.channels, name="neck.up1"), c3)
        n3 = self.stack(net, y, self.wide(128), 12, "neck.p3")
        y = self.conv(net, n3, self.wide(128), 3, 2, name="neck.down2")
        n4 = self.stack(net, net.concat(y, p4), self.wide(256), 12, "neck.n3")
        y = self.conv(net, n4, self.wide(256), 3, 2, name="neck.down1")
        n5 = self.stack(net, net.concat(y, p5), self.wide(512), 12, "neck.n4")
        return [n3, n4, n5]

    def join_neck(
        self, net: Net, maps: list[Feature], ups: tuple[int, ...], downs: tuple[int, ...]
    ) -> list[Feature]:
        """Path up that joins the coarser, the same and the finer map at every step, then a path down."""
        kept, x = [], maps[-1]
        for index, width in enumerate(ups):
            out = self.wide(width)
            top = self.conv(net, x, out, 1, name=f"neck.reduce{index}")
            kept.append(top)
            with net.scope(f"neck.fuse{index}"):
                same = self.conv(net, maps[-2 - index], out, 1, name="same")
                finer = self.conv(net, maps[-3 - index], out, 1, name="finer")
                finer = self.conv(net, finer, out, 3, 2, name="down")
                x = net.concat(net.upconv(top, out), same, finer)
                x = self.conv(net, x, out, 1, name="join")
            x = self.stack(net, x, out, 12, f"neck.up{index}")
        levels = [x]
        for index, width in enumerate(downs):
            y = self.conv(net, x, x.channels, 3, 2, name=f"neck.down{index}")
            x = self.stack(net, net.concat(y, kept[-1 - index]), self.wide(width), 12, f"neck.out{index}")
            levels.append(x)
        return levels
