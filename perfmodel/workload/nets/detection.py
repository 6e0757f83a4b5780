"""Detectors and segmentation on ResNets: RetinaNet, FCOS, Faster and Mask R-CNN, R-FCN, FCN, DeepLab."""

from __future__ import annotations

from dataclasses import dataclass, replace

from perfmodel.algebra import Value
from perfmodel.spec import flag, quantity, text
from perfmodel.workload.nets.builder import Feature, Net
from perfmodel.workload.nets.image import Image
from perfmodel.workload.nets.inception import INCEPTION_V2, InceptionV2
from perfmodel.workload.nets.resnet import ResNet


@dataclass(frozen=True, kw_only=True)
class Detector(Image):
    """Detector on a ResNet; network only, without anchors, decoding and non-maximum suppression."""

    height: Value = quantity("count", default=800.0, doc="input rows")
    depth: Value = quantity("count", default=50.0, doc="layers of the ResNet")
    classes: Value = quantity("count", default=91.0, doc="classes; COCO numbers them to 91")

    def backbone(self) -> ResNet:
        """Its backbone."""
        return ResNet(depth=self.depth)


def pyramid(
    net: Net, maps: list[Feature], *, extra: str = "", norm: bool = False, width: int = 256
) -> list[Feature]:
    """Feature pyramid: 1x1 laterals, upsampled sums, 3x3 outputs, then coarser levels [1].

    extra  ``pool``: one subsampled level; ``p5`` or ``c5``: two strided convolutions on that map
    [1] Lin et al., Feature Pyramid Networks, arXiv:1612.03144.
    """
    with net.scope("pyramid"):
        inner = [net.conv(m, width, 1, norm=norm, act="none", name=f"lateral{i}") for i, m in enumerate(maps)]
        for index in range(len(maps) - 2, -1, -1):
            up = net.upsample(inner[index + 1], inner[index].height / inner[index + 1].height,
                              name=f"up{index}")
            inner[index] = net.combine(inner[index], up, name=f"sum{index}")
        levels = [net.conv(m, width, 3, norm=norm, act="none", name=f"out{i}") for i, m in enumerate(inner)]
        if extra == "pool":
            levels.append(net.pool(levels[-1], 1, 2, padding=0, name="pool"))
        elif extra:
            source = levels[-1] if extra == "p5" else maps[-1]
            levels.append(net.conv(source, width, 3, 2, norm=False, act="none", name="p6"))
            active = net.act(levels[-1], "relu")
            levels.append(net.conv(active, width, 3, 2, norm=False, act="none", name="p7"))
        return levels


@dataclass(frozen=True, kw_only=True)
class RetinaNet(Detector):
    """RetinaNet [1] and FCOS [2]: two branches of four convolutions, shared by all pyramid levels.

    [1] arXiv:1708.02002.  [2] arXiv:1904.01355.
    """

    anchors: Value = quantity("count", default=9.0, doc="anchors per position; FCOS has 1")
    group_norm: bool = flag(default=False, doc="group norm in the branches")
    branch_bias: bool = flag(default=True, doc="bias on the convolutions of the branches")
    extra: str = text(default="p5", choices=("p5", "c5"), doc="map that the coarser levels start from")
    centre: bool = flag(default=False, doc="centre-ness output (FCOS)")

    def build(self, net: Net, x: Feature) -> None:
        """Backbone, pyramid, two branches."""
        levels = pyramid(net, self.backbone().trunk(net, x)[1:], extra=self.extra)
        for index, level in enumerate(levels):
            with net.scope(f"level{index}"):
                y = self.branch(net, level, "class")
                net.conv(y, self.anchors * self.classes, 3, norm=False, act="none", name="class")
                y = self.branch(net, level, "box")
                net.conv(y, self.anchors * 4, 3, norm=False, act="none", name="box")
                if self.centre:
                    net.conv(y, self.anchors, 3, norm=False, act="none", name="centre")
        share(net, "level")

    def branch(self, net: Net, x: Feature, name: str) -> Feature:
        """Four 3x3 convolutions."""
        for index in range(4):
            act = "none" if self.group_norm else "relu"
            x = net.conv(x, 256, 3, norm=False, bias=self.branch_bias, act=act, name=f"{name}{index}")
            if self.group_norm:
                x = net.group_norm(x, "relu", name=f"{name}{index}_norm")
        return x


def share(net: Net, prefix: str) -> None:
    """Store the weights of the scopes ``prefix0``, ``prefix1`` ... once."""
    for position, op in enumerate(net.ops):
        if op.name.startswith(prefix) and not op.name.startswith(f"{prefix}0."):
            tensors = tuple(replace(t, shared=True) if t.kind == "weight" else t for t in op.tensors)
            net.ops[position] = replace(op, tensors=tensors)


@dataclass(frozen=True, kw_only=True)
class TwoStage(Detector):
    """Faster R-CNN [1], Mask R-CNN [2] and R-FCN [3]: the second stage runs once per proposal.

    neck  ``fpn``: pyramid and two linear layers per region; ``c4``: the last stage runs on each region;
          ``rfcn``: position-sensitive maps, nothing but pooling per region;
          ``inception_v2``: as c4, on that backbone, whose last three modules run on each region
    [1] arXiv:1506.01497.  [2] arXiv:1703.06870.  [3] arXiv:1605.06409.
    """

    proposals: Value = quantity("count", default=1000.0, doc="regions that reach the second stage")
    neck: str = text(default="fpn", choices=("fpn", "c4", "rfcn", "inception_v2"), doc="kind of second stage")
    second: bool = flag(default=False, doc="v2 of torchvision: normed pyramid, four convolutions per region")
    mask: bool = flag(default=False, doc="mask branch")
    detections: Value = quantity("count", default=100.0, doc="regions of the mask branch")

    def build(self, net: Net, x: Feature) -> None:
        """Backbone, proposals, second stage."""
        if self.neck != "fpn":
            self.single_map(net, x)
            return
        levels = pyramid(net, self.backbone().trunk(net, x), extra="pool", norm=self.second)
        for index, level in enumerate(levels):
            with net.scope(f"proposal{index}"):
                propose(net, level, 256, 3, 2 if self.second else 1)
        share(net, "proposal")
        source = joined(levels[:4])
        with net.samples(self.proposals), net.scope("region"):
            self.classify(net, regions(net, source, 7))
        if self.mask:
            with net.samples(self.detections), net.scope("mask"):
                y = regions(net, source, 14)
                for index in range(4):
                    y = net.conv(y, 256, 3, norm=False, name=f"conv{index}")
                y = net.upconv(y, 256, 2, act="relu")
                net.conv(y, self.classes, 1, norm=False, act="none", name="masks")

    def classify(self, net: Net, y: Feature) -> None:
        """Class and box of each region."""
        if self.second:
            for index in range(4):
                y = net.conv(y, 256, 3, name=f"conv{index}")
            y = net.linear(y.flat(), 1024, act="relu", name="fc1")
        else:
            y = net.linear(y.flat(), 1024, act="relu", name="fc1")
            y = net.linear(y, 1024, act="relu", name="fc2")
        net.linear(y, self.classes, name="class")
        net.linear(y, 4 * self.classes, name="box")

    def single_map(self, net: Net, x: Feature) -> None:
        """Second stages on the map of stride 16."""
        backbone = self.backbone()
        if self.neck == "rfcn":
            x = backbone.trunk(net, x, (1, 2, 2, 1))[-1]
            propose(net, x, 512, 12, 1)
            y = net.conv(x, 1024, 1, norm=False, name="reduce")
            maps = net.conv(y, 9 * self.classes, 1, norm=False, act="none", name="class_maps")
            boxes = net.conv(y, 9 * 4, 1, norm=False, act="none", name="box_maps")
            with net.samples(self.proposals):
                regions(net, maps, 3)
                regions(net, boxes, 3)
            return
        inception = InceptionV2()
        labels = tuple(INCEPTION_V2)
        first = labels.index("5a")
        if self.neck == "inception_v2":
            x = inception.modules(net, inception.stem(net, x), labels[:first])[-1]
        else:
            x = backbone.trunk(net, x, (1, 2, 2))[-1]
        propose(net, x, 512, 12, 1)
        with net.samples(self.proposals), net.scope("region"):
            y = net.pool(regions(net, x, 14), 2, 2, padding="valid")
            if self.neck == "inception_v2":
                y = net.global_pool(inception.modules(net, y, labels[first:])[-1])
            else:
                y = net.global_pool(backbone.stage(net, y, 3, 1))
            net.linear(y, self.classes, name="class")
            net.linear(y, 4 * (self.classes - 1), name="box")


def propose(net: Net, x: Feature, width: int, anchors: int, depth: int) -> None:
    """Region proposal head: 3x3 convolutions, objectness and box per anchor."""
    for index in range(depth):
        x = net.conv(x, width, 3, norm=False, name=f"propose{index}")
    net.conv(x, anchors, 1, norm=False, act="none", name="objectness")
    net.conv(x, 4 * anchors, 1, norm=False, act="none", name="box")


def joined(levels: list[Feature]) -> Feature:
    """Levels of a pyramid as one source of regions."""
    names = tuple(dict.fromkeys(name for level in levels for name in level.producers))
    return Feature(levels[0].channels, sum(level.positions for level in levels), 1.0, names)


def regions(net: Net, x: Feature, size: int) -> Feature:
    """Region pooling: each output is the mean of four bilinear samples of four positions."""
    taken = Feature(x.channels, size, size)
    return net.copy(Feature(x.channels, 4 * size, size, x.producers), taken, 32, name="pool_regions")


@dataclass(frozen=True, kw_only=True)
class Segmenter(Detector):
    """FCN [1] and DeepLab V3 [2] on a dilated ResNet.

    [1] arXiv:1411.4038.  [2] arXiv:1706.05587.
    """

    height: Value = quantity("count", default=520.0, doc="input rows")
    classes: Value = quantity("count", default=21.0, doc="classes")
    head: str = text(default="fcn", choices=("fcn", "deeplab"), doc="head")

    def build(self, net: Net, x: Feature) -> None:
        """Backbone of stride 8, head, upsampling."""
        y = self.backbone().trunk(net, x, (1, 2, 1, 1))[-1]
        if self.head == "fcn":
            y = net.conv(y, 512, 3, name="head")
        else:
            parts = [net.conv(y, 256, 1, name="one")]
            parts += [net.conv(y, 256, 3, dilation=rate, name=f"rate{rate}") for rate in (12, 24, 36)]
            pooled = net.conv(net.global_pool(y), 256, 1, name="pooled")
            parts.append(pooled.reshaped(256, y.height, y.width))
            y = net.conv(net.conv(net.concat(*parts), 256, 1, name="project"), 256, 3, name="head")
        y = net.conv(y, self.classes, 1, norm=False, act="none", name="classify")
        net.upsample(y, x.height / y.height, bilinear=True)
