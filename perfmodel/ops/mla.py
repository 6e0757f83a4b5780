"""Multi-head latent attention (MLA) on its compressed cache.

References
[1] DeepSeek-AI, DeepSeek-V2, arXiv:2405.04434.
[2] DeepSeek-AI, DeepSeek-V3.2 (sparse attention), arXiv:2512.02556.
"""

from __future__ import annotations

from perfmodel.algebra import Value, floor, minimum
from perfmodel.ops.attention import attended_pairs
from perfmodel.ops.compressed import compressed_pairs
from perfmodel.ops.core import Op, Tensor, Work
from perfmodel.ops.registry import operator


@operator
def mla(
    batch: Value,
    query: Value,
    context: Value,
    heads: Value,
    kv_rank: Value = 512,
    rope_dim: Value = 64,
    nope_dim: Value = 128,
    v_dim: Value = 128,
    absorbed: bool = True,
    *,
    causal: bool = True,
    selected: Value | None = None,
    name: str = "",
) -> Op:
    """Latent attention: all heads share one cached latent of kv_rank + rope_dim elements per token [1].

    batch, query, context  sequences, new tokens, all tokens attended to (the new ones included)
    heads                  query heads
    kv_rank, rope_dim      cached latent and rotated key, shared by the heads [elements]
    nope_dim, v_dim        width of the key part without rotation and of the value, per head
    absorbed               True: queries and outputs live in the latent space (decode);
                           False: keys and values of the whole context are expanded again (recompute)
    selected               tokens that each query attends to (top-k sparse attention [2]); None: all

    Per head and pair: absorbed ``2 (2 kv_rank + rope_dim)`` FLOP, else ``2 (nope_dim + rope_dim + v_dim)``
    and ``2 kv_rank (nope_dim + v_dim)`` once per cached token.  Down and up projections are ops of their own.
    """
    # a query with `selected` keys sees min(p, selected) of them, as many as with a window of that width
    pairs = batch * heads * attended_pairs(query, context, causal=causal, window=selected)
    seen = 1.0 * context if selected is None else minimum(context, selected * query)
    width = kv_rank + rope_dim
    kept = batch * context * width
    loops = {"b": batch, "h": heads, "s": query, "t": seen, "l": width}
    latent = Tensor("latent", ("b", "t", "l"), kind="kv", stored=kept)
    facts = {"causal": causal, "absorbed": absorbed, "context": context, "window": selected, "pairs": pairs,
             "kv_rank": kv_rank}
    soft = (Work("vector", 4.0 * pairs), Work("special", 1.0 * pairs))
    if absorbed:
        loops["e"] = kv_rank
        operands = (Tensor("Q", ("b", "h", "s", "l")), latent, Tensor("O", ("b", "h", "s", "e"), output=True))
        work = (Work("matrix", 2.0 * pairs * (2.0 * kv_rank + rope_dim)), *soft)
        return Op("mla", loops, operands, work, name, attributes=facts)
    loops |= {"d": nope_dim + rope_dim, "c": kv_rank, "x": nope_dim + v_dim, "e": v_dim}
    tensors = (
        Tensor("Q", ("b", "h", "s", "d")),
        latent,
        Tensor("W", ("h", "x", "c"), kind="weight"),
        Tensor("O", ("b", "h", "s", "e"), output=True),
    )
    expand = 2.0 * batch * seen * heads * kv_rank * (nope_dim + v_dim)
    work = (Work("matrix", expand + 2.0 * pairs * (nope_dim + rope_dim + v_dim)), *soft)
    return Op("mla", loops, tensors, work, name, attributes=facts)


@operator
def indexer(
    batch: Value,
    query: Value,
    context: Value,
    heads: Value = 64,
    head_dim: Value = 128,
    selected: Value = 2048,
    *,
    causal: bool = True,
    ratio: Value = 1,
    name: str = "",
) -> Op:
    """Scores of every visible token, summed over few light heads, and their top-k: where to attend [2].

    heads, head_dim  index heads and their width; the index keys are shared by the heads and cached
    selected         entries kept per query
    ratio            tokens per index key (1: one key per token)

    FLOP = 2 heads (head_dim + 1) per pair: the scores, and their weighted sum over the heads.  Vector
    operations: relu per head and pair, one comparison per pair for the selection.
    """
    if causal:
        pairs = batch * compressed_pairs(query, context, ratio)
    else:
        pairs = batch * query * floor(context / ratio)
    entries = floor(context / ratio)
    loops = {"b": batch, "h": heads, "s": query, "t": entries, "d": head_dim, "k": minimum(entries, selected)}
    tensors = (
        Tensor("Q", ("b", "h", "s", "d")),
        Tensor("K", ("b", "t", "d"), kind="kv"),
        Tensor("w", ("b", "h", "s")),
        Tensor("index", ("b", "s", "k"), kind="index", output=True),
    )
    work = (Work("matrix", 2.0 * pairs * heads * (head_dim + 1.0)), Work("vector", pairs * (heads + 1.0)))
    return Op("indexer", loops, tensors, work, name, attributes={"causal": causal, "pairs": pairs})
