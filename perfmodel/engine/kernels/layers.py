"""Whole latent-attention layers: projections, attention and what lies between, as a sum of kernels.

Products use `gemm_time` with shared rates, attention the models of this package.  A sparse layer adds an
indexer that scores every cached token and keeps the best ones.

References
[1] DeepSeek-AI, DeepSeek-V3, arXiv:2412.19437 (dimensions of the layer).
[2] DeepSeek-AI, DeepSeek-V3.2, arXiv:2512.02556 (sparse: indexer of 64 heads of 128, 2048 tokens kept).
[3] github.com/ai-dynamo/aiconfigurator pull request 1423; vLLM, vllm/ir/ops/layernorm.py, rotary_embedding/.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from perfmodel.algebra import Value
from perfmodel.engine.kernels.attention_prefill import PrefillCorrections, attention_prefill_time
from perfmodel.engine.kernels.facts import (
    GpuFacts,
    KernelTime,
    column,
    correction,
    kernel_start,
    miss_share,
    soft_maximum,
    wave_count,
)
from perfmodel.engine.kernels.gemm import GemmCorrections, Storage, gemm_time
from perfmodel.engine.kernels.mla import MlaCorrections, block_rows, mla_decode_time
from perfmodel.engine.kernels.splits import MMA, generation

#: sizes of the layer [1]: hidden, ranks of the query and of the cache, rope, nope and value per head
HIDDEN, QUERY_RANK, RANK, ROPE, NOPE, VALUE = 7168.0, 1536.0, 512.0, 64.0, 128.0, 128.0
#: indexer [2]: heads, values per head, tokens kept
INDEX_HEADS, INDEX_DIM, KEPT = 64.0, 128.0, 2048.0
BF16 = Storage(2, 2, 2, "bf16")
#: number format -> fixed time of a product over the start of a kernel, latency of a k-step over 150 clocks,
#: joining of split-K (huge: no split), passes of the kernel that rounds its input (3 B a value; to 8 bits at
#: the DRAM rate, to 4 at that of L2).  Middle of what the calibration files hold for products alone
FORMATS = {"bf16": (1.7, 1.0, 1.7, 0.0), "fp8": (3.7, 1.3, 50.0, 1.5), "fp4": (3.7, 5.0, 50.0, 2.0)}
#: latency of a k-step with instructions of single warps
WARP_STEP = 2.5
#: kernels of the chains of `_chains` beyond one each
CHAIN = 27.0
#: (columns, depth) of products over all tokens
Shapes: TypeAlias = Sequence[tuple[Value, Value]]


@dataclass(frozen=True)
class LayerCorrections:
    """Dimensionless corrections of a latent-attention layer in an engine; 1 is the documented reference."""

    launch: Value = correction(0.1, 60.0)  # fixed time of all kernels but the products over 20 us
    host: Value = correction(0.01, 100.0, 0.1)  # floor set by the caller over 20 us
    compute: Value = correction(0.1, 1.3)  # matrix rate of the products
    dram: Value = correction(0.7, 1.2)  # DRAM rate of the products
    l2: Value = correction(0.2, 5.0)  # L2 rate of the products over twice the streaming rate
    attention: Value = correction(0.02, 4.0)  # matrix rate of attention
    start: Value = correction(0.01, 30.0, 2.0)  # start of an attention block over 1 us
    step: Value = correction(0.01, 20.0, 1.0)  # latency of an attention step
    passes: Value = correction(0.01, 60.0)  # passes over the tokens between kernels (4 B a value)
    combine: Value = correction(0.01, 40.0)  # joining of the splits of the cache


@dataclass(frozen=True)
class SparseCorrections:
    """Dimensionless corrections of a sparse layer in an engine; 1 is the documented reference."""

    launch: Value = correction(0.1, 12.0)  # fixed time of all kernels but the products over 20 us
    host: Value = correction(0.01, 200.0, 0.1)  # floor set by the caller over 20 us
    compute: Value = correction(0.1, 1.3)  # matrix rate of the products
    dram: Value = correction(0.7, 1.2)  # DRAM rate of the products
    l2: Value = correction(0.2, 5.0)  # L2 rate of the products over twice the streaming rate
    attention: Value = correction(0.1, 1.5)  # matrix rate of attention over 0.8 of the peak
    step: Value = correction(0.1, 20.0, 3.0)  # time to gather the tokens of a step over 1000 clocks
    passes: Value = correction(0.1, 60.0, 3.0)  # passes over the tokens between kernels (4 B a value)
    index: Value = correction(0.05, 3.0)  # rate of the indexer over half of its peaks
    select: Value = correction(0.01, 20.0)  # choice of the kept tokens over 40 us a round of rows
    empty: Value = correction(0.01, 1.0, 0.3)  # cost of an empty slot of the kept over that of a full one


def latent_layer_time(
    batch: Value, query: Value, past: Value, heads: Value, storage: Storage, kv_bytes: float, gpu: GpuFacts,
    c: LayerCorrections | None = None, absorbed: bool = False, key: str = "bf16", rule: str = "best",
    expanding: Storage = BF16, chained: Value = False, walk: Value = 0.0,
) -> KernelTime:
    """Time of one dense latent-attention layer [s] [1].

    query, past  new and cached tokens of each of `batch` sequences; heads: of this GPU
    storage      of the projections; kv_bytes: of a cached value; key: matrix format of attention
    absorbed     attention on the latent cache (decode), else on expanded keys and values (prefill)
    rule         how absorbed attention splits the cache, see `mla_decode_time`
    expanding    of the product that expands keys and values
    chained      norms and rotary embedding run as chains of elementwise kernels, see `_chains`
    walk         time of a token in the rounding before each narrow projection, see `gemm.row_walk`
    """
    c = c or LayerCorrections()
    batch, query, past, heads = (np.asarray(v, dtype=float) for v in (batch, query, past, heads))
    tokens = batch * query
    if absorbed:
        rates = MlaCorrections(compute=column(c.attention), start=c.start, step=c.step, combine=c.combine,
                               launch=0.3)
        core = mla_decode_time(batch, query, past + query, heads, kv_bytes, gpu, rates, rule=rule)
    else:
        wide = PrefillCorrections(compute=c.attention, start=c.start, launch=0.3, tail=0.5)
        core = attention_prefill_time(batch, query, past, heads, heads, NOPE + ROPE, 0.0, 2.0, 2.0, key, gpu,
                                      wide, value_dim=VALUE)
    products = _layer_products(tokens, heads, storage, _absorbing if absorbed else _expanding, gpu, c,
                               BF16 if absorbed else expanding)
    products = products + len(_projecting(heads)) * walk * tokens
    return _sum(tokens, heads, products, core, gpu, c, np.where(chained, _chains(tokens, heads, gpu), 0.0))


def _chains(tokens: Value, heads: Value, gpu: GpuFacts) -> Value:
    """Time of norms and rotary embeddings as chains of kernels, beyond that of one kernel each [s] [3].

    A norm is eight kernels (to 32 bits and back, square, mean, two on the means, two products), an embedding
    six for queries and six for keys (turn, join, two products, sum, back to 16 bits) after three that gather
    the angles.  Either chain moves 36 bytes a value, one kernel 4.
    """
    values = tokens * (QUERY_RANK + RANK + ROPE * (heads + 1.0))
    missed = miss_share(8.0 * values, 0.5 * gpu.kept_bytes)
    return CHAIN * kernel_start(gpu.clock) + 32.0 * values * (missed / (0.9 * gpu.dram) + 1.0 / gpu.l2)


def sparse_layer_time(
    batch: Value, query: Value, past: Value, heads: Value, storage: Storage, kv_bytes: float, gpu: GpuFacts,
    c: SparseCorrections | None = None, key: str = "bf16", skips: bool = False, chained: Value = False,
) -> KernelTime:
    """Time of one sparse layer: indexer, choice of tokens, absorbed attention on them [s] [2].

    key      matrix format of attention
    skips    the indexer is not run where all tokens are kept (TensorRT-LLM's skip_indexer_for_short_seqs)
    chained  norms and rotary embedding run as chains of elementwise kernels, see `_chains`

    Attention gathers the kept tokens of each new token from the L2: DRAM gives every cached token once.
    """
    c = c or SparseCorrections()
    batch, query, past, heads = (np.asarray(v, dtype=float) for v in (batch, query, past, heads))
    tokens, total = batch * query, past + query
    seen = kept_tokens(query, past)
    slots = seen + c.empty * (KEPT - seen)
    rates = MlaCorrections(compute=column(c.attention), step=c.step, start=1.0, launch=0.3, resident=1e6)
    core = mla_decode_time(tokens, 1.0, slots, heads, kv_bytes, gpu, rates, block=block_rows(1e3, gpu),
                           key=key)
    cached = batch * np.minimum(query * seen, total) * (RANK + ROPE) * kv_bytes
    memory = core.memory + cached / (0.9 * gpu.dram)
    whole = core.launch + soft_maximum(3.0, core.compute, memory)
    core = KernelTime(whole, core.launch, core.compute, memory)
    indexing = _index_time(batch, query, total, gpu, c)
    if skips:
        indexing = np.where(total > KEPT, indexing, 0.0)
    products = _layer_products(tokens, heads, storage, _absorbing, gpu, c)
    summed = _sum(tokens, heads, products, core, gpu, c, np.where(chained, _chains(tokens, heads, gpu), 0.0))
    return KernelTime(summed.seconds + indexing, summed.launch, summed.compute + indexing, summed.memory)


def _index_time(batch: Value, query: Value, total: Value, gpu: GpuFacts, c: SparseCorrections) -> Value:
    """Time of the indexer: its products, the scores of all cached tokens, the choice of the kept ones [s].

    A score is a product of 128 values per head and, on the 128 general lanes of a processor, a maximum and a
    multiply-add per head; it is written and read twice, 4 bytes each.  The keys take 132 bytes a token.
    Rows that have no more tokens than are kept need no choice; others take a block, four to a processor.
    """
    tokens = batch * query
    scores = tokens * (total - (query - 1.0) / 2.0)
    lanes = 8.0 * gpu.special
    rate = 0.5 * c.index
    unit = scores * INDEX_HEADS * (2.0 * INDEX_DIM / gpu.matrix("fp8") + 2.0 / lanes) / rate
    keys = batch * total * (INDEX_DIM + 4.0) / (0.9 * gpu.dram)
    late = batch * np.clip(total - KEPT, 0.0, query)
    chosen = np.where(late > 0.0, wave_count(late, 4.0 * gpu.processors, 0.0), 0.0)
    before = _products(tokens, 1.0, BF16, _indexing, gpu, c)
    before = before + 4.0 * c.passes * tokens * INDEX_HEADS * INDEX_DIM / gpu.dram
    return before + soft_maximum(3.0, unit, keys) + 12.0 * scores / gpu.dram + 40e-6 * c.select * chosen


def kept_tokens(query: Value, past: Value) -> Value:
    """Mean over new tokens of min(tokens up to it, 2048): the first ones see fewer than are kept."""
    few = np.clip(KEPT - past, 0.0, query)
    return (few * (past + (few + 1.0) / 2.0) + (query - few) * KEPT) / query


def _projecting(heads: Value) -> Shapes:
    """Into the ranks of query and cache, from there into heads, and out of them."""
    return [(QUERY_RANK + RANK + ROPE, HIDDEN), (heads * (NOPE + ROPE), QUERY_RANK), (HIDDEN, heads * VALUE)]


def _expanding(heads: Value) -> Shapes:
    """Keys and values of all heads from the latent vector."""
    return [(heads * (NOPE + VALUE), RANK)]


def _absorbing(heads: Value) -> Shapes:
    """Query into the latent space, and the output back from it."""
    return [(RANK * heads, NOPE), (VALUE * heads, RANK)]


def _indexing(heads: Value) -> Shapes:
    """Queries of the indexer, its key and the weights of its heads; the same for any heads of attention."""
    return [(INDEX_HEADS * INDEX_DIM, QUERY_RANK), (INDEX_DIM + INDEX_HEADS, HIDDEN)]


def _layer_products(tokens: Value, heads: Value, storage: Storage, more: Callable[[Value], Shapes],
                    gpu: GpuFacts, c: LayerCorrections | SparseCorrections, of_more: Storage = BF16) -> Value:
    """Summed time of the projections and of the products that go with the form of attention [s]."""
    first = _products(tokens, heads, storage, _projecting, gpu, c)
    return first + _products(tokens, heads, of_more, more, gpu, c)


def _products(tokens: Value, heads: Value, storage: Storage, shapes: Callable[[Value], Shapes], gpu: GpuFacts,
              c: LayerCorrections | SparseCorrections) -> Value:
    """Summed time of products over all tokens, each with its launch and the quantisation of its input [s].

    They take turns with kernels that draw less power, so that the board's limit binds less than in a loop of
    one product: its strength is that of a board whose power is not stated.
    """
    launch, step, split, rounding = FORMATS.get(storage.key, FORMATS["bf16"])
    warp = np.where(generation(gpu) == MMA, WARP_STEP, 1.0)
    rates = GemmCorrections(compute=c.compute, dram=c.dram, l2=c.l2, launch=launch, step=column(step * warp),
                            split=split, quantise=0.001, row=0.004, host=0.01)
    a_value = 3.0 * rounding / (gpu.l2 if storage.key == "fp4" else gpu.dram)
    gpu = replace(gpu, power=0.0)
    facts = gpu.matrix("bf16") + gpu.dram + gpu.l2 + gpu.kept_bytes + gpu.crossing(1.0) + gpu.chiplets
    several = np.ndim(facts + gpu.clock + gpu.processors) > 0
    if not several:  # equal products are computed once
        tokens, heads, back = _distinct(tokens, heads)
    total: Value = 0.0
    for n, k in shapes(heads):
        total = total + gemm_time(tokens, n, k, storage, gpu, rates).seconds + a_value * tokens * k
    return total if several else total[..., back]


def _distinct(tokens: Value, heads: Value) -> tuple[Value, Value, Any]:
    """The distinct (tokens, heads) pairs and the index that restores the given shape."""
    tokens, heads = np.broadcast_arrays(tokens, heads)
    pairs, back = np.unique(np.stack([tokens.ravel(), heads.ravel()]), axis=1, return_inverse=True)
    return pairs[0], pairs[1], np.reshape(back, tokens.shape)


def _sum(tokens: Value, heads: Value, products: Value, core: KernelTime, gpu: GpuFacts,
         c: LayerCorrections | SparseCorrections, more: Value = 0.0) -> KernelTime:
    width = 2.0 * HIDDEN + QUERY_RANK + heads * (NOPE + ROPE + VALUE)
    passes = 4.0 * c.passes * tokens * width * (1.0 / gpu.dram + 1.0 / gpu.l2)
    launch = 20e-6 * c.launch
    seconds = ((launch + products + core.seconds + passes + more) ** 4 + (20e-6 * c.host) ** 4) ** 0.25
    return KernelTime(seconds, launch, products + core.compute, core.memory + passes)
