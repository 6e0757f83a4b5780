"""Single-shot detectors with a pyramid of strided layers: SSD and SSDLite."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.spec import quantity, text
from perfmodel.workload.nets.builder import Feature, Net
from perfmodel.workload.nets.classic import vgg_stage
from perfmodel.workload.nets.image import Image
from perfmodel.workload.nets.inception import INCEPTION_V2, InceptionV2
from perfmodel.workload.nets.mobile import MobileNetV1, MobileNetV2, MobileNetV3

BACKBONES = ("vgg16", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_lite", "inception_v2")


@dataclass(frozen=True, kw_only=True)
class Ssd(Image):
    """SSD [1] and SSDLite [2]; network only, without anchors, decoding and non-maximum suppression.

    vgg16 and mobilenet_v3_lite follow torchvision, the others the published detection API with 1x1
    (mobilenet_v1) or 3x3 box predictors.
    [1] arXiv:1512.02325.  [2] arXiv:1801.04381.
    """

    height: Value = quantity("count", default=300.0, doc="input rows")
    backbone: str = text(default="vgg16", choices=BACKBONES, doc="backbone")
    classes: Value = quantity("count", default=91.0, doc="classes")

    def build(self, net: Net, x: Feature) -> None:
        """Backbone, strided layers, predictors on six maps."""
        if self.backbone == "vgg16":
            maps, anchors, kernel = self.vgg(net, x), (4, 6, 6, 6, 4, 4), 3
        elif self.backbone == "mobilenet_v3_lite":
            maps, anchors, kernel = self.lite(net, x), (6,) * 6, 0
        else:
            maps, anchors = self.mobile(net, x), (3, 6, 6, 6, 6, 6)
            kernel = 1 if self.backbone == "mobilenet_v1" else 3
        for index, (level, number) in enumerate(zip(maps, anchors, strict=True)):
            for out, label in ((number * self.classes, "class"), (number * 4, "box")):
                self.predict(net, level, out, kernel, f"{label}{index}")

    def predict(self, net: Net, x: Feature, out: Value, kernel: int, name: str) -> None:
        """One predictor; kernel 0: depthwise 3x3, then 1x1."""
        if kernel == 0:
            x = net.depthwise(x, 3, act="relu6", name=f"{name}_depthwise")
        net.conv(x, out, kernel or 1, norm=False, act="none", name=name)

    def vgg(self, net: Net, x: Feature) -> list[Feature]:
        """VGG-16 to conv4_3, dilated layers in place of fc6 and fc7, four strided pairs."""
        for index, (width, depth) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3))):
            x = vgg_stage(net, x, width, depth, False, f"stage{index + 1}")
            if index < 3:
                x = net.pool(x, 2, 2, padding=0, ceil_mode=index == 2, name=f"pool{index + 1}")
        maps = [net.scale(x, parameters=512, operations=4, name="rescale")]
        x = vgg_stage(net, net.pool(x, 2, 2, padding=0, name="pool4"), 512, 3, False, "stage5")
        x = net.conv(net.pool(x, 3, 1, name="pool5"), 1024, 3, dilation=6, norm=False, name="fc6")
        x = net.conv(x, 1024, 1, norm=False, name="fc7")
        maps.append(x)
        for index, (inner, out) in enumerate(((256, 512), (128, 256), (128, 256), (128, 256))):
            stride, padding = (2, "same") if index < 2 else (1, "valid")
            x = net.conv(x, inner, 1, norm=False, name=f"extra{index}_1")
            x = net.conv(x, out, 3, stride, padding=padding, norm=False, name=f"extra{index}_2")
            maps.append(x)
        return maps

    def lite(self, net: Net, x: Feature) -> list[Feature]:
        """MobileNetV3 with a halved tail, read in the middle of block 13 and at its last layer."""
        backbone = MobileNetV3()
        found = backbone.trunk(net, x, tail=2)
        expanded = next(op for op in net.ops if op.name == "block13.expand")
        first = Feature(expanded.loops["k"], found[12].height, found[12].width, (expanded.name,))
        x = net.conv(found[-1], 6 * found[-1].channels, 1, act="hardswish", name="last")
        maps = [first, x]
        for index, out in enumerate((512, 256, 256, 128)):
            with net.scope(f"extra{index}"):
                y = net.conv(x, out // 2, 1, act="relu6", name="reduce")
                x = net.conv(net.depthwise(y, 3, 2, act="relu6"), out, 1, act="relu6", name="project")
            maps.append(x)
        return maps

    def mobile(self, net: Net, x: Feature) -> list[Feature]:
        """MobileNet V1 or V2 or Inception V2 and four strided pairs."""
        if self.backbone == "inception_v2":
            backbone = InceptionV2()
            labels = tuple(INCEPTION_V2)
            found = backbone.modules(net, backbone.stem(net, x), labels)
            maps = [found[labels.index("4c")], found[-1]]
        elif self.backbone == "mobilenet_v1":
            found = MobileNetV1().trunk(net, x)
            maps = [found[10], found[12]]
        else:
            found = MobileNetV2().trunk(net, x)
            expanded = next(op for op in net.ops if op.name == "stage6.0.expand")
            first = Feature(expanded.loops["k"], found[12].height, found[12].width, (expanded.name,))
            maps = [first, net.conv(found[-1], 1280, 1, act="relu6", name="last")]
        x = maps[1]
        for index, out in enumerate((512, 256, 256, 128)):
            x = net.conv(x, out // 2, 1, act="relu6", name=f"extra{index}_1")
            x = net.conv(x, out, 3, 2, act="relu6", name=f"extra{index}_2")
            maps.append(x)
        return maps
