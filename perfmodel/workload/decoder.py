"""Decoder-only language models: a stack of blocks between an embedding and a head."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.ops.core import Op, Split
from perfmodel.ops.elementwise import elementwise, embedding, norm
from perfmodel.ops.matmul import matmul
from perfmodel.spec import block, flag, many, quantity, text
from perfmodel.workload.graph import Graph
from perfmodel.workload.layers import Attention, Mlp
from perfmodel.workload.step import Step

NORMS = ("rms", "layer", "none")


@dataclass(frozen=True, kw_only=True)
class Block:
    """`repeat` equal layers: a mixer, a feed-forward part, or both, each with its norm.

    Parts that are absent cost nothing.  Several mixers in one block run on the same input (parallel hybrid).
    """

    repeat: Value = quantity("count", default=1.0, doc="number of equal layers")
    attention: Attention | None = block(Attention, default=None, doc="attention mixer")
    mlp: Mlp | None = block(Mlp, default=None, doc="dense feed-forward part")
    parallel: bool = flag(default=False, doc="mixer and feed-forward read the same normalised input")
    post_norms: bool = flag(default=False, doc="a further norm after each part, before the residual addition")

    def mixers(self) -> list[object]:
        """Token mixers of the layer."""
        return [part for part in (self.attention,) if part is not None]

    def feed_forward(self) -> list[object]:
        """Feed-forward parts of the layer."""
        return [part for part in (self.mlp,) if part is not None]


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """Dimensions of a decoder-only model."""

    hidden: Value = quantity("count", doc="model width")
    vocabulary: Value = quantity("count", doc="rows of the embedding table")
    tied: bool = flag(default=False, doc="the head reuses the embedding table")
    head_bias: bool = flag(default=False, doc="bias on the head")
    positions: Value | None = quantity("count", default=None, doc="rows of a learned position table")
    norm: str = text(default="rms", choices=NORMS, doc="normalisation")
    norm_bias: bool | None = flag(default=None, doc="norms carry a bias; absent: layer norms do")
    norm_affine: bool = flag(default=True, doc="norms carry a weight")
    final_norm: bool = flag(default=True, doc="norm before the head")
    blocks: tuple[Block, ...] = many(Block, doc="layers, in order")

    def graph(self, step: Step, name: str = "decoder") -> Graph:
        """Ops of one pass over `step`."""
        tokens = step.tokens
        ops: list[Op] = [
            embedding(tokens, self.vocabulary, self.hidden, name="embedding").divided(tp=Split(""))
        ]
        if self.positions is not None:
            ops.append(embedding(tokens, self.positions, self.hidden, name="positions"))
        for index, layer in enumerate(self.blocks):
            prefix = f"block{index}." if len(self.blocks) > 1 else "block."
            for op in self.layer(layer, step):
                ops.append(op.named(prefix + op.name).repeated(layer.repeat))
        ops += self.head(step)
        return Graph(name, tuple(ops))

    def normalise(self, rows: Value, name: str, residual: bool = True) -> list[Op]:
        """The model's norm, fused with the residual addition before it."""
        if self.norm == "none":
            return []
        bias = self.norm_bias if self.norm_bias is not None else self.norm == "layer"
        bias = bias and self.norm_affine
        return [
            norm(rows, self.hidden, kind=self.norm, residual=residual, bias=bias,
                 affine=self.norm_affine, name=name)
        ]

    def layer(self, layer: Block, step: Step) -> list[Op]:
        """Ops of one layer."""
        ops: list[Op] = []
        for stage, parts in (("mixer", layer.mixers()), ("mlp", layer.feed_forward())):
            if not parts:
                continue
            if not (layer.parallel and stage == "mlp"):
                ops += self.normalise(step.tokens, f"{stage}_norm")
            for part in parts:
                ops += part.ops(self.hidden, step)  # type: ignore[attr-defined]
            if layer.post_norms:
                ops += self.normalise(step.tokens, f"{stage}_post_norm", residual=False)
        if self.norm == "none":
            ops.append(elementwise(step.tokens * self.hidden, inputs=2, name="residual"))
        return ops

    def head(self, step: Step) -> list[Op]:
        """Final norm and projection to the vocabulary."""
        rows = step.tokens if step.logits == "all" else step.batch
        ops = self.normalise(rows, "final_norm") if self.final_norm else []
        head = matmul(
            rows, self.vocabulary, self.hidden, bias=self.head_bias, shared=self.tied,
            out_kind="logits", name="head",
        )
        return [*ops, head.divided(tp=Split("n", gather=True))]
