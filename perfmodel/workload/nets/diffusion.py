"""Diffusion models: latent UNet (Stable Diffusion), diffusion transformer, and their sampling loops."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.spec import flag, numbers, quantity, text
from perfmodel.workload.graph import Graph
from perfmodel.workload.nets.blocks import mlp
from perfmodel.workload.nets.builder import FUSIONS, Feature, Net, share_of
from perfmodel.workload.nets.image import some
from perfmodel.workload.step import Step


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Latent and sampling loop of a diffusion model.

    One pass of the graph is the whole loop: `steps` evaluations for each item of the batch, twice with
    classifier-free guidance.  `frames` images run as one batch (video); chunks cut the frames and rows of an
    evaluation into parts that run one after the other, which divides the live activations, not the work.
    """

    channels: Value = quantity("count", default=4.0, doc="latent channels")
    height: Value = quantity("count", default=64.0, doc="latent rows; an eighth of the image")
    width: Value | None = quantity("count", default=None, doc="latent columns; absent: as many as rows")
    steps: Value = quantity("count", default=1.0, doc="denoising steps of one pass")
    guidance: bool = flag(default=False, doc="classifier-free guidance: two evaluations per step")
    frames: Value = quantity("count", default=1.0, doc="frames of a video")
    chunks: Value = quantity("count", default=1.0, doc="temporal chunks, run one after the other")
    fusion: str = text(default="activation", choices=FUSIONS, doc="what runs as one kernel")

    def graph(self, step: Step, name: str = "diffusion") -> Graph:
        """Ops of the sampling loop."""
        samples = step.batch * self.frames / self.chunks * (2.0 if self.guidance else 1.0)
        net = Net(name, samples, self.fusion)
        width = self.height if self.width is None else self.width
        with net.scope("step", self.steps * self.chunks, shared=True):
            self.build(net, Feature(self.channels, self.height, width))
        return net.graph()

    def build(self, net: Net, x: Feature) -> None:
        """One evaluation of the network."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class UNet(Sampler):
    """UNet of latent diffusion models with cross attention to a text [1].

    depths   transformer layers per attention block of each level, 0: none
    [1] Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, arXiv:2112.10752.
    """

    hidden: Value = quantity("count", default=320.0, doc="channels of the first level")
    multipliers: tuple[Value, ...] = numbers("1", default=(1.0, 2.0, 4.0, 4.0),
                                             doc="channels per level / first")
    depths: tuple[Value, ...] = numbers(
        "1", positive=False, low=0, default=(1.0, 1.0, 1.0, 0.0), doc="transformer layers per level")
    middle: Value = quantity("count", default=1.0, doc="transformer layers of the middle block")
    blocks: Value = quantity("count", default=2.0, doc="residual blocks per level")
    heads: Value = quantity("count", default=8.0, doc="attention heads, unless head_dim is given")
    head_dim: Value | None = quantity("count", default=None, doc="fixed width of a head in place of `heads`")
    context: Value = quantity("count", default=77.0, doc="text tokens")
    context_width: Value = quantity("count", default=768.0, doc="width of a text token")
    linear_projection: bool = flag(default=False, doc="linear in place of 1x1 projections; the same cost")
    added: Value | None = quantity("count", default=None,
                                   doc="width of a further embedding (size, pooled text)")
    motion: bool = flag(default=False, doc="temporal attention behind each block (AnimateDiff)")

    def build(self, net: Net, x: Feature) -> None:
        """Time embedding, contracting levels, middle, expanding levels."""
        time = self.embed(net, 4 * self.hidden)
        x = net.conv(x, self.hidden, 3, norm=False, act="none", name="conv_in")
        kept, last = [x], len(self.multipliers) - 1
        for level, factor in enumerate(self.multipliers):
            out = self.hidden * factor
            for index in range(int(self.blocks)):
                with net.scope(f"down{level}.{index}"):
                    x = self.level(net, x, time, out, self.depths[level])
                kept.append(x)
            if level < last:
                x = net.conv(x, out, 3, 2, norm=False, act="none", name=f"down{level}.reduce")
                kept.append(x)
        with net.scope("middle"):
            x = self.residual(net, x, time, x.channels, "first")
            x = self.transformer(net, x, self.middle)
            x = self.residual(net, x, time, x.channels, "second")
        for level in range(last, -1, -1):
            for index in range(int(self.blocks) + 1):
                with net.scope(f"up{level}.{index}"):
                    x = net.concat(x, kept.pop())
                    x = self.level(net, x, time, self.hidden * self.multipliers[level], self.depths[level])
            if level:
                x = net.conv(net.upsample(x, name=f"up{level}.enlarge"), x.channels, 3, norm=False,
                             act="none",
                             name=f"up{level}.conv")
        x = net.group_norm(x, "silu", name="norm_out")
        net.conv(x, self.channels, 3, norm=False, act="none", name="conv_out")

    def embed(self, net: Net, width: Value) -> Feature:
        """Embedding of the time step and of further conditions."""
        y = net.linear(Feature(self.hidden), width, act="silu", name="time1")
        y = net.linear(y, width, name="time2")
        if self.added is not None:
            z = net.linear(Feature(self.added), width, act="silu", name="added1")
            y = net.combine(y, net.linear(z, width, name="added2"), name="added")
        return y

    def level(self, net: Net, x: Feature, time: Feature, out: Value, depth: Value) -> Feature:
        """Residual block and, where the level has it, a transformer."""
        x = self.residual(net, x, time, out, "residual")
        if some(depth):
            x = self.transformer(net, x, depth)
        return self.temporal(net, x) if self.motion else x

    def residual(self, net: Net, x: Feature, time: Feature, out: Value, name: str) -> Feature:
        """Two norms and convolutions with the time embedding between them."""
        with net.scope(name):
            y = net.conv(net.group_norm(x, "silu", name="norm1"), out, 3, norm=False, act="none",
                         name="conv1")
            shift = net.linear(net.act(time, "silu", name="time_act"), out, name="time")
            y = net.scale(y, shift, name="time_add")
            y = net.conv(net.group_norm(y, "silu", name="norm2"), out, 3, norm=False, act="none",
                         name="conv2")
            skip = x if x.channels == out else net.conv(x, out, 1, norm=False, act="none", name="shortcut")
            return net.combine(y, skip)

    def transformer(self, net: Net, x: Feature, depth: Value) -> Feature:
        """Projection, layers of self attention, cross attention and gated feed-forward part, projection."""
        heads = x.channels / self.head_dim if self.head_dim is not None else self.heads
        with net.scope("transformer"):
            y = net.conv(net.group_norm(x), x.channels, 1, norm=False, act="none", name="project_in").tokens()
            with net.scope("layer", depth):
                y = self.attend(net, y, heads, None, "self")
                text = Feature(self.context_width, self.context)
                y = self.attend(net, y, heads, text, "cross")
                z = net.linear(net.layer_norm(y, name="norm3"), 8 * y.channels, name="gate_up")
                half = z.reshaped(4 * y.channels, z.height)
                z = net.combine(half, half, act="gelu", name="gate")
                y = net.combine(net.linear(z, y.channels, name="mlp_down"), y, name="mlp_add")
            y = y.reshaped(x.channels, x.height, x.width)
            return net.combine(net.conv(y, x.channels, 1, norm=False, act="none", name="project_out"), x)

    def attend(self, net: Net, x: Feature, heads: Value, context: Feature | None, name: str) -> Feature:
        """Attention to the positions themselves or to the text."""
        y = net.layer_norm(x, name=f"{name}_norm")
        source = y if context is None else context
        query = net.linear(y, x.channels, bias=False, name=f"{name}_query")
        key = net.linear(source, x.channels, bias=False, name=f"{name}_key")
        value = net.linear(source, x.channels, bias=False, name=f"{name}_value")
        z = net.attend(query, key, heads=heads, head_dim=share_of(heads, x.channels), operands=(value,),
                       name=f"{name}_attention")
        return net.combine(net.linear(z, x.channels, name=f"{name}_out"), x, name=f"{name}_add")

    def temporal(self, net: Net, x: Feature) -> Feature:
        """Attention over the frames of each position, twice, with a gated feed-forward part [2].

        [2] Guo et al., AnimateDiff, arXiv:2307.04725.
        """
        frames = self.frames / self.chunks
        with net.scope("motion"), net.samples(1 / frames):
            y = Feature(x.channels, frames, x.positions, x.producers)
            y = net.linear(net.group_norm(y), x.channels, name="project_in")
            for index in range(2):
                z = net.linear(net.layer_norm(y, name=f"norm{index}"), 3 * x.channels, bias=False,
                               name=f"qkv{index}")
                z = net.attend(z, heads=self.heads, head_dim=share_of(self.heads, x.channels),
                               groups=x.positions,
                               name=f"attention{index}")
                y = net.combine(net.linear(z, x.channels, name=f"out{index}"), y, name=f"add{index}")
            z = net.linear(net.layer_norm(y, name="norm2"), 8 * x.channels, name="gate_up")
            half = z.reshaped(4 * x.channels, z.height, z.width)
            z = net.combine(half, half, act="gelu", name="gate")
            y = net.combine(net.linear(z, x.channels, name="mlp_down"), y, name="mlp_add")
            y = net.linear(y, x.channels, name="project_out")
        return net.combine(y.reshaped(x.channels, x.height, x.width), x, name="motion_add")


@dataclass(frozen=True, kw_only=True)
class DiT(Sampler):
    """Diffusion transformer with adaptive norms [1].

    [1] Peebles, Xie, Scalable Diffusion Models with Transformers, arXiv:2212.09748.
    """

    height: Value = quantity("count", default=32.0, doc="latent rows; an eighth of the image")
    patch: Value = quantity("count", default=2.0, doc="rows and columns of a patch")
    hidden: Value = quantity("count", default=1152.0, doc="model width")
    depth: Value = quantity("count", default=28.0, doc="layers")
    heads: Value = quantity("count", default=16.0, doc="attention heads")
    mlp_ratio: Value = quantity("1", default=4.0, doc="inner / model width")
    classes: Value = quantity("1", positive=False, low=0, default=1000.0, doc="class labels; 0: none")
    learned_sigma: bool = flag(default=True, doc="predicts the variance too: twice the channels")
    frequencies: Value = quantity("count", default=256.0, doc="width of the sinusoidal time embedding")

    def build(self, net: Net, x: Feature) -> None:
        """Patches, conditioned layers, unpatching."""
        y = net.conv(x, self.hidden, self.patch, self.patch, padding="valid", norm=False, act="none",
                     name="patches").tokens()
        y = net.table(y, 0, name="positions")  # a fixed sine table, nothing is stored
        time = net.linear(Feature(self.frequencies), self.hidden, act="silu", name="time1")
        time = net.linear(time, self.hidden, name="time2")
        if some(self.classes):
            label = net.lookup(1, self.classes + 1, self.hidden, name="label")
            time = net.combine(time, label, name="condition")
        with net.scope("layer", self.depth):
            y = self.layer(net, y, time)
        shift = net.linear(net.act(time, "silu", name="final_act"), 2 * self.hidden, name="final_condition")
        y = net.scale(net.layer_norm(y, affine=False, name="final_norm"), shift, operations=2,
                      name="final_scale")
        out = self.channels * (2.0 if self.learned_sigma else 1.0)
        net.linear(y, self.patch * self.patch * out, name="unpatch")

    def layer(self, net: Net, x: Feature, time: Feature) -> Feature:
        """Attention and feed-forward part; six vectors of the condition shift, scale and gate them."""
        condition = net.linear(net.act(time, "silu", name="condition_act"), 6 * self.hidden, name="condition")
        y = net.scale(net.layer_norm(x, affine=False, name="norm1"), condition, operations=2, name="scale1")
        y = net.linear(y, 3 * self.hidden, name="qkv")
        y = net.attend(y, heads=self.heads, head_dim=share_of(self.heads, self.hidden))
        y = net.linear(y, self.hidden, name="attention_out")
        x = net.combine(net.scale(y, condition, name="gate1"), x, name="add1")
        y = net.scale(net.layer_norm(x, affine=False, name="norm2"), condition, operations=2, name="scale2")
        y = mlp(net, y, self.mlp_ratio * self.hidden)
        return net.combine(net.scale(y, condition, name="gate2"), x, name="add2")
