"""Transformers on image patches: ViT, DeiT, with experts, and the all-MLP networks Mixer and ResMLP."""

from __future__ import annotations

from dataclasses import dataclass, replace

from perfmodel.algebra import Value, minimum
from perfmodel.ops.matmul import grouped_matmul
from perfmodel.spec import flag, quantity, text
from perfmodel.workload.nets.blocks import attention_part, encoder_layer, mlp
from perfmodel.workload.nets.builder import Feature, Net
from perfmodel.workload.nets.image import Classifier, some


@dataclass(frozen=True, kw_only=True)
class ViT(Classifier):
    """Vision transformer [1], DeiT with or without a distillation token [2], and the tower of CLIP [3].

    [1] arXiv:2010.11929.  [2] arXiv:2012.12877.  [3] arXiv:2103.00020.
    """

    patch: Value = quantity("count", default=16.0, doc="rows and columns of a patch")
    hidden: Value = quantity("count", default=768.0, doc="model width")
    depth: Value = quantity("count", default=12.0, doc="layers")
    heads: Value = quantity("count", default=12.0, doc="attention heads")
    head_dim: Value | None = quantity("count", default=None, doc="width of a head; absent: width / heads")
    mlp: Value | None = quantity("count", default=None, doc="inner width; absent: four times the model width")
    tokens: Value = quantity("1", positive=False, low=0, default=1.0, doc="class and distillation tokens")
    patch_bias: bool = flag(default=True, doc="bias on the patch projection")
    pre_norm: bool = flag(default=False, doc="norm before the first layer (CLIP)")
    head: str = text(default="classes", choices=("classes", "projection", "none"),
                     doc="class scores (one head per token), a projection without bias, or all tokens")
    act: str = text(default="gelu", choices=("gelu", "silu", "relu"), doc="activation")

    def build(self, net: Net, x: Feature) -> None:
        """Patches, encoder, head on the extra tokens."""
        x = self.encode(net, x)
        if self.head == "none":
            return
        for index in range(max(int(self.tokens), 1)):
            token = x.reshaped(self.hidden)
            if self.head == "classes":
                net.linear(token, self.classes, name=f"head{index}")
            else:
                net.linear(token, self.classes, bias=False, name="projection")
                return

    def encode(self, net: Net, x: Feature) -> Feature:
        """Patches and encoder; all tokens after the last norm."""
        x = net.conv(x, self.hidden, self.patch, self.patch, padding="valid", norm=False, act="none",
                     bias=self.patch_bias, name="patches").tokens()
        length = x.height + self.tokens
        x = Feature(self.hidden, length, 1.0, x.producers)
        x = net.table(x, (length + self.tokens) * self.hidden, name="positions")
        if self.pre_norm:
            x = net.layer_norm(x, name="pre_norm")
        return net.layer_norm(self.layers(net, x), name="final_norm")

    def layers(self, net: Net, x: Feature) -> Feature:
        """The encoder layers."""
        with net.scope("layer", self.depth):
            width = 4 * self.hidden if self.mlp is None else self.mlp
            return encoder_layer(net, x, self.heads, width, act=self.act, head_dim=self.head_dim)


@dataclass(frozen=True, kw_only=True)
class MoeViT(ViT):
    """Vision transformer with experts in every second layer and one gate per task [1].

    A pass serves one task: one of the gates, `chosen` of the experts per token.
    [1] Fan et al., M3ViT, arXiv:2210.14793.
    """

    experts: Value = quantity("count", default=16.0, doc="experts of a layer")
    chosen: Value = quantity("count", default=4.0, doc="experts per token")
    expert_width: Value = quantity("count", doc="inner width of an expert")
    tasks: Value = quantity("count", default=1.0, doc="gates that are stored")

    def layers(self, net: Net, x: Feature) -> Feature:
        """Pairs of a dense layer and one with experts."""
        width = 4 * self.hidden if self.mlp is None else self.mlp
        with net.scope("pair", self.depth / 2):
            with net.scope("dense"):
                x = encoder_layer(net, x, self.heads, width, act=self.act, head_dim=self.head_dim)
            with net.scope("sparse"):
                x = attention_part(net, x, self.heads, head_dim=self.head_dim)
                y = net.layer_norm(x, name="norm2")
                net.linear(y, self.experts, bias=False, name="gate")
                net.stored_sets(self.tasks)
                return net.combine(self.mixture(net, y), x, name="add2")

    def mixture(self, net: Net, x: Feature) -> Feature:
        """Two products per chosen expert; with many tokens every expert is read."""
        pairs = net.batch * x.positions * self.chosen
        touched = minimum(self.experts, pairs)
        names = ("expert_up", "expert_down")
        y = x
        for name, n, k in zip(names, (self.expert_width, x.channels), (x.channels, self.expert_width),
                              strict=True):
            op = grouped_matmul(pairs / touched, n, k, touched, stored_experts=self.experts)
            y = net.push(op, (y,), replace(x, channels=n), name)
        return y


@dataclass(frozen=True, kw_only=True)
class Mixer(Classifier):
    """MLP-Mixer, arXiv:2105.01601, and ResMLP, arXiv:2105.03404."""

    patch: Value = quantity("count", default=16.0, doc="rows and columns of a patch")
    hidden: Value = quantity("count", default=768.0, doc="model width")
    depth: Value = quantity("count", default=12.0, doc="layers")
    token_mlp: Value = quantity("1", positive=False, low=0, default=384.0,
                                doc="inner width over tokens; 0: one product (ResMLP)")
    channel_mlp: Value = quantity("count", default=3072.0, doc="inner width over channels")
    affine: bool = flag(default=False, doc="affine scaling in place of norms (ResMLP)")

    def build(self, net: Net, x: Feature) -> None:
        """Patches, layers, mean over tokens, head."""
        x = net.conv(x, self.hidden, self.patch, self.patch, padding="valid", norm=False, act="none",
                     name="patches").tokens()
        with net.scope("layer", self.depth):
            x = self.layer(net, x)
        x = self.normalise(net, x, "final_norm")
        net.linear(net.global_pool(x), self.classes, name="head")

    def normalise(self, net: Net, x: Feature, name: str) -> Feature:
        """Layer norm, or a scale and shift per channel."""
        if self.affine:
            return net.scale(x, parameters=2 * self.hidden, operations=2, name=name)
        return net.layer_norm(x, name=name)

    def layer(self, net: Net, x: Feature) -> Feature:
        """Products over the tokens of each channel, then over the channels of each token."""
        y = self.normalise(net, x, "norm1")
        y = y.reshaped(x.height, self.hidden)
        if some(self.token_mlp):
            y = mlp(net, y, self.token_mlp, name="tokens")
        else:
            y = net.linear(y, x.height, name="tokens")
        y = y.reshaped(self.hidden, x.height)
        x = net.combine(self.layer_scale(net, y, "scale1"), x, name="add1")
        y = mlp(net, self.normalise(net, x, "norm2"), self.channel_mlp, name="channels")
        return net.combine(self.layer_scale(net, y, "scale2"), x, name="add2")

    def layer_scale(self, net: Net, x: Feature, name: str) -> Feature:
        """Factor per channel of ResMLP."""
        return net.scale(x, parameters=self.hidden, name=name) if self.affine else x
