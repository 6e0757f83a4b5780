"""Whole latent-attention layers: projections, attention and what lies between, as a sum of kernels.

Products use `gemm_time` with shared rates, attention the models of this package.  A sparse layer adds an
indexer that scores every cached token and keeps the best ones.

References
[1] DeepSeek-AI, DeepSeek-V3, arXiv:2412.19437 (dimensions of the layer).
[2] DeepSeek-AI, DeepSeek-V3.2, arXiv:2512.02556 (sparse: indexer of 64 heads of 128, 2048 tokens kept).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from perfmodel.algebra import Value
from perfmodel.engine.kernels.attention_prefill import PrefillCorrections, attention_prefill_time
from perfmodel.engine.kernels.facts import GpuFacts, KernelTime, correction
from perfmodel.engine.kernels.gemm import GemmCorrections, Storage, gemm_time
from perfmodel.engine.kernels.mla import MlaCorrections, mla_decode_time

#: sizes of the layer [1]: hidden, ranks of the query and of the cache, rope, nope and value per head
HIDDEN, QUERY_RANK, RANK, ROPE, NOPE, VALUE = 7168.0, 1536.0, 512.0, 64.0, 128.0, 128.0
#: indexer [2]: heads, values per head, tokens kept
INDEX_HEADS, INDEX_DIM, KEPT = 64.0, 128.0, 2048.0
BF16 = Storage(2, 2, 2, "bf16")
#: (columns, depth) of products over all tokens
Shapes: TypeAlias = Sequence[tuple[Value, Value]]


@dataclass(frozen=True)
class LayerCorrections:
    """Dimensionless corrections of a latent-attention layer in an engine; 1 is the documented reference."""

    launch: Value = correction(0.1, 60.0)  # fixed time of all kernels over 20 us
    host: Value = correction(0.01, 100.0, 0.1)  # floor set by the caller over 20 us
    compute: Value = correction(0.1, 1.3)  # matrix rate of the products
    dram: Value = correction(0.3, 1.2)  # DRAM rate of the products
    attention: Value = correction(0.02, 4.0)  # matrix rate of attention
    start: Value = correction(0.01, 30.0, 2.0)  # start of an attention block over 1 us
    step: Value = correction(0.01, 10.0, 1.0)  # latency of an attention step
    passes: Value = correction(0.01, 60.0, 3.0)  # passes over the tokens between the kernels (4 B a value)
    combine: Value = correction(0.01, 40.0)  # joining of the splits of the cache
    index: Value = correction(0.001, 5.0, 0.3)  # rate of the indexer over half of its peak (sparse)
    pad: Value = correction(1.0, 4.0)  # least query rows of an absorbed attention block over 16
    select: Value = correction(0.001, 60.0)  # choice of the kept tokens over 1 ns per 64 scores (sparse)


def latent_layer_time(
    batch: Value, query: Value, past: Value, heads: Value, storage: Storage, kv_bytes: float, gpu: GpuFacts,
    c: LayerCorrections | None = None, absorbed: bool = False, key: str = "bf16", rule: str = "best",
) -> KernelTime:
    """Time of one dense latent-attention layer [s] [1].

    query, past  new and cached tokens of each of `batch` sequences; heads: of this GPU
    storage      of the projections; kv_bytes: of a cached value; key: matrix format of attention
    absorbed     attention on the latent cache (decode), else on expanded keys and values (prefill)
    rule         how absorbed attention splits the cache, see `mla_decode_time`
    """
    c = c or LayerCorrections()
    batch, query, past, heads = (np.asarray(v, dtype=float) for v in (batch, query, past, heads))
    tokens = batch * query
    if absorbed:
        rates = _absorbed(c)
        core = mla_decode_time(batch, query, past + query, heads, kv_bytes, gpu, rates, rule=rule)
    else:
        wide = PrefillCorrections(compute=c.attention, start=c.start, launch=0.3)
        core = attention_prefill_time(batch, query, past, heads, heads, NOPE + ROPE, 0.0, 2.0, 2.0, key, gpu,
                                      wide, value_dim=VALUE)
    products = _products(tokens, heads, storage, _absorbing if absorbed else _expanding, gpu, c)
    return _sum(tokens, heads, products, core, gpu, c)


def sparse_layer_time(
    batch: Value, query: Value, past: Value, heads: Value, storage: Storage, kv_bytes: float, gpu: GpuFacts,
    c: LayerCorrections | None = None,
) -> KernelTime:
    """Time of one sparse layer: indexer, choice of tokens, absorbed attention on them [s] [2]."""
    c = c or LayerCorrections()
    batch, query, past, heads = (np.asarray(v, dtype=float) for v in (batch, query, past, heads))
    tokens = batch * query
    total = past + query
    mean = total - (query - 1.0) / 2.0
    seen = kept_tokens(query, past)
    rates = _absorbed(c)
    core = mla_decode_time(tokens, 1.0, seen, heads, kv_bytes, gpu, rates)
    scores = tokens * mean
    scoring = 2.0 * scores * INDEX_HEADS * INDEX_DIM / (0.5 * c.index * gpu.matrix("fp8"))
    choice = c.select * scores * 1e-9 / 64.0
    products = _products(tokens, heads, storage, _indexing, gpu, c)
    summed = _sum(tokens, heads, products, core, gpu, c)
    seconds = summed.seconds + scoring + choice
    return KernelTime(seconds, summed.launch, summed.compute + scoring, summed.memory)


def kept_tokens(query: Value, past: Value) -> Value:
    """Mean over new tokens of min(tokens up to it, 2048): the first ones see fewer than are kept."""
    few = np.clip(KEPT - past, 0.0, query)
    return (few * (past + (few + 1.0) / 2.0) + (query - few) * KEPT) / query


def _absorbed(c: LayerCorrections) -> MlaCorrections:
    return MlaCorrections(
        compute=c.attention, start=c.start, step=c.step, combine=c.combine, launch=0.3, pad=c.pad
    )


def _expanding(heads: Value) -> Shapes:
    """Keys and values of all heads from the latent vector."""
    return [(heads * (NOPE + VALUE), RANK)]


def _absorbing(heads: Value) -> Shapes:
    """Query into the latent space, and the output back from it."""
    return [(RANK * heads, NOPE), (VALUE * heads, RANK)]


def _indexing(heads: Value) -> Shapes:
    """The absorbed products and those of the indexer."""
    return [*_absorbing(heads), (INDEX_HEADS * INDEX_DIM, QUERY_RANK), (INDEX_DIM + INDEX_HEADS, HIDDEN)]


def _products(tokens: Value, heads: Value, storage: Storage, more: Callable[[Value], Shapes], gpu: GpuFacts,
              c: LayerCorrections) -> Value:
    """Summed time of the projections, without their launches [s]."""
    rates = GemmCorrections(compute=c.compute, dram=c.dram, launch=0.3, quantise=0.001, host=0.01)
    tokens, heads, back = _distinct(tokens, heads)
    shapes = [(tokens, QUERY_RANK + RANK + ROPE, HIDDEN), (tokens, heads * (NOPE + ROPE), QUERY_RANK),
              (tokens, HIDDEN, heads * VALUE)]
    total: Value = 0.0
    for m, n, k in shapes:
        total = total + gemm_time(m, n, k, storage, gpu, rates).seconds
    for n, k in more(heads):
        total = total + gemm_time(tokens, n, k, BF16, gpu, rates).seconds
    return total[..., back]


def _distinct(tokens: Value, heads: Value) -> tuple[Value, Value, Any]:
    """The distinct (tokens, heads) pairs and the index that restores the given shape."""
    tokens, heads = np.broadcast_arrays(tokens, heads)
    pairs, back = np.unique(np.stack([tokens.ravel(), heads.ravel()]), axis=1, return_inverse=True)
    return pairs[0], pairs[1], np.reshape(back, tokens.shape)


def _sum(tokens: Value, heads: Value, products: Value, core: KernelTime, gpu: GpuFacts,
         c: LayerCorrections) -> KernelTime:
    width = 2.0 * HIDDEN + QUERY_RANK + heads * (NOPE + ROPE + VALUE)
    passes = 4.0 * c.passes * tokens * width / gpu.dram
    launch = 20e-6 * c.launch
    seconds = ((launch + products + core.seconds + passes) ** 4 + (20e-6 * c.host) ** 4) ** 0.25
    return KernelTime(seconds, launch, products + core.compute, core.memory + passes)
