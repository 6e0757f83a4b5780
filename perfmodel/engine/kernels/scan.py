"""Linear attention and state-space kernels: causal convolution, chunked scan, recurrent update.

    conv       bytes of all channels in and out; blocks of 64 channels of a sequence
    row_conv   the same with a block for every channel of a sequence [6]
    update     convolution state of one new token (or a few to verify)
    recurrent  state of heads x key x value values read and written, token after token
    chunk      products inside chunks of 64 tokens, chunks one after the other, state between them

    time = |fixed + |rounds x (steps x step + start), bytes / DRAM, products|_p + per sequence, host floor|_4

References
[1] Yang, Kautz, Hatamizadeh, Gated Delta Networks, arXiv:2412.06464.
[2] Dao, Gu, Transformers are SSMs (Mamba-2), arXiv:2405.21060.
[3] Kimi Team, Kimi Linear (delta attention), arXiv:2510.26692.
[4] NVIDIA, CUDA C++ Programming Guide, technical specifications by compute capability.
[5] RRZE-HPC, gpu-benches, gpu-latency: pointer chase through DRAM on A100 and GH200, 2025.
[6] Gu, Dao, causal-conv1d: CUDA kernel of the depthwise causal convolution, 2023.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfmodel.algebra import Value
from perfmodel.engine.kernels.facts import (
    GpuFacts,
    KernelTime,
    correction,
    miss_share,
    soft_maximum,
    wave_count,
)

#: tokens of a chunk
CHUNK = 64.0
#: tokens that a block of a row convolution treats in one go: 128 threads, 8 tokens each [6]
ROW_TOKENS = 1024.0
#: blocks that share a processor: 2048 resident threads [4] over the 128 of a block of channels; 1 where a
#: block keeps a state of its own in registers and shared memory
RESIDENT = {"conv": 16.0, "row_conv": 16.0, "update": 16.0}
#: [s] a step that waits for DRAM and back (0.32 to 0.37 us [5]), and the store
ROUND_TRIP = 0.5e-6
#: clocks: 64 dependent rows of the triangular inverse of a chunk [1], 50 each; start of a kernel (3 us at
#: 1.8 GHz) and of a block
CHUNK_CLOCKS, KERNEL_CLOCKS, BLOCK_CLOCKS = 3200.0, 5400.0, 360.0
#: kernels of one call: cumulated gates, key products, inverse, its products, states, outputs [1]
KERNELS = {"chunk": 6.0}


@dataclass(frozen=True)
class ScanCorrections:
    """Dimensionless corrections of a scan kernel; 1 is the documented reference."""

    launch: Value = correction(0.1, 60.0)  # fixed time of a kernel over 5400 clocks
    dram: Value = correction(0.05, 1.3)  # DRAM rate over 0.9 of nominal
    step: Value = correction(0.001, 50.0)  # a token over a round trip to DRAM, a chunk over 3200 clocks
    start: Value = correction(0.001, 60.0)  # start of a block over 360 clocks
    compute: Value = correction(0.005, 2.0, 0.5)  # matrix rate over half of the bf16 peak
    overlap: Value = correction(0.3, 5.0)  # p of the soft maximum over 3
    tail: Value = correction(0.02, 1.0, 0.5)  # 1: whole waves
    resident: Value = correction(0.02, 5.0)  # data that stays in L2 over half of it
    sequence: Value = correction(0.0001, 50.0, 0.01)  # time per sequence over 1 us
    value: Value = correction(0.001, 1.0, 0.9)  # share of the value channels that a convolution sees
    host: Value = correction(0.001, 400.0, 0.01)  # floor set by the caller over 3 us


def scan_time(kind: str, batch: Value, query: Value, key_heads: Value, key_dim: Value, value_heads: Value,
              value_dim: Value, kernel: Value, gpu: GpuFacts, c: ScanCorrections | None = None,
              channels: Value | None = None) -> KernelTime:
    """Time of one kernel of a linear-attention layer [s] [1, 2, 3].

    kind      conv, row_conv, update, recurrent or chunk
    query     new tokens of each of `batch` sequences; kernel: taps of the convolution
    channels  of the convolution; None: 2 key_heads key_dim + value share x value_heads value_dim
    """
    c = c or ScanCorrections()
    batch, query, key_heads, key_dim, value_heads, value_dim, kernel = (
        np.asarray(v, dtype=float)
        for v in (batch, query, key_heads, key_dim, value_heads, value_dim, kernel)
    )
    tokens = batch * query
    if channels is None:
        channels = 2.0 * key_heads * key_dim + c.value * value_heads * value_dim
    row = 4.0 * (key_heads * key_dim + value_heads * value_dim)  # q, k, v and the output, 2 B each
    state = batch * value_heads * key_dim * value_dim
    chunks = np.ceil(query / CHUNK)
    flop: Value = 0.0 * tokens
    if kind == "row_conv":
        moved, blocks = 4.0 * channels * (tokens + batch * kernel), batch * channels
        steps: Value = np.ceil(query / ROW_TOKENS)
    elif kind == "conv":
        moved, blocks, steps = 4.0 * channels * (tokens + batch * kernel), batch * channels / 64.0, chunks
    elif kind == "update":
        moved, blocks, steps = 4.0 * batch * channels * (kernel + query), batch * channels / 64.0, query
    elif kind == "recurrent":
        moved = 8.0 * state * (1.0 + (query - 1.0) / 2.0) + tokens * row  # fp32 state in and out
        blocks, steps = batch * value_heads * np.ceil(value_dim / 32.0), query
    else:
        moved = 3.0 * tokens * row + 4.0 * state + 4.0 * chunks * state
        flop = tokens * value_heads * (8.0 * CHUNK * (key_dim + value_dim) + 8.0 * key_dim * value_dim)
        blocks, steps = batch * value_heads, chunks
    power = 3.0 * c.overlap
    cold = 0.2 + 0.8 * miss_share(moved, 0.5 * c.resident * gpu.kept_bytes)
    memory = np.maximum(moved * cold / (0.9 * c.dram * gpu.dram), gpu.crossing(moved))
    waves = wave_count(blocks, gpu.processors * RESIDENT.get(kind, 1.0), c.tail)
    step = CHUNK_CLOCKS / gpu.clock if kind == "chunk" else ROUND_TRIP
    rounds = waves * (step * c.step * steps + BLOCK_CLOCKS / gpu.clock * c.start)
    matrix = flop / (0.5 * c.compute * gpu.matrix("bf16"))
    launch = KERNEL_CLOCKS / gpu.clock * KERNELS.get(kind, 1.0) * c.launch + 1e-6 * c.sequence * batch
    seconds = launch + soft_maximum(power, rounds, memory, matrix)
    seconds = (seconds**4 + (3e-6 * c.host) ** 4) ** 0.25
    return KernelTime(seconds, launch, np.maximum(rounds, matrix), memory, waves)
