"""Mixture of experts: two grouped products on the experts of one rank, with an uneven load.

The measured tables route by a rule of their own [3], and the model follows it:

    power law  experts draw x ~ x^-a on [1, 0.8 tokens] (fewer assignments than experts: on [0.01, 2]), scaled
               to the number of assignments and rounded; no expert gets more than all tokens
    balanced   token i goes to the experts i + j experts / topk; few tokens are spread over the first stride
    timed      the most loaded rank: quantile u -> u^(1 / h), h = 1 + 3.33 (ep - 1)^0.4 / local^0.75

(h reproduces 3,771 simulated routings: 6 % on the tokens of that rank, 3 % on its touched experts).

    blocks  = sum over touched experts of ceil(n / M) x ceil(N / columns), M and columns by the program
    weights = those of touched experts that did not stay in L2 since the layer ran before
    time    = launch + per local expert + sum over both products of |rounds x block, touched weights / DRAM|_p
              + movement

References
[1] Shazeer et al., Outrageously large neural networks, arXiv:1701.06538.
[2] Gale, Narayanan, Young, Zaharia, MegaBlocks, arXiv:2211.15841 (grouped products, load imbalance).
[3] NVIDIA aiconfigurator, collector/helper.py (github.com/ai-dynamo/aiconfigurator): routing of the tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from perfmodel.algebra import Value
from perfmodel.engine.kernels.expert_programs import ExpertProgram, block_rows
from perfmodel.engine.kernels.facts import (
    GpuFacts,
    KernelTime,
    column,
    correction,
    facts_column,
    fastest,
    miss_share,
    soft_maximum,
    wave_count,
)
from perfmodel.engine.kernels.gemm import STEP_BYTES, Storage, _fetch_time
from perfmodel.engine.kernels.splits import at_warp_rate

#: candidate rows of a block
ROWS = np.array([8.0, 16, 32, 64, 128])
#: quantiles of the experts of the timed rank
QUANTILES = (np.arange(16) + 0.5) / 16
#: the timed rank above the mean one: factor, power of the other ranks, power of the local experts
HOT = (3.33, 0.4, 0.75)
#: assignments per expert below which the rule rounds every expert to none and deals the tokens out one by one
SPARSE = 0.094


@dataclass(frozen=True)
class MoeCorrections:
    """Dimensionless corrections of an expert kernel on a device; 1 is the documented reference."""

    launch: Value = correction(0.02, 20.0, 1.5)  # fixed time of all kernels over 10 us
    compute: Value = correction(0.05, 1.5)  # matrix rate over 0.8 of the peak
    dram: Value = correction(0.3, 1.2)  # DRAM rate over 0.9 of nominal
    resident: Value = correction(0.02, 5.0)  # touched weights that stay in L2 over a third of it
    step: Value = correction(0.05, 20.0)  # latency of one k-step over 150 clocks x the wait of the program
    tile: Value = correction(0.01, 10.0)  # loss of blocks with few rows over 0.05
    overlap: Value = correction(0.3, 5.0, 0.8)  # p of the soft maximum over 3
    tail: Value = correction(0.02, 1.0, 0.8)  # 1: whole waves
    move: Value = correction(0.01, 30.0, 2.0)  # permutation, activation and sum over one pass
    floor: Value = correction(0.001, 20.0, 1.0)  # routing: growth with log2(1 + tokens) over 1 us
    write: Value = correction(0.03, 20.0, 0.5)  # epilogue rate over 0.8 of the DRAM rate
    start: Value = correction(0.001, 30.0, 0.3)  # start of a block over 2000 clocks
    expert: Value = correction(0.0001, 30.0, 0.05)  # set-up per local expert over 1 us x that of the program


class RankLoad(NamedTuple):
    """Work of the timed rank, last axis of length one (of `blocks`: the candidates `ROWS`)."""

    assigned: Value  #: tokens, counted once for each of their experts here
    touched: Value  #: experts with at least one token
    blocks: Value  #: row blocks of all touched experts


def rank_load(tokens: Value, topk: Value, experts: Value, ranks: Value, exponent: Value) -> RankLoad:
    """Work of the most loaded of `ranks` ranks under the routing of the tables [3].

    exponent  of the power law of loads; 0: balanced
    """
    tokens, topk, experts, ranks, exponent = (column(v) for v in (tokens, topk, experts, ranks, exponent))
    skewed, even = _skewed(tokens, topk, experts, ranks, exponent), _even(tokens, topk, experts, ranks)
    return RankLoad(*(np.where(exponent > 0.0, a, b) for a, b in zip(skewed, even, strict=True)))


def _skewed(tokens: Value, topk: Value, experts: Value, ranks: Value, exponent: Value) -> RankLoad:
    sent, local = tokens * topk, np.maximum(experts / ranks, 1.0)
    many = sent > experts
    low = np.where(many, 1.0, 0.01)
    high = np.where(many, np.maximum(0.8 * tokens, 1.01), 2.0)
    power = 1.0 - np.maximum(exponent, 0.0) - 1e-9
    spread = high**power - low**power
    mean = (high ** (power + 1.0) - low ** (power + 1.0)) / (power + 1.0) * power / spread
    hot = 1.0 + HOT[0] * (ranks - 1.0) ** HOT[1] / local ** HOT[2]
    drawn = (spread * QUANTILES ** (1.0 / hot) + low**power) ** (1.0 / power)
    loads = np.minimum(drawn / mean * sent / experts, tokens)
    sparse = sent < SPARSE * experts
    hit = np.where(sparse, 0.0, 1.0 / (1.0 + (0.5 / np.maximum(loads, 1e-3)) ** 6))  # rounded to 1 or more
    rows = np.maximum(loads, 1.0)
    least = np.ceil(sent / ranks - 1e-9)  # dealt out one by one, the first rank first
    assigned = np.where(sparse, least, np.maximum(local * _mean(loads), least))
    full = local * _mean(hit)
    dealt = np.clip(assigned - local * _mean(hit * rows), 0.0, local - full)
    blocks = local * (hit[..., None] * np.ceil(rows[..., None] / ROWS)).mean(axis=-2) + dealt
    return RankLoad(assigned, full + dealt, blocks)


def _even(tokens: Value, topk: Value, experts: Value, ranks: Value) -> RankLoad:
    """Token i on the experts i + j stride: the first `local` ones of every stride fill first.

    Fewer tokens than a stride lie evenly on it.
    """
    local, stride = np.maximum(experts / ranks, 1.0), np.ceil(experts / topk)
    mean = tokens * topk / ranks
    rounds = np.floor(tokens / stride)
    first = local * (rounds + np.minimum((tokens - rounds * stride) / local, 1.0))
    first = np.where(tokens < stride, np.ceil(tokens * local / stride - 1e-9), first)
    assigned = np.where(local >= stride, mean, first)
    touched = np.minimum(assigned, local)
    return RankLoad(assigned, touched, touched * np.ceil(assigned / touched / ROWS - 1e-9))


def _mean(values: Value) -> Value:
    return values.mean(axis=-1, keepdims=True)


def moe_time(
    tokens: Value, hidden: Value, inner: Value, topk: Value, experts: Value, tensor_ranks: Value,
    expert_ranks: Value, exponent: Value, storage: Storage, gpu: GpuFacts, c: MoeCorrections | None = None,
    gated: Value = True, program: ExpertProgram | None = None,
) -> KernelTime:
    """Time of the routed experts of one layer on one rank [s].

    tokens        tokens that enter the layer on all its ranks, before top-k
    inner         intermediate size of one expert, divided by tensor_ranks here
    exponent      of the power law of loads; 0: balanced
    storage       bytes of activations (a), weights (b), output (c) and the matrix format
    gated         two up projections instead of one
    program       what is known of the kernel; one with instructions of a single warp runs at A100's rate [4]
    """
    c, program = c or MoeCorrections(), program or ExpertProgram()
    storage, gpu = as_computed(program, storage, gpu)
    assigned, hit, blocks = rank_load(tokens, topk, experts, expert_ranks, exponent)
    local = np.maximum(column(experts) / column(expert_ranks), 1.0)
    tokens, hidden = column(tokens), column(hidden)
    pairs = tokens * column(topk)
    taken = block_rows(program, ROWS, pairs / local, tokens)
    others = np.maximum(pairs - assigned, 0.0)
    blocks = blocks + program.foreign * others / ROWS
    inner = column(inner) / column(tensor_ranks)
    up = np.where(np.asarray(gated)[..., None], 2.0, 1.0) * inner
    hw = facts_column(gpu)
    weights = hit * (up + inner) * hidden * storage.b
    cold = miss_share(weights, c.resident * hw.kept_bytes / 3.0)  # the tables repeat a layer
    products = [_product(n, k, blocks, hit, assigned, cold, storage, hw, c, program)
                for n, k in ((up, hidden), (hidden, inner))]
    compute, memory = (products[0][i] + products[1][i] for i in (0, 1))
    work = products[0][2] + products[1][2]
    passes = 0.4 * (1.0 / column(gpu.dram) + 6.0 / column(gpu.l2))  # small kernels run from both
    passed = assigned + (program.whole or program.foreign) * others
    moved = c.move * (2.0 * passed + 4.0 * tokens) * hidden * passes
    launch = 10e-6 * c.launch + 1e-6 * (c.floor * np.log2(1.0 + tokens) + c.expert * program.setup * local)
    kernel = launch + work + moved
    parts = fastest(np.where(taken, kernel, np.inf), seconds=kernel, compute=compute, memory=memory + moved,
                    waves=products[0][3], launch=launch)
    return KernelTime(**parts)


def as_computed(program: ExpertProgram, storage: Storage, gpu: GpuFacts) -> tuple[Storage, GpuFacts]:
    """Operands as the kernel computes them, and the GPU with the matrix peak that its instructions reach."""
    if program.wide:
        storage = Storage(2.0, storage.b, storage.c, "bf16")
    return storage, at_warp_rate(gpu, storage.key) if program.single else gpu


def _product(n: Value, k: Value, blocks: Value, hit: Value, assigned: Value, cold: Value, storage: Storage,
             hw: GpuFacts, c: MoeCorrections, program: ExpertProgram) -> tuple[Value, Value, Value, Value]:
    """Compute time, memory time, soft maximum and waves of one grouped product of `blocks` row blocks."""
    power, columns = 3.0 * c.overlap, program.columns
    depth = STEP_BYTES / max(storage.a, storage.b, 1.0)
    tiles = np.ceil(n / columns)
    waves = wave_count(blocks * tiles, hw.processors, c.tail)
    rate = 0.8 * c.compute * hw.matrix(storage.key) / hw.processors
    loss = 1.0 + 0.05 * c.tile * (128.0 / ROWS - 1.0)
    matrix = 2.0 * ROWS * columns * depth * loss / rate
    share = hw.l2 / hw.processors  # a cluster of two halves the fetches
    fetched = columns * storage.b + ROWS * storage.a if program.alone else columns * storage.b / 2.0
    feed = depth * fetched / share
    fetch = _fetch_time(blocks, tiles, 1.0, ROWS * depth * storage.a, columns * depth * storage.b, hw)
    step = soft_maximum(power, matrix, 150.0 * c.step * program.wait / hw.clock, feed, fetch)
    valid = np.minimum(assigned / blocks, ROWS)  # rows of a block that are written
    epilogue = valid * columns * storage.c / (0.8 * c.write * hw.dram / hw.processors)
    epilogue = epilogue + 2000.0 * c.start / hw.clock
    compute = waves * (np.ceil(k / depth) * step + epilogue)
    weights, rows = hit * n * k * storage.b, assigned * (k * storage.a + n * storage.c)
    memory = np.maximum((cold * weights + rows) / (0.9 * c.dram * hw.dram), hw.crossing(weights + rows))
    return compute, memory, soft_maximum(power, compute, memory), waves
