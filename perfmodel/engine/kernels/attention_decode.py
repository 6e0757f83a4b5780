"""Attention of one new token per sequence against a cache of keys and values, split over the cache.

    blocks  = batch x heads that share a cache head (or each head alone) x splits of the cache
    step    = |matrix time, latency, bytes / (L2 + DRAM rate of a processor)|_p of 64 cached tokens
    compute = whole rounds x (steps x step + start of a block / blocks that share a processor)
    memory  = cache bytes that miss L2 / DRAM bandwidth
    time    = |launch + |compute, memory|_p + joining of the splits + kernels and passes before it, host|_4

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
from perfmodel.engine.kernels.splits import split_counts

#: cached tokens of one step, query rows of one block
TOKENS, ROWS = 64.0, 64.0
#: cached tokens that a block treats together, where they are fewer than a step
GRAINS = {"masked": 8.0}
#: [s] per sequence that a block takes to find its own among them (fitted once to FlashAttention-4 on H100)
SEARCH = {"graph": 12e-9}
#: [s] of a kernel more or less around it
KERNEL = 2.5e-6
#: p of the soft maximum; where warps of their own copy and multiply
POWER = 2.0
OVERLAP = {"fill": 4.0}


@dataclass(frozen=True)
class DecodeCorrections:
    """Dimensionless corrections of a decode attention kernel on a device; 1 is the documented reference."""

    launch: Value = correction(0.1, 20.0)  # fixed time over 8 us
    dram: Value = correction(0.4, 1.2)  # DRAM rate over 0.9 of nominal
    step: Value = correction(0.05, 10.0)  # latency of a step over 1000 clocks at head size 128
    combine: Value = correction(0.05, 10.0)  # joining of the splits over 2.5 us
    resident: Value = correction(0.05, 4.0)  # cache that stays in L2 over half of it
    feed: Value = correction(0.05, 5.0)  # rate of one block over its share of L2 and DRAM
    row: Value = correction(0.001, 20.0, 0.5)  # passes over the new token's query and output (8 B)
    start: Value = correction(0.01, 20.0)  # start of a block over 5200 clocks
    size: Value = correction(0.01, 2.0, 0.2)  # growth of the start with the head size
    host: Value = correction(0.001, 60.0, 0.01)  # floor set by the caller over 8 us


def attention_decode_time(
    batch: Value, context: Value, heads: Value, kv_heads: Value, head_dim: Value, window: Value,
    kv_bytes: float, gpu: GpuFacts, c: DecodeCorrections | None = None, packed: Value = True,
    rule: str = "best", copies: Value = 0.0, resident: Value = 2.0,
) -> KernelTime:
    """Time of one decode step of attention [s].

    batch, context  sequences, tokens attended including the new one
    window          tokens of a sliding window; 0: none
    kv_bytes        bytes of a cached element
    packed          the query heads of a cache head share a block [2]; else each head is a block
    rule            how the library splits the cache, one of `splits`; best: chosen for the whole context
    copies          kernels before and after it, see `query_copies`
    resident        blocks that share a processor and start beside each other, see `resident_blocks`
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
    walked = np.minimum(full, seen + TOKENS)  # a window ends inside a tile
    split = split_counts(rule, batch, units, full, walked, hw.processors, head_dim)
    waves = wave_count(units * split, hw.processors, 1.0)
    rate = hw.matrix("bf16") / hw.processors
    used_rows = np.minimum(1.0, np.ceil(np.minimum(group, ROWS) / 16.0) * 16.0 / ROWS)
    matrix = 4.0 * ROWS * used_rows * TOKENS * head_dim / (0.5 * rate)
    latency = 1000.0 * c.step / hw.clock * head_dim / 128.0
    feed = 2.0 * TOKENS * head_dim * kv_bytes / (c.feed * (hw.l2 + hw.dram) / hw.processors)
    power = OVERLAP.get(rule, POWER)
    step = soft_maximum(power, matrix, latency, feed)
    start = 5200.0 / hw.clock * c.start * (1.0 + c.size * (head_dim - 64.0) / 64.0) / column(resident)
    start = start + SEARCH.get(rule, 0.0) * batch
    sums = split * batch * heads * head_dim * 8.0
    joined = 2.5e-6 * c.combine + sums / (0.5 * hw.l2) + hw.crossing(sums)
    merged = walked > 2.0 * TOKENS if rule == "even" else split > 1.0
    fixed = 8e-6 * c.launch + np.where(merged, joined, 0.0) + KERNEL * column(copies)
    fixed = fixed + c.row * batch * heads * head_dim * 8.0 / hw.dram
    grain = GRAINS.get(rule, TOKENS)

    def parts(steps: Value, tokens: Value) -> tuple[Value, Value]:
        cached = batch * kv_heads * tokens * 2.0 * head_dim * kv_bytes
        moved = cached * miss_share(cached, 0.5 * c.resident * hw.kept_bytes) + batch * heads * head_dim * 4.0
        memory = np.maximum(moved / (0.9 * c.dram * hw.dram), hw.crossing(cached))
        return waves * (steps * step + start), memory

    share = grain / TOKENS * np.ceil(np.ceil(full / grain) / split)
    whole = soft_maximum(4.0, fixed + soft_maximum(power, *parts(share, full)), 8e-6 * c.host)
    compute, memory = parts(np.minimum(share, grain / TOKENS * np.ceil(seen / grain)), seen)
    windowed = soft_maximum(4.0, fixed + soft_maximum(power, compute, memory), 8e-6 * c.host)
    best = fastest(whole, seconds=windowed, compute=compute, memory=memory, waves=waves, launch=fixed,
                   split=split)
    return KernelTime(**best)
