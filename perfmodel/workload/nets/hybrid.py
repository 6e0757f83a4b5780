"""Convolution and attention mixed: LeViT, ConvNeXt, RepVGG."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value, ceil_div
from perfmodel.spec import numbers, quantity
from perfmodel.workload.nets.builder import Feature, Net
from perfmodel.workload.nets.image import Classifier


@dataclass(frozen=True, kw_only=True)
class LeViT(Classifier):
    """LeViT, arXiv:2104.01136: batch norm folded into every linear layer, attention that halves the map.

    attention_ratio  width of a value head / width of a key head; 4 in the shrinking attention
    """

    hidden: tuple[Value, ...] = numbers("count", doc="width per stage")
    heads: tuple[Value, ...] = numbers("count", doc="attention heads per stage")
    layers: tuple[Value, ...] = numbers("count", default=(4.0, 4.0, 4.0), doc="layers per stage")
    key: Value = quantity("count", doc="width of a key head")
    head_count: Value = quantity("count", default=2.0, doc="heads at the end: 2 with distillation")

    def build(self, net: Net, x: Feature) -> None:
        """Four convolutions, three stages, heads."""
        act = "hardswish"
        for index, divisor in enumerate((8, 4, 2, 1)):
            last = divisor == 1
            x = net.conv(x, self.hidden[0] / divisor, 3, 2, act="none" if last else act,
                         name=f"stem{index + 1}")
        for index, depth in enumerate(self.layers):
            with net.scope(f"stage{index + 1}"):
                if index:
                    x = self.shrink(net, x, self.hidden[index], self.hidden[index - 1] // self.key)
                    x = self.feed_forward(net, x, "shrink_mlp")
                with net.scope("layer", depth):
                    x = self.attend(net, x, self.heads[index])
                    x = self.feed_forward(net, x, "mlp")
        x = net.global_pool(x)
        for index in range(int(self.head_count)):
            y = net.scale(x, parameters=2 * x.channels, operations=2, name=f"head{index}_norm")
            net.linear(y, self.classes, name=f"head{index}")

    def attend(self, net: Net, x: Feature, heads: Value) -> Feature:
        """Attention with values twice as wide as keys and a bias per offset."""
        y = net.linear(x, heads * 4 * self.key, bias=False, norm=True, name="qkv")
        y = net.attend(y, heads=heads, head_dim=self.key, value_dim=2 * self.key, table=heads * x.positions)
        y = net.act(y, "hardswish", name="attention_act")
        y = net.linear(y, x.channels, bias=False, norm=True, name="attention_out")
        return net.combine(y.reshaped(x.channels, x.height, x.width), x, name="attention_add")

    def shrink(self, net: Net, x: Feature, out: Value, heads: Value) -> Feature:
        """Attention from every second row and column to all positions."""
        kv = net.linear(x, heads * 5 * self.key, bias=False, norm=True, name="shrink_kv")
        small = Feature(x.channels, ceil_div(x.height, 2), ceil_div(x.width, 2), x.producers)
        q = net.linear(small, heads * self.key, bias=False, norm=True, name="shrink_q")
        y = net.attend(q, kv, heads=heads, head_dim=self.key, value_dim=4 * self.key,
                       table=heads * x.positions, name="shrink_attention")
        y = net.act(y, "hardswish", name="shrink_act")
        return net.linear(y, out, bias=False, norm=True, name="shrink_out")

    def feed_forward(self, net: Net, x: Feature, name: str) -> Feature:
        """Two linear layers with twice the width inside."""
        y = net.linear(x, 2 * x.channels, bias=False, norm=True, act="hardswish", name=f"{name}_up")
        return net.combine(net.linear(y, x.channels, bias=False, norm=True, name=f"{name}_down"), x,
                           name=f"{name}_add")


@dataclass(frozen=True, kw_only=True)
class ConvNeXt(Classifier):
    """ConvNeXt, arXiv:2201.03545."""

    hidden: tuple[Value, ...] = numbers("count", default=(96.0, 192.0, 384.0, 768.0), doc="width per stage")
    layers: tuple[Value, ...] = numbers("count", default=(3.0, 3.0, 9.0, 3.0), doc="blocks per stage")

    def build(self, net: Net, x: Feature) -> None:
        """Patches of 4 x 4, stages with 2 x 2 reduction, head."""
        x = net.conv(x, self.hidden[0], 4, 4, norm=False, act="none", padding="valid", name="patches")
        x = net.layer_norm(x, name="patch_norm")
        for index, (width, depth) in enumerate(zip(self.hidden, self.layers, strict=True)):
            with net.scope(f"stage{index + 1}"):
                if index:
                    x = net.layer_norm(x, name="reduce_norm")
                    x = net.conv(x, width, 2, 2, norm=False, act="none", padding="valid", name="reduce")
                with net.scope("block", depth):
                    y = net.layer_norm(net.depthwise(x, 7, act="none", norm=False))
                    y = net.linear(net.linear(y, 4 * width, act="gelu", name="up"), width, name="down")
                    x = net.combine(net.scale(y, parameters=width), x)
        x = net.layer_norm(net.global_pool(x), name="final_norm")
        net.linear(x, self.classes, name="head")
