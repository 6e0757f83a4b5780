"""Attention to a sliding window and to compressed entries of the older context.

Reference
[1] DeepSeek-AI, DeepSeek-V4 (compressed sparse and heavily compressed attention), 2026, model card of
    deepseek-ai/DeepSeek-V4-Flash and its published configuration.
"""

from __future__ import annotations

from perfmodel.algebra import Value, floor, maximum, minimum
from perfmodel.ops.attention import attended_pairs, attention_work, visible_keys
from perfmodel.ops.core import Op, Tensor
from perfmodel.ops.registry import operator


def compressed_pairs(query: Value, context: Value, ratio: Value, selected: Value | None = None) -> Value:
    """Query-entry pairs where each closed window of `ratio` tokens is one entry.

    The query at position p (1-based) sees floor(p / ratio) entries, at most `selected` of them.
    """

    def seen(positions: Value) -> Value:
        entries = floor(positions / ratio)
        return 0.5 * ratio * entries * (entries - 1.0) + entries * (positions - ratio * entries + 1.0)

    if selected is None:
        return seen(context) - seen(context - query)

    def limited(positions: Value) -> Value:
        return (
            seen(minimum(positions, ratio * selected)) + maximum(positions - ratio * selected, 0.0) * selected
        )

    return limited(context) - limited(context - query)


@operator
def compressed_attention(
    batch: Value,
    query: Value,
    context: Value,
    heads: Value,
    head_dim: Value = 512,
    window: Value = 128,
    ratio: Value = 4,
    selected: Value | None = None,
    *,
    name: str = "",
) -> Op:
    """One softmax over a sliding window and over entries that each stand for `ratio` older tokens [1].

    window    tokens seen as they are
    ratio     tokens per compressed entry
    selected  entries per query (top-k); None: all
    Keys and values are the same vector of head_dim, shared by all heads.

    FLOP = 4 heads head_dim per pair; keys are read once for scores and values.
    """
    pairs = attended_pairs(query, context, window=window) + compressed_pairs(query, context, ratio, selected)
    pairs = batch * heads * pairs
    entries = floor(context / ratio)
    read = entries if selected is None else minimum(entries, selected * query)
    loops = {
        "b": batch,
        "h": heads,
        "s": query,
        "t": visible_keys(query, context, window) + read,
        "d": head_dim,
    }
    kept = batch * (minimum(context, window) + entries) * head_dim
    tensors = (
        Tensor("Q", ("b", "h", "s", "d")),
        Tensor("KV", ("b", "t", "d"), kind="kv", stored=kept),
        Tensor("O", ("b", "h", "s", "d"), output=True),
    )
    work = attention_work(pairs, head_dim, head_dim)
    return Op("compressed_attention", loops, tensors, work, name, attributes={"pairs": pairs})
