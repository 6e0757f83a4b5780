"""Search spaces of neural architecture search; every choice may be an array, so a sample of a space is one
evaluation: ``sampled(workload, kernels=..., expansions=..., depths=...)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from perfmodel.algebra import Value, where
from perfmodel.axes import Axis
from perfmodel.errors import ArgumentError
from perfmodel.spec import numbers, quantity
from perfmodel.workload.expression import round8
from perfmodel.workload.nets.blocks import equal, inverted_residual
from perfmodel.workload.nets.builder import Feature, Net
from perfmodel.workload.nets.image import Classifier, Image, divisible, some
from perfmodel.workload.workload import Workload


def sampled(workload: Workload, name: str = "net", **columns: Any) -> Workload:
    """A whole sample of a search space along one axis.

    columns  field of the space -> array [nets, choices] (or [nets] for a single number)
    """
    dims: Any = workload.dims
    for field, values in columns.items():
        table = np.asarray(values, dtype=np.float64)
        known = np.shape(getattr(dims, field))
        if table.shape[1:] != known:
            raise ArgumentError(field, table.shape, f"[nets, {', '.join(map(str, known))}] choices")
        axes = tuple(Axis(name, column) for column in table.T) if known else Axis(name, table)
        dims = replace(dims, **{field: axes})
    return replace(workload, dims=dims)


def one_if(condition: Any) -> Value:
    """1 where a condition holds, else 0; a plain number for a plain condition."""
    return float(condition) if isinstance(condition, (bool, np.bool_)) else where(condition, 1.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class OfaMobileNet(Classifier):
    """Once-for-all MobileNetV3 space: 5 stages of 2 to 4 blocks, each with its kernel and expansion [1].

    Blocks beyond the depth of their stage are absent.
    [1] Cai et al., arXiv:1908.09791.
    """

    multiplier: Value = quantity("1", default=1.0, doc="width multiplier of the super-network: 1.0 or 1.2")
    depths: tuple[Value, ...] = numbers("count", default=(4.0,) * 5, doc="blocks per stage, 2 to 4")
    kernels: tuple[Value, ...] = numbers("count", default=(7.0,) * 20, doc="kernel of each block: 3, 5, 7")
    expansions: tuple[Value, ...] = numbers(
        "count", default=(6.0,) * 20, doc="expansion of each block: 3, 4, 6")

    def build(self, net: Net, x: Feature) -> None:
        """Stem, one plain block, five stages, two 1x1 layers, head."""
        scaled = [divisible(w * self.multiplier) for w in (16, 16, 24, 40, 80, 112, 160, 960, 1280)]
        x = net.conv(x, scaled[0], 3, 2, act="hardswish", name="stem")
        x = inverted_residual(net, x, scaled[1], scaled[0], 3, act="relu", expand=False, name="first")
        strides, swish, attention = (2, 2, 2, 1, 2), (0, 0, 1, 1, 1), (0, 1, 0, 1, 1)
        for stage in range(5):
            for layer in range(4):
                present = one_if(self.depths[stage] > layer)
                if not some(present):
                    continue
                index = 4 * stage + layer
                hidden = round8(x.channels * self.expansions[index])
                squeezed = round8((hidden - hidden % 4) / 4) if attention[stage] else 0
                stride = strides[stage] if layer == 0 else 1
                with net.scope(f"stage{stage + 1}.{layer}", present):
                    x = inverted_residual(
                        net, x, scaled[stage + 2], hidden, self.kernels[index], stride,
                        act="hardswish" if swish[stage] else "relu", squeezed=squeezed, residual=layer > 0,
                    )
        x = net.global_pool(net.conv(x, scaled[7], 1, act="hardswish", name="last"))
        x = net.linear(x, scaled[8], bias=False, act="hardswish", name="mix")
        net.linear(x, self.classes, name="head")


@dataclass(frozen=True, kw_only=True)
class OfaProxyless(Classifier):
    """Once-for-all ProxylessNAS space: six stages of inverted residuals without channel attention [1, 2].

    [1] Cai et al., arXiv:1908.09791.  [2] Cai et al., ProxylessNAS, arXiv:1812.00332.
    """

    multiplier: Value = quantity("1", default=1.3, doc="width multiplier of the super-network")
    depths: tuple[Value, ...] = numbers("count", default=(4.0,) * 5,
                                        doc="blocks of the first five stages, 2 to 4")
    kernels: tuple[Value, ...] = numbers("count", default=(7.0,) * 21, doc="kernel of each block: 3, 5, 7")
    expansions: tuple[Value, ...] = numbers(
        "count", default=(6.0,) * 21, doc="expansion of each block: 3, 4, 6")

    def build(self, net: Net, x: Feature) -> None:
        """Stem, one plain block, six stages, 1x1, head."""
        scaled = [divisible(w * self.multiplier) for w in (32, 16, 24, 40, 80, 96, 192, 320, 1280)]
        x = net.conv(x, scaled[0], 3, 2, act="relu6", name="stem")
        x = inverted_residual(net, x, scaled[1], scaled[0], 3, expand=False, residual=False, name="first")
        for stage, stride in enumerate((2, 2, 2, 1, 2, 1)):
            for layer in range(4 if stage < 5 else 1):
                present = one_if(self.depths[stage] > layer) if stage < 5 else 1.0
                if not some(present):
                    continue
                index = 4 * stage + layer
                hidden = round8(x.channels * self.expansions[index])
                with net.scope(f"stage{stage + 1}.{layer}", present):
                    x = inverted_residual(net, x, scaled[stage + 2], hidden, self.kernels[index],
                                          stride if layer == 0 else 1, residual=layer > 0)
        x = net.global_pool(net.conv(x, scaled[8], 1, act="relu6", name="last"))
        net.linear(x, self.classes, name="head")


@dataclass(frozen=True, kw_only=True)
class OfaResNet(Classifier):
    """Once-for-all ResNet-50 space: depth, width and expansion per stage and block [1].

    [1] Cai et al., arXiv:1908.09791, published code.
    """

    stem: Value = quantity(
        "1", positive=False, low=0, default=2.0, doc="2: with the residual stem layer; 0: without")
    depths: tuple[Value, ...] = numbers(
        "1", positive=False, low=0, default=(2.0,) * 4, doc="blocks added to 2, 2, 4, 2 per stage")
    widths: tuple[Value, ...] = numbers(
        "1", default=(1.0,) * 6, doc="width multipliers of the two stem parts and four stages: 0.65, 0.8, 1")
    expansions: tuple[Value, ...] = numbers(
        "1", default=(0.35,) * 18, doc="inner / outer width of each block: 0.2, 0.25, 0.35")

    def build(self, net: Net, x: Feature) -> None:
        """Deep stem, four stages with pooled shortcuts, head."""
        first, second = round8(64 * self.widths[0]), round8(64 * self.widths[1])
        inner = round8((first - first % 2) / 2)
        x = net.conv(x, inner, 3, 2, name="stem1")
        present = one_if(self.stem == 2)
        if some(present):
            with net.scope("stem2", present):
                x = net.combine(net.conv(x, inner, 3), x)
        x = net.pool(net.conv(x, second, 3, name="stem3"), 3, 2, padding=1, name="stem_pool")
        index = 0
        for stage, base in enumerate((2, 2, 4, 2)):
            out = round8(256 * 2**stage * self.widths[stage + 2])
            for layer in range(base + 2):
                present = one_if(self.depths[stage] > layer - base)
                if some(present):
                    stride = 1 if layer or not stage else 2
                    with net.scope(f"stage{stage + 1}.{layer}", present):
                        x = self.block(net, x, out, self.expansions[index], stride, layer == 0)
                index += 1
        net.linear(net.global_pool(x), self.classes, name="head")

    def block(self, net: Net, x: Feature, out: Value, ratio: Value, stride: int, first: bool) -> Feature:
        """Bottleneck whose shortcut pools before its 1x1 convolution."""
        hidden = round8(out * ratio)
        skip = x
        if first:
            pooled = net.pool(x, stride, stride, padding="valid", name="shortcut_pool") if stride > 1 else x
            skip = net.conv(pooled, out, 1, act="none", name="shortcut")
        y = net.conv(net.conv(x, hidden, 1, name="conv1"), hidden, 3, stride, name="conv2")
        return net.combine(net.conv(y, out, 1, act="none", name="conv3"), skip, act="relu")


#: operations of an edge, by number
CELL_OPERATIONS = ("none", "skip", "conv 1x1", "conv 3x3", "average pool 3x3")
#: (from, to) of the six edges of a cell
CELL_EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))


@dataclass(frozen=True, kw_only=True)
class NasBench201(Image):
    """NAS-Bench-201: three stages of five equal cells with one operation per edge, arXiv:2001.00326.

    edges  operation of the edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3: 0 none, 1 skip, 2 conv 1x1, 3 conv 3x3, 4 pool
    """

    height: Value = quantity("count", default=32.0, doc="input rows")
    classes: Value = quantity("count", default=10.0, doc="classes")
    cells: Value = quantity("count", default=5.0, doc="cells per stage")
    stem: Value = quantity("count", default=16.0, doc="channels of the first stage")
    edges: tuple[Value, ...] = numbers("1", positive=False, low=0, high=4, default=(3.0,) * 6,
                                       doc="operation of each edge, 0 to 4")

    def build(self, net: Net, x: Feature) -> None:
        """Stem, cells with reduction between the stages, head."""
        x = net.conv(x, self.stem, 3, act="none", name="stem")
        for stage in range(3):
            if stage:
                x = self.reduce(net, x, f"reduce{stage}")
            with net.scope(f"cell{stage + 1}", self.cells):
                x = self.cell(net, x)
        x = net.batch_norm(x, "relu", name="final_norm")
        net.linear(net.global_pool(x), self.classes, name="head")

    def reduce(self, net: Net, x: Feature, name: str) -> Feature:
        """Residual block that halves the map and doubles the channels."""
        with net.scope(name):
            skip = net.pool(x, 2, 2, padding="valid", name="shortcut_pool")
            skip = net.conv(skip, 2 * x.channels, 1, norm=False, bias=False, act="none", name="shortcut")
            y = net.conv(net.act(x, "relu", name="relu1"), 2 * x.channels, 3, 2, name="conv1")
            return net.combine(net.conv(y, 2 * x.channels, 3, act="none", name="conv2"), skip)

    def cell(self, net: Net, x: Feature) -> Feature:
        """Four nodes; a node is the sum of its edges."""
        nodes = [x]
        for node in range(1, 4):
            parts = []
            for (source, target), choice in zip(CELL_EDGES, self.edges, strict=True):
                if target == node:
                    parts.append(self.edge(net, nodes[source], choice, f"{source}{target}"))
            sources = tuple(dict.fromkeys(name for part in parts for name in part.producers))
            total = replace(x, producers=sources)
            edges = zip(CELL_EDGES, self.edges, strict=True)
            busy = sum((one_if(choice != 0) for (_, target), choice in edges if target == node), 0.0)
            extra = where(busy > 1, busy - 1, 0.0)
            if node > 1 and some(float(extra) if np.ndim(extra) == 0 else extra):
                with net.scope(f"sum{node}", extra):
                    total = net.combine(total, total)
            nodes.append(total)
        return nodes[3]

    def edge(self, net: Net, x: Feature, choice: Value, name: str) -> Feature:
        """All operations that the choice may be, each where it is chosen."""
        builders: dict[int, Callable[[], Feature]] = {
            2: partial(net.conv, x, x.channels, 1, act="none"),
            3: partial(net.conv, x, x.channels, 3, act="none"),
            4: partial(net.pool, x, 3, 1, padding=1),
        }
        made: tuple[str, ...] = () if equal(choice, 0) else x.producers
        for number, build in builders.items():
            present = one_if(choice == number)
            if not some(present):
                continue
            with net.scope(name, present):
                made = (*(() if equal(choice, number) else made), *build().producers)
        return replace(x, producers=made)


#: kernel, expansion, groups of the operations of FBNet; ``skip`` is the last
FBNET_OPERATIONS = (
    (3, 1, 1), (3, 1, 2), (3, 3, 1), (3, 6, 1), (5, 1, 1), (5, 1, 2), (5, 3, 1), (5, 6, 1), None,
)


@dataclass(frozen=True, kw_only=True)
class FBNet(Classifier):
    """FBNet space: 22 layers, each one of eight inverted residuals or skipped, arXiv:1812.03443.

    choices  0 k3_e1, 1 k3_e1_g2, 2 k3_e3, 3 k3_e6, 4 k5_e1, 5 k5_e1_g2, 6 k5_e3, 7 k5_e6, 8 skip
    """

    choices: tuple[Value, ...] = numbers("1", positive=False, low=0, high=8, default=(7.0,) * 22,
                                         doc="operation of each layer, 0 to 8")
    stem_stride: Value = quantity("count", default=2.0, doc="stride of the stem: 2, on 32 x 32 images 1")
    first_stride: Value = quantity(
        "count", default=2.0, doc="stride of the second stage: 2, on 32 x 32 images 1")
    last: Value = quantity("count", default=1984.0, doc="channels before the head")

    def build(self, net: Net, x: Feature) -> None:
        """Stem, 22 layers, 1x1, head."""
        x = net.conv(x, 16, 3, self.stem_stride, name="stem")
        plan = [(1, 16, 1), (4, 24, self.first_stride), (4, 32, 2), (4, 64, 2), (4, 112, 1), (4, 184, 2)]
        plan.append((1, 352, 1))
        index = 0
        for depth, out, stride in plan:
            for layer in range(depth):
                with net.scope(f"layer{index + 1}"):
                    x = self.layer(net, x, out, stride if layer == 0 else 1, self.choices[index])
                index += 1
        x = net.conv(x, self.last, 1, name="last")
        net.linear(net.global_pool(x), self.classes, name="head")

    def layer(self, net: Net, x: Feature, out: Value, stride: Value, choice: Value) -> Feature:
        """All operations that the choice may be, each where it is chosen."""
        same = equal(stride, 1) and equal(x.channels, out)
        made: list[Feature] = []
        for number, operation in enumerate(FBNET_OPERATIONS):
            present = one_if(choice == number)
            if not some(present):
                continue
            if operation is None:
                if same:
                    made.append(x)
                    continue
                with net.scope("skip", present):
                    made.append(net.conv(x, out, 1, stride))
                continue
            kernel, expand, groups = operation
            with net.scope(f"k{kernel}_e{expand}_g{groups}", present):
                y = net.conv(x, expand * x.channels, 1, groups=groups, name="expand")
                y = net.copy(y, name="shuffle") if groups > 1 else y
                y = net.depthwise(y, kernel, stride)
                y = net.conv(y, out, 1, groups=groups, act="none", name="project")
                made.append(net.combine(y, x) if same else y)
        producers = tuple(dict.fromkeys(name for y in made for name in y.producers))
        return replace(made[0], producers=producers)
