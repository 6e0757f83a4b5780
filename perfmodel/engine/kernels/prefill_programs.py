"""What the sources of prefill attention state of a kernel: its blocks, their registers, what runs beside it.

    registers = Q, K, V and probabilities in 8 or 16 bits, scores and outputs in 32, of a thread
    spilled   = those beyond 255, stored and loaded again in each step
    write     = blocks of the kernel that writes the cache x accesses in turn / blocks that run at once

References
[1] NVIDIA, TensorRT-LLM, kernels/fmha_v2/setup.py and fmhaRunner.cpp: blocks by head size and chip.
[2] Dao, FlashAttention-2, arXiv:2307.08691; flash_fwd_launch_template.h: a paged cache takes the kernel of
    the split cache.
[3] NVIDIA, CUDA C++ Programming Guide: 255 registers a thread, 2048 threads a processor.
[4] vLLM, csrc/cache_kernels.cu: a block of up to 512 threads writes the keys and values of a token.
[5] NVIDIA, aiconfigurator, collectors of attention: what a timed call holds.
[6] Shah, Bikshandi, Zhang, Thakkar, Ramani, Dao, FlashAttention-3, arXiv:2407.08608.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from perfmodel.algebra import Value
from perfmodel.engine.kernels.facts import ACCESS, GpuFacts
from perfmodel.engine.kernels.splits import MMA, TCGEN05, flash_2, generation

#: query rows of a block and keys of a step where the source is not known [2, 7]
ROWS, KEYS = 128.0, 128.0
#: head size that leaves room for half the rows of one block
LARGE = 512.0
#: (rows, keys) of a block for heads up to 64, up to 128, larger: FlashAttention-2 on pages [2]
FLASH_PAGES = ((64.0, 256.0), (64.0, 128.0), (64.0, 64.0))
#: TensorRT-LLM with single warps that hold whole tiles, with ones that read them in pieces, on Hopper [1]
WHOLE = {
    "bf16": ((64.0, 32.0), (64.0, 32.0), (64.0, 128.0)),
    "fp8": ((128.0, 128.0), (64.0, 32.0), (64.0, 32.0)),
}
PIECES = ((128.0, 128.0), (64.0, 128.0), (64.0, 128.0))
GROUPS = {
    "bf16": ((128.0, 256.0), (128.0, 128.0), (128.0, 64.0)),
    "fp8": ((128.0, 256.0), (128.0, 256.0), (128.0, 128.0)),
}
#: shared memory of a processor for two blocks that read pieces: A100's [B]
ROOMY = 160e3
#: registers of a thread [3]; of them for addresses, counters, maxima and sums [estimate]
REGISTERS, OTHERS = 255.0, 16.0
#: threads: of a block of four warps, of a processor, of a block that writes the cache [3, 4]
THREADS, RESIDENT, WRITING = 128.0, 2048.0, 512.0
#: such a block looks up its slot, then reads [4]; converting takes three times as long (fitted once, B200)
TURNS, CONVERTING = 2.0, 3.0


@dataclass(frozen=True)
class Program:
    """What is known of a prefill kernel; values have the shape of the heads."""

    rows: Value  #: query rows of a block
    keys: Value  #: keys of a step; a block reads whole steps
    spilled: Value = 0.0  #: registers that a block stores and loads in a step [B]
    turned: Value = 1.0  #: passes over the new queries: rotation, conversion
    write: Value = 0.0  #: time of a new token in the kernel that writes the cache, beside its bytes [s]


def prefill_program(
    source: str, key: str, cache: str, kv_heads: Value, head_dim: Value, gpu: GpuFacts
) -> Program:
    """The program behind a kernel source; key: format of the matrix unit, cache: of the cached tokens."""
    head_dim = np.asarray(head_dim, dtype=float)
    sizes, whole = _blocks(source, key, gpu)
    rows, keys = block_rows(head_dim, gpu), KEYS
    if sizes:
        rows, keys = (_by_head(head_dim, *size) for size in zip(*sizes, strict=True))
    turned = 1.0 if source in ("", "any", "torch_flow") else 0.0  # other calls find the queries rotated [5]
    if (source, cache) == ("torch_flow_flashinfer", "fp8"):
        turned = 0.75  # and converts them: 2 B in, 1 B out
    return Program(
        rows,
        keys,
        _spilled(rows, keys, head_dim, key) if whole else 0.0,
        turned,
        _writing(kv_heads * head_dim, cache, gpu) if source.startswith("vllm") else 0.0,
    )


def _blocks(source: str, key: str, gpu: GpuFacts) -> tuple[Any, bool]:
    """Sizes of the blocks by head size, none where they are not known, and whether they hold whole tiles."""
    level = np.max(generation(gpu))
    if flash_2(source, gpu):
        return FLASH_PAGES, False
    if source != "torch_flow" or level == TCGEN05:
        return (), False
    if level > MMA:
        return GROUPS[key], False
    return (PIECES, False) if key != "fp8" and np.mean(gpu.shared) > ROOMY else (WHOLE[key], True)


def _by_head(head_dim: Any, small: float, middle: float, large: float) -> Any:
    return np.where(head_dim <= 64.0, small, np.where(head_dim <= 128.0, middle, large))


def block_rows(head_dim: Value, gpu: GpuFacts) -> Any:
    """Query rows of a block: 128, half of them for large heads.

    Single warps keep their products in registers and share a processor by two blocks, if its shared memory
    holds Q, K and V of both [2]; products that run beside each other leave it to one block [6].
    """
    held = 2.0 * (ROWS + KEYS) * 2.0 * head_dim
    large = np.where(generation(gpu) == MMA, held > gpu.shared, head_dim >= LARGE)
    return np.where(large, ROWS / 2.0, ROWS)


def _spilled(rows: Value, keys: Value, head_dim: Any, key: str) -> Any:
    """Bytes of registers that a block of four warps stores and loads in a step [B].

    In 16 bits, heads of 256 have a kernel that reads its tiles in pieces [1].
    """
    size, own = (1.0 if key == "fp8" else 2.0), rows / 4.0
    held = own * (keys + head_dim) / 32.0 + (own * (keys + head_dim) + 2.0 * keys * head_dim) * size / THREADS
    beyond = np.maximum(held + OTHERS - REGISTERS, 0.0)
    return np.where((key != "fp8") & (head_dim > 128.0), 0.0, beyond) * 4.0 * THREADS * 2.0


def _writing(width: Value, cache: str, gpu: GpuFacts) -> Any:
    """Time of a token in the kernel that writes the cache, as its blocks wait for memory [s] [4].

    width  elements of the keys of a token
    """
    turns = TURNS * (CONVERTING if cache == "fp8" else 1.0)
    return np.minimum(width, WRITING) / (RESIDENT * gpu.processors) * turns * ACCESS
