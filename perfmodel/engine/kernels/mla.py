"""Multi-head latent attention in its absorbed form: one latent cache vector per token for all heads.

    blocks  = batch x ceil(heads x query / 64) x splits of the cache; 128 rows where an instruction has them
    step    = |matrix time of 64 cached tokens against rank + rope and rank values, latency, L2 feed|_3
    time    = launch + |rounds x (steps x step + start), cache bytes / DRAM|_1.5 + joining + passes

All rows of a block are computed.  Of single warps, each reads the tokens from shared memory for its 16 rows
and waits for them: that time is added to the products in place of a latency, and p of a step is 1.5.  Their
kernels take as long for a cache of 8 bits as for one of 16 where DRAM bounds them (A100, RTX PRO 6000).
The form that is not absorbed (prefill) is `attention_prefill_time` with 192 and 128 values per head.

References
[1] DeepSeek-AI, DeepSeek-V2, arXiv:2405.04434 (latent attention, absorption of the up-projections).
[2] github.com/ahrefs/ocannl issue 488: 6.3 us for an empty kernel launched alone.
[3] RRZE-HPC, gpu-benches, gpu-l2-cache: 36 to 37 B per clock and processor from L2 on A100 and H200, 2025.
[4] NVIDIA, CUDA C++ Programming Guide: 32 banks of 4 B in a clock of a processor.
[5] NVIDIA, PTX ISA 8.7, wgmma: 64 rows; tcgen05.mma: 64 at half the rate, or 128 [recalled].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
from perfmodel.engine.kernels.splits import TCGEN05, generation, split_counts

#: cached tokens of a step, query rows of a block: those of one matrix instruction of Hopper [5]
TOKENS, ROWS = 64.0, 64.0
#: bytes that a processor reads from its shared memory in a clock [4]
SHARED = 128.0
#: p of the soft maximum of a kernel, and of a step whose copies and products run beside each other
POWER, OVERLAP = 1.5, 3.0


@dataclass(frozen=True)
class MlaCorrections:
    """Dimensionless corrections of an absorbed MLA kernel on a device; 1 is the documented reference."""

    launch: Value = correction(0.3, 60.0, 2.1)  # fixed time over 3 us: one kernel launched alone [2]
    dram: Value = correction(0.4, 1.2)  # DRAM rate over 0.9 of nominal
    step: Value = correction(0.01, 10.0)  # latency of a step over 1000 clocks
    compute: Value = correction(0.05, 1.25)  # matrix rate over 0.8 of the peak
    combine: Value = correction(0.01, 40.0)  # joining of the splits over 1.5 us
    resident: Value = correction(0.05, 4.0)  # cache that stays in L2 over half of it
    # start of a block over 1 us: 64 rows of Q, 64 cached tokens in, fp32 sums out, 280 kB at the L2 rate [3]
    start: Value = correction(0.01, 20.0, 4.0)
    row: Value = correction(0.001, 20.0, 0.3)  # passes over the new tokens (4 B an element)


def latent_pass_time(tokens: Value, gpu: GpuFacts, values: Value = 576.0) -> Value:
    """Time in which the latent values of new tokens are read, rotated and written to the cache [s]."""
    return 4.0 * tokens * values * (1.0 / gpu.dram + 1.0 / gpu.l2)


def block_rows(rows: Value, gpu: GpuFacts) -> Any:
    """Query rows of a block: 64, above that 128 where a matrix instruction has as many [5]."""
    return np.where((generation(gpu) == TCGEN05) & (rows > ROWS), 2.0 * ROWS, ROWS)


def mla_decode_time(batch: Value, query: Value, context: Value, heads: Value, kv_bytes: float, gpu: GpuFacts,
                    c: MlaCorrections | None = None, rank: Value = 512.0, rope: Value = 64.0,
                    rule: str = "best", block: Value | None = None, key: str = "") -> KernelTime:
    """Time of absorbed latent attention of `query` new tokens per sequence against `context` tokens [s] [1].

    context   tokens attended, the new ones included
    kv_bytes  bytes of a cached element
    rule      how the library splits the cache, one of `splits`
    block     query rows of a block, all computed; None: `block_rows`
    key       number format of the matrix unit; empty: that of the cache
    """
    c = c or MlaCorrections()
    hw = facts_column(gpu)
    batch, query, context, heads, rank, rope = (
        column(v) for v in (batch, query, context, heads, rank, rope)
    )
    rows = heads * query
    tiles = np.ceil(context / TOKENS)
    block = block_rows(rows, hw) if block is None else column(block)
    block = ROWS / 2.0 if rule == "alone" else block
    units = batch * np.ceil(rows / block)
    split = split_counts(rule, batch, units, context, context, hw.processors, rank)
    waves = wave_count(units * split, hw.processors, 1.0)
    wide, key = 2.0 * rank + rope, key or ("fp8" if kv_bytes <= 1.0 else "bf16")
    matrix = 2.0 * block * TOKENS * wide / (0.8 * c.compute * hw.matrix(key) / hw.processors)
    feed = TOKENS * (rank + rope) * kv_bytes / (2.0 * hw.l2 / hw.processors)
    if rule == "none":  # a kernel of single warps: each reads the tile for its 16 rows itself
        matrix = matrix + block / 16.0 * TOKENS * wide * kv_bytes / (SHARED * hw.clock)
        step = soft_maximum(POWER, matrix, feed)
    else:
        step = soft_maximum(OVERLAP, matrix, 1000.0 * c.step / hw.clock, feed)
    cached = batch * context * (rank + rope) * (max(kv_bytes, 2.0) if rule == "none" else kv_bytes)
    cold = cached * miss_share(cached, 0.5 * c.resident * hw.kept_bytes)
    memory = (cold + 2.0 * batch * rows * (2.0 * rank + rope)) / (0.9 * c.dram * hw.dram)
    memory = np.maximum(memory, hw.crossing(cached))
    compute = waves * (np.ceil(tiles / split) * step + 1e-6 * c.start)
    sums = split * batch * heads * rank * 8.0
    joined = 1.5e-6 * c.combine + sums / (0.5 * hw.l2) + hw.crossing(sums)
    launch = 3e-6 * c.launch + np.where(split > 1.0, joined, 0.0)
    launch = launch + c.row * batch * rows * (rank + rope) * 4.0 / hw.dram
    kernel = launch + soft_maximum(POWER, compute, memory)
    parts = fastest(kernel, seconds=kernel, compute=compute, memory=memory, waves=waves, launch=launch,
                    split=split)
    return KernelTime(**parts)
