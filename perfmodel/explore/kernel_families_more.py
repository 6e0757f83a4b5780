"""Families of measured kernels: whole layers, scans, encoders, absorbed products, quantisation, networks."""

from __future__ import annotations

from typing import Any

import numpy as np

from perfmodel.engine.collective import VOLUME
from perfmodel.engine.kernels.alltoall import AllToAllCorrections, all_to_all_time
from perfmodel.engine.kernels.attention_prefill import PrefillCorrections, attention_prefill_time
from perfmodel.engine.kernels.collective_kernels import (
    PATTERNS,
    CollectiveCorrections,
    collective_kernel_time,
)
from perfmodel.engine.kernels.facts import GpuFacts, KernelTime
from perfmodel.engine.kernels.gemm import GemmCorrections, gemm_time, row_walk
from perfmodel.engine.kernels.layers import (
    LayerCorrections,
    SparseCorrections,
    kept_tokens,
    latent_layer_time,
    sparse_layer_time,
)
from perfmodel.engine.kernels.lineage import architecture
from perfmodel.engine.kernels.scan import ScanCorrections, scan_time
from perfmodel.engine.kernels.splits import TCGEN05, at_warp_rate, generation, latent_rule
from perfmodel.engine.kernels.stream import StreamCorrections, stream_time
from perfmodel.explore.kernel_tables import (
    BYTES,
    Family,
    Rows,
    columns,
    device_name,
    label,
    part,
    roofline,
    size,
    storage_of,
)

#: bytes of a value on the wire of an expert all-to-all, scales included
WIRE = {"bfloat16": 2.0, "fp8": 1.0, "nvfp4": 0.5625, "fp4": 0.5625, "default": 2.0}


#: kernels of vLLM for absorbed attention, which few new tokens call in prefill too
_ABSORBED = ("FLASHMLA", "FLASH_ATTN_MLA", "FLASHINFER_MLA", "TRITON_MLA")
#: systems whose tables of vLLM's dense layers were taken anew with one kernel for a norm and for a rotary
#: embedding, as a server runs them; the others ran chains of PyTorch's kernels (aiconfigurator pull request
#: 1423, `norm_dispatch` in collection_meta.yaml of the table)
_TAKEN_ANEW = ("b200_sxm",)


def _layer(rows: Rows, gpu: GpuFacts, c: Any, group: str, absorbed: bool) -> KernelTime:
    backend, source, cache, share = (part(group, i) for i in (0, 1, 3, 5))
    # TensorRT-LLM leaves the expansion out of blocked 8-bit formats (its model_config.py)
    expanding = "bfloat16" if (backend, part(group, 4)) == ("trtllm", "fp8_block") else part(group, 4)
    return latent_layer_time(rows["batch"], rows["q_len"], rows["past_len"], rows["n_heads"],
                             storage_of(part(group, 4)), BYTES.get(cache, 2.0), gpu, c,
                             absorbed or source in _ABSORBED,
                             storage_of(part(group, 2)).key, latent_rule(source, cache, share, gpu),
                             storage_of(expanding), _chained(rows, group, _TAKEN_ANEW),
                             row_walk(backend, part(group, 4), gpu))


def _chained(rows: Rows, group: str, anew: tuple[str, ...] = ()) -> Any:
    """Whether norms and rotary embeddings of a table's row ran as chains; a row of no table is a server's."""
    return (part(group, 0) == "vllm") & ~np.isin(rows.get("system", ""), ("", *anew))


def _layer_decode(rows: Rows, gpu: GpuFacts, c: Any, group: str) -> KernelTime:
    return _layer(rows, gpu, c, group, True)


def _layer_prefill(rows: Rows, gpu: GpuFacts, c: Any, group: str) -> KernelTime:
    return _layer(rows, gpu, c, group, False)


def _sparse(rows: Rows, gpu: GpuFacts, c: Any, group: str) -> KernelTime:
    bits = BYTES.get(part(group, 3), 2.0)
    widened = "FLASHMLA" in part(group, 1)  # it widens a narrow cache before the product
    return sparse_layer_time(rows["batch"], rows["q_len"], rows["past_len"], rows["n_heads"],
                             storage_of(part(group, 4)), bits, gpu, c,
                             "fp8" if bits <= 1.0 and not widened else "bf16", part(group, 0) == "trtllm",
                             _chained(rows, group))


def _layer_bound(rows: Rows, gpu: GpuFacts, group: str) -> Any:
    a, b, _, key = storage_of(part(group, 4))
    tokens, heads = rows["batch"] * rows["q_len"], rows["n_heads"]
    total = rows["past_len"] + rows["q_len"]
    weights = 7168.0 * 2112.0 + 1536.0 * heads * 192.0 + heads * 128.0 * 7168.0 + 512.0 * heads * 256.0
    decode = rows["q_len"] == 1
    mean = total - (rows["q_len"] - 1.0) / 2.0
    if "architecture" in rows:
        mean, decode = kept_tokens(rows["q_len"], rows["past_len"]), np.ones_like(decode)
    attended = 2.0 * tokens * heads * mean * np.where(decode, 1088.0, 320.0)
    moved = weights * b + tokens * 7168.0 * 2.0 * a
    moved = moved + rows["batch"] * np.where(decode, mean, total) * 576.0 * BYTES.get(part(group, 3), 2.0)
    products = 2.0 * tokens * weights / gpu.matrix(key)
    return np.maximum(products + attended / gpu.matrix("bf16"), moved / gpu.dram)


#: CUDA kernels of a convolution, a block for each channel; others are Triton's
CUDA = "conv1d_cuda_"


def _scan_group(rows: Rows) -> Any:
    """TensorRT-LLM and SGLang 0.5.10 call CUDA kernels for the convolution that others have in Triton."""
    backend, source = (np.asarray(rows[name]).astype(str) for name in ("backend", "kernel_source"))
    version = np.asarray(rows.get("backend_version", backend)).astype(str)
    theirs = (backend == "trtllm") | ((backend == "sglang") & (version == "0.5.10"))
    rows = {**rows, "kernel_source": np.where(theirs, np.char.replace(source, "conv1d_", CUDA), source)}
    return label(rows, "backend", "kernel_source", *(["op_name"] if "num_k_heads" in rows else []))


def _scan_kind(source: str) -> str:
    if "conv1d" in source:
        return "update" if "update" in source else "row_conv" if CUDA in source else "conv"
    return "chunk" if "chunk" in source or "flashkda" in source else "recurrent"


def _scan(rows: Rows, gpu: GpuFacts, c: Any, group: str) -> KernelTime:
    kind = _scan_kind(part(group, 1))
    if "nheads" in rows:
        channels = rows["nheads"] * rows["head_dim"] + 2.0 * rows["n_groups"] * rows["d_state"]
        return scan_time(kind, rows["batch"], rows["q_len"], rows["n_groups"], rows["d_state"],
                         rows["nheads"], rows["head_dim"], rows["d_conv"], gpu, c, channels)
    # the tables of the CUDA kernels time the channels of the keys alone (aiconfigurator, collect_gdn.py)
    keys_alone = CUDA in part(group, 1)
    return scan_time(kind, rows["batch"], rows["q_len"], rows["num_k_heads"], rows["head_k_dim"],
                     rows["num_v_heads"], rows["head_v_dim"], rows["d_conv"], gpu, c,
                     rows["num_k_heads"] * rows["head_k_dim"] if keys_alone else None,
                     3.0 if "qkv3" in part(group, 1) else 1.0, "flash" not in part(group, 1))


def _scan_bound(rows: Rows, gpu: GpuFacts, group: str) -> Any:
    tokens = rows["batch"] * rows["q_len"]
    if "nheads" in rows:
        channels = rows["nheads"] * rows["head_dim"] + 2.0 * rows["n_groups"] * rows["d_state"]
        return 4.0 * tokens * channels / gpu.dram
    values = rows["num_v_heads"] * rows["head_v_dim"]
    moved = 4.0 * tokens * (2.0 * rows["num_k_heads"] * rows["head_k_dim"] + values)
    state = rows["batch"] * values * rows["head_k_dim"]
    recurrent = _scan_kind(part(group, 1)) in ("recurrent", "chunk")
    return (moved + (8.0 * state if recurrent else 0.0)) / gpu.dram


def _heads_of_scan(rows: Rows) -> Any:
    return rows["nheads"] if "nheads" in rows else rows["num_v_heads"]


def _encoder_group(rows: Rows) -> Any:
    """Head sizes that are no multiple of 16 have kernels of their own in TensorRT-LLM."""
    names = label(rows, "backend", "kernel_source", "attn_dtype")
    odd = (rows["head_dim"] % 16 > 0) & (rows["kernel_source"] == "torch_flow")
    return np.array([name + "/odd" if one else name for name, one in zip(names, odd, strict=True)])


def _encoder(rows: Rows, gpu: GpuFacts, c: Any, group: str) -> KernelTime:
    kind = part(group, 2)
    heads = rows["n_heads"]
    if part(group, 3) == "odd" and np.max(generation(gpu)) == TCGEN05:
        gpu = at_warp_rate(gpu)  # the kernels of this generation are for multiples of 16
    return attention_prefill_time(rows["batch"], rows["q_len"], 0.0, heads, heads, rows["head_dim"], 0.0,
                                  BYTES.get(kind, 2.0), BYTES.get(kind, 2.0), storage_of(kind).key, gpu, c,
                                  causal=False)


def _encoder_bound(rows: Rows, gpu: GpuFacts, group: str) -> Any:
    per_head = rows["batch"] * rows["n_heads"] * rows["q_len"] * rows["head_dim"]
    return roofline(4.0 * per_head * rows["q_len"], 8.0 * per_head, gpu.matrix("bf16"), gpu)


def _absorb(rows: Rows, gpu: GpuFacts, c: Any, group: str) -> KernelTime:
    n, k = _absorbed_sizes(group)
    wide = "dequant" in part(group, 1)  # weights of 8 bits are made 16 once, at load
    storage = storage_of("bfloat16" if wide else part(group, 2))
    return gemm_time(rows["tokens"], n, k, storage, gpu, c, batch=rows["n_heads"])


def _absorbed_sizes(group: str) -> tuple[float, float]:
    """Columns and depth of one head: 128 -> 512 before attention, 512 -> 128 after it."""
    return (512.0, 128.0) if "pre" in part(group, 3) else (128.0, 512.0)


def _absorb_bound(rows: Rows, gpu: GpuFacts, group: str) -> Any:
    a, b, c, key = storage_of(part(group, 2))
    n, k = _absorbed_sizes(group)
    tokens, heads = rows["tokens"], rows["n_heads"]
    return roofline(2.0 * heads * tokens * n * k, heads * (tokens * k * a + n * k * b + tokens * n * c),
                    gpu.matrix(key), gpu)


def _quantise(rows: Rows, gpu: GpuFacts, c: Any, group: str) -> KernelTime:
    kind = part(group, 2)
    element = 2.0 if kind == "stream" else 2.0 + BYTES.get(kind, 1.0)  # read or written; quantised: both
    return stream_time(rows["m"], rows["k"], element, gpu, c)


def _quantise_bound(rows: Rows, gpu: GpuFacts, group: str) -> Any:
    return rows["m"] * rows["k"] * 3.0 / gpu.dram


def _collective(rows: Rows, gpu: GpuFacts, c: Any, group: str) -> KernelTime:
    return collective_kernel_time(part(group, 1), rows["num_gpus"], _whole(rows, group), gpu, c,
                                  direct="custom" in part(group, 0))


def _collective_bound(rows: Rows, gpu: GpuFacts, group: str) -> Any:
    pattern = PATTERNS.get(part(group, 1), part(group, 1))
    return VOLUME[pattern](rows["num_gpus"]) * _whole(rows, group) / gpu.link


def _whole(rows: Rows, group: str) -> Any:
    """Bytes of the whole tensor; an all-gather of oneCCL counts the share that each rank sends (its API)."""
    share = part(group, 0) == "oneccl" and part(group, 1) == "all_gather"
    return rows["message_bytes"] * (rows["num_gpus"] if share else 1.0)


def _collective_group(rows: Rows) -> Any:
    variant = rows["variant"] if "variant" in rows else np.full(len(rows["op"]), "")
    tag = np.where([str(v) in ("", "nan") for v in variant], "any", np.asarray(variant).astype(str))
    return label(rows, "library", "op", extra=(tag,))


def _all_to_all(rows: Rows, gpu: GpuFacts, c: Any, group: str) -> KernelTime:
    return all_to_all_time(rows["tokens"], rows["hidden"], rows["topk"], rows["experts"], rows["ep_size"],
                           rows["sms"], WIRE.get(part(group, 2), 2.0), gpu, c,
                           low_latency="_ll" in part(group, 0))


def _all_to_all_bound(rows: Rows, gpu: GpuFacts, group: str) -> Any:
    ranks = rows["ep_size"]
    distinct = ranks * (1.0 - (1.0 - 1.0 / ranks) ** rows["topk"])
    sent = rows["tokens"] * rows["hidden"] * WIRE.get(part(group, 2), 2.0) * distinct * (ranks - 1.0) / ranks
    return sent / gpu.link


def _formats(rows: Rows) -> Any:
    return label(rows, "backend", "kernel_source", "mla_dtype", "kv_dtype", "gemm_type")


def _formats_and_width(rows: Rows) -> Any:
    """Engines call another kernel where one GPU holds all heads."""
    mode = np.where(rows["n_heads"] >= 128, "wide", "narrow")
    return label(rows, "backend", "kernel_source", "mla_dtype", "kv_dtype", "gemm_type", extra=(mode,))


def _sparse_group(rows: Rows) -> Any:
    """TensorRT-LLM calls FlashMLA on Hopper (its pull request 9141) and its own kernel on Blackwell."""
    system = np.asarray(rows["system"]).astype(str) if "system" in rows else np.full(size(rows), "")
    hopper = [name for name in np.unique(system) if architecture(device_name(name)) == "hopper"]
    theirs = (np.asarray(rows["backend"]) == "trtllm") & np.isin(system, hopper)
    return _formats({**rows, "kernel_source": np.where(theirs, "FLASHMLA", rows["kernel_source"])})


def _sparse_prefill_group(rows: Rows) -> Any:
    """vLLM calls the decode kernel for fewer than 32 heads on an fp8 cache (its flashmla_sparse.py)."""
    names = _sparse_group(rows)
    few = (rows["kernel_source"] == "FLASHMLA_SPARSE") & (rows["kv_dtype"] == "fp8") & (rows["n_heads"] < 32)
    return np.array([name + "/few" if one else name for name, one in zip(names, few, strict=True)])


def _heads(rows: Rows) -> Any:
    return rows["n_heads"]


_MODULE = ("mla_dtype", "kv_dtype", "gemm_type", "batch", "q_len", "past_len", "n_heads")

FAMILIES: tuple[Family, ...] = (
    Family("dsa_module_decode", columns(*_MODULE, "architecture"), SparseCorrections, _sparse_group,
           _sparse, _layer_bound, _heads, most=160),
    Family("dsa_module_prefill", columns(*_MODULE, "architecture"), SparseCorrections, _sparse_prefill_group,
           _sparse, _layer_bound, _heads, most=160),
    Family("mla_module_decode", columns(*_MODULE), LayerCorrections, _formats_and_width, _layer_decode,
           _layer_bound, _heads, most=160),
    Family("mla_module_prefill", columns(*_MODULE), LayerCorrections, _formats, _layer_prefill,
           _layer_bound, _heads, most=160),
    Family("mamba2", columns("nheads", "n_groups", "d_state", "d_conv", "batch", "q_len"), ScanCorrections,
           _scan_group, _scan, _scan_bound, _heads_of_scan, origin=0),
    Family("linear_attention", columns("num_k_heads", "head_k_dim", "num_v_heads", "d_conv", "batch"),
           ScanCorrections, _scan_group, _scan, _scan_bound, _heads_of_scan, origin=0),
    Family("encoder_attention", columns("attn_dtype", "batch", "q_len", "n_heads", "head_dim"),
           PrefillCorrections, _encoder_group, _encoder, _encoder_bound, _heads),
    Family("mla_absorb", columns("op_name", "dtype", "tokens", "n_heads"), GemmCorrections,
           lambda rows: label(rows, "backend", "kernel_source", "dtype", "op_name"), _absorb, _absorb_bound,
           _heads),
    Family("stream", columns("dtype", "m", "k"), StreamCorrections,
           lambda rows: label(rows, "backend", "kernel_source", "dtype"), _quantise, _quantise_bound,
           lambda rows: rows["k"], origin=1),
    Family("moe_alltoall", columns("phase", "comm_dtype", "ep_size", "hidden", "topk", "tokens", "sms"),
           AllToAllCorrections, lambda rows: label(rows, "library", "phase", "comm_dtype"), _all_to_all,
           _all_to_all_bound, lambda rows: rows["hidden"] * 100.0 + rows["topk"], origin=0),
    Family("collectives", columns("op", "num_gpus", "message_bytes", "library"), CollectiveCorrections,
           _collective_group, _collective, _collective_bound,
           lambda rows: np.floor(np.log2(rows["message_bytes"]) / 2.0), origin=1),
)
