"""Families of measured kernels of one GPU: products, attention, latent attention, experts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from perfmodel.engine.kernels.attention_decode import DecodeCorrections, attention_decode_time
from perfmodel.engine.kernels.attention_prefill import PrefillCorrections, attention_prefill_time
from perfmodel.engine.kernels.expert_programs import expert_program
from perfmodel.engine.kernels.facts import GpuFacts, KernelTime
from perfmodel.engine.kernels.gemm import GemmCorrections, gemm_time, row_walk
from perfmodel.engine.kernels.mla import MlaCorrections, latent_pass_time, mla_decode_time
from perfmodel.engine.kernels.moe import MoeCorrections, moe_time
from perfmodel.engine.kernels.prefill_programs import prefill_program
from perfmodel.engine.kernels.splits import (
    MMA,
    flash_2,
    generation,
    latent_rule,
    query_copies,
    resident_blocks,
    split_rule,
)
from perfmodel.explore.kernel_tables import (
    BYTES,
    Family,
    Rows,
    columns,
    computed_formats,
    label,
    part,
    roofline,
    storage_of,
)

#: sources that call another kernel for up to 64 and up to 128 rows
_SWITCHING = ("CutlassFP8ScaledMMLinearKernel", "FlashInferCutlassNvFp4LinearKernel")


#: largest fixed time of a product alone, over the documented one
BARE = 2.7
#: time that events around a layer add on a CUDA device [s] (github.com/intel/torch-xpu-ops issue 3227)
EVENTS = 6e-6


def _gemm_group(rows: Rows) -> Any:
    names = label(rows, "backend", "kernel_source", "dtype")
    switching = np.array([part(name, 1) in _SWITCHING for name in names])
    mode = np.where(rows["m"] <= 64, "/few", np.where(rows["m"] <= 128, "/some", "/many"))
    return np.array([name + m if s else name for name, m, s in zip(names, mode, switching, strict=True)])


#: length of a run, at the matrix peak, on which a power limit acts fully [s]
LONG_RUN = 70e-3


def _in_a_run(rows: Rows, gpu: GpuFacts) -> GpuFacts:
    """The facts with the board power that a run of many products leaves; a burst where none is stated.

    strength of the limit = drawn sqrt(run / LONG_RUN), which goes with power^-1.5
    """
    if "run_flop" not in rows:
        return gpu
    length = np.minimum(rows["run_flop"] / gpu.matrix("bf16") / LONG_RUN, 1.0)
    strength = np.where(np.isnan(length), 1.0, rows["drawn"] * np.sqrt(length))
    return replace(gpu, power=gpu.power * strength ** (-2.0 / 3.0))


def _gemm(rows: Rows, gpu: GpuFacts, c: Any, group: str) -> KernelTime:
    if part(group, 1) == "any" and storage_of(part(group, 2)).a < 2.0:  # a bare kernel: A comes quantised
        c = replace(c, quantise=0.001, host=0.01, launch=np.minimum(c.launch, BARE))
    profiled = part(group, 1).startswith("trt_flow")  # by TensorRT's profiler of layers (collect_gemm_trt.py)
    if profiled:  # TensorRT quantises in the layer before
        c = replace(c, quantise=0.001, launch=np.minimum(c.launch, BARE))
    walk = row_walk(part(group, 0), part(group, 2), gpu)
    gpu = _in_a_run(rows, gpu)
    time = gemm_time(rows["m"], rows["n"], rows["k"], storage_of(part(group, 2)), gpu, c, walk=walk)
    return replace(time, seconds=time.seconds + EVENTS) if profiled else time


def _gemm_bound(rows: Rows, gpu: GpuFacts, group: str) -> Any:
    a, b, c, key = storage_of(part(group, 2))
    m, n, k = rows["m"], rows["n"], rows["k"]
    return roofline(2.0 * m * n * k, m * k * a + n * k * b + m * n * c, gpu.matrix(key), gpu)


#: query heads of one cache head that the packed kernels of an engine take; more run as single heads
_LARGEST_GROUP = {"torch_flow": 32.0}
#: prefill kernels that fill a block with the query heads of a group
_PACKED_PREFILL = ("vllm_flash_attn_fa3", "vllm_flash_attn_fa4", "vllm_flashinfer_fidecode",
                   "vllm_flashinfer_fiprefill",
                   "vllm_flashinfer_trtllmdecode")
#: prefill kernels that quantise 16-bit queries to a narrow cache, where products run beside each other
_NARROW_WITH_CACHE = ("torch_flow", "torch_flow_flashinfer", "vllm_flashinfer_trtllmprefill",
                      "vllm_flashinfer_trtllmdecode")
#: kernels whose single new tokens run in a captured graph with many splits, however short the cache
_CAPTURED = ("vllm_flash_attn_fa4",)


def _decode_group(rows: Rows) -> Any:
    share = rows["n_heads"] / rows["n_kv_heads"]
    largest = np.array([_LARGEST_GROUP.get(s, 1e9) for s in rows["kernel_source"]])
    alone = (share == 1) | (share > largest)
    mode = np.where(alone & ((rows["window"] == 0) | (largest < 1e9)), "mha",
                    np.where(rows["window"] > 0, "window", "gqa"))
    return label(rows, "backend", "kernel_source", "attn_dtype", "kv_dtype", extra=(mode,))


def _decode(rows: Rows, gpu: GpuFacts, c: Any, group: str) -> KernelTime:
    share = rows["n_heads"] / rows["n_kv_heads"]
    source, cache, mode = part(group, 1), part(group, 3), part(group, 4)
    packed = share <= _LARGEST_GROUP.get(source, 1e9)
    if flash_2(source, gpu):  # these do not pack the heads of a group where a sliding window is set
        packed = packed & (rows["window"] == 0)
    copies = query_copies(source, cache, mode, rows["n_heads"], rows["n_kv_heads"], rows["window"], gpu)
    resident = resident_blocks(source, cache, mode, share, rows["head_dim"], gpu)
    rule = split_rule(source, cache, mode, gpu)
    return attention_decode_time(rows["batch"], rows["past_len"] + rows["q_len"], rows["n_heads"],
                                 rows["n_kv_heads"], rows["head_dim"], rows["window"],
                                 BYTES.get(cache, 2.0), gpu, c, packed, rule, copies, resident)


def _prefill_group(rows: Rows) -> Any:
    names = label(rows, "backend", "kernel_source", "attn_dtype", "kv_dtype")
    large = (rows["head_dim"] >= 512) & (rows["kernel_source"] == "torch_flow_flashinfer")
    return np.array([name + "/large" if one else name for name, one in zip(names, large, strict=True)])


def _prefill(rows: Rows, gpu: GpuFacts, c: Any, group: str) -> KernelTime:
    source, query, cached = (part(group, i) for i in (1, 2, 3))
    key = storage_of(query).key
    if cached == "fp8" and source in _NARROW_WITH_CACHE and np.max(generation(gpu)) > MMA:
        key = "fp8"
    swapped = (rows["q_len"] == 1) & (rows["window"] == 0) & flash_2(source, gpu)
    time = attention_prefill_time(
        rows["batch"], rows["q_len"], rows["past_len"], rows["n_heads"], rows["n_kv_heads"],
        rows["head_dim"], rows["window"], BYTES.get(query, 2.0), BYTES.get(cached, 2.0),
        key, gpu, c,
        packed=swapped | (source in _PACKED_PREFILL),
        program=prefill_program(source, key, cached, rows["n_kv_heads"], rows["head_dim"], gpu))
    if source not in _CAPTURED:
        return time
    decode = attention_decode_time(rows["batch"], rows["past_len"] + 1.0, rows["n_heads"],
                                   rows["n_kv_heads"], rows["head_dim"], rows["window"],
                                   BYTES.get(cached, 2.0), gpu, rule="graph")
    return replace(time, seconds=np.where(rows["q_len"] == 1, decode.seconds, time.seconds))


def attention_bound(rows: Rows, gpu: GpuFacts, group: str) -> Any:
    """Bound of causal attention with an optional window, from whole tokens."""
    query, total = rows["q_len"], rows["past_len"] + rows["q_len"]
    mean = total - (query - 1.0) / 2.0
    if "window" in rows:
        mean = np.where(rows["window"] > 0, np.minimum(mean, rows["window"]), mean)
    flop = 4.0 * rows["batch"] * rows["n_heads"] * query * mean * rows["head_dim"]
    kept = np.minimum(total, mean + query)
    moved = rows["batch"] * rows["head_dim"] * (
        4.0 * query * rows["n_heads"] + 2.0 * kept * rows["n_kv_heads"] * BYTES.get(part(group, 3), 2.0))
    return roofline(flop, moved, gpu.matrix(storage_of(part(group, 2)).key), gpu)


def _mla_prefill(rows: Rows, gpu: GpuFacts, c: Any, group: str) -> KernelTime:
    heads = rows["n_heads"]
    time = attention_prefill_time(rows["batch"], rows["q_len"], rows["past_len"], heads, heads, 192.0, 0.0,
                                  2.0, 2.0, "bf16", gpu, c, value_dim=128.0)
    latent = latent_pass_time(rows["batch"] * rows["q_len"], gpu)
    return replace(time, seconds=time.seconds + latent)


def _mla_decode_group(rows: Rows) -> Any:
    mode = np.where(rows["n_heads"] >= 128, "wide", "narrow")
    return label(computed_formats(rows), "backend", "kernel_source", "mla_dtype", "kv_dtype", extra=(mode,))


def _mla_decode(rows: Rows, gpu: GpuFacts, c: Any, group: str) -> KernelTime:
    source, cache, heads = part(group, 1), part(group, 3), part(group, 4)
    return mla_decode_time(rows["batch"], rows["q_len"], rows["past_len"] + rows["q_len"], rows["n_heads"],
                           BYTES.get(cache, 2.0), gpu, c, rule=latent_rule(source, cache, heads, gpu))


def _mla_bound(rows: Rows, gpu: GpuFacts, group: str) -> Any:
    batch, query, heads = rows["batch"], rows["q_len"], rows["n_heads"]
    total = rows["past_len"] + query
    mean = total - (query - 1.0) / 2.0
    if part(group, 4) in ("wide", "narrow"):
        flop = 2.0 * batch * heads * query * mean * (576.0 + 512.0)
        cached = total * 576.0 * BYTES.get(part(group, 3), 2.0)
        moved = batch * (cached + query * heads * (576.0 + 512.0) * 2.0)
    else:
        flop = 2.0 * batch * heads * query * mean * 320.0
        moved = batch * heads * 2.0 * (query * 320.0 + total * 320.0)
    return roofline(flop, moved, gpu.matrix("bf16"), gpu)


def load_exponent(distribution: Any) -> Any:
    """Exponent of the power law of expert loads from its name; 0: balanced."""
    return np.array([float(n.rpartition("_")[2]) if n.startswith("power_law") else 0.0 for n in distribution])


def _moe_group(rows: Rows) -> Any:
    """The activation that a name ends in is no part of the kernel."""
    source = np.array([name.removesuffix("_situ_as_silu") for name in rows["kernel_source"]])
    return label({**rows, "kernel_source": source}, "backend", "kernel_source", "dtype")


#: experts of a token and of a layer in Nemotron-3, whose layers have no gate
_WITHOUT_GATE = ((22, 512), (6, 128))


def _gated(rows: Rows, source: str) -> Any:
    """Whether a layer has two up projections: tables of TensorRT-LLM name those with one, vLLM's do not."""
    pairs = [(rows["topk"] == k) & (rows["experts"] == experts) for k, experts in _WITHOUT_GATE]
    bare = np.any(pairs, axis=0) & (source != "vllm_fused_moe")  # this function always has a gate
    return ~bare & ("nongated" not in source)


def _moe(rows: Rows, gpu: GpuFacts, c: Any, group: str) -> KernelTime:
    return moe_time(rows["tokens"], rows["hidden"], rows["inter"], rows["topk"], rows["experts"],
                    rows["moe_tp_size"], rows["moe_ep_size"], load_exponent(rows["distribution"]),
                    storage_of(part(group, 2)), gpu, c, _gated(rows, part(group, 1)),
                    expert_program(group, gpu))


def _moe_products(rows: Rows, gpu: GpuFacts, c: Any, group: str) -> KernelTime:
    """The two grouped products alone: no routing, permutation or sum."""
    return _moe(rows, gpu, replace(c, move=0.01, floor=0.001), group)


def _moe_bound(rows: Rows, gpu: GpuFacts, group: str) -> Any:
    a, b, c, key = storage_of(part(group, 2))
    pairs = rows["tokens"] * rows["topk"] / rows["moe_ep_size"]
    local = rows["experts"] / rows["moe_ep_size"]
    matrices = np.where(_gated(rows, part(group, 1)), 3.0, 2.0)
    weights = matrices * rows["hidden"] * rows["inter"] / rows["moe_tp_size"]
    moved = np.minimum(local, pairs) * weights * b + pairs * rows["hidden"] * (a + c)
    return roofline(2.0 * pairs * weights, moved, gpu.matrix(key), gpu)


_ATTENTION = ("attn_dtype", "kv_dtype", "batch", "q_len", "past_len", "n_heads", "n_kv_heads", "head_dim",
              "window")
_MLA = ("mla_dtype", "kv_dtype", "batch", "q_len", "past_len", "n_heads")


def _widths(rows: Rows) -> Any:
    return rows["n"] * 1e6 + rows["k"]


FAMILIES: tuple[Family, ...] = (
    Family("gemm", columns("dtype", "m", "n", "k"), GemmCorrections,
           _gemm_group, _gemm, _gemm_bound, _widths, most=500),
    Family("attention_decode", columns(*_ATTENTION), DecodeCorrections, _decode_group, _decode,
           attention_bound, lambda rows: rows["n_heads"]),
    Family("attention_prefill", columns(*_ATTENTION), PrefillCorrections,
           _prefill_group, _prefill,
           attention_bound, lambda rows: rows["n_heads"]),
    Family("mla_decode", columns(*_MLA), MlaCorrections, _mla_decode_group, _mla_decode, _mla_bound,
           lambda rows: rows["n_heads"]),
    Family("mla_prefill", columns(*_MLA), PrefillCorrections,
           lambda rows: label(computed_formats(rows), "backend", "kernel_source", "mla_dtype", "kv_dtype"),
           _mla_prefill, _mla_bound, lambda rows: rows["n_heads"]),
    Family("moe_products", columns("dtype", "tokens", "hidden", "inter", "topk", "experts", "products_only"),
           MoeCorrections, lambda rows: label(rows, "backend", "kernel_source", "dtype"), _moe_products,
           _moe_bound, lambda rows: rows["hidden"] * 1e6 + rows["experts"]),
    Family("moe", columns("dtype", "tokens", "hidden", "inter", "topk", "experts", "moe_tp_size",
                           "moe_ep_size"), MoeCorrections, _moe_group, _moe, _moe_bound,
           lambda rows: rows["hidden"] * 1e6 + rows["inter"], most=500),
)
