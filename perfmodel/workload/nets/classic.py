"""Plain stacks of convolutions: AlexNet, VGG, SqueezeNet, DenseNet."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.errors import ArgumentError
from perfmodel.spec import flag, numbers, quantity, text
from perfmodel.workload.nets.builder import Feature, Net
from perfmodel.workload.nets.image import Classifier

#: VGG depth -> convolutions per stage
VGG_LAYERS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


@dataclass(frozen=True, kw_only=True)
class AlexNet(Classifier):
    """AlexNet on one device, arXiv:1404.5997."""

    def build(self, net: Net, x: Feature) -> None:
        """Five convolutions, three linear layers."""
        x = net.conv(x, 64, 11, 4, padding=2, norm=False, name="conv1")
        x = net.pool(x, 3, 2, padding="valid", name="pool1")
        x = net.conv(x, 192, 5, norm=False, name="conv2")
        x = net.pool(x, 3, 2, padding="valid", name="pool2")
        for index, out in enumerate((384, 256, 256)):
            x = net.conv(x, out, 3, norm=False, name=f"conv{index + 3}")
        x = net.pool(x, 3, 2, padding="valid", name="pool3")
        classify(net, x, self.classes, 6)


def classify(net: Net, x: Feature, classes: Value, size: int) -> Feature:
    """Two linear layers of 4096 and the head on a size x size map."""
    x = x.reshaped(x.channels * size * size)
    x = net.linear(net.linear(x, 4096, act="relu", name="fc1"), 4096, act="relu", name="fc2")
    return net.linear(x, classes, name="head")


@dataclass(frozen=True, kw_only=True)
class VGG(Classifier):
    """VGG, arXiv:1409.1556."""

    depth: Value = quantity("count", default=16.0, doc="layers with weights: 11, 13, 16 or 19")
    batch_norm: bool = flag(default=False, doc="batch norm behind each convolution")

    def __post_init__(self) -> None:
        if self.depth not in VGG_LAYERS:
            raise ArgumentError("depth", self.depth, ", ".join(map(str, VGG_LAYERS)))

    def build(self, net: Net, x: Feature) -> None:
        """Five stages, three linear layers."""
        for index, depth in enumerate(VGG_LAYERS[int(self.depth)]):
            x = vgg_stage(net, x, min(64 * 2**index, 512), depth, self.batch_norm, f"stage{index + 1}")
            x = net.pool(x, 2, 2, padding="valid", name=f"pool{index + 1}")
        classify(net, x, self.classes, 7)


def vgg_stage(net: Net, x: Feature, width: int, depth: int, batch_norm: bool, name: str) -> Feature:
    """`depth` 3x3 convolutions of one width."""
    for layer in range(depth):
        x = net.conv(x, width, 3, norm=batch_norm, bias=True, name=f"{name}.conv{layer + 1}")
    return x


@dataclass(frozen=True, kw_only=True)
class SqueezeNet(Classifier):
    """SqueezeNet 1.0 and 1.1, arXiv:1602.07360."""

    version: str = text(default="1.1", choices=("1.0", "1.1"), doc="1.1 pools earlier")

    def build(self, net: Net, x: Feature) -> None:
        """Stem, fire modules, 1x1 head."""
        if self.version == "1.0":
            x = net.conv(x, 96, 7, 2, padding="valid", norm=False, name="stem")
            pools = (0, 3, 7)
        else:
            x = net.conv(x, 64, 3, 2, padding="valid", norm=False, name="stem")
            pools = (0, 2, 4)
        for index, squeezed in enumerate((16, 16, 32, 32, 48, 48, 64, 64)):
            if index in pools:
                x = net.pool(x, 3, 2, padding=0, ceil_mode=True, name=f"pool{index + 1}")
            x = fire(net, x, squeezed, f"fire{index + 2}")
        net.global_pool(net.conv(x, self.classes, 1, norm=False, name="head"))


def fire(net: Net, x: Feature, squeezed: int, name: str) -> Feature:
    """Squeeze by 1x1, expand by 1x1 and 3x3 to four times as many channels each."""
    with net.scope(name):
        x = net.conv(x, squeezed, 1, norm=False, name="squeeze")
        one = net.conv(x, 4 * squeezed, 1, norm=False, name="expand1")
        return net.concat(one, net.conv(x, 4 * squeezed, 3, norm=False, name="expand3"))


@dataclass(frozen=True, kw_only=True)
class DenseNet(Classifier):
    """DenseNet-BC, arXiv:1608.06993."""

    layers: tuple[Value, ...] = numbers("count", default=(6.0, 12.0, 24.0, 16.0), doc="layers per block")
    growth: Value = quantity("count", default=32.0, doc="channels that a layer adds")
    stem_width: Value = quantity("count", default=64.0, doc="channels of the stem")

    def build(self, net: Net, x: Feature) -> None:
        """Stem, dense blocks with transitions, head."""
        x = net.pool(net.conv(x, self.stem_width, 7, 2, name="stem"), 3, 2, padding=1, name="stem_pool")
        for index, depth in enumerate(self.layers):
            if index:
                with net.scope(f"transition{index}"):
                    x = net.batch_norm(x, "relu")
                    x = net.conv(x, x.channels / 2, 1, norm=False, bias=False, act="none")
                    x = net.pool(x, 2, 2, padding="valid")
            for layer in range(int(depth)):
                with net.scope(f"block{index + 1}.{layer}"):
                    y = net.conv(net.batch_norm(x, "relu"), 4 * self.growth, 1, name="conv1")
                    y = net.conv(y, self.growth, 3, norm=False, bias=False, act="none", name="conv2")
                    x = net.concat(x, y)
        x = net.batch_norm(x, "relu", name="final_norm")
        net.linear(net.global_pool(x), self.classes, name="head")
