"""Encoders: every token sees every other.  Text (BERT), images as patches (ViT), and pairs of both (CLIP).

References
[1] Devlin et al., BERT, arXiv:1810.04805.
[2] Dosovitskiy et al., ViT, arXiv:2010.11929.
[3] Radford et al., CLIP, arXiv:2103.00020.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from perfmodel.algebra import Value, floor
from perfmodel.ops.conv import conv2d
from perfmodel.ops.core import Op, Split
from perfmodel.ops.elementwise import elementwise, embedding
from perfmodel.ops.matmul import matmul
from perfmodel.spec import block, flag, many, quantity, text
from perfmodel.workload.block import NORMS, Block, NormRule
from perfmodel.workload.decoder import vocabulary_split
from perfmodel.workload.graph import Graph
from perfmodel.workload.step import Step


@dataclass(frozen=True, kw_only=True)
class Patches:
    """Image cut into square patches, each projected to one token [2]."""

    image: Value = quantity("count", doc="side of the image [pixels]")
    size: Value = quantity("count", doc="side of a patch [pixels]")
    channels: Value = quantity("count", default=3.0, doc="colour channels")
    bias: bool = flag(default=True, doc="bias on the patch projection")
    class_tokens: Value | None = quantity("count", default=None, doc="learned tokens put before the patches")

    @property
    def tokens(self) -> Value:
        """Tokens per image."""
        side = floor(self.image / self.size)
        return side * side + (0.0 if self.class_tokens is None else self.class_tokens)

    def ops(self, hidden: Value, batch: Value) -> list[Op]:
        """Patch projection, class tokens and learned positions."""
        project = conv2d(
            batch,
            self.channels,
            hidden,
            self.image,
            self.image,
            self.size,
            self.size,
            "valid",
            bias=self.bias,
            name="patches",
        )
        learned = (self.tokens + (0.0 if self.class_tokens is None else self.class_tokens)) * hidden
        positions = elementwise(batch * self.tokens * hidden, parameters=learned, name="positions")
        return [project, positions]


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Dimensions of an encoder."""

    hidden: Value = quantity("count", doc="model width")
    image: Patches | None = block(Patches, default=None, doc="input is an image")
    vocabulary: Value | None = quantity("count", default=None, doc="rows of the embedding table")
    embedding_width: Value | None = quantity("count", default=None, doc="width of the embedding tables")
    types: Value | None = quantity("count", default=None, doc="rows of the token-type table")
    positions: Value | None = quantity("count", default=None, doc="rows of a learned position table")
    embedding_norm: bool = flag(default=False, doc="norm after the embedding")
    norm: str = text(default="layer", choices=NORMS, doc="normalisation")
    norm_bias: bool = flag(default=True, doc="norms carry a bias")
    causal: bool = flag(default=False, doc="a token sees only those before it (text side of CLIP)")
    blocks: tuple[Block, ...] = many(Block, doc="layers, in order")
    final_norm: bool = flag(default=False, doc="norm after the last layer")
    pooler: bool = flag(default=False, doc="dense layer on the first token")
    classes: Value | None = quantity("count", default=None, doc="outputs of a classifier per class token")
    tied_head: bool = flag(
        default=False, doc="masked-language-model head on all tokens, tied to the embedding"
    )

    @property
    def rule(self) -> NormRule:
        """The model's norm."""
        return NormRule(self.norm, self.norm_bias)

    def graph(self, step: Step, name: str = "encoder") -> Graph:
        """Ops of one pass: ``query`` tokens per sequence, or whole images."""
        return Graph(name, tuple(self.ops(step)))

    def ops(self, step: Step) -> list[Op]:
        """Ops of one pass."""
        length = step.query if self.image is None else self.image.tokens
        inner = replace(step, query=length, context=length)
        ops = self.embed(inner)
        for index, layer in enumerate(self.blocks):
            prefix = f"block{index}." if len(self.blocks) > 1 else "block."
            both = layer if self.causal else both_ways(layer)
            ops += [op.named(prefix + op.name) for op in both.ops(self.hidden, inner, self.rule)]
        if self.final_norm:
            ops += self.rule.ops(inner.tokens, self.hidden, "final_norm")
        return [*ops, *self.outputs(inner)]

    def embed(self, step: Step) -> list[Op]:
        """Patches, or token, type and position embeddings."""
        tokens, width = step.tokens, self.hidden if self.embedding_width is None else self.embedding_width
        ops: list[Op] = [] if self.image is None else self.image.ops(self.hidden, step.batch)
        if self.vocabulary is not None:
            ops.append(embedding(tokens, self.vocabulary, width, name="embedding").divided(tp=Split("")))
        if self.types is not None:
            ops.append(embedding(tokens, self.types, width, name="types"))
        if self.positions is not None:
            ops.append(embedding(tokens, self.positions, width, name="positions"))
        if self.embedding_norm:
            ops += self.rule.ops(tokens, width, "embedding_norm", residual=False)
        if self.embedding_width is not None:
            ops.append(matmul(tokens, self.hidden, width, bias=True, name="embedding_in"))
        return ops

    def outputs(self, step: Step) -> list[Op]:
        """Pooler, classifiers, or a language-model head."""
        ops: list[Op] = []
        if self.pooler:
            ops.append(matmul(step.batch, self.hidden, self.hidden, bias=True, name="pooler"))
        if self.classes is not None:
            head = matmul(
                step.batch, self.classes, self.hidden, bias=True, out_kind="logits", name="classifier"
            )
            chosen = None if self.image is None else self.image.class_tokens
            ops.append(head if chosen is None else head.repeated(chosen))
        if self.tied_head and self.vocabulary is not None:
            head = matmul(
                step.tokens,
                self.vocabulary,
                self.hidden,
                shared=True,
                bias=True,
                out_kind="logits",
                role="head",
                name="head",
            )
            ops.append(head.divided(tp=vocabulary_split(self.vocabulary)))
        return ops


def both_ways(layer: Block) -> Block:
    """The layer with attention in both directions."""
    if layer.attention is None:
        return layer
    return replace(layer, attention=replace(layer.attention, bidirectional=True))


@dataclass(frozen=True, kw_only=True)
class DualEncoder:
    """A text and an image encoder with projections to a common space [3]."""

    text: Encoder = block(Encoder, doc="text encoder")
    image: Encoder = block(Encoder, doc="image encoder")
    projection: Value = quantity("count", doc="width of the common space")

    def graph(self, step: Step, name: str = "dual_encoder") -> Graph:
        """Ops of `batch` texts of ``query`` tokens and as many images."""
        ops = [op.named("text." + op.name) for op in self.text.ops(step)]
        ops += [op.named("image." + op.name) for op in self.image.ops(step)]
        # one learned temperature scales the similarity
        scale = elementwise(2.0 * step.batch * self.projection, special=1, parameters=1.0, name="scale")
        return Graph(
            name,
            (
                *ops,
                matmul(step.batch, self.projection, self.text.hidden, name="text_projection"),
                matmul(step.batch, self.projection, self.image.hidden, name="image_projection"),
                scale,
            ),
        )
