"""Linear attention and state-space kernels: causal convolution, chunked scan, recurrent update.

    conv       instructions of the lanes for every value; blocks of 256 channels and 8 tokens [7]
    row_conv   the same with a block for every channel of a sequence [6], in place
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
[7] vLLM, vllm/model_executor/layers/mamba/ops/causal_conv1d.py, https://github.com/vllm-project/vllm.
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
from perfmodel.engine.kernels.splits import at_warp_rate

#: tokens of a chunk
CHUNK = 64.0
#: tokens that a block of a row convolution treats in one go: 128 threads, 8 tokens each [6]
ROW_TOKENS = 1024.0
#: channels and tokens of a block of a convolution [7]
BLOCK_CHANNELS, BLOCK_TOKENS = 256.0, 8.0
#: instructions of the general lanes for a value of a convolution of four taps (products, addresses, masks),
#: and of a thread around its values, 128 to a block
VALUE_LANES, BLOCK_LANES = 55.0, 220.0 * 128.0
#: special functions for a value where a thread keeps its own channel: exponential and reciprocal of the
#: activation, conversions in and out
VALUE_SPECIAL = 4.4
#: blocks that share a processor: 2048 resident threads [4] over the 128 of a block of channels; 1 where a
#: block keeps a state of its own in registers and shared memory
RESIDENT = {"conv": 4.0, "row_conv": 16.0, "update": 16.0}
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
    # a token over a round trip to DRAM, a chunk over 3200 clocks, a value over the instructions it takes
    step: Value = correction(0.001, 50.0)
    start: Value = correction(0.001, 60.0)  # start of a block over 360 clocks, or over 220 instructions
    compute: Value = correction(0.005, 2.0, 0.5)  # matrix rate over half of that of single warps
    overlap: Value = correction(0.3, 5.0)  # p of the soft maximum over 3
    tail: Value = correction(0.02, 1.0, 0.5)  # 1: whole waves
    resident: Value = correction(0.02, 5.0)  # data that stays in L2 over half of it
    sequence: Value = correction(0.0001, 50.0, 0.01)  # time per sequence over 1 us
    host: Value = correction(0.001, 400.0, 0.01)  # floor set by the caller over 3 us


def scan_time(kind: str, batch: Value, query: Value, key_heads: Value, key_dim: Value, value_heads: Value,
              value_dim: Value, kernel: Value, gpu: GpuFacts, c: ScanCorrections | None = None,
              channels: Value | None = None, kernels: float = 1.0,
              warp: bool = True, flop: Value | None = None) -> KernelTime:
    """Time of one kernel of a linear-attention layer [s] [1, 2, 3].

    kind      conv, row_conv, update, recurrent or chunk
    query     new tokens of each of `batch` sequences; kernel: taps of the convolution
    channels  of the convolution; None: those of queries, keys and values
    kernels   that share them
    warp      chunks multiplied by instructions of single warps, as Triton's are
    flop      matrix work of the chunks; None: that of a gated delta rule
    """
    c = c or ScanCorrections()
    batch, query, key_heads, key_dim, value_heads, value_dim, kernel = (
        np.asarray(v, dtype=float)
        for v in (batch, query, key_heads, key_dim, value_heads, value_dim, kernel)
    )
    tokens = batch * query
    if channels is None:
        channels = 2.0 * key_heads * key_dim + value_heads * value_dim
    row = 4.0 * (key_heads * key_dim + value_heads * value_dim)  # q, k, v and the output, 2 B each
    state = batch * value_heads * key_dim * value_dim
    chunks = np.ceil(query / CHUNK)
    products: Value = 0.0 * tokens
    footprint = 1.0
    if kind == "row_conv":
        moved, blocks, footprint = 4.0 * channels * (tokens + batch * kernel), batch * channels, 0.5
        steps, values = np.maximum(query / ROW_TOKENS - 0.5, 0.0), ROW_TOKENS
    elif kind == "conv":
        moved = 4.0 * channels * (tokens + batch * kernel)
        blocks = batch * np.ceil(query / BLOCK_TOKENS) * channels / BLOCK_CHANNELS
        steps, values = np.ones_like(query), BLOCK_CHANNELS * np.minimum(query, BLOCK_TOKENS)
    elif kind == "update":
        moved, blocks, steps = 4.0 * batch * channels * (kernel + query), batch * channels / 64.0, query
    elif kind == "recurrent":
        moved = 8.0 * state * (1.0 + (query - 1.0) / 2.0) + tokens * row  # fp32 state in and out
        blocks, steps = batch * value_heads * np.ceil(value_dim / 32.0), query
    else:
        moved = 3.0 * tokens * row + 4.0 * state + 4.0 * chunks * state
        products = tokens * value_heads * (8.0 * CHUNK * (key_dim + value_dim) + 8.0 * key_dim * value_dim)
        products = products if flop is None else flop
        blocks, steps = batch * value_heads, chunks
    power = 3.0 * c.overlap
    cold = 0.2 + 0.8 * miss_share(footprint * moved, 0.5 * c.resident * gpu.kept_bytes)
    memory = np.maximum(moved * cold / (0.9 * c.dram * gpu.dram), gpu.crossing(moved))
    resident = RESIDENT.get(kind, 1.0)
    waves = wave_count(blocks, gpu.processors * resident, c.tail)
    if kind in ("conv", "row_conv"):  # the units of a processor work for all blocks that share it
        each = resident * gpu.processors / gpu.lanes
        step = VALUE_LANES * values * each
        if kind == "row_conv":
            step = VALUE_SPECIAL * values * resident * gpu.processors / gpu.special
        start = BLOCK_LANES * each
    else:
        step = CHUNK_CLOCKS / gpu.clock if kind == "chunk" else ROUND_TRIP
        start = BLOCK_CLOCKS / gpu.clock
    rounds = waves * (step * c.step * steps + start * c.start)
    matrix = products / (0.5 * c.compute * (at_warp_rate(gpu) if warp else gpu).matrix("bf16"))
    launch = KERNEL_CLOCKS / gpu.clock * KERNELS.get(kind, kernels) * c.launch + 1e-6 * c.sequence * batch
    seconds = launch + soft_maximum(power, rounds, memory, matrix)
    seconds = (seconds**4 + (3e-6 * c.host) ** 4) ** 0.25
    return KernelTime(seconds, launch, np.maximum(rounds, matrix), memory, waves)
