"""Attention over a part of the keys, over another sequence, or over areas of an image.

References
[1] Yuan et al., Native Sparse Attention, arXiv:2502.11089.
[2] Mao et al., IceFormer, arXiv:2405.02842.
[3] Tian et al., YOLOv12 (area attention), arXiv:2502.12524.
"""

from __future__ import annotations

from dataclasses import replace

from perfmodel.algebra import Value, ceil_div, minimum
from perfmodel.ops.attention import attended_pairs, attention, attention_work
from perfmodel.ops.core import Op, Tensor, Work
from perfmodel.ops.registry import operator


@operator
def sparse_attention(
    batch: Value,
    query: Value,
    context: Value,
    heads: Value,
    kv_heads: Value,
    head_dim: Value = 128,
    selected: Value = 1024,
    block: Value = 1,
    causal: bool = True,
    *,
    value_dim: Value | None = None,
    name: str = "",
) -> Op:
    """Attention of each query to at most `selected` keys, picked in blocks of `block` tokens [1].

    selected  keys per query [tokens], rounded up to whole blocks; the query heads of a group share the choice

    Pairs are those of a window of the same width.  Keys read: the smaller of the context and query x selected
    (queries that pick different keys read them all once).
    """
    value_dim = head_dim if value_dim is None else value_dim
    width = ceil_div(selected, block) * block
    pairs = batch * heads * attended_pairs(query, context, causal=causal, window=width)
    loops = {
        "b": batch,
        "h": kv_heads,
        "g": heads / kv_heads,
        "s": query,
        "t": minimum(context, width * query),
        "d": head_dim,
        "e": value_dim,
        "n": minimum(context, width) / block,
    }
    kept = batch * kv_heads * context
    tensors = (
        Tensor("Q", ("b", "h", "g", "s", "d")),
        Tensor("K", ("b", "h", "t", "d"), kind="kv", stored=kept * head_dim),
        Tensor("V", ("b", "h", "t", "e"), kind="kv", stored=kept * value_dim),
        Tensor("index", ("b", "h", "s", "n"), kind="index"),
        Tensor("O", ("b", "h", "g", "s", "e"), output=True),
    )
    work = attention_work(pairs, head_dim, value_dim)
    return Op("sparse_attention", loops, tensors, work, name, attributes={"causal": causal, "pairs": pairs})


@operator
def cross_attention(
    batch: Value,
    query: Value,
    source: Value,
    heads: Value,
    kv_heads: Value | None = None,
    head_dim: Value = 64,
    *,
    value_dim: Value | None = None,
    name: str = "",
) -> Op:
    """Attention of `query` tokens to all `source` tokens of another sequence; no mask, cached keys.

    FLOP = 2 batch heads query source (head_dim + value_dim).
    """
    op = attention(
        batch, query, source, heads, kv_heads, head_dim, causal=False, value_dim=value_dim, name=name
    )
    return replace(op, family="cross_attention")


@operator
def knn_attention(
    batch: Value,
    query: Value,
    context: Value,
    heads: Value,
    head_dim: Value = 128,
    neighbours: Value = 64,
    projections: Value = 16,
    visits: Value = 128,
    *,
    name: str = "",
) -> Op:
    """Attention of each query to its nearest keys, found with a projection index [2].

    neighbours   keys per query that enter the softmax
    projections  one-dimensional indices per head; every key and query is projected on each
    visits       candidate keys per query whose true distance is computed

    Matrix FLOP = 2 (query + context) projections head_dim for the index, 2 visits head_dim per query for
    the distances, 4 neighbours head_dim per query for scores and values, all per head and sequence.
    The cost grows with context + query, not with their product.
    """
    rows = batch * heads
    tries, near = minimum(context, visits), minimum(context, neighbours)
    index = 2.0 * rows * (query + context) * projections * head_dim
    search = 2.0 * rows * query * tries * head_dim
    values = 4.0 * rows * query * near * head_dim
    loops = {
        "b": batch,
        "h": heads,
        "s": query,
        "t": 1.0 * context,
        "d": head_dim,
        "v": minimum(context, visits * query),
        "p": projections,
    }
    tensors = (
        Tensor("Q", ("b", "h", "s", "d")),
        Tensor("K", ("b", "h", "t", "d"), kind="kv"),
        Tensor("V", ("b", "h", "v", "d"), kind="kv", stored=rows * context * head_dim),
        Tensor("keys", ("b", "h", "t", "p")),
        Tensor("O", ("b", "h", "s", "d"), output=True),
    )
    soft = rows * query * near
    work = (
        Work("matrix", index + search + values),
        Work("vector", 4.0 * soft + rows * query * tries),
        Work("special", 1.0 * soft),
    )
    return Op("knn_attention", loops, tensors, work, name)


@operator
def area_attention(
    batch: Value, tokens: Value, heads: Value, head_dim: Value = 32, areas: Value = 4, *, name: str = ""
) -> Op:
    """Self-attention inside each of `areas` equal stripes of a feature map of `tokens` positions [3].

    FLOP = 4 batch heads tokens (tokens / areas) head_dim: areas times less than full attention.
    """
    part = tokens / areas
    op = attention(batch * areas, part, part, heads, None, head_dim, causal=False, cached=False, name=name)
    return replace(op, family="area_attention", attributes={**op.attributes, "areas": areas})
