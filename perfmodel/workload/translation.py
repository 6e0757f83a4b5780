"""Encoder-decoder transformer whose layers may each have their own width, as found by hardware-aware search.

References
[1] Vaswani et al., Attention Is All You Need, arXiv:1706.03762.
[2] Wang et al., HAT: Hardware-Aware Transformers, arXiv:2005.14187 (inner width apart from the model width,
    cross-attention over the last one, two or three encoder layers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.ops.attention import attention
from perfmodel.ops.core import Op
from perfmodel.ops.elementwise import elementwise, embedding, norm
from perfmodel.ops.matmul import matmul
from perfmodel.workload.graph import Graph
from perfmodel.workload.step import Step
from perfmodel.workload.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Translator:
    """Encoder-decoder; of a Step `query` are target tokens, `context` source tokens.

    encoder_width, decoder_width  model widths
    inner         width of queries, keys and values of all heads together
    encoder_ffn, decoder_ffn      inner width of the feed-forward part, one per layer
    encoder_heads, decoder_heads, cross_heads  heads, one per layer
    attended      encoder layers (last one, two, three) whose outputs each decoder layer attends to
    vocabulary    size of the target vocabulary; 0: no embedding and no output product (counts of [2])
    """

    encoder_width: Value
    decoder_width: Value
    inner: Value
    encoder_ffn: Sequence[Value]
    decoder_ffn: Sequence[Value]
    encoder_heads: Sequence[Value]
    decoder_heads: Sequence[Value]
    cross_heads: Sequence[Value]
    attended: Sequence[Value]
    vocabulary: float = 0.0

    def graph(self, step: Step, name: str = "translator") -> Graph:
        """Ops of one pass of encoder and decoder over whole sentences."""
        ops: list[Op] = []
        source, target = step.context, step.query
        for i, (ffn, heads) in enumerate(zip(self.encoder_ffn, self.encoder_heads, strict=True)):
            width, place = self.encoder_width, f"encoder{i}."
            ops += self.mixer(place, step.batch, width, source, source, width, heads)
            ops += self.feed_forward(place, step.batch * source, width, ffn)
        layers = zip(self.decoder_ffn, self.decoder_heads, self.cross_heads, self.attended, strict=True)
        for i, (ffn, heads, cross, attended) in enumerate(layers):
            width, place = self.decoder_width, f"decoder{i}."
            ops += self.mixer(f"{place}self_", step.batch, width, target, target, width, heads)
            keys = attended * source
            ops += self.mixer(f"{place}cross_", step.batch, width, target, keys, self.encoder_width, cross)
            ops += self.feed_forward(place, step.batch * target, width, ffn)
        if self.vocabulary:
            rows, width = step.batch * target, self.decoder_width
            table = embedding(rows, self.vocabulary, width, name="embedding")
            head = matmul(rows, self.vocabulary, width, shared=True, name="output")
            ops = [table, *ops, head]
        return Graph(name, tuple(ops))

    def mixer(
        self, name: str, batch: Value, width: Value, queries: Value, keys: Value, key_width: Value,
        heads: Value,
    ) -> list[Op]:
        """Projections, attention over all keys, output, residual and norm."""
        inner, rows = self.inner, batch * queries
        # the mask saves no work in the sentence-long products of such libraries
        core = attention(
            batch, queries, keys, heads, heads, inner / heads, causal=False, name=f"{name}attention"
        )
        return [
            matmul(rows, inner, width, bias=True, name=f"{name}q"),
            matmul(batch * keys, inner, key_width, bias=True, name=f"{name}k"),
            matmul(batch * keys, inner, key_width, bias=True, name=f"{name}v"),
            core,
            matmul(rows, width, inner, bias=True, name=f"{name}out"),
            norm(rows, width, kind="layer", bias=True, residual=True, name=f"{name}norm"),
        ]

    def feed_forward(self, name: str, rows: Value, width: Value, inner: Value) -> list[Op]:
        """Two products, an activation, residual and norm."""
        return [
            matmul(rows, inner, width, bias=True, name=f"{name}up"),
            elementwise(rows * inner, name=f"{name}activation"),
            matmul(rows, width, inner, bias=True, name=f"{name}down"),
            norm(rows, width, kind="layer", bias=True, residual=True, name=f"{name}ffn_norm"),
        ]


def translator(name: str, dims: Translator, source: str = "") -> Workload:
    """Workload of an encoder-decoder."""
    return Workload(name, "translator", dims, source)
