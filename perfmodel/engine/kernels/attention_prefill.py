"""Attention of many new tokens per sequence (prefill, encoders), one block of query rows at a time.

    blocks  = batch x heads x ceil(rows / 128), or rows of a block as its source states (`prefill_programs`)
    step    = |matrix time, exponentials, latency|_p of 128 keys + spilled registers / L2 rate of a processor
    compute = max(rounds x mean block, longest block); a causal block reads the keys up to its last row
    memory  = bytes of Q, K, V, O that miss L2 / DRAM bandwidth
    time    = launch + |compute, memory|_p at the clock that the power limit leaves + passes over new tokens,
              through L2 and, as far as they miss it, DRAM

References
[1] Dao, FlashAttention-2, arXiv:2307.08691.
[2] Shah, Bikshandi, Zhang, Thakkar, Ramani, Dao, FlashAttention-3, arXiv:2407.08608.
[3] github.com/ahrefs/ocannl issue 488: 6.3 us for an empty kernel launched alone.
[4] RRZE-HPC, gpu-benches, gpu-l2-cache: 36 to 37 B per clock and processor from L2 on A100 and H200, 2025.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from perfmodel.algebra import Value
from perfmodel.engine.kernels.facts import (
    GpuFacts,
    KernelTime,
    correction,
    miss_share,
    soft_maximum,
    under_power_limit,
    wave_count,
)
from perfmodel.engine.kernels.prefill_programs import KEYS, LARGE, ROWS, Program, block_rows

#: clocks that a step takes at least, p of the soft maximum
STEP, POWER = 150.0, 3.5
#: head sizes are filled up to a multiple [2]
PAD = 32.0


@dataclass(frozen=True)
class PrefillCorrections:
    """Dimensionless corrections of a prefill attention kernel on a device; 1 is the documented reference."""

    # fixed time over 3 us: a kernel launched alone [3] and one queued before it that lays out the new tokens
    launch: Value = correction(0.3, 60.0, 3.0)
    compute: Value = correction(0.1, 1.6)  # matrix rate over 0.8 of the peak
    softmax: Value = correction(0.02, 10.0)  # exponentials per clock over 16 per processor
    tail: Value = correction(0.02, 1.0, 1.0)  # 1: whole waves
    # start of a block over 1 us: 128 rows of Q, K, V in, of O out, 131 kB at the L2 rate of a processor [4]
    start: Value = correction(0.001, 20.0, 2.0)
    row: Value = correction(0.01, 20.0)  # passes over the new queries (4 B an element)
    kv_row: Value = correction(0.01, 100.0)  # passes over the new keys and values: cache write, conversion
    power: Value = correction(0.001, 4.0, 0.3)  # strength of the power limit
    mask: Value = correction(0.02, 1.0, 0.4)  # keys read beyond the mask over 64, if no program is known
    wide: Value = correction(0.1, 3.0)  # matrix rate at head sizes of 192 and more over that at 128
    narrow: Value = correction(0.2, 3.0)  # the same at 64 and less


def visited_keys(query: Value, past: Value, window: Value, rows: Value, causal: bool) -> tuple[Value, Value]:
    """Keys that a block of query rows reads: mean over the blocks of a sequence, and the last block."""
    blocks = np.ceil(query / rows)
    total = past + query
    if not causal:
        return total + 0.0 * blocks, total + 0.0 * blocks
    limit = np.where(window > 0.0, window, 1e15) + np.minimum(query, rows)
    growing = np.clip(np.floor((limit - past) / rows), 0.0, blocks)
    triangle = past + np.minimum((blocks + 1.0) / 2.0 * rows, query)
    band = growing * (past + (growing + 1.0) / 2.0 * rows) + (blocks - growing) * np.minimum(limit, 1e14)
    mean = np.where(total <= limit, triangle, band / np.maximum(blocks, 1.0))
    return np.minimum(mean, total), np.minimum(total, limit)


def keys_beyond(rows: Value, total: Value, window: Value, keys: Value, causal: bool) -> Any:
    """Keys that a block of `rows` new tokens reads beyond its mask: whole steps of `keys`, on average."""
    if not causal:
        return keys * np.ceil(total / keys) - total
    start = np.where(window > 0.0, keys - np.minimum(window, keys), 0.0)
    return (keys - np.minimum(rows, keys) + start) / 2.0


def attention_prefill_time(
    batch: Value, query: Value, past: Value, heads: Value, kv_heads: Value, head_dim: Value, window: Value,
    query_bytes: float, kv_bytes: float, key: str, gpu: GpuFacts, c: PrefillCorrections | None = None,
    value_dim: Value | None = None, packed: Value = False, causal: bool = True,
    program: Program | None = None,
) -> KernelTime:
    """Time of attention of `query` new tokens per sequence after `past` cached ones [s].

    window       tokens of a sliding window; 0: none
    key          number format of the matrix unit (bf16, fp8)
    value_dim    size of a value head; None: head_dim
    packed       the query heads of a cache head fill the rows of a block together
    program      what the source of the kernel states; None: blocks of 128 x 128, keys beyond the mask fitted
    """
    c = c or PrefillCorrections()
    batch, query, past, heads, kv_heads, head_dim, window = (
        np.asarray(v, dtype=float) for v in (batch, query, past, heads, kv_heads, head_dim, window)
    )
    value_dim = head_dim if value_dim is None else np.asarray(value_dim, dtype=float)
    peak = gpu.matrix(key)
    group = np.where(packed, heads / kv_heads, 1.0)
    known = program or Program(block_rows(head_dim, gpu), KEYS)
    tile = known.rows
    tokens = tile / np.minimum(group, tile)
    mean, last = visited_keys(query, past, window, tokens, causal)
    width = head_dim + value_dim
    padded = PAD * (np.ceil(head_dim / PAD) + np.ceil(value_dim / PAD))
    shape = np.where(width >= 384.0, c.wide, np.where(width <= 192.0, c.narrow, 1.0))
    rows = np.maximum(np.ceil(np.minimum(query * group, tile) / 64.0) * 64.0, 64.0)
    used = np.where(head_dim >= LARGE, ROWS, rows)  # 64 rows are half of what the matrix unit takes at once
    matrix = 2.0 * used * KEYS * padded / (0.8 * c.compute * shape * peak / gpu.processors)
    exponentials = rows * KEYS / (gpu.special / gpu.processors * c.softmax)
    step = soft_maximum(POWER, matrix, exponentials, STEP / gpu.clock)
    step = step + known.spilled * KEYS / known.keys * gpu.processors / gpu.l2
    start = 1e-6 * c.start
    stated = keys_beyond(np.minimum(tokens, query), past + query, window, known.keys, causal)
    beyond = stated if program else 64.0 * c.mask
    blocks = batch * heads * np.ceil(query * group / tile) / group
    waves = wave_count(blocks, gpu.processors, c.tail)
    usual, longest = ((keys + beyond) / KEYS * step + start for keys in (mean, last))
    compute = np.maximum(waves * usual, longest)
    keys = np.minimum(past + query, np.where(window > 0.0, query + window, 1e15))
    moved = batch * query * heads * width * query_bytes + batch * keys * kv_heads * width * kv_bytes
    memory = np.maximum(moved * miss_share(moved, 0.5 * gpu.kept_bytes) / gpu.dram, gpu.crossing(moved))
    flop = 2.0 * batch * heads * query * mean * width
    strength = np.where(np.isinf(gpu.power), 0.0, c.power)  # infinite: the limit is in the peak
    work = under_power_limit(soft_maximum(POWER, compute, memory), flop, peak, strength)
    written = (2.0 + kv_bytes) / 4.0 * kv_heads * width
    passes = batch * query * (known.turned * c.row * heads * head_dim + c.kv_row * written)
    slow = np.maximum(miss_share(moved, 0.25 * gpu.kept_bytes) / gpu.dram, gpu.crossing(1.0)) + 2.0 / gpu.l2
    launch = 3e-6 * c.launch + c.kv_row * batch * query * known.write
    return KernelTime(launch + work + 4.0 * passes * slow, launch, compute, memory, waves, ROWS, KEYS)
