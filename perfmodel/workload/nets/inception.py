"""Networks of parallel branches: GoogLeNet, Inception V2 to V4, ShuffleNet V2."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.spec import numbers, quantity
from perfmodel.workload.nets.builder import Feature, Net
from perfmodel.workload.nets.image import Classifier

#: 1x1, reduce and 3x3, reduce and second 3x3, pool projection [arXiv:1409.4842, table 1]
GOOGLENET = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64), "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


@dataclass(frozen=True, kw_only=True)
class GoogLeNet(Classifier):
    """Inception V1 with batch norm, auxiliary heads left out, arXiv:1409.4842.

    second_kernel  3 in torchvision, 5 in the paper
    """

    second_kernel: Value = quantity("count", default=3.0, doc="kernel of the third branch")

    def build(self, net: Net, x: Feature) -> None:
        """Stem, nine modules, head."""
        x = net.global_pool(self.trunk(net, x)[-1])
        net.linear(x, self.classes, name="head")

    def trunk(self, net: Net, x: Feature) -> list[Feature]:
        """Output of each module."""
        x = net.conv(x, 64, 7, 2, name="conv1")
        x = net.pool(x, 3, 2, padding=0, ceil_mode=True, name="pool1")
        x = net.conv(net.conv(x, 64, 1, name="conv2"), 192, 3, name="conv3")
        x = net.pool(x, 3, 2, padding=0, ceil_mode=True, name="pool2")
        found = []
        for label, plan in GOOGLENET.items():
            if label in ("4a", "5a"):
                x = net.pool(x, 3 if label == "4a" else 2, 2, padding=0, ceil_mode=True, name=f"pool{label}")
            with net.scope(label):
                x = self.module(net, x, plan)
            found.append(x)
        return found

    def module(self, net: Net, x: Feature, plan: tuple[int, ...]) -> Feature:
        """Four branches side by side."""
        one, reduce3, three, reduce5, five, project = plan
        return net.concat(
            net.conv(x, one, 1, name="one"),
            net.conv(net.conv(x, reduce3, 1, name="reduce3"), three, 3, name="three"),
            net.conv(net.conv(x, reduce5, 1, name="reduce5"), five, self.second_kernel, name="five"),
            net.conv(net.pool(x, 3, 1), project, 1, name="project"),
        )

#: 1x1, reduce and 3x3, reduce and two 3x3, projection; without the first and last: strided [published code]
INCEPTION_V2 = {
    "3b": (64, 64, 64, 64, 96, 32), "3c": (64, 64, 96, 64, 96, 64), "4a": (0, 128, 160, 64, 96, 0),
    "4b": (224, 64, 96, 96, 128, 128), "4c": (192, 96, 128, 96, 128, 128),
    "4d": (160, 128, 160, 128, 160, 96), "4e": (96, 128, 192, 160, 192, 96), "5a": (0, 128, 192, 192, 256, 0),
    "5b": (352, 192, 320, 160, 224, 128), "5c": (352, 192, 320, 192, 224, 128),
}


@dataclass(frozen=True, kw_only=True)
class InceptionV2(Classifier):
    """Inception with batch norm, arXiv:1502.03167, first layer separable as in the published code."""

    def build(self, net: Net, x: Feature) -> None:
        """Stem, ten modules, head."""
        x = net.global_pool(self.modules(net, self.stem(net, x), tuple(INCEPTION_V2))[-1])
        net.linear(x, self.classes, name="head")

    def stem(self, net: Net, x: Feature) -> Feature:
        """Layers before the first module."""
        x = net.conv(x, 8 * x.channels, 7, 2, groups=x.channels, norm=False, bias=False, act="none",
                     name="conv1_depthwise")
        x = net.conv(x, 64, 1, norm=False, name="conv1_pointwise")
        x = net.pool(x, 3, 2, name="pool1")
        x = net.conv(net.conv(x, 64, 1, name="conv2"), 192, 3, name="conv3")
        return net.pool(x, 3, 2, name="pool2")

    def modules(self, net: Net, x: Feature, labels: tuple[str, ...]) -> list[Feature]:
        """Output of each of these modules."""
        found = []
        for label in labels:
            one, reduce3, three, reduce33, double, project = INCEPTION_V2[label]
            stride = 1 if one else 2
            with net.scope(label):
                y = net.conv(net.conv(x, reduce33, 1, name="reduce33"), double, 3, name="double1")
                parts = [net.conv(net.conv(x, reduce3, 1, name="reduce3"), three, 3, stride, name="three"),
                         net.conv(y, double, 3, stride, name="double2")]
                pooled = net.pool(x, 3, stride)
                if one:
                    parts.insert(0, net.conv(x, one, 1, name="one"))
                    pooled = net.conv(pooled, project, 1, name="project")
                x = net.concat(*parts, pooled)
            found.append(x)
        return found


@dataclass(frozen=True, kw_only=True)
class InceptionV3(Classifier):
    """Inception V3, auxiliary head left out, arXiv:1512.00567."""

    height: Value = quantity("count", default=299.0, doc="input rows")

    def build(self, net: Net, x: Feature) -> None:
        """Stem, modules A to E, head."""
        x = net.conv(x, 32, 3, 2, padding="valid", name="stem1")
        x = net.conv(net.conv(x, 32, 3, padding="valid", name="stem2"), 64, 3, name="stem3")
        x = net.pool(x, 3, 2, padding="valid", name="stem_pool1")
        x = net.conv(net.conv(x, 80, 1, name="stem4"), 192, 3, padding="valid", name="stem5")
        x = net.pool(x, 3, 2, padding="valid", name="stem_pool2")
        for index, project in enumerate((32, 64, 64)):
            x = self.square(net, x, project, f"a{index + 1}")
        x = self.reduce(net, x, "b", [(384, 3)], [(64, 1), (96, 3), (96, 3)])
        for index, inner in enumerate((128, 160, 160, 192)):
            x = self.separable(net, x, inner, f"c{index + 1}")
        x = self.reduce(net, x, "d", [(192, 1), (320, 3)], [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3)])
        for index in range(2):
            x = self.wide(net, x, f"e{index + 1}")
        net.linear(net.global_pool(x), self.classes, name="head")

    def chain(
        self, net: Net, x: Feature, plan: list[tuple[int, int | tuple[int, int]]], name: str, stride: int = 1
    ) -> Feature:
        """Convolutions in a row; the last one takes the stride, then without padding."""
        for index, (out, kernel) in enumerate(plan):
            last = index == len(plan) - 1 and stride > 1
            x = net.conv(x, out, kernel, stride if last else 1, padding="valid" if last else "same",
                         name=f"{name}{index + 1}")
        return x

    def square(self, net: Net, x: Feature, project: int, name: str) -> Feature:
        """Module A: 1x1, 5x5, two 3x3, pooling."""
        with net.scope(name):
            return net.concat(
                net.conv(x, 64, 1, name="one"), self.chain(net, x, [(48, 1), (64, 5)], "five"),
                self.chain(net, x, [(64, 1), (96, 3), (96, 3)], "three"),
                net.conv(net.pool(x, 3, 1), project, 1, name="project"),
            )

    def reduce(
        self, net: Net, x: Feature, name: str, first: list[tuple[int, int | tuple[int, int]]],
        second: list[tuple[int, int | tuple[int, int]]],
    ) -> Feature:
        """Modules B and D: strided branches and pooling."""
        with net.scope(name):
            return net.concat(self.chain(net, x, first, "first", 2), self.chain(net, x, second, "second", 2),
                              net.pool(x, 3, 2, padding="valid"))

    def separable(self, net: Net, x: Feature, inner: int, name: str) -> Feature:
        """Module C: 7x7 as 1x7 and 7x1."""
        row, column = (1, 7), (7, 1)
        with net.scope(name):
            return net.concat(
                net.conv(x, 192, 1, name="one"),
                self.chain(net, x, [(inner, 1), (inner, row), (192, column)], "seven"),
                self.chain(net, x, [(inner, 1), (inner, column), (inner, row), (inner, column),
                                    (192, row)], "double"),
                net.conv(net.pool(x, 3, 1), 192, 1, name="project"),
            )

    def wide(self, net: Net, x: Feature, name: str) -> Feature:
        """Module E: 3x3 split into 1x3 and 3x1 side by side."""
        with net.scope(name):
            three = net.conv(x, 384, 1, name="three")
            columns = (3, 1)
            double = self.chain(net, x, [(448, 1), (384, 3)], "double")
            return net.concat(
                net.conv(x, 320, 1, name="one"),
                net.conv(three, 384, (1, 3), name="three_row"),
                net.conv(three, 384, columns, name="three_column"),
                net.conv(double, 384, (1, 3), name="double_row"),
                net.conv(double, 384, columns, name="double_column"),
                net.conv(net.pool(x, 3, 1), 192, 1, name="project"),
            )


@dataclass(frozen=True, kw_only=True)
class InceptionV4(InceptionV3):
    """Inception V4, arXiv:1602.07261."""

    def build(self, net: Net, x: Feature) -> None:
        """Stem of three mixed parts, modules A, B and C with reductions, head."""
        row, column = (1, 7), (7, 1)
        x = net.conv(x, 32, 3, 2, padding="valid", name="stem1")
        x = net.conv(net.conv(x, 32, 3, padding="valid", name="stem2"), 64, 3, name="stem3")
        x = net.concat(net.pool(x, 3, 2, padding="valid", name="stem_pool"),
                       net.conv(x, 96, 3, 2, padding="valid", name="stem4"))
        a = net.conv(net.conv(x, 64, 1, name="stem5"), 96, 3, padding="valid", name="stem6")
        b = self.chain(net, x, [(64, 1), (64, row), (64, column)], "stem_long")
        x = net.concat(a, net.conv(b, 96, 3, padding="valid", name="stem7"))
        x = net.concat(net.conv(x, 192, 3, 2, padding="valid", name="stem8"),
                       net.pool(x, 3, 2, padding="valid", name="stem_pool2"))
        for index in range(4):
            x = self.mixed(net, x, f"a{index + 1}", 96, 96, [[(64, 1), (96, 3)], [(64, 1), (96, 3), (96, 3)]])
        x = self.reduce(net, x, "reduce_a", [(384, 3)], [(192, 1), (224, 3), (256, 3)])
        seven: list[tuple[int, int | tuple[int, int]]] = [(192, 1), (224, row), (256, column)]
        double: list[tuple[int, int | tuple[int, int]]] = [
            (192, 1), (192, column), (224, row), (224, column), (256, row)]
        for index in range(7):
            x = self.mixed(net, x, f"b{index + 1}", 384, 128, [seven, double])
        x = self.reduce(net, x, "reduce_b", [(192, 1), (192, 3)],
                        [(256, 1), (256, row), (320, column), (320, 3)])
        for index in range(3):
            x = self.split(net, x, f"c{index + 1}")
        net.linear(net.global_pool(x), self.classes, name="head")

    def mixed(
        self, net: Net, x: Feature, name: str, one: int, project: int,
        chains: list[list[tuple[int, int | tuple[int, int]]]],
    ) -> Feature:
        """Modules A and B: 1x1, chains of convolutions, pooling."""
        with net.scope(name):
            parts = [net.conv(x, one, 1, name="one")]
            parts += [self.chain(net, x, chain, f"chain{index}_") for index, chain in enumerate(chains)]
            return net.concat(*parts, net.conv(net.pool(x, 3, 1), project, 1, name="project"))

    def split(self, net: Net, x: Feature, name: str) -> Feature:
        """Module C: ends in 1x3 and 3x1 side by side."""
        row, column = (1, 3), (3, 1)
        with net.scope(name):
            a = net.conv(x, 384, 1, name="first")
            b = self.chain(net, x, [(384, 1), (448, column), (512, row)], "second")
            return net.concat(
                net.conv(x, 256, 1, name="one"),
                net.conv(a, 256, row, name="first_row"), net.conv(a, 256, column, name="first_column"),
                net.conv(b, 256, row, name="second_row"), net.conv(b, 256, column, name="second_column"),
                net.conv(net.pool(x, 3, 1), 256, 1, name="project"),
            )


@dataclass(frozen=True, kw_only=True)
class ShuffleNetV2(Classifier):
    """ShuffleNet V2, arXiv:1807.11164."""

    hidden: tuple[Value, ...] = numbers(
        "count", default=(24.0, 116.0, 232.0, 464.0, 1024.0), doc="width of stem, three stages and last"
    )
    layers: tuple[Value, ...] = numbers("count", default=(4.0, 8.0, 4.0), doc="blocks per stage")

    def build(self, net: Net, x: Feature) -> None:
        """Stem, stages, 1x1, head."""
        x = net.pool(net.conv(x, self.hidden[0], 3, 2, name="stem"), 3, 2, padding=1, name="stem_pool")
        for index, depth in enumerate(self.layers):
            half = self.hidden[index + 1] / 2
            with net.scope(f"stage{index + 1}"):
                left = net.conv(net.depthwise(x, 3, 2, act="none", name="left"), half, 1, name="left_out")
                right = self.branch(net, x, half, 2)
                x = net.copy(net.concat(left, right), name="shuffle")
                with net.scope("rest", depth - 1):
                    right = self.branch(net, x.reshaped(half, x.height, x.width), half, 1)
                    keep = x.reshaped(half, x.height, x.width)
                    x = net.copy(net.concat(keep, right), name="shuffle")
        x = net.conv(x, self.hidden[4], 1, name="last")
        net.linear(net.global_pool(x), self.classes, name="head")

    def branch(self, net: Net, x: Feature, half: Value, stride: int) -> Feature:
        """1x1, depthwise, 1x1."""
        y = net.conv(x, half, 1, name="conv1")
        return net.conv(net.depthwise(y, 3, stride, act="none"), half, 1, name="conv2")
