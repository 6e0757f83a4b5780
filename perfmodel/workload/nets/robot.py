"""Action head of a vision-language-action model: a diffusion transformer that makes actions."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.spec import quantity, text
from perfmodel.workload.graph import Graph
from perfmodel.workload.nets.blocks import mlp
from perfmodel.workload.nets.builder import FUSIONS, Feature, Net, share_of
from perfmodel.workload.step import Step


@dataclass(frozen=True, kw_only=True)
class ActionHead:
    """Denoises a chunk of actions with cross attention to vision-language tokens [1].

    Even layers attend to the context, odd ones to the sequence itself.  The encoders of state and action and
    the decoder keep one set of weights per robot (`robots`), of which one is used.
    [1] NVIDIA, GR00T N1: An Open Foundation Model for Generalist Humanoid Robots, arXiv:2503.14734.
    """

    hidden: Value = quantity("count", default=1536.0, doc="model width")
    depth: Value = quantity("count", default=16.0, doc="layers, even")
    heads: Value = quantity("count", default=32.0, doc="attention heads")
    context: Value = quantity("count", doc="vision-language tokens")
    context_width: Value = quantity("count", default=2048.0, doc="width of a vision-language token")
    horizon: Value = quantity("count", default=16.0, doc="actions of a chunk")
    states: Value = quantity("count", default=1.0, doc="state tokens")
    action_width: Value = quantity("count", default=32.0, doc="numbers of an action")
    state_width: Value = quantity("count", default=64.0, doc="numbers of a state")
    inner: Value = quantity("count", default=1024.0, doc="width inside the encoders and of the output")
    robots: Value = quantity("count", default=32.0, doc="sets of encoder and decoder weights")
    steps: Value = quantity("count", default=4.0, doc="denoising steps")
    fusion: str = text(default="activation", choices=FUSIONS, doc="what runs as one kernel")

    def graph(self, step: Step, name: str = "action") -> Graph:
        """Ops of all denoising steps."""
        net = Net(name, step.batch, self.fusion)
        state = self.robot(net, Feature(self.state_width, self.states), (self.inner, self.hidden), "state")
        with net.scope("step", self.steps, shared=True):
            actions = self.robot(net, Feature(self.action_width, self.horizon), (self.hidden,), "action")
            actions = self.robot(net, actions.reshaped(2 * self.hidden, self.horizon),
            (self.hidden,) * 2, "mix")
            time = net.linear(Feature(256.0), self.hidden, act="silu", name="time1")
            time = net.linear(time, self.hidden, name="time2")
            x = Feature(self.hidden, self.states + self.horizon, 1.0, (*state.producers, *actions.producers))
            x = net.table(x, self.horizon * self.hidden, name="positions")
            with net.scope("layer", self.depth / 2):
                with net.scope("cross"):
                    x = self.layer(net, x, time, Feature(self.context_width, self.context))
                with net.scope("self"):
                    x = self.layer(net, x, time, None)
            shift = net.linear(net.act(time, "silu", name="out_act"), 2 * self.hidden, name="out_condition")
            x = net.scale(net.layer_norm(x, affine=False, name="out_norm"), shift, operations=2,
                          name="out_scale")
            x = net.linear(x, self.inner, name="out")
            self.robot(net, x.reshaped(self.inner, self.horizon), (self.inner, self.action_width), "decode")
        return net.graph()

    def robot(self, net: Net, x: Feature, widths: tuple[Value, ...], name: str) -> Feature:
        """Linear layers of which `robots` sets are stored."""
        for index, width in enumerate(widths):
            act = "none" if index == len(widths) - 1 else "relu"
            x = net.linear(x, width, act=act, name=f"{name}{index + 1}")
            net.stored_sets(self.robots)
        return x

    def layer(self, net: Net, x: Feature, time: Feature, context: Feature | None) -> Feature:
        """Attention behind an adaptive norm, then a feed-forward part."""
        shift = net.linear(net.act(time, "silu", name="act"), 2 * self.hidden, name="condition")
        y = net.scale(net.layer_norm(x, affine=False, name="norm1"), shift, operations=2, name="scale")
        source = y if context is None else context
        key = net.linear(source, 2 * self.hidden, name="key_value")
        y = net.linear(y, self.hidden, name="query")
        y = net.attend(y, key, heads=self.heads, head_dim=share_of(self.heads, self.hidden))
        x = net.combine(net.linear(y, self.hidden, name="attention_out"), x, name="add1")
        y = mlp(net, net.layer_norm(x, affine=False, name="norm2"), 4 * self.hidden)
        return net.combine(y, x, name="add2")
