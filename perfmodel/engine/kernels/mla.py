"""Multi-head latent attention in its absorbed form: one latent cache vector per token for all heads.

    blocks  = batch x ceil(heads x query / 64) x splits of the cache
    step    = |matrix time of 64 cached tokens against rank + rope and rank values, latency, L2 feed|_1.5
    time    = launch + |rounds x (steps x step + start), cache bytes / DRAM|_1.5 + joining + passes

The form that is not absorbed (prefill) is `attention_prefill_time` with 192 and 128 values per head.

References
[1] DeepSeek-AI, DeepSeek-V2, arXiv:2405.04434 (latent attention, absorption of the up-projections).
[2] github.com/ahrefs/ocannl issue 488: 6.3 us for an empty kernel launched alone.
[3] RRZE-HPC, gpu-benches, gpu-l2-cache: 36 to 37 B per clock and processor from L2 on A100 and H200, 2025.
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

#: cached tokens of a step, query rows of a block
TOKENS, ROWS = 64.0, 64.0
#: p of the soft maximum
POWER = 1.5


@dataclass(frozen=True)
class MlaCorrections:
    """Dimensionless corrections of an absorbed MLA kernel on a device; 1 is the documented reference."""

    launch: Value = correction(0.3, 60.0, 2.1)  # fixed time over 3 us: one kernel launched alone [2]
    dram: Value = correction(0.4, 1.2)  # DRAM rate over 0.9 of nominal
    step: Value = correction(0.01, 10.0)  # latency of a step over 1000 clocks
    compute: Value = correction(0.05, 6.0)  # matrix rate over 0.8 of the bf16 peak
    combine: Value = correction(0.01, 40.0)  # joining of the splits over 1.5 us
    resident: Value = correction(0.05, 4.0)  # cache that stays in L2 over half of it
    # start of a block over 1 us: 64 rows of Q, 64 cached tokens in, fp32 sums out, 280 kB at the L2 rate [3]
    start: Value = correction(0.01, 20.0, 4.0)
    row: Value = correction(0.001, 20.0, 0.3)  # passes over the new tokens (4 B an element)
    pad: Value = correction(1.0, 4.0)  # least query rows of a block over 16


def mla_decode_time(batch: Value, query: Value, context: Value, heads: Value, kv_bytes: float, gpu: GpuFacts,
                    c: MlaCorrections | None = None, rank: Value = 512.0, rope: Value = 64.0,
                    rule: str = "best") -> KernelTime:
    """Time of absorbed latent attention of `query` new tokens per sequence against `context` tokens [s] [1].

    context   tokens attended, the new ones included
    kv_bytes  bytes of a cached element
    rule      how the library splits the cache, one of `splits`
    """
    c = c or MlaCorrections()
    hw = facts_column(gpu)
    batch, query, context, heads = (column(v) for v in (batch, query, context, heads))
    rows = heads * query
    tiles = np.ceil(context / TOKENS)
    units = batch * np.ceil(rows / ROWS)
    split = split_counts(rule, batch, units, context, context, hw.processors, rank)
    waves = wave_count(units * split, hw.processors, 1.0)
    used = np.minimum(np.maximum(np.ceil(rows / 16.0) * 16.0, 16.0 * c.pad), ROWS)
    rate = 0.8 * c.compute * hw.matrix("bf16") / hw.processors
    matrix = 2.0 * used * TOKENS * (2.0 * rank + rope) / rate
    feed = TOKENS * (rank + rope) * kv_bytes / (2.0 * hw.l2 / hw.processors)
    step = soft_maximum(POWER, matrix, 1000.0 * c.step / hw.clock, feed)
    cached = batch * context * (rank + rope) * kv_bytes
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
