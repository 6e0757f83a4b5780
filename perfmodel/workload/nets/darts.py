"""Cells of differentiable architecture search (DARTS)."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.errors import ArgumentError
from perfmodel.spec import flag, many, quantity, text
from perfmodel.workload.nets.builder import Feature, Net
from perfmodel.workload.nets.image import Image

#: operations of an edge
DARTS_OPERATIONS = ("max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5",
                    "dil_conv_3x3", "dil_conv_5x5")
#: second-order cells of the paper: operation and number of the node it reads, two per node
NORMAL = ("sep_conv_3x3 0", "sep_conv_3x3 1", "sep_conv_3x3 0", "sep_conv_3x3 1", "sep_conv_3x3 1",
          "skip_connect 0", "skip_connect 0", "dil_conv_3x3 2")
REDUCE = ("max_pool_3x3 0", "max_pool_3x3 1", "skip_connect 2", "max_pool_3x3 1", "max_pool_3x3 0",
          "skip_connect 2", "skip_connect 2", "max_pool_3x3 1")


@dataclass(frozen=True, kw_only=True)
class Darts(Image):
    """Stack of DARTS cells; two of them halve the map [1].

    normal, reduce  eight edges, two per node: ``operation node``, where 0 and 1 are the cells before
    [1] Liu et al., DARTS, arXiv:1806.09055.
    """

    height: Value = quantity("count", default=32.0, doc="input rows")
    classes: Value = quantity("count", default=10.0, doc="classes")
    cells: Value = quantity("count", default=20.0, doc="cells")
    stem: Value = quantity("count", default=36.0, doc="channels of the first cell")
    deep_stem: bool = flag(default=False, doc="three strided convolutions before the cells, as for ImageNet")
    normal: tuple[str, ...] = many(text(), default=NORMAL, doc="edges of the cells that keep the size")
    reduce: tuple[str, ...] = many(text(), default=REDUCE, doc="edges of the cells that halve it")

    def __post_init__(self) -> None:
        for name in ("normal", "reduce"):
            edges = getattr(self, name)
            if len(edges) != 8:
                raise ArgumentError(name, edges, "eight edges, two per node")
            for index, edge in enumerate(edges):
                operation, _, source = edge.partition(" ")
                if operation not in DARTS_OPERATIONS or source not in [str(n) for n in range(index // 2 + 2)]:
                    allowed = f"an operation ({', '.join(DARTS_OPERATIONS)}) and an earlier node"
                    raise ArgumentError(f"{name}.{index}", edge, allowed)

    def build(self, net: Net, x: Feature) -> None:
        """Stem, cells, head."""
        if self.deep_stem:
            x = net.conv(x, self.stem / 2, 3, 2, name="stem0")
            before = net.conv(x, self.stem, 3, 2, act="none", name="stem1")
            x = net.conv(net.act(before, "relu"), self.stem, 3, 2, act="none", name="stem2")
        else:
            before = x = net.conv(x, 3 * self.stem, 3, act="none", name="stem")
        width, shrunk = self.stem, self.deep_stem
        for index in range(int(self.cells)):
            shrink = index in (int(self.cells) // 3, 2 * int(self.cells) // 3)
            width = 2 * width if shrink else width
            with net.scope(f"cell{index}"):
                y = self.cell(net, before, x, width, shrink, shrunk)
            before, x, shrunk = x, y, shrink
        net.linear(net.global_pool(x), self.classes, name="head")

    def cell(self, net: Net, first: Feature, second: Feature, width: Value, shrink: bool,
             shrunk: bool) -> Feature:
        """Four nodes, each the sum of two edges; their outputs are joined."""
        if shrunk:
            nodes = [self.halve(net, first, width, "input0")]
        else:
            nodes = [net.conv(net.act(first, "relu"), width, 1, act="none", name="input0")]
        nodes.append(net.conv(net.act(second, "relu"), width, 1, act="none", name="input1"))
        edges = self.reduce if shrink else self.normal
        for index in range(4):
            parts = []
            for edge in edges[2 * index : 2 * index + 2]:
                operation, _, source = edge.partition(" ")
                stride = 2 if shrink and int(source) < 2 else 1
                with net.scope(f"node{index}"):
                    parts.append(self.edge(net, nodes[int(source)], operation, stride))
            nodes.append(net.combine(*parts, name=f"node{index}.sum"))
        return net.concat(*nodes[2:])

    def edge(self, net: Net, x: Feature, operation: str, stride: int) -> Feature:
        """One operation."""
        if operation == "skip_connect":
            return x if stride == 1 else self.halve(net, x, x.channels, "skip")
        if operation.endswith("pool_3x3"):
            return net.pool(x, 3, stride, padding=1)
        kernel = int(operation[-1])
        dilation = 2 if operation.startswith("dil") else 1
        repeats = 1 if dilation == 2 else 2
        for index in range(repeats):
            x = net.act(x, "relu", name=f"relu{index}")
            x = net.conv(x, x.channels, kernel, stride if index == 0 else 1, groups=x.channels,
                         dilation=dilation,
                         norm=False, bias=False, act="none", name=f"depthwise{index}")
            x = net.conv(x, x.channels, 1, act="none", name=f"pointwise{index}")
        return x

    def halve(self, net: Net, x: Feature, out: Value, name: str) -> Feature:
        """Two strided 1x1 convolutions on shifted positions side by side."""
        x = net.act(x, "relu", name=f"{name}_relu")
        parts = [net.conv(x, out / 2, 1, 2, act="none", name=f"{name}_{side}") for side in ("even", "odd")]
        return net.concat(*parts)
