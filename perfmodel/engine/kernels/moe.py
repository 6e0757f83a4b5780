"""Mixture of experts: two grouped products on the experts of one rank, with an uneven load.

Load of an expert at quantile u of a truncated power law x^-a on [low, high] (balanced: all equal), scaled so
that the mean over all experts is tokens x topk / experts.  The timed rank is the most loaded one:
u -> u^(1/(1 + hot (ep - 1) / local experts)).

    touched = share of experts with at least one token (1 - exp(-n), balanced: min(n, 1))
    blocks  = sum over touched experts of ceil(n / M) x ceil(N / 128), M chosen among 8 ... 128
    time    = launch + sum over both products of |rounds x block, touched weights / DRAM|_p + movement

References
[1] Shazeer et al., Outrageously large neural networks, arXiv:1701.06538.
[2] Gale, Narayanan, Young, Zaharia, MegaBlocks, arXiv:2211.15841 (grouped products, load imbalance).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfmodel.algebra import Value
from perfmodel.engine.kernels.facts import (
    GpuFacts,
    KernelTime,
    column,
    correction,
    facts_column,
    fastest,
    soft_maximum,
    wave_count,
)
from perfmodel.engine.kernels.gemm import STEP_BYTES, Storage

#: candidate rows of a block, and its columns
ROWS = np.array([8.0, 16, 32, 64, 128])
COLUMNS = 128.0
#: quantiles of the local experts and of all experts
LOCAL = (np.arange(12) + 0.5) / 12
ALL = (np.arange(64) + 0.5) / 64


@dataclass(frozen=True)
class MoeCorrections:
    """Dimensionless corrections of an expert kernel on a device; 1 is the documented reference."""

    launch: Value = correction(0.2, 20.0)  # fixed time of all kernels over 10 us
    compute: Value = correction(0.05, 1.5)  # matrix rate over 0.8 of the peak
    dram: Value = correction(0.3, 1.2)  # DRAM rate over 0.9 of nominal
    step: Value = correction(0.05, 20.0)  # latency of one k-step over 150 clocks
    tile: Value = correction(0.01, 10.0)  # loss of blocks with few rows over 0.05
    overlap: Value = correction(0.3, 5.0)  # p of the soft maximum over 3
    tail: Value = correction(0.02, 1.0, 0.5)  # 1: whole waves
    move: Value = correction(0.01, 30.0, 2.0)  # permutation, activation and sum over one pass
    skew: Value = correction(0.05, 3.0, 0.65)  # exponent on the largest load of the power law
    hot: Value = correction(0.001, 4.0, 1.5)  # how far the timed rank is above the mean one
    floor: Value = correction(0.001, 20.0, 0.3)  # routing: growth with log2(1 + tokens) over 1 us
    write: Value = correction(0.05, 20.0)  # epilogue rate over 0.8 of the DRAM rate
    foreign: Value = correction(1e-5, 1.0, 1e-5)  # share of the other ranks' tokens that are computed in vain


def expert_loads(tokens: Value, topk: Value, experts: Value, ranks: Value, exponent: Value,
                 c: MoeCorrections) -> Value:
    """Tokens of the experts of the most loaded rank at `LOCAL` quantiles, last axis [1, 2].

    exponent 0: balanced.  With fewer assignments than experts the power law lies on [0.01, 2], else on
    [1, 0.8 tokens]; no expert gets more than all tokens.
    """
    tokens, topk, experts, ranks, exponent = (column(v) for v in (tokens, topk, experts, ranks, exponent))
    many = tokens * topk > experts
    low = np.where(many, 1.0, 0.01)
    high = np.where(many, np.maximum(0.8 * tokens, 1.01) ** c.skew, 2.0)
    power = 1.0 - np.maximum(exponent, 0.0) - 1e-9

    def inverse(u: Value) -> Value:
        return ((high**power - low**power) * u + low**power) ** (1.0 / power)

    hotter = 1.0 + c.hot * (ranks - 1.0) / np.maximum(experts / ranks, 1.0)
    share = inverse(LOCAL ** (1.0 / hotter)) / inverse(ALL).mean(axis=-1, keepdims=True)
    mean = tokens * topk / experts
    return np.where(exponent > 0.0, np.minimum(share * mean, tokens), mean)


def moe_time(
    tokens: Value, hidden: Value, inner: Value, topk: Value, experts: Value, tensor_ranks: Value,
    expert_ranks: Value, exponent: Value, storage: Storage, gpu: GpuFacts, c: MoeCorrections | None = None,
    gated: Value = True,
) -> KernelTime:
    """Time of the routed experts of one layer on one rank [s].

    tokens        tokens that enter the layer on all its ranks, before top-k
    inner         intermediate size of one expert, divided by tensor_ranks here
    exponent      of the power law of loads; 0: balanced
    storage       bytes of activations (a), weights (b), output (c) and the matrix format
    gated         two up projections instead of one
    """
    c = c or MoeCorrections()
    loads = expert_loads(tokens, topk, experts, expert_ranks, exponent, c)
    local = column(np.maximum(np.asarray(experts, float) / expert_ranks, 1.0))
    even = column(exponent) == 0.0
    touched = np.where(even, np.minimum(loads, 1.0), -np.expm1(-loads))
    rows = np.maximum(loads / np.maximum(touched, 1e-9), 1e-9)
    blocks = local * (touched[..., None] * np.ceil(rows[..., None] / ROWS)).mean(axis=-2)
    hit = local * touched.mean(axis=-1, keepdims=True)
    assigned = local * loads.mean(axis=-1, keepdims=True)
    tokens, hidden = column(tokens), column(hidden)
    others = np.maximum(tokens * column(topk) - assigned, 0.0)
    blocks = blocks + c.foreign * others / ROWS
    inner = column(inner) / column(tensor_ranks)
    up = np.where(np.asarray(gated)[..., None], 2.0, 1.0) * inner
    products = [_product(n, k, blocks, hit, assigned, storage, facts_column(gpu), c)
                for n, k in ((up, hidden), (hidden, inner))]
    compute, memory = (products[0][i] + products[1][i] for i in (0, 1))
    work = products[0][2] + products[1][2]
    moved = c.move * (2.0 * assigned + 4.0 * tokens) * hidden / column(gpu.dram)
    launch = 10e-6 * c.launch + 1e-6 * c.floor * np.log2(1.0 + tokens)
    kernel = launch + work + moved
    parts = fastest(kernel, seconds=kernel, compute=compute, memory=memory + moved, waves=products[0][3],
                    launch=launch)
    return KernelTime(**parts)


def _product(n: Value, k: Value, blocks: Value, hit: Value, assigned: Value, storage: Storage, hw: GpuFacts,
             c: MoeCorrections) -> tuple[Value, Value, Value, Value]:
    """Compute time, memory time, soft maximum and waves of one grouped product of `blocks` row blocks."""
    power = 3.0 * c.overlap
    depth = STEP_BYTES / max(storage.a, storage.b, 1.0)
    waves = wave_count(blocks * np.ceil(n / COLUMNS), hw.processors, c.tail)
    rate = 0.8 * c.compute * hw.matrix(storage.key) / hw.processors
    loss = 1.0 + 0.05 * c.tile * (128.0 / ROWS - 1.0)
    matrix = 2.0 * ROWS * COLUMNS * depth * loss / rate
    feed = COLUMNS * depth * storage.b / (2.0 * hw.l2 / hw.processors)
    step = soft_maximum(power, matrix, 150.0 * c.step / hw.clock, feed)
    epilogue = ROWS * COLUMNS * storage.c / (0.8 * c.write * hw.dram / hw.processors)
    compute = waves * (np.ceil(k / depth) * step + epilogue)
    moved = hit * n * k * storage.b + assigned * (k * storage.a + n * storage.c)
    memory = moved / (0.9 * c.dram * hw.dram)
    return compute, memory, soft_maximum(power, compute, memory), waves
