"""Parts of the mobile Gemma models: one embedding per layer, and alternating updates of several streams.

References
[1] Google DeepMind, Gemma 3n model card, 2025 (per-layer embeddings, MatFormer, LAuReL, AltUp).
[2] Baykal et al., Alternating Updates for Efficient Transformers, arXiv:2301.13310.
[3] Menghani et al., LAuReL, arXiv:2411.07501.
"""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.ops.core import Op
from perfmodel.ops.elementwise import elementwise, embedding, norm
from perfmodel.ops.matmul import matmul
from perfmodel.spec import quantity
from perfmodel.workload.step import Step


@dataclass(frozen=True, kw_only=True)
class PerLayerTable:
    """Second embedding table with a row part for each layer [1]."""

    vocabulary: Value = quantity("count", doc="rows of the table")
    width: Value = quantity("count", doc="width of the part of one layer")
    layers: Value = quantity("count", doc="layers with a part")

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Gather, projection of the token embedding to all parts, norm, sum."""
        tokens, wide = step.tokens, self.layers * self.width
        return [
            embedding(tokens, self.vocabulary, wide, name="layer_embedding"),
            matmul(tokens, wide, hidden, name="layer_projection"),
            norm(tokens * self.layers, self.width, name="layer_norm"),
            elementwise(tokens * wide, inputs=2, name="layer_sum"),
        ]


@dataclass(frozen=True, kw_only=True)
class PerLayerInput:
    """Gate and projection of the part of this layer, after the feed-forward part [1]."""

    width: Value = quantity("count", doc="width of the part")

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Gate, product, projection, norm."""
        tokens = step.tokens
        return [
            matmul(tokens, self.width, hidden, name="layer_gate"),
            elementwise(tokens * self.width, inputs=2, operations=2, special=1, name="layer_product"),
            matmul(tokens, hidden, self.width, name="layer_out"),
            norm(tokens, hidden, name="layer_out_norm"),
        ]


@dataclass(frozen=True, kw_only=True)
class AltUp:
    """Prediction and correction of `streams` residual streams [2], and a low-rank residual [3]."""

    streams: Value = quantity("count", doc="residual streams")
    laurel_rank: Value = quantity("count", doc="rank of the low-rank residual")

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Router of the streams twice, mixing coefficients, and the low-rank residual."""
        tokens, n = step.tokens, self.streams
        return [
            norm(tokens, hidden, name="altup_norm"),
            matmul(tokens, n, hidden, name="altup_router"),
            matmul(tokens, n * n, n, name="altup_predict"),
            matmul(hidden, n, n, tokens, weight=False, name="altup_mix"),
            matmul(tokens, n, hidden, shared=True, name="altup_router_again"),
            matmul(tokens, n, n, name="altup_correct"),
            elementwise(tokens * n * hidden, inputs=2, operations=3, parameters=hidden, name="altup_scale"),
            matmul(tokens, self.laurel_rank, hidden, name="laurel_in"),
            matmul(tokens, hidden, self.laurel_rank, name="laurel_out"),
            norm(tokens, hidden, name="laurel_norm"),
        ]

    def around(self, hidden: Value, rows: Value, name: str) -> list[Op]:
        """Projections that make the further streams, or bring them back."""
        return [matmul(rows, hidden, hidden, name=name).repeated(self.streams - 1.0)]
