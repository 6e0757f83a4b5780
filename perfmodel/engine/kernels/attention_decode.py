"""Attention of one new token per sequence against a cache of keys and values, split over the cache.

    blocks  = batch x heads that share a cache head (or each head alone) x splits of the cache
    step    = |matrix time, latency, L2 feed|_p of 64 cached tokens
    compute = rounds x (steps x step + start of a block + work per query head)
    memory  = cache bytes that miss L2 / DRAM bandwidth
    time    = launch + |compute, memory|_p + joining of the splits + passes over the new token

References
[1] Dao, Haziza, Massa, Sizov, Flash-Decoding for long-context inference, 2023.
[2] Ainslie et al., GQA, arXiv:2305.13245.
[3] Ye et al., FlashInfer, arXiv:2501.01005.
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
    miss_share,
    soft_maximum,
    wave_count,
)

#: candidate splits of the cache
SPLITS = np.array([1.0, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128])
#: cached tokens of one step, query rows of one block
TOKENS, ROWS = 64.0, 64.0


@dataclass(frozen=True)
class DecodeCorrections:
    """Dimensionless corrections of a decode attention kernel on a device; 1 is the documented reference."""

    launch: Value = correction(0.3, 60.0)  # fixed time over 2 us
    dram: Value = correction(0.4, 1.2)  # DRAM rate over 0.9 of nominal
    step: Value = correction(0.05, 10.0)  # latency of a step over 500 clocks at head size 128
    compute: Value = correction(0.05, 2.0)  # matrix rate over half of the bf16 peak
    combine: Value = correction(0.05, 1e6)  # joining of the splits over 1.5 us; huge: no splits
    overlap: Value = correction(0.3, 5.0)  # p of the soft maximum over 3
    tail: Value = correction(0.02, 1.0, 0.5)  # 1: whole waves
    resident: Value = correction(0.05, 4.0)  # cache that stays in L2 over half of it
    l2: Value = correction(0.05, 5.0)  # L2 rate over twice the streaming rate
    row: Value = correction(0.001, 20.0, 0.1)  # passes over the new token's query and output (8 B)
    start: Value = correction(0.01, 20.0)  # start of a block over 1 us
    group: Value = correction(0.01, 20.0, 0.3)  # work per query head of a block over 20 clocks at size 64
    size: Value = correction(0.01, 2.0, 0.3)  # growth of the start with the head size


def attention_decode_time(
    batch: Value, context: Value, heads: Value, kv_heads: Value, head_dim: Value, window: Value,
    kv_bytes: float, gpu: GpuFacts, c: DecodeCorrections | None = None, packed: Value = True,
) -> KernelTime:
    """Time of one decode step of attention [s].

    batch, context  sequences, tokens attended including the new one
    window          tokens of a sliding window; 0: none
    kv_bytes        bytes of a cached element
    packed          the query heads of a cache head share a block [2]; else each head is a block
    The split is chosen for the whole context also where a window cuts it, as the libraries do.
    """
    c = c or DecodeCorrections()
    hw = facts_column(gpu)
    batch, full, heads, kv_heads, head_dim, window = (
        column(v) for v in (batch, context, heads, kv_heads, head_dim, window)
    )
    packed = np.asarray(packed)[..., None]
    seen = np.where(window > 0.0, np.minimum(window, full), full)
    group = np.where(packed, heads / kv_heads, 1.0)
    units = batch * np.where(packed, kv_heads, heads) * np.ceil(group / ROWS)
    split = np.minimum(SPLITS, np.ceil(full / TOKENS))
    waves = wave_count(units * split, hw.processors, c.tail)
    power = 3.0 * c.overlap
    rate = hw.matrix("bf16") / hw.processors
    used_rows = np.minimum(1.0, np.ceil(np.minimum(group, ROWS) / 16.0) * 16.0 / ROWS)
    matrix = 4.0 * ROWS * used_rows * TOKENS * head_dim / (0.5 * c.compute * rate)
    latency = 500.0 * c.step / hw.clock * head_dim / 128.0
    feed = 2.0 * TOKENS * head_dim * kv_bytes / (2.0 * c.l2 * hw.l2 / hw.processors)
    step = soft_maximum(power, matrix, latency, feed)
    start = 1e-6 * c.start * (1.0 + c.size * (head_dim - 64.0) / 64.0)
    start = start + 20.0 * c.group * group / hw.clock * head_dim / 64.0
    joined = 1.5e-6 * c.combine + split * batch * heads * head_dim * 8.0 / (0.5 * hw.l2)
    fixed = 2e-6 * c.launch + np.where(split > 1.0, joined, 0.0)
    fixed = fixed + c.row * batch * heads * head_dim * 8.0 / hw.dram

    def parts(steps: Value, tokens: Value) -> tuple[Value, Value]:
        cached = batch * kv_heads * tokens * 2.0 * head_dim * kv_bytes
        moved = cached * miss_share(cached, 0.5 * c.resident * hw.l2_bytes) + batch * heads * head_dim * 4.0
        return waves * (steps * step + start), moved / (0.9 * c.dram * hw.dram)

    share = np.ceil(np.ceil(full / TOKENS) / split)
    whole = fixed + soft_maximum(power, *parts(share, full))
    compute, memory = parts(np.minimum(share, np.ceil(seen / TOKENS)), seen)
    windowed = fixed + soft_maximum(power, compute, memory)
    best = fastest(whole, seconds=windowed, compute=compute, memory=memory, waves=waves, launch=fixed,
                   split=split)
    return KernelTime(**best)
