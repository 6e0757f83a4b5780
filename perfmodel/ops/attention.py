"""Scaled dot-product attention: multi-head, grouped-query and multi-query, fused and eager."""

from __future__ import annotations

from dataclasses import replace

from perfmodel.algebra import Value, ceil, floor, maximum, minimum, product
from perfmodel.ops.core import Op, Split, Tensor, Work
from perfmodel.ops.elementwise import softmax
from perfmodel.ops.registry import operator


def causal_pairs(query: Value, context: Value) -> Value:
    """Query-key pairs under a causal mask, ``q c - q (q - 1)/2``.

    query    new tokens, the last ones of the context
    context  all tokens that the last query sees, itself included; context >= query
    """
    return query * context - 0.5 * query * (query - 1.0)


def attended_pairs(
    query: Value,
    context: Value,
    *,
    causal: bool = True,
    window: Value | None = None,
    chunk: Value | None = None,
) -> Value:
    """Query-key pairs that attention computes, per head.

    With a causal window w the query at position p (1-based) sees min(p, w) keys, so the count is
    ``S(c) - S(c - q)`` with ``S(p) = p (p+1)/2`` up to w and linear with slope w beyond.
    With chunks of C tokens a query sees the tokens of its own chunk up to itself: ``S(p)`` is a whole
    triangle per full chunk plus the triangle of the last one.
    """
    if chunk is not None:
        return _chunked_pairs(query, context, chunk, causal)
    if not causal:
        return 1.0 * query * (context if window is None else minimum(context, window))
    if window is None:
        return causal_pairs(query, context)

    def seen(positions: Value) -> Value:
        ramp = minimum(positions, window)
        return 0.5 * ramp * (ramp + 1.0) + maximum(positions - window, 0.0) * window

    return seen(context) - seen(context - query)


def attention_work(pairs: Value, key_dim: Value, value_dim: Value) -> tuple[Work, ...]:
    """Work of attention over `pairs`: two products, four vector operations and one exponential of softmax."""
    return (
        Work("matrix", 2.0 * pairs * (key_dim + value_dim)),
        Work("vector", 4.0 * pairs),
        Work("special", 1.0 * pairs),
    )


def _chunked_pairs(query: Value, context: Value, chunk: Value, causal: bool) -> Value:
    if not causal:
        return 1.0 * query * minimum(context, chunk)

    def seen(positions: Value) -> Value:
        whole = floor(positions / chunk)
        rest = positions - whole * chunk
        return 0.5 * (whole * chunk * (chunk + 1.0) + rest * (rest + 1.0))

    return seen(context) - seen(context - query)


def visible_keys(
    query: Value, context: Value, window: Value | None = None, chunk: Value | None = None
) -> Value:
    """Keys that at least one of the queries sees: all, or the window plus the queries before the last."""
    if chunk is not None:
        last = context - floor((context - 1.0) / chunk) * chunk  # tokens of the newest chunk
        return minimum(context, last + ceil(maximum(query - last, 0.0) / chunk) * chunk)
    if window is None:
        return 1.0 * context
    return minimum(context, window + query - 1.0)


def kept_keys(context: Value, window: Value | None = None, chunk: Value | None = None) -> Value:
    """Keys that the cache keeps for the next token: all, or those that a later query can still see."""
    limit = chunk if window is None else window
    return 1.0 * context if limit is None else minimum(context, limit)


@operator
def attention(
    batch: Value,
    query: Value,
    context: Value,
    heads: Value,
    kv_heads: Value | None = None,
    head_dim: Value = 128,
    causal: bool = True,
    window: Value | None = None,
    *,
    value_dim: Value | None = None,
    chunk: Value | None = None,
    cached: bool = True,
    owns_cache: bool = True,
    name: str = "",
) -> Op:
    """Fused attention (FlashAttention): scores and probabilities never leave the chip.

    batch            sequences
    query, context   new tokens, and all tokens they attend to (the new ones included) per sequence
    heads, kv_heads  query heads, key-value heads (None: as many)
    head_dim         width of a query/key head; value_dim (None: the same) of a value head
    causal, window   causal mask; sliding window [tokens]
    chunk            attention inside chunks of this many tokens
    cached           keys and values come from the cache (kind ``kv``), else activations
    owns_cache       False: the cache belongs to an earlier layer, which also stores it

    FLOP = 2 pairs (head_dim + value_dim) per head, pairs exact under the mask [1].
    Special operations: one exponential per pair and head.

    [1] Dao et al., FlashAttention, arXiv:2205.14135.
    """
    kv_heads = heads if kv_heads is None else kv_heads
    value_dim = head_dim if value_dim is None else value_dim
    pairs = batch * heads * attended_pairs(query, context, causal=causal, window=window, chunk=chunk)
    loops = {
        "b": batch, "h": kv_heads, "g": heads / kv_heads, "s": query,
        "t": visible_keys(query, context, window, chunk), "d": head_dim, "e": value_dim,
    }
    kind = "kv" if cached else "activation"
    kept = batch * kv_heads * kept_keys(context, window, chunk)
    tensors = (
        Tensor("Q", ("b", "h", "g", "s", "d")),
        Tensor("K", ("b", "h", "t", "d"), kind=kind, stored=kept * head_dim, shared=not owns_cache),
        Tensor("V", ("b", "h", "t", "e"), kind=kind, stored=kept * value_dim, shared=not owns_cache),
        Tensor("O", ("b", "h", "g", "s", "e"), output=True),
    )
    work = attention_work(pairs, head_dim, value_dim)
    facts = {"causal": causal, "window": window, "context": context, "pairs": pairs}
    return Op("attention", loops, tensors, work, name, attributes=facts)


def eager(op: Op) -> tuple[Op, Op, Op]:
    """Fused attention as three kernels on the full square: scores, softmax and values pass through memory.

    The score tensor has batch x heads x query x context elements and is written and read twice; mask and
    window save nothing.  The cache is that of the fused op, whose further tensors are added to the scores.
    """
    loops = {**op.loops, "t": op.attributes["context"]}
    given = {tensor.name: tensor for tensor in op.tensors}
    added = tuple(tensor for name, tensor in given.items() if name not in "QKVO")
    square = product(loops[name] for name in "bhgst")
    score_axes = ("b", "h", "g", "s", "t")
    scores = replace(
        op, family="attention_scores", loops={k: v for k, v in loops.items() if k != "e"}, attributes={},
        tensors=(given["Q"], given["K"], Tensor("S", score_axes, output=True), *added),
        work=(Work("matrix", 2.0 * square * loops["d"]),), name=f"{op.name}_scores",
    )
    rows = softmax(square / loops["t"], loops["t"], name=f"{op.name}_softmax")
    split = {"tp": Split("r")} if "tp" in op.split else {}
    values = replace(
        scores, family="attention_values", loops={**{k: loops[k] for k in "bhgst"}, "d": loops["e"]},
        tensors=(Tensor("P", score_axes), replace(given["V"], axes=("b", "h", "t", "d")),
                 Tensor("O", ("b", "h", "g", "s", "d"), output=True)),
        work=(Work("matrix", 2.0 * square * loops["e"]),), name=f"{op.name}_values",
    )
    return scores, replace(rows, count=op.count, split=split), values
