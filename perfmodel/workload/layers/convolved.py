"""Attention with more than projections before the scores: convolutions, position states, a second map.

References
[1] Figliolia et al., Compressed Convolutional Attention, arXiv:2510.04476 (ZAYA).
[2] Ye et al., Differential Transformer, arXiv:2410.05258.
[3] Shi et al., Trainable Dynamic Mask Sparse Attention, arXiv:2508.02124 (Doge).
[4] transformers, model type inkling (short convolutions on keys and values, relative position states).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from perfmodel.algebra import Value
from perfmodel.ops.conv import conv1d
from perfmodel.ops.core import Op
from perfmodel.ops.elementwise import elementwise
from perfmodel.ops.matmul import matmul
from perfmodel.ops.scan import causal_conv1d
from perfmodel.spec import block, flag, quantity
from perfmodel.workload.layers.attention import Attention
from perfmodel.workload.step import Step


@dataclass(frozen=True, kw_only=True)
class ConvolvedAttention:
    """Attention behind short convolutions and the like; what is absent costs nothing."""

    core: Attention = block(Attention, doc="projections and attention")
    depthwise: Value | None = quantity(
        "count", default=None, doc="taps of a convolution over queries and keys, one channel at a time [1]"
    )
    grouped: Value | None = quantity(
        "count", default=None, doc="taps of one that mixes the channels of each head [1]"
    )
    key_value: Value | None = quantity(
        "count", default=None, doc="taps of convolutions over keys and over values [4]"
    )
    relative: Value | None = quantity("count", default=None, doc="width per head of position states [4]")
    extent: Value | None = quantity("count", default=None, doc="distances that the states tell apart")
    selector: bool = flag(default=False, doc="scores of the values choose the keys that are seen [3]")
    differential: bool = flag(default=False, doc="a second map over the same queries and keys [2]")
    learned: Value | None = quantity("count", default=None, doc="further learned numbers")

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Projections, what mixes them, attention, output projection."""
        projection, *rest = self.core.ops(hidden, step)
        return [projection, *self.mixed(hidden, step), *rest, *self.second(step)]

    def mixed(self, hidden: Value, step: Step) -> list[Op]:
        """Convolutions, position states and selector."""
        tokens, kv, d = step.tokens, self.core.kv, self.core.head_dim
        heads = self.core.heads + kv
        ops: list[Op] = []
        if self.depthwise is not None:
            ops.append(causal_conv1d(step.batch, step.query, heads * d, self.depthwise, name="qk_conv"))
        if self.grouped is not None:
            ops.append(conv1d(
                step.batch, heads * d, heads * d, step.query, self.grouped, groups=heads, bias=True,
                name="head_conv",
            ))
        if self.key_value is not None:
            width = kv * (d + self.core.value_width)
            ops.append(causal_conv1d(
                step.batch, step.query, width, self.key_value, bias=False, name="kv_conv"
            ))
        if self.relative is not None and self.extent is not None:
            states = self.core.heads * self.relative
            ops.append(matmul(tokens, states, hidden, name="position_states"))
            ops.append(matmul(tokens * self.core.heads, self.extent, self.relative, name="position_scores"))
        if self.selector:
            ops.append(matmul(
                tokens, kv, kv * self.core.value_width, bias=self.core.qkv_bias, name="selector"
            ))
        if self.learned is not None:
            ops.append(elementwise(
                tokens * heads * d, operations=1, parameters=self.learned, name="learned_scales"
            ))
        return ops

    def second(self, step: Step) -> list[Op]:
        """The second map and the difference of both; the cache is that of the first."""
        if not self.differential:
            return []
        again = [
            replace(op, tensors=tuple(replace(t, shared=True) for t in op.tensors)).named(f"second_{op.name}")
            for op in self.core.core(step)
        ]
        width = self.core.heads * self.core.value_width
        return [*again, elementwise(step.tokens * width, inputs=2, operations=6, name="difference")]
