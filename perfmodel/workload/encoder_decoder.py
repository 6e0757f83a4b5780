"""Encoder-decoders: T5, BART, Whisper, and stacks whose layers differ (HAT).

References
[1] Vaswani et al., arXiv:1706.03762.  [2] Raffel et al., T5, arXiv:1910.10683.
[3] Wang et al., HAT, arXiv:2005.14187.  [4] Radford et al., Whisper, arXiv:2212.04356.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from perfmodel.algebra import Value
from perfmodel.ops.conv import conv1d
from perfmodel.ops.core import Op, Split
from perfmodel.ops.elementwise import elementwise, embedding
from perfmodel.ops.matmul import matmul
from perfmodel.spec import block, flag, many, quantity, text
from perfmodel.workload.block import NORMS, Block, NormRule
from perfmodel.workload.decoder import vocabulary_split
from perfmodel.workload.encoder import both_ways
from perfmodel.workload.graph import Graph
from perfmodel.workload.step import Step


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Audio front end: two convolutions over spectrogram frames, the second with stride 2 [4]."""

    bins: Value = quantity("count", doc="frequency bins")
    length: Value = quantity("count", doc="frames")

    @property
    def tokens(self) -> Value:
        """Encoder tokens."""
        return self.length / 2.0

    def ops(self, hidden: Value, batch: Value) -> list[Op]:
        """Convolutions and stored positions."""
        return [
            conv1d(batch, self.bins, hidden, self.length, 3, bias=True, name="conv1"),
            conv1d(batch, hidden, hidden, self.length, 3, 2, 1, bias=True, name="conv2"),
            elementwise(
                batch * self.tokens * hidden, parameters=self.tokens * hidden, name="frame_positions"
            ),
        ]


@dataclass(frozen=True, kw_only=True)
class EncoderDecoder:
    """Dimensions of an encoder-decoder.

    Decoder blocks carry a `cross` part.  Pass ``source`` tokens in the Step; without, the source is as long
    as the context.
    """

    hidden: Value = quantity("count", doc="decoder width")
    encoder_hidden: Value | None = quantity(
        "count", default=None, doc="encoder width; absent: as the decoder"
    )
    vocabulary: Value = quantity("count", doc="rows of the target embedding table")
    source_vocabulary: Value | None = quantity(
        "count", default=None, doc="rows of a source table of its own; absent: shared with the target"
    )
    tied: bool = flag(default=True, doc="the head reuses the target embedding")
    head: bool = flag(default=True, doc="output projection to the vocabulary")
    frames: Frames | None = block(Frames, default=None, doc="the source is audio")
    positions: Value | None = quantity("count", default=None, doc="rows of the target position table")
    source_positions: Value | None = quantity("count", default=None, doc="rows of the source position table")
    embedding_norm: bool = flag(default=False, doc="norms after both embeddings")
    norm: str = text(default="layer", choices=NORMS, doc="normalisation")
    final_norm: bool = flag(default=True, doc="norms after the last layer of both stacks")
    encoder: tuple[Block, ...] = many(Block, doc="encoder layers")
    decoder: tuple[Block, ...] = many(Block, doc="decoder layers")

    @property
    def rule(self) -> NormRule:
        """The model's norm."""
        return NormRule(self.norm, self.norm == "layer")

    def pass_step(self, step: Step, prompt: Value, decode: bool) -> Step:
        """Pass of a generation: the encoder reads the prompt and the decoder starts with one token.

        Where the source is audio the prompt are the first tokens of the decoder.
        """
        if self.frames is not None:
            return replace(step, encode=not decode)
        if not decode:
            return replace(step, query=1.0, context=1.0, source=prompt)
        return replace(step, context=step.context - prompt + 1.0, source=prompt, encode=False)

    def graph(self, step: Step, name: str = "encoder_decoder") -> Graph:
        """Ops of one pass; ``step.encode`` False leaves the encoder out (its output is cached)."""
        source = step.source_tokens if self.frames is None else self.frames.tokens
        step = replace(step, source=source)
        ops = self.encode(step) if step.encode else []
        return Graph(name, (*ops, *self.decode(step)))

    def encode(self, step: Step) -> list[Op]:
        """Ops of the encoder."""
        width = self.hidden if self.encoder_hidden is None else self.encoder_hidden
        inner = replace(step, query=step.source_tokens, context=step.source_tokens)
        if self.frames is not None:
            ops = self.frames.ops(width, step.batch)
        else:
            shared = self.source_vocabulary is None
            rows = self.vocabulary if shared else self.source_vocabulary
            ops = [embedding(inner.tokens, rows, width, shared=shared, name="source_embedding")]
            if self.source_positions is not None:
                ops.append(embedding(inner.tokens, self.source_positions, width, name="source_positions"))
        if self.embedding_norm:
            ops += self.rule.ops(inner.tokens, width, "source_embedding_norm", residual=False)
        for index, layer in enumerate(self.encoder):
            parts = both_ways(layer).ops(width, inner, self.rule)
            ops += [op.named(f"encoder{index}.{op.name}") for op in parts]
        if self.final_norm:
            ops += self.rule.ops(inner.tokens, width, "encoder_norm")
        return ops

    def decode(self, step: Step) -> list[Op]:
        """Ops of the decoder and the head."""
        ops = [embedding(step.tokens, self.vocabulary, self.hidden, name="embedding").divided(tp=Split(""))]
        if self.positions is not None:
            ops.append(embedding(step.tokens, self.positions, self.hidden, name="positions"))
        if self.embedding_norm:
            ops += self.rule.ops(step.tokens, self.hidden, "embedding_norm", residual=False)
        for index, layer in enumerate(self.decoder):
            ops += [op.named(f"decoder{index}.{op.name}") for op in layer.ops(self.hidden, step, self.rule)]
        rows = step.tokens if step.logits == "all" else step.batch
        if self.final_norm:
            ops += self.rule.ops(rows, self.hidden, "decoder_norm")
        if self.head:
            head = matmul(
                rows,
                self.vocabulary,
                self.hidden,
                shared=self.tied,
                out_kind="logits",
                role="head",
                name="head",
            )
            ops.append(head.divided(tp=vocabulary_split(self.vocabulary)))
        return ops
