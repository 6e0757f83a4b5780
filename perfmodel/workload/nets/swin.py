"""Hierarchical transformers with shifted windows: Swin and Swin V2."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value, ceil_div
from perfmodel.spec import flag, numbers, quantity
from perfmodel.workload.nets.blocks import mlp
from perfmodel.workload.nets.builder import Feature, Net, share_of
from perfmodel.workload.nets.image import Classifier


@dataclass(frozen=True, kw_only=True)
class Swin(Classifier):
    """Swin transformer [1] and its second version with continuous position bias [2].

    Maps that the window does not divide are padded, as the published code does.
    [1] arXiv:2103.14030.  [2] arXiv:2111.09883.
    """

    hidden: Value = quantity("count", default=96.0, doc="width of the first stage; doubles per stage")
    layers: tuple[Value, ...] = numbers("count", default=(2.0, 2.0, 6.0, 2.0), doc="layers per stage, even")
    heads: Value = quantity("count", default=3.0, doc="heads of the first stage; double per stage")
    window: Value = quantity("count", default=7.0, doc="rows and columns of a window")
    second: bool = flag(default=False, doc="Swin V2: cosine attention, norms behind the parts")

    def build(self, net: Net, x: Feature) -> None:
        """Patches of 4 x 4, stages with merging between them, head."""
        x = net.conv(x, self.hidden, 4, 4, padding="valid", norm=False, act="none", name="patches")
        x = net.layer_norm(x, name="patch_norm")
        for index, depth in enumerate(self.layers):
            heads = self.heads * 2**index
            with net.scope(f"stage{index + 1}"):
                if index:
                    x = self.merge(net, x)
                with net.scope("pair", depth / 2):
                    x = self.layer(net, x, heads, shifted=False)
                    with net.scope("shifted"):
                        x = self.layer(net, x, heads, shifted=True)
        x = net.layer_norm(x, name="final_norm")
        net.linear(net.global_pool(x), self.classes, name="head")

    def merge(self, net: Net, x: Feature) -> Feature:
        """Two by two positions become one of twice the width."""
        y = Feature(4 * x.channels, ceil_div(x.height, 2), ceil_div(x.width, 2), x.producers)
        y = y if self.second else net.layer_norm(y, name="merge_norm")
        y = net.linear(y, 2 * x.channels, bias=False, name="merge")
        return net.layer_norm(y, name="merge_norm") if self.second else y

    def layer(self, net: Net, x: Feature, heads: Value, *, shifted: bool) -> Feature:
        """Window attention and feed-forward part."""
        y = x if self.second else net.layer_norm(x, name="norm1")
        y = net.copy(y, name="shift") if shifted else y
        y = self.attend(net, y, heads)
        y = net.copy(y, name="shift_back") if shifted else y
        y = net.layer_norm(y, name="norm1") if self.second else y
        x = net.combine(y, x, name="add1")
        y = x if self.second else net.layer_norm(x, name="norm2")
        y = mlp(net, y, 4 * x.channels)
        y = net.layer_norm(y, name="norm2") if self.second else y
        return net.combine(y, x, name="add2")

    def attend(self, net: Net, x: Feature, heads: Value) -> Feature:
        """Attention inside windows with a position bias per pair and head."""
        rows, columns = ceil_div(x.height, self.window), ceil_div(x.width, self.window)
        padded = Feature(x.channels, rows * self.window, columns * self.window, x.producers)
        offsets = (2 * self.window - 1) ** 2
        y = net.linear(padded, 3 * x.channels, name="qkv")
        table = offsets * heads
        operands: tuple[Feature, ...] = ()
        if self.second:
            with net.samples(1 / net.batch):  # the same for all images
                bias = net.linear(Feature(2, offsets), 512, act="relu", name="bias1")
                operands = (net.linear(bias, heads, bias=False, act="sigmoid", name="bias2"),)
            table = heads
        y = net.attend(y, heads=heads, head_dim=share_of(heads, x.channels), groups=rows * columns,
                       table=table,
                       operands=operands)
        y = net.linear(y, x.channels, name="attention_out")
        return y.reshaped(x.channels, x.height, x.width)
