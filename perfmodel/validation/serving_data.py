"""Serving measurements as arrays: reads the tables of closed-loop serving and of static batches.

Recognised by their columns: closed-loop serving points (time to first token and per token at a concurrency)
and end-to-end latencies of equal batches, both one CSV row per point, plain or gzip.

What the tables do not say is filled in by rules that hold for every row, never by a row's own measurement:

* ``tp`` and ``moe_tp x moe_ep`` of the same rows disagree where the source multiplied two flags that mean the
  same group (64 = 8 x 8 devices on nodes of 8): rows listed both ways carry equal measurements, so one group
  is taken.
* Engine builds that ran multi-token prediction are not marked.  `SPECULATIVE` names builds whose step time is
  0.4-0.6 of that of the builds before them on the same model, device and concurrency.
* Where a disaggregated point does not say how many workers there were, the median of those that say is taken.
* Static batches of TensorRT-LLM repeat one prompt: with mixture models they run faster than the weights of
  all experts could be read, so the copies of a prompt pick the same experts.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError, PerfmodelError
from perfmodel.hardware.catalog import device as device_of
from perfmodel.hardware.catalog import system as system_of
from perfmodel.scenario.corrections import Corrections
from perfmodel.scenario.runtime import Runtime
from perfmodel.scenario.serving_cost import WIDE, Hardware, Layout, Numbers, StepCost
from perfmodel.scenario.serving_counts import step_counts
from perfmodel.validation.names import hardware_name, served_workload
from perfmodel.validation.serving_campaigns import Options, options

Row = Mapping[str, str]

SERVING = {"source_concurrency", "isl_tokens", "osl_tokens", "ttft_ms", "tpot_ms", "backend", "mode"}
BATCH = {"device", "num_devices", "framework", "model_path", "isl_tokens", "osl_tokens", "batch", "latency_s"}

#: number format of each data type name of the tables, and whether only the weights are narrow
DTYPES = {
    "": ("bf16", False), "bfloat16": ("bf16", False), "bf16": ("bf16", False), "fp16": ("bf16", False),
    "fp8": ("fp8", False), "fp8_block": ("fp8_block", False), "nvfp4": ("nvfp4", False),
    "mxfp4": ("mxfp4", False), "w4a16_mxfp4": ("mxfp4", True), "w4a8_mxfp4_mxfp8": ("mxfp4", False),
    "fp4": ("nvfp4", False), "int4": ("int4_g32", True), "int4_wo": ("int4_g32", True),
    "int8_wo": ("int8", True),
    "w4afp8": ("int4_g128", True), "sq": ("int8", False),
}

#: (engine, build, first date) that ran multi-token prediction
SPECULATIVE = (("trtllm", "1.2.0rc6.post3", ""), ("trtllm", "1.1.0rc2.post2", "2026-01-10"))
DRAFTED = 3.0
#: disaggregated points of models with a drafting head come in two bands a factor of about two apart, of which
#: only those of the slow band say how many workers there were
UNKNOWN_SPECULATION = 0.5
TYPICAL_DECODE_WORKERS = 4.0
TYPICAL_PREFILL_WORKERS = 2.0
DRAFTED_WITH_DATA_PARALLEL = 1.0

#: engine of the tables -> runtime profile
RUNTIMES = {
    "trtllm": "tensorrt-llm", "vllm": "vllm", "sglang": "sglang", "TensorRT-LLM": "tensorrt-llm-2024",
    "vLLM": "vllm-2024", "vLLM on ROCm": "vllm-rocm-2024",
    "vLLM on MI250": "vllm-mi250-2024", "vLLM on XPU": "vllm-xpu-2024",
    "Deepspeed-MII": "deepspeed-mii",
    "Deepspeed on Gaudi": "deepspeed-gaudi", "llama.cpp": "llama-cpp",
}

#: beginning of a device name -> what an engine is called there; kernels for one generation of a maker say
#: nothing of another
PLACES = {"AMD MI250": " on MI250", "AMD": " on ROCm", "Hab": " on Gaudi", "Int": " on XPU"}


@dataclass(frozen=True)
class Points:
    """Measured points of one kind as arrays of equal length.

    kind         ``serving`` (aggregated), ``disaggregated`` or ``batch``
    rows         the table rows
    runtimes     name of the profile of each row
    load         requests in flight, or the batch
    cost         step cost of the instance, or of a decode worker; prefill: of a prefill worker
    speculative  chance that the engine drafted tokens
    moe          rows of mixture models
    workers      prefill and decode workers of each row
    options      how the points were measured
    draft        weights of the model that drafts tokens [B]
    """

    kind: str
    rows: Sequence[Row]
    runtimes: np.ndarray
    load: np.ndarray
    input: np.ndarray
    output: np.ndarray
    cost: StepCost
    prefill: StepCost | None
    speculative: np.ndarray
    moe: np.ndarray
    workers: np.ndarray
    options: Options
    draft: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> np.ndarray:
        """A column of the table as numbers; nan where it is empty."""
        return np.array([_number(row, name) for row in self.rows])

    def labels(self, name: str) -> np.ndarray:
        """A column of the table as texts."""
        return np.array([row.get(name) or "" for row in self.rows])

    def take(self, which: np.ndarray) -> Points:
        """The points of an index or mask."""
        index = np.flatnonzero(which) if which.dtype == bool else which
        parts = {f.name: _taken(getattr(self, f.name), index) for f in fields(self)}
        parts |= {"kind": self.kind, "rows": [self.rows[int(i)] for i in index]}
        return Points(**parts)


def read_rows(path: str | PathLike[str]) -> list[dict[str, str]]:
    """Rows of a CSV file, gzip or plain."""
    raw = Path(path).read_bytes()
    text = (gzip.decompress(raw) if Path(path).suffix == ".gz" else raw).decode("utf-8")
    return list(csv.DictReader(text.splitlines()))


def table_kind(columns: Iterable[str]) -> str:
    """``serving``, ``power``, ``batch``, or an empty string for another table."""
    there = set(columns)
    if there >= SERVING:
        return "serving"
    if there >= BATCH:
        return "power" if "avg_power_W" in there else "batch"
    return ""


def points(
    rows: Sequence[Row], fix: Corrections, folders: tuple[Path, ...] = ()
) -> tuple[list[Points], dict[str, int]]:
    """Points of a table by kind, and how many rows were left out for which reason.

    folders  where configurations of models without a shipped description are
    """
    kind = table_kind(rows[0]) if rows else ""
    if not kind:
        raise ArgumentError("data", "columns of the table", "a serving table or a table of batches")
    skipped: dict[str, int] = {}
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        key = _serving_key(row) if kind == "serving" else _batch_key(row)
        groups.setdefault(key, []).append(row)
    built: dict[str, list[Points]] = {}
    build = _serving_points if kind == "serving" else _batch_points
    for key, members in groups.items():
        try:
            part = build(key, members, fix, folders)
        except PerfmodelError as error:
            reason = str(error).split("\n", 1)[0]
            skipped[reason] = skipped.get(reason, 0) + len(members)
            continue
        built.setdefault(part.kind, []).append(part)
    return [joined(parts) for parts in built.values()], skipped


def _number(row: Row, name: str) -> float:
    try:
        return float(row.get(name) or "nan")
    except ValueError:
        return float("nan")


def _or_one(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values) & (values >= 1.0), values, 1.0)


def _serving_key(row: Row) -> tuple[Any, ...]:
    empty = "" if _number(row, "source_concurrency") > 0 else "no concurrency"
    names = ("mode", "model_path", "system", "backend", "gemm_dtype", "moe_dtype")
    return (*(row.get(n) or "" for n in names), empty)


def _batch_key(row: Row) -> tuple[Any, ...]:
    names = ("device", "framework", "model_path", "parallelism", "weight_dtype", "kv_dtype", "draft_model")
    return tuple(row.get(n) or "" for n in names)


def _serving_points(
    key: tuple[Any, ...], rows: list[Row], fix: Corrections, folders: tuple[Path, ...]
) -> Points:
    mode, model, system, backend, dense, experts, empty = key
    if empty:
        raise ArgumentError("source_concurrency", "", "a number of requests in flight")
    side = "decode_" if mode == "disagg" else ""
    load = np.array([_number(r, "source_concurrency") for r in rows])
    ran = options(rows)
    input, output = (
        ran.length * np.array([_number(r, n) for r in rows]) for n in ("isl_tokens", "osl_tokens")
    )
    middle = input + 0.5 * output
    marked = np.array([_speculative(r) for r in rows])
    workload = served_workload(model, folders)
    hardware = Hardware.of(system_of(hardware_name(system)))
    moe = _is_mixture(workload)
    numbers = _numbers(hardware, fix, dense, experts, moe)

    def cost(layout: Layout) -> StepCost:
        counts = step_counts(workload, context=middle, prompt=input, tp=layout.tp)
        width = np.where(marked > 0, np.where(layout.dp > 1, DRAFTED_WITH_DATA_PARALLEL, DRAFTED) + 1.0, 1.0)
        profile = _profile(backend)
        return StepCost(counts, hardware, layout, numbers, profile, fix, input, middle, width)

    prefill = cost(_layout(rows, "prefill_", moe)) if side else None
    workers = np.stack([_workers(rows, "prefill"), _workers(rows, "decode")])
    names = np.full(len(rows), RUNTIMES.get(backend, backend))
    return Points(
        "disaggregated" if side else "serving", rows, names, load, input, output,
        _full(cost(_layout(rows, side, moe)), len(rows)),
        None if prefill is None else _full(prefill, len(rows)), marked, np.full(len(rows), moe),
        workers.T, ran, np.zeros(len(rows)),
    )


def _workers(rows: list[Row], side: str) -> np.ndarray:
    """Workers of a disaggregated instance; the median of the rows that say, where a row does not."""
    given = np.array([_number(r, f"{side}_workers") for r in rows])
    load = np.array([_number(r, "source_concurrency") for r in rows])
    usual = TYPICAL_DECODE_WORKERS if side == "decode" else TYPICAL_PREFILL_WORKERS
    return np.asarray(np.where(np.isfinite(given), np.maximum(given, 1.0), np.minimum(usual, load)))


def _layout(rows: list[Row], side: str, moe: bool) -> Layout:
    """Layout of each row with the repeated group taken once."""
    tp, dp, moe_tp, ep = (
        np.array([_number(r, side + n) for r in rows]) for n in ("tp", "attention_dp", "moe_tp", "moe_ep")
    )
    unknown = ~np.isfinite(dp)
    tp, dp, moe_tp, ep = _or_one(tp), _or_one(dp), _or_one(moe_tp), _or_one(ep)
    if not moe:
        return Layout(tp, dp, np.ones_like(tp), np.ones_like(tp))
    group = moe_tp * ep
    dp = np.where(unknown & (group > tp), group / tp, dp)
    square = (moe_tp == ep) & (moe_tp > 1) & (tp * dp == group)
    tp, dp = np.where(square, np.where(dp > 1, 1.0, ep), tp), np.where(square, np.where(dp > 1, ep, 1.0), dp)
    moe_tp = np.where(square, 1.0, moe_tp)
    twice = (tp == dp) & (tp > 1) & (ep == tp * dp) & (moe_tp == 1)
    dp, ep = np.where(twice, 1.0, dp), np.where(twice, tp, ep)
    return Layout(tp, dp, moe_tp, np.maximum(ep, tp * dp / moe_tp))


def _numbers(hardware: Hardware, fix: Corrections, dense: str, experts: str, moe: bool) -> Numbers:
    first, only = _dtype(dense)
    second, expert_only = _dtype(experts or dense)
    if moe and only:
        # weight-only checkpoints of mixture models keep attention and dense parts in 16 bits
        first = "bf16"
    return Numbers.of(hardware, fix, first, second, weight_only=only or expert_only)


def _dtype(name: str) -> tuple[str, bool]:
    if name not in DTYPES:
        raise ArgumentError("data type", name, "one of " + ", ".join(k for k in DTYPES if k))
    return DTYPES[name]


def _speculative(row: Row) -> float:
    """Chance that the engine drafted tokens."""
    engine, build, date = (row.get(n) or "" for n in ("backend", "backend_version", "measured_date"))
    if "deepseek" not in (row.get("model_path") or "").lower():
        return 0.0
    if row.get("mode") == "disagg":
        return 0.0 if _number(row, "decode_workers") >= 1.0 else UNKNOWN_SPECULATION
    return float(any(engine == e and build == b and date >= since for e, b, since in SPECULATIVE))


def _batch_points(
    key: tuple[Any, ...], rows: list[Row], fix: Corrections, folders: tuple[Path, ...]
) -> Points:
    device, framework, model, parallelism, weights, cache, draft = key
    engine = framework + next((place for start, place in PLACES.items() if device.startswith(start)), "")
    if parallelism not in ("", "Tensor Parallelism"):
        raise ArgumentError("parallelism", parallelism, "tensor parallelism")
    load, input, output, devices = (
        np.array([_number(r, n) for r in rows]) for n in ("batch", "isl_tokens", "osl_tokens", "num_devices")
    )
    workload = served_workload(model, folders)
    hardware = Hardware.of(system_of(device_of(hardware_name(device))))
    moe = _is_mixture(workload)
    ones = np.ones_like(devices)
    # llama.cpp gives each device a part of the layers, so that one works at a time
    group = ones if framework == "llama.cpp" else devices
    layout = Layout(group, ones, group if moe else ones, ones)
    counts = step_counts(workload, context=input + 0.5 * output, prompt=input, tp=group)
    alike = np.ones_like(load) if framework == "TensorRT-LLM" else load
    # TensorRT-LLM widens int8 weights before it multiplies
    kept, narrow = _dtype("int8_wo" if weights == "int8" else weights)
    stored = cache if cache == "int8" else _dtype(cache)[0]
    numbers = Numbers.of(hardware, fix, kept, cache=stored, weight_only=narrow)
    middle = input + 0.5 * output
    width = 1.0 + np.array([_number(r, "num_speculative_tokens") if draft else 0.0 for r in rows])
    cost = StepCost(counts, hardware, layout, numbers, _profile(engine), fix, input, middle, width, alike)
    names = np.full(len(rows), RUNTIMES[engine])
    flat = np.zeros(len(rows))
    return Points(
        "batch", rows, names, load, input, output, _full(cost, len(rows)), None, flat,
        np.full(len(rows), moe), np.ones((len(rows), 2)), Options.unknown(len(rows)),
        np.full(len(rows), _draft_bytes(draft)),
    )


def _draft_bytes(name: str) -> float:
    """16-bit weights of a model whose name says its size, such as llama-68m."""
    size = re.search(r"(\d+(?:\.\d+)?)(m|b)\b", name.lower())
    return WIDE * float(size[1]) * {"m": 1e6, "b": 1e9}[size[2]] if size else 0.0


def _profile(engine: str) -> Runtime:
    from perfmodel.scenario.runtime import runtime

    if engine not in RUNTIMES:
        raise ArgumentError("engine", engine, "one of " + ", ".join(RUNTIMES))
    return runtime(RUNTIMES[engine])


def _is_mixture(workload: Any) -> bool:
    graph = workload.graph(batch=1.0, query=1.0, context=1.0)
    return any(op.family == "grouped_matmul" for op in graph.ops)


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """A dataclass with `change` applied to each number in it; nested ones too."""
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: _mapped(getattr(value, f.name), change) for f in fields(value)}
        return type(value)(**parts)
    if isinstance(value, (float, int, np.ndarray, np.floating)) and not isinstance(value, bool):
        return change(value)
    return value


def _full(cost: StepCost, size: int) -> StepCost:
    """The cost with every number as an array of the rows, but for the corrections."""
    full: StepCost = _mapped(cost, lambda v: np.broadcast_to(np.asarray(v, dtype=np.float64), (size,)))
    return _with(full, corrections=cost.corrections)


def _with(cost: StepCost, **changes: Any) -> StepCost:
    return replace(cost, **changes)


def _taken(value: Any, index: np.ndarray) -> Any:
    if isinstance(value, Corrections):
        return value
    if isinstance(value, StepCost):
        bare = _mapped(_with(value, corrections=None), lambda v: v[index])
        return _with(bare, corrections=value.corrections)
    if isinstance(value, Options):
        return _mapped(value, lambda v: v[index])
    return value[index] if isinstance(value, np.ndarray) else value


def joined(parts: Sequence[Points]) -> Points:
    """Points of several groups one after the other."""

    def glue(values: list[Any]) -> Any:
        first = values[0]
        if isinstance(first, np.ndarray):
            return np.concatenate(values)
        if isinstance(first, Corrections) or not is_dataclass(first):
            return first
        inside = {f.name: glue([getattr(v, f.name) for v in values]) for f in fields(first)}
        whole: Any = first
        return replace(whole, **inside)

    merged = {f.name: glue([getattr(p, f.name) for p in parts]) for f in fields(Points) if f.name != "rows"}
    return Points(rows=[row for p in parts for row in p.rows], **merged)


__all__ = ["Points", "joined", "points", "read_rows", "table_kind"]
