"""Matrix products on a GPU: thread-block tiles, split-K, waves, L2 feed, DRAM traffic, launch.

C[m,n] = A[m,k] B[n,k].  A candidate is a tile (M, N) and a split s of k:

    blocks  = ceil(m/M) ceil(n/N) s                     rounds = blocks / processors, softly rounded up
    step    = |matrix time, shared-memory latency, L2 feed, chiplets' fetches|_p of one k-step of 128 bytes
    compute = rounds x ceil(k / s / step) x step + epilogue
    memory  = bytes that miss L2 / DRAM bandwidth
    time    = launch + split + | compute, memory |_p, at the clock that the power limit leaves

References
[1] NVIDIA, Matrix Multiplication Background User's Guide (tiles, waves, split-K).
[2] Kerr, Merrill, Demouth, Tran, CUTLASS: Fast Linear Algebra in CUDA C++, 2017.
[3] Osama, Merrill, Cecka, Garland, Owens, Stream-K, PPoPP 2023, arXiv:2301.03598.
[4] NVIDIA, TensorRT-LLM, quantization/utils/fp8_utils.py, https://github.com/NVIDIA/TensorRT-LLM.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from perfmodel.algebra import Value
from perfmodel.engine.kernels.facts import (
    ACCESS,
    GpuFacts,
    KernelTime,
    column,
    correction,
    facts_column,
    fastest,
    kernel_start,
    miss_share,
    soft_maximum,
    tile_fetches,
    under_power_limit,
    wave_count,
)
from perfmodel.engine.kernels.splits import MMA, generation

_HALF = ((64, 16), (64, 32), (64, 64), (128, 32), (128, 64), (128, 128), (256, 64), (256, 128))
_SHAPES = sorted({shape for m, n in _HALF for shape in ((m, n), (n, m))})
_SPLITS = (1, 2, 3, 4, 6, 8, 16, 32)
#: candidate tiles and splits, one axis
TILE_M = np.repeat([float(m) for m, _ in _SHAPES], len(_SPLITS))
TILE_N = np.repeat([float(n) for _, n in _SHAPES], len(_SPLITS))
SPLIT = np.tile([float(s) for s in _SPLITS], len(_SHAPES))
#: loss of rate of a tile of 64 x 64
LOSS = 0.1
#: bytes of one operand row in one k-step: the swizzle width of shared memory
STEP_BYTES = 128.0


class Storage(NamedTuple):
    """Bytes of an element of A, B and C, and the format that the matrix unit computes in."""

    a: float
    b: float
    c: float
    key: str


@dataclass(frozen=True)
class GemmCorrections:
    """Dimensionless corrections of a GEMM library on a device; 1 is the documented reference."""

    compute: Value = correction(0.3, 1.3)  # matrix rate over 0.9 of the peak
    dram: Value = correction(0.5, 1.15)  # DRAM rate over 0.9 of nominal
    launch: Value = correction(0.3, 20.0, 1.7)  # fixed time over the start of a kernel
    step: Value = correction(0.1, 40.0)  # latency of one k-step over 150 clocks
    split: Value = correction(0.05, 1e4, 1.7)  # joining of split-K over the start of a kernel; huge: no split
    write: Value = correction(0.2, 5.0)  # epilogue rate over 0.8 of the DRAM rate
    overlap: Value = correction(0.3, 5.0)  # p of the soft maximum over 3
    tail: Value = correction(0.02, 1.0, 0.3)  # 1: whole waves
    resident: Value = correction(0.02, 3.0)  # weights that stay in L2 over 0.1 of it
    l2: Value = correction(0.2, 5.0)  # L2 rate over twice the streaming rate
    quantise: Value = correction(0.001, 20.0)  # passes over narrow A before its product, at half the L2 rate
    row: Value = correction(0.004, 20.0, 0.15)  # clocks of a processor that a row takes there over 1000
    host: Value = correction(0.01, 300.0, 0.02)  # floor set by the caller over 1.5 us


def gemm_time(m: Value, n: Value, k: Value, storage: Storage, gpu: GpuFacts,
              c: GemmCorrections | None = None, batch: Value = 1.0, walk: Value = 0.0,
              distinct: Value = 1.0) -> KernelTime:
    """Time of C[b,m,n] = A[b,m,k] B[b,n,k]; sizes [elements], broadcast shapes -> same shape [s] [1, 2].

    walk      time that a row takes in the quantisation of A, whatever its length [s]
    distinct  share of the elements of A that are stored: windows of a convolution overlap
    """
    c = c or GemmCorrections()
    hw = facts_column(gpu)
    m, n, k, batch = column(m), column(n), column(k), column(batch)
    peak = hw.matrix(storage.key)
    power = 3.0 * c.overlap
    depth = STEP_BYTES / max(storage.a, storage.b)  # elements of k in one step
    split = np.minimum(SPLIT, np.maximum(np.floor(k / depth), 1.0))
    tiles_m, tiles_n = batch * np.ceil(m / TILE_M), np.ceil(n / TILE_N)
    blocks = tiles_m * tiles_n * split
    waves = wave_count(blocks, hw.processors, c.tail)
    rows, columns = np.minimum(TILE_M, m), np.minimum(TILE_N, n)
    efficiency = (1.0 + 0.75 * LOSS) / (1.0 + LOSS * (64.0 / TILE_M + 64.0 / TILE_N))
    matrix = 2.0 * TILE_M * TILE_N * depth / (0.9 * c.compute * efficiency * peak / hw.processors)
    latency = 150.0 * c.step / hw.clock
    of_a, of_b = rows * storage.a * depth, columns * storage.b * depth
    feed = (rows * storage.a + columns * storage.b) * depth / (2.0 * c.l2 * hw.l2 / hw.processors)
    fetch = _fetch_time(tiles_m, tiles_n, split, of_a, of_b, hw)
    partial = np.where(split > 1.0, 4.0, storage.c)  # partial sums are fp32
    epilogue = rows * columns * partial / (0.8 * c.write * hw.dram / hw.processors)
    compute = waves * np.ceil(k / split / depth) * soft_maximum(power, matrix, latency, feed, fetch)
    compute = compute + epilogue * (1.0 + 0.6 * (waves - 1.0))  # part of it hides behind the next tile
    moved = _dram_bytes(batch * m, batch * n, k, storage, hw, c, batch, column(distinct))
    memory = moved / (0.9 * c.dram * hw.dram)
    flop = 2.0 * batch * m * n * k
    work = under_power_limit(soft_maximum(power, compute, memory), flop, peak, power_strength(hw))
    work = np.maximum(work, hw.held(flop, storage.key))
    start = kernel_start(hw.clock)
    launch = start * c.launch
    kernel = launch + np.where(split > 1.0, start * c.split, 0.0) + work  # partial sums: a kernel of its own
    best = fastest(kernel, seconds=kernel, compute=compute, memory=memory, waves=waves, rows=TILE_M,
                   columns=TILE_N, split=split, launch=launch)
    before = float(storage.a < 2.0) * (_quantising(m, batch * k, hw, c)[..., 0] + m[..., 0] * walk)
    seconds = ((best["seconds"] + before) ** 4 + (1.5e-6 * c.host) ** 4) ** 0.25
    return KernelTime(**{**best, "seconds": seconds, "memory": best["memory"] + before})


def row_walk(backend: str, formats: str, gpu: GpuFacts) -> float:
    """Time of a row in the quantisation before a product, whatever its length [s].

    TensorRT-LLM quantises for block-scaled products on Blackwell with GDDR by a kernel of 64 warps for each
    512 columns: a warp takes row after row, and four groups of 128 values of it one after the other [4].
    """
    blackwell = "fp4" in gpu.peak and bool(np.all(generation(gpu) == MMA))
    return 4.0 * ACCESS / 64.0 if (backend, formats) == ("trtllm", "fp8_block") and blackwell else 0.0


def _quantising(m: Value, width: Value, hw: GpuFacts, c: GemmCorrections) -> Value:
    """Time of the passes that read m rows of 16 bits and write them in 8 [s].

    m max(3 width / half of L2 rate, clocks of a row / processors / clock), or what L2 does not hold over the
    DRAM rate.  A block takes a row of all batches, however short: vLLM's needs 1600 clocks on H100, on B200
    and on RTX PRO 6000.
    """
    moved = 3.0 * m * width
    row = soft_maximum(4.0, 3.0 * width / (0.5 * hw.l2), 1000.0 * c.row / (hw.processors * hw.clock))
    spilled = moved / (1.0 + (0.6 * hw.kept_bytes / moved) ** 6) / (0.9 * hw.dram)
    return soft_maximum(4.0, c.quantise * m * row, np.minimum(c.quantise, 1.0) * spilled)


def _fetch_time(tiles_m: Value, tiles_n: Value, split: Value, of_a: Value, of_b: Value,
                hw: GpuFacts) -> Value:
    """Time in which all L2 fetch the operands of one k-step of a round from the cache behind them [s].

    of_a, of_b  bytes of A and B that a tile needs
    """
    if hw.llc is None:
        return 0.0
    running = np.maximum(np.minimum(tiles_m * tiles_n, hw.processors / split), 1.0)
    rows, columns = tile_fetches(tiles_m, tiles_n, running, hw.chiplets)
    return hw.crossing(split * (rows * of_a + columns * of_b))


def power_strength(hw: GpuFacts) -> Value:
    """Strength of the power limit: 0.65 (matrix peak / board power over 1.41 TFLOP/s per W)^1.5.

    The peak is that of 16 bits: narrower formats do more operations for the same energy.  0.3 where the power
    is not stated.  The four measured devices, 0.8 to 2.25 TFLOP/s per W, agree on the one factor.
    """
    known = np.asarray(hw.power) > 0.0
    per_watt = hw.matrix("bf16") / np.where(known, hw.power, 1.0)
    return np.where(known, 0.65 * (per_watt / 1.41e12) ** 1.5, 0.3)


def _dram_bytes(m: Value, n: Value, k: Value, storage: Storage, hw: GpuFacts, c: GemmCorrections,
                batch: Value, distinct: Value) -> Value:
    """Bytes from and to DRAM: weights are cold unless small, activations warm unless large."""
    weights = n * k * storage.b
    activations = distinct * m * k * storage.a + m * n / batch * storage.c
    cold = miss_share(weights, 0.1 * c.resident * hw.kept_bytes)
    spilled = 1.0 / (1.0 + (0.6 * hw.kept_bytes / (weights + activations)) ** 6)
    return weights * cold + activations * spilled
