"""Decoder-only language models: a stack of blocks between an embedding and a head."""

from __future__ import annotations

from dataclasses import dataclass, replace

from perfmodel.algebra import Value
from perfmodel.ops.core import Op, Split
from perfmodel.ops.elementwise import elementwise, embedding
from perfmodel.ops.matmul import matmul
from perfmodel.spec import block, flag, many, quantity, text
from perfmodel.workload.block import NORMS, Block, NormRule
from perfmodel.workload.graph import Graph
from perfmodel.workload.layers import PerLayerTable
from perfmodel.workload.step import Step

__all__ = ["NORMS", "Block", "Decoder"]


@dataclass(frozen=True, kw_only=True)
class MultiToken:
    """Modules that predict further tokens: each joins state and next embedding, then runs one layer [1].

    Embedding and head are those of the model.

    [1] DeepSeek-AI, DeepSeek-V3, arXiv:2412.19437, section 2.2.
    """

    modules: Value = quantity("count", default=1.0, doc="modules, one further token each")
    layer: Block = block(Block, doc="layer of a module")

    def ops(self, hidden: Value, vocabulary: Value, step: Step, rule: NormRule) -> list[Op]:
        """Ops of all modules."""
        rows = step.tokens if step.logits == "all" else step.batch
        join = [
            *rule.ops(step.tokens, hidden, "hidden_norm", residual=False),
            *rule.ops(step.tokens, hidden, "embedding_norm", residual=False),
            matmul(step.tokens, hidden, 2.0 * hidden, name="join"),
        ]
        head = matmul(rows, vocabulary, hidden, shared=True, out_kind="logits", role="head", name="head")
        last = [*rule.ops(rows, hidden, "final_norm"), head.divided(tp=vocabulary_split(vocabulary))]
        ops = [*join, *self.layer.ops(hidden, step, rule), *last]
        return [op.named(f"mtp.{op.name}").repeated(self.modules) for op in ops]


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """Dimensions of a decoder-only model."""

    hidden: Value = quantity("count", doc="model width")
    vocabulary: Value = quantity("count", doc="rows of the embedding table")
    tied: bool = flag(default=False, doc="the head reuses the embedding table")
    head_bias: bool = flag(default=False, doc="bias on the head")
    logit_scale: bool = flag(default=False, doc="logits are scaled or capped by an operator of its own")
    embedding_width: Value | None = quantity(
        "count", default=None, doc="width of the embedding table, projected to the model width and back"
    )
    embedding_norm: bool = flag(default=False, doc="norm after the embedding")
    extra_rows: Value | None = quantity(
        "count", default=None, doc="rows of the embedding table that the head does not have"
    )
    positions: Value | None = quantity("count", default=None, doc="rows of a learned position table")
    norm: str = text(default="rms", choices=NORMS, doc="normalisation")
    norm_bias: bool | None = flag(default=None, doc="norms carry a bias; absent: layer norms do")
    norm_affine: bool = flag(default=True, doc="norms carry a weight")
    final_norm: bool = flag(default=True, doc="norm before the head")
    per_layer: PerLayerTable | None = block(PerLayerTable, default=None, doc="second embedding, per layer")
    streams: Value | None = quantity("count", default=None, doc="residual streams collapsed before the head")
    blocks: tuple[Block, ...] = many(Block, doc="layers, in order")
    mtp: MultiToken | None = block(MultiToken, default=None, doc="multi-token prediction, run in every pass")

    @property
    def rule(self) -> NormRule:
        """The model's norm."""
        bias = self.norm == "layer" if self.norm_bias is None else self.norm_bias
        return NormRule(self.norm, bias, self.norm_affine)

    def pass_step(self, step: Step, prompt: Value, decode: bool) -> Step:
        """Pass of a generation: keys and values of another source are computed once, with the prompt."""
        return replace(step, encode=not decode) if any(layer.cross for layer in self.blocks) else step

    def graph(self, step: Step, name: str = "decoder") -> Graph:
        """Ops of one pass over `step`."""
        ops = self.embed(step)
        for index, layer in enumerate(self.blocks):
            prefix = f"block{index}." if len(self.blocks) > 1 else "block."
            ops += [op.named(prefix + op.name) for op in layer.ops(self.hidden, step, self.rule)]
        ops += self.head(step)
        if self.mtp is not None:
            ops += self.mtp.ops(self.hidden, self.vocabulary, step, self.rule)
        return Graph(name, tuple(ops))

    def embed(self, step: Step) -> list[Op]:
        """Token and position embedding."""
        tokens = step.tokens
        width = self.hidden if self.embedding_width is None else self.embedding_width
        rows = self.vocabulary if self.extra_rows is None else self.vocabulary + self.extra_rows
        ops = [embedding(tokens, rows, width, name="embedding").divided(tp=Split(""))]
        if self.embedding_width is not None:
            ops.append(matmul(tokens, self.hidden, width, name="embedding_in"))
        if self.positions is not None:
            ops.append(embedding(tokens, self.positions, self.hidden, name="positions"))
        if self.embedding_norm:
            ops += self.rule.ops(tokens, self.hidden, "embedding_norm", residual=False)
        if self.per_layer is not None:
            ops += self.per_layer.ops(self.hidden, step)
        altup = self.blocks[0].altup if self.blocks else None
        return ops if altup is None else [*ops, *altup.around(self.hidden, tokens, "altup_in")]

    def head(self, step: Step) -> list[Op]:
        """Final norm and projection to the vocabulary."""
        rows = step.tokens if step.logits == "all" else step.batch
        ops: list[Op] = []
        if self.streams is not None:
            collapse = matmul(rows, self.streams, self.streams * self.hidden, bias=True, name="stream_head")
            ops += [collapse, elementwise(rows * self.hidden, parameters=1.0, name="stream_collapse")]
        altup = self.blocks[0].altup if self.blocks else None
        if altup is not None:
            ops += altup.around(self.hidden, rows, "altup_out")
        if self.final_norm:
            ops += self.rule.ops(rows, self.hidden, "final_norm")
        width = self.hidden
        if self.embedding_width is not None:
            width = self.embedding_width
            ops.append(matmul(rows, width, self.hidden, name="embedding_out"))
        head = matmul(
            rows,
            self.vocabulary,
            width,
            bias=self.head_bias,
            shared=self.tied,
            out_kind="logits",
            role="head",
            name="head",
        )
        ops.append(head.divided(tp=vocabulary_split(self.vocabulary)))
        if self.logit_scale:
            ops.append(scaled_logits(rows * self.vocabulary))
        return ops


def vocabulary_split(rows: Value) -> Split:
    """Rows of the vocabulary over a tensor-parallel group; runtimes pad them to a whole number per device."""
    return Split("n", parts=rows, gather=True)


def scaled_logits(elements: Value) -> Op:
    """Scaling or capping of the logits: a second tensor of their size."""
    op = elementwise(elements, special=1, name="logit_scale")
    return replace(op, tensors=tuple(replace(tensor, kind="logits") for tensor in op.tensors))
