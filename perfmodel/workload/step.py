"""Step: the dimensions of one pass of a sequence model."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value


@dataclass(frozen=True)
class Step:
    """One forward pass over new tokens.

    batch      sequences
    query      new tokens per sequence
    context    tokens that the last new one attends to, itself included (context >= query)
    causal     causal mask; False counts the full square
    logits     ``all`` positions or the ``last`` one of each sequence go through the head
    attention  ``fused`` keeps the scores on the chip, ``eager`` passes them through memory
    source     encoder tokens per sequence of an encoder-decoder; None: as many as the context
    encode     the pass runs the encoder too; False: its output is cached
    """

    batch: Value = 1
    query: Value = 1
    context: Value = 1
    causal: bool = True
    logits: str = "all"
    attention: str = "fused"
    source: Value | None = None
    encode: bool = True

    @property
    def tokens(self) -> Value:
        """New tokens of the whole batch."""
        return self.batch * self.query

    @property
    def source_tokens(self) -> Value:
        """Encoder tokens per sequence."""
        return self.context if self.source is None else self.source
