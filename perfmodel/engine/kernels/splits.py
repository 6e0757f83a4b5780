"""How many blocks attention libraries give to the cache of one sequence and cache head (decode).

    xqa    TensorRT-LLM: 128 tokens or more each, sqrt(8 n) of n such parts, at most 8 rounds of blocks
    fill   TensorRT-LLM on datacentre Blackwell: one round of blocks, 512 tokens or more each
    masked TensorRT-LLM where each head is a block: one round of blocks
    flash  FlashAttention-2: the fewest within 85 % of the best fill of two blocks per processor
    even   FlashAttention-3: as many tiles for each processor, 32 blocks at most
    none   a block walks the whole cache; alone: so does one whose copies run beside its products
    graph  vLLM with FlashAttention-4: 32 in every captured graph, which end at a batch of 512
    best   the fastest by the model

References
[1] NVIDIA, TensorRT-LLM, decoderXQAImplCommon.h, decoderXQAImplJIT.cpp, fmhaKernels.h, xqaDispatcher.cpp,
    mha_sm90.cu and mla_sm120.cu, https://github.com/NVIDIA/TensorRT-LLM.
[2] Dao-AILab, flash-attention, heuristics.h and tile_size.h, https://github.com/Dao-AILab/flash-attention.
[3] vLLM, vllm/config/attention.py, https://github.com/vllm-project/vllm.
[4] Luo et al., Benchmarking and Dissecting the Nvidia Hopper GPU Architecture, arXiv:2402.13499 (instructions
    of one warp reach 0.6 of the matrix rate of Hopper).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from perfmodel.algebra import Value
from perfmodel.engine.kernels.facts import GpuFacts
from perfmodel.hardware.device import INSTRUCTIONS

#: sources of FlashAttention-2 in vLLM
FLASH_2 = ("vllm_flash_attn", "vllm_flash_attn_fa2")
#: splits that are tried where the fastest is taken
SPLITS = np.array([1.0, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128])


def xqa_splits(units: Value, tokens: Value, processors: Value) -> Any:
    """Blocks per sequence and cache head of the XQA kernel of TensorRT-LLM [1].

    units   sequences x cache heads; tokens: cached tokens of the longest sequence, also under a window
    """
    parts = np.floor(tokens / 128.0)
    wanted = np.maximum(np.minimum(parts, np.round(np.sqrt(8.0 * parts))), 1.0)
    rounds = units * wanted / processors
    return np.maximum(np.floor(wanted / np.maximum(rounds / 8.0, 1.0)), 1.0)


def fill_splits(units: Value, tokens: Value, processors: Value) -> Any:
    """Blocks that fill the processors once, 512 tokens or more in each [1]."""
    return np.maximum(np.minimum(np.ceil(tokens / 512.0), np.floor(processors / units)), 1.0)


def flash_splits(units: Value, tokens: Value, processors: Value, head_dim: Value) -> Any:
    """Fewest blocks whose fill of two per processor is within 85 % of the best fill [2].

    Arguments carry a last axis of length one, on which the counts are tried.
    """
    tile = np.where(head_dim <= 64.0, 256.0, np.where(head_dim <= 128.0, 128.0, 64.0))
    tiles, slots = np.ceil(tokens / tile), 2.0 * processors
    tried = np.arange(1.0, 129.0)
    rounds = units * tried / slots
    fill = np.where(tried <= np.minimum(tiles, slots), rounds / np.ceil(rounds), 0.0)
    enough = fill >= 0.85 * fill.max(axis=-1, keepdims=True)
    first = tried[np.argmax(enough, axis=-1)][..., None]
    return np.where(units >= 0.8 * slots, 1.0, first)


def even_splits(units: Value, tokens: Value, processors: Value) -> Any:
    """Blocks that give each processor as many tiles of 128 tokens, with a margin of 10 %, at most 32 [2]."""
    tiles = np.ceil(tokens / 128.0)
    share = np.ceil(1.1 * units * tiles / processors)
    return np.minimum(np.ceil(tiles / share), 32.0)


def graph_splits(batch: Value) -> Any:
    """32 blocks in a captured graph [3]."""
    return np.where(batch <= 512.0, 32.0, 1.0)


def split_counts(rule: str, batch: Value, units: Value, full: Value, seen: Value, processors: Value,
                 head_dim: Value) -> Any:
    """Candidate splits of the cache by a rule of this module, on the last axis.

    units  blocks without a split; full, seen: cached tokens, and those of them under the window
    """
    if rule == "xqa":
        return xqa_splits(units, full, processors)
    if rule == "fill":
        return fill_splits(units, seen, processors)
    if rule == "flash":
        return flash_splits(units, full, processors, head_dim)
    if rule == "even":
        return even_splits(units, seen, processors)
    if rule == "masked":
        return np.minimum(np.ceil(processors / units), np.ceil(seen / 128.0))
    if rule in ("none", "alone"):
        return np.ones_like(full)
    if rule == "graph":
        return graph_splits(batch)
    return np.minimum(SPLITS, np.ceil(full / 64.0))


#: generations of matrix units, by their instruction
MMA, WGMMA, TCGEN05 = range(len(INSTRUCTIONS))
#: matrix work of a processor in a clock [FLOP] from which a chip that does not state it is of the next one
NEXT_GENERATION = (3000.0, 6000.0)


def generation(gpu: GpuFacts) -> Any:
    """Generation of the matrix units: as a description states, else by the work of a processor in a clock."""
    if gpu.instruction:
        return np.array(INSTRUCTIONS.index(gpu.instruction))
    work = gpu.matrix("bf16") / gpu.processors / gpu.clock
    return np.digitize(work, NEXT_GENERATION)


def flash_2(source: str, gpu: GpuFacts) -> bool:
    """Whether a source names FlashAttention-2 [2]: on chips of other makers another program has that name."""
    return source in FLASH_2 and gpu.vendor in ("", "NVIDIA")


#: 16-bit matrix work of a processor in a clock by instructions of single warps, A100's on later ones too [4]
WARP_FLOP = 2048.0


def at_warp_rate(gpu: GpuFacts, key: str = "bf16") -> GpuFacts:
    """The GPU with the matrix peak of a number format that instructions of single warps reach."""
    peak = np.minimum(gpu.matrix(key), WARP_FLOP * gpu.processors * gpu.clock)
    return replace(gpu, peak={key: peak})


def latent_rule(source: str, cache: str, heads: str, gpu: GpuFacts) -> str:
    """Rule of a kernel of absorbed latent attention; TensorRT-LLM does not split with warp-level products.

    On a Blackwell with GDDR, 128 heads (`heads` wide) on an fp8 cache have a kernel of their own [1].
    """
    if source != "default" or np.max(generation(gpu)) > MMA:
        return "best"
    return "alone" if (cache, heads) == ("fp8", "wide") and "fp4" in gpu.peak else "none"


def split_rule(source: str, cache: str, mode: str, gpu: GpuFacts) -> str:
    """Rule of the kernel that a library calls, by its source, format of the cache and mode of its group."""
    if source == "vllm_flash_attn_fa4":
        return "graph"
    if source in ("vllm_flash_attn_fa3", "flash_attention"):
        return "even"
    if flash_2(source, gpu):
        return "flash" if mode == "gqa" else "none"
    blackwell = np.max(generation(gpu)) == TCGEN05
    if source == "vllm_flashinfer_fidecode":
        return "even"
    if "flashinfer" in source or (source == "torch_flow" and blackwell):
        return "fill"
    if source != "torch_flow":
        return "best"
    if mode == "mha":
        return "masked"
    return "none" if cache == "fp8" and "fp4" in gpu.peak else "xqa"


def query_copies(source: str, cache: str, mode: str, heads: Value, kv_heads: Value, window: Value,
                 gpu: GpuFacts) -> Any:
    """Kernels before and after the attention itself, beyond the one that every engine has.

    FlashAttention-2 packs heads that share a cache head and unpacks their output; one cache head needs none,
    its query heads lie together [2].  TensorRT-LLM's kernels of datacentre Blackwell are told the lengths of
    the sequences by a kernel before them, those called through FlashInfer get their queries converted; its
    kernel of 8-bit caches on Hopper rotates queries and keys itself [1].
    """
    none = np.zeros_like(np.asarray(heads, dtype=float) + kv_heads + window)
    if source == "torch_flow" and mode != "mha":
        blackwell = np.max(generation(gpu)) == TCGEN05
        return none + (1.0 if blackwell else -1.0 if _grouped_xqa(cache, gpu) else 0.0)
    if (source, cache) == ("torch_flow_flashinfer", "fp8"):
        return none + 1.0
    shares = (heads > kv_heads) & (kv_heads > 1.0) & (window == 0.0)
    return np.where(shares, 2.0, none) if flash_2(source, gpu) else none


def _grouped_xqa(cache: str, gpu: GpuFacts) -> bool:
    """Whether TensorRT-LLM takes its XQA kernel of warp groups: Hopper with a cache of 8 bits [1]."""
    return cache == "fp8" and bool(np.max(generation(gpu)) == WGMMA)


def resident_blocks(source: str, cache: str, mode: str, group: Value, head_dim: Value, gpu: GpuFacts) -> Any:
    """Blocks that share a processor, or that a persistent block prepares ahead.

    XQA with warp groups asks for three, two for large blocks; single warps leave room for one, as does
    FlashAttention-3 [1, 2].  FlashAttention-2 holds tiles of 64 queries and of 256, 128 or 64 keys and values
    in shared memory [2].  Else two.

    group  query heads of a cache head
    """
    head_dim = np.asarray(head_dim, dtype=float)
    if source in ("vllm_flash_attn_fa3", "flash_attention"):
        return np.ones_like(head_dim)
    if flash_2(source, gpu):
        keys = np.where(head_dim <= 64.0, 256.0, np.where(head_dim <= 128.0, 128.0, 64.0))
        return np.clip(np.floor(gpu.shared / (2.0 * head_dim * (64.0 + 2.0 * keys))), 1.0, 2.0)
    if source != "torch_flow" or mode == "mha" or np.max(generation(gpu)) == TCGEN05:
        return np.full_like(head_dim, 2.0)
    if _grouped_xqa(cache, gpu):
        return np.where(head_dim * 8.0 * np.ceil(group / 8.0) <= 2048.0, 3.0, 2.0)
    return np.ones_like(head_dim)
