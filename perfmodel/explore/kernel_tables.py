"""Tables of measured kernel times: how a file is recognised, and how its rows call a kernel model."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from perfmodel.engine.kernels.attention_decode import DecodeCorrections, attention_decode_time
from perfmodel.engine.kernels.attention_prefill import PrefillCorrections, attention_prefill_time
from perfmodel.engine.kernels.facts import GpuFacts, KernelTime
from perfmodel.engine.kernels.gemm import GemmCorrections, Storage, gemm_time
from perfmodel.engine.kernels.mla import MlaCorrections, mla_decode_time
from perfmodel.engine.kernels.moe import MoeCorrections, moe_time
from perfmodel.errors import ArgumentError

#: columns of a table: numbers as float64, the rest as text
Rows: TypeAlias = Mapping[str, Any]

#: device specifications behind the system names of the tables; other names are the specification's own
DEVICES = {
    "a100_sxm": "a100-sxm-80gb", "a100_pcie": "a100-pcie-80gb", "a100": "a100-sxm-80gb",
    "h100_sxm": "h100-sxm5", "h100": "h100-sxm5", "h200": "h200-sxm", "h800": "h800-sxm",
    "b200": "b200-sxm", "b300": "b300-sxm",
}

#: number formats of the tables: bytes of A, B, C and the format of the matrix unit; 4-bit floats with a
#: scale per 16 (nvfp4) or 32 (mxfp4) elements
STORAGE = {
    "bfloat16": Storage(2, 2, 2, "bf16"), "fp16": Storage(2, 2, 2, "bf16"),
    "bf16": Storage(2, 2, 2, "bf16"), "fp8": Storage(1, 1, 2, "fp8"),
    "fp8_block": Storage(1, 1, 2, "fp8"),
    "nvfp4": Storage(0.5625, 0.5625, 2, "fp4"), "int8_wo": Storage(2, 1, 2, "bf16"),
    "int4_wo": Storage(2, 0.53125, 2, "bf16"), "sq": Storage(1, 1, 2, "int8"),
    "w4a8_mxfp4_mxfp8": Storage(1, 0.53125, 2, "fp8"), "w4a16_mxfp4": Storage(2, 0.53125, 2, "bf16"),
}
BYTES = {"bfloat16": 2.0, "fp16": 2.0, "bf16": 2.0, "fp8": 1.0, "int8": 1.0}


@dataclass(frozen=True)
class Family:
    """A kind of table: its columns, groups of rows that share corrections, the model that predicts them."""

    name: str
    columns: frozenset[str]
    corrections: type[Any]
    groups: Callable[[Rows], Any]
    predict: Callable[[Rows, GpuFacts, Any, str], KernelTime]
    bound: Callable[[Rows, GpuFacts, str], Any]
    shapes: Callable[[Rows], Any]  #: label of the shape family that a cross-validation leaves out


def read_table(path: str | Path) -> dict[str, Any]:
    """Columns of a CSV file (also .gz): float64 where every value is a number, else text."""
    path = Path(path)
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
        reader = csv.reader(file)
        head = next(reader, None)
        if not head:
            raise ArgumentError("data", str(path), "a CSV file with a header line and rows")
        lines = [line for line in reader if line]
    table: dict[str, Any] = {}
    for name, column in zip(head, zip(*lines, strict=True), strict=True):
        try:
            table[name] = np.array([float(v) if v else np.nan for v in column])
        except ValueError:
            table[name] = np.array(column)
    return table


def take(rows: Rows, index: Any) -> dict[str, Any]:
    """The rows at an index or under a mask."""
    return {name: column[index] for name, column in rows.items()}


def size(rows: Rows) -> int:
    """Number of rows."""
    return len(next(iter(rows.values())))


def label(rows: Rows, *columns: str, extra: Iterable[Any] = ()) -> Any:
    """Group names ``a/b/c`` from text columns; an absent column reads ``any``."""
    parts = [np.asarray(rows[c]).astype(str) if c in rows else np.full(size(rows), "any") for c in columns]
    return np.array(["/".join(part) for part in zip(*parts, *extra, strict=True)])


def device_name(system: str) -> str:
    """Name of the device specification of a table's system name."""
    lowered = system.lower()
    return DEVICES.get(lowered, lowered.replace("_", "-"))


def part(group: str, index: int) -> str:
    """A part of a group name."""
    pieces = group.split("/")
    return pieces[index] if index < len(pieces) else "any"


def storage_of(name: str) -> Storage:
    """Bytes and matrix format of a data type of the tables; an unknown one counts as bf16."""
    return STORAGE.get(name, STORAGE["bfloat16"])


def roofline(flop: Any, moved: Any, peak: Any, gpu: GpuFacts) -> Any:
    """max(FLOP / peak, bytes / DRAM bandwidth) [s], the bound of the datasheet alone."""
    return np.maximum(flop / peak, moved / gpu.dram)


def _gemm(rows: Rows, gpu: GpuFacts, c: Any, group: str) -> KernelTime:
    return gemm_time(rows["m"], rows["n"], rows["k"], storage_of(part(group, 2)), gpu, c)


def _gemm_bound(rows: Rows, gpu: GpuFacts, group: str) -> Any:
    a, b, c, key = storage_of(part(group, 2))
    m, n, k = rows["m"], rows["n"], rows["k"]
    return roofline(2.0 * m * n * k, m * k * a + n * k * b + m * n * c, gpu.matrix(key), gpu)


#: query heads of one cache head that the packed kernels of an engine take; more run as single heads
_LARGEST_GROUP = {"torch_flow": 32.0}
#: kernels that do not pack the heads of a group where a sliding window is set (FlashAttention-2)
_UNPACKED_WINDOW = ("vllm_flash_attn", "vllm_flash_attn_fa2")
#: prefill kernels that fill a block with the query heads of a group
_PACKED_PREFILL = ("vllm_flash_attn_fa3", "vllm_flash_attn_fa4", "vllm_flashinfer_fiprefill",
                   "vllm_flashinfer_fidecode", "vllm_flashinfer_trtllmdecode", "torch_flow_flashinfer")


def _decode_group(rows: Rows) -> Any:
    share = rows["n_heads"] / rows["n_kv_heads"]
    largest = np.array([_LARGEST_GROUP.get(s, 1e9) for s in rows["kernel_source"]])
    mode = np.where(rows["window"] > 0, "window", np.where((share == 1) | (share > largest), "mha", "gqa"))
    return label(rows, "backend", "kernel_source", "attn_dtype", "kv_dtype", extra=(mode,))


def _decode(rows: Rows, gpu: GpuFacts, c: Any, group: str) -> KernelTime:
    share = rows["n_heads"] / rows["n_kv_heads"]
    source = part(group, 1)
    packed = share <= _LARGEST_GROUP.get(source, 1e9)
    if source in _UNPACKED_WINDOW:
        packed = packed & (rows["window"] == 0)
    return attention_decode_time(rows["batch"], rows["past_len"] + rows["q_len"], rows["n_heads"],
                                 rows["n_kv_heads"], rows["head_dim"], rows["window"],
                                 BYTES.get(part(group, 3), 2.0), gpu, c, packed)


def _prefill(rows: Rows, gpu: GpuFacts, c: Any, group: str) -> KernelTime:
    source, query, cached = (part(group, i) for i in (1, 2, 3))
    swapped = (rows["q_len"] == 1) & (rows["window"] == 0) & (source in _UNPACKED_WINDOW)
    return attention_prefill_time(
        rows["batch"], rows["q_len"], rows["past_len"], rows["n_heads"], rows["n_kv_heads"],
        rows["head_dim"], rows["window"], BYTES.get(query, 2.0), BYTES.get(cached, 2.0), storage_of(query).key,
        gpu, c,
        packed=swapped | (source in _PACKED_PREFILL))


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
    return attention_prefill_time(rows["batch"], rows["q_len"], rows["past_len"], heads, heads, 192.0, 0.0,
                                  2.0, 2.0, "bf16", gpu, c, value_dim=128.0)


def _mla_decode_group(rows: Rows) -> Any:
    mode = np.where(rows["n_heads"] >= 128, "wide", "narrow")
    return label(rows, "backend", "kernel_source", "mla_dtype", "kv_dtype", extra=(mode,))


def _mla_decode(rows: Rows, gpu: GpuFacts, c: Any, group: str) -> KernelTime:
    return mla_decode_time(rows["batch"], rows["q_len"], rows["past_len"] + rows["q_len"], rows["n_heads"],
                           BYTES.get(part(group, 3), 2.0), gpu, c)


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


def _moe(rows: Rows, gpu: GpuFacts, c: Any, group: str) -> KernelTime:
    return moe_time(rows["tokens"], rows["hidden"], rows["inter"], rows["topk"], rows["experts"],
                    rows["moe_tp_size"], rows["moe_ep_size"], load_exponent(rows["distribution"]),
                    storage_of(part(group, 2)), gpu, c, gated="nongated" not in part(group, 1))


def _moe_bound(rows: Rows, gpu: GpuFacts, group: str) -> Any:
    a, b, c, key = storage_of(part(group, 2))
    pairs = rows["tokens"] * rows["topk"] / rows["moe_ep_size"]
    local = rows["experts"] / rows["moe_ep_size"]
    matrices = 2.0 if "nongated" in part(group, 1) else 3.0
    weights = matrices * rows["hidden"] * rows["inter"] / rows["moe_tp_size"]
    moved = np.minimum(local, pairs) * weights * b + pairs * rows["hidden"] * (a + c)
    return roofline(2.0 * pairs * weights, moved, gpu.matrix(key), gpu)


def _columns(*names: str) -> frozenset[str]:
    return frozenset(names)


_ATTENTION = ("attn_dtype", "kv_dtype", "batch", "q_len", "past_len", "n_heads", "n_kv_heads", "head_dim",
              "window")
_MLA = ("mla_dtype", "kv_dtype", "batch", "q_len", "past_len", "n_heads")


def _widths(rows: Rows) -> Any:
    return rows["n"] * 1e6 + rows["k"]


FAMILIES: list[Family] = [
    Family("gemm", _columns("dtype", "m", "n", "k", "kernel_source"), GemmCorrections,
           lambda rows: label(rows, "backend", "kernel_source", "dtype"), _gemm, _gemm_bound, _widths),
    Family("attention_decode", _columns(*_ATTENTION), DecodeCorrections, _decode_group, _decode,
           attention_bound, lambda rows: rows["n_heads"]),
    Family("attention_prefill", _columns(*_ATTENTION), PrefillCorrections,
           lambda rows: label(rows, "backend", "kernel_source", "attn_dtype", "kv_dtype"), _prefill,
           attention_bound, lambda rows: rows["n_heads"]),
    Family("mla_decode", _columns(*_MLA), MlaCorrections, _mla_decode_group, _mla_decode, _mla_bound,
           lambda rows: rows["n_heads"]),
    Family("mla_prefill", _columns(*_MLA), PrefillCorrections,
           lambda rows: label(rows, "backend", "kernel_source", "mla_dtype", "kv_dtype"), _mla_prefill,
           _mla_bound, lambda rows: rows["n_heads"]),
    Family("moe", _columns("dtype", "tokens", "hidden", "inter", "topk", "experts", "moe_tp_size",
                           "moe_ep_size"), MoeCorrections,
           lambda rows: label(rows, "backend", "kernel_source", "dtype"), _moe, _moe_bound,
           lambda rows: rows["hidden"] * 1e6 + rows["inter"]),
]


def recognise(rows: Rows) -> Family:
    """Family of a table by its columns; decode is told from prefill by its single new token.

    Raises ArgumentError that names the known families.
    """
    for family in FAMILIES:
        if family.columns <= set(rows) and _stage_fits(family.name, rows):
            return family
    names = ", ".join(family.name for family in FAMILIES)
    raise ArgumentError("data", sorted(rows), "columns of one of " + names)


def _stage_fits(name: str, rows: Rows) -> bool:
    if "gemm_type" in rows:
        sparse = "architecture" in rows
        return "module" in name and name.startswith("dsa") == sparse and _stage(name, rows)
    return _stage(name, rows)


def _stage(name: str, rows: Rows) -> bool:
    if name.endswith("_decode"):
        return bool(np.all(rows["q_len"] == 1) and np.any(rows["past_len"] > 0))
    return True
