"""Tables of measured kernel times: how a file is recognised, and how its rows call a kernel model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from perfmodel.engine.kernels.facts import GpuFacts, KernelTime
from perfmodel.engine.kernels.gemm import Storage
from perfmodel.errors import UnknownNameError
from perfmodel.explore.measurements import as_column, read_columns
from perfmodel.hardware.catalog import device

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
#: columns of a family that hold names, beside those of number formats; the others hold numbers
TEXTS = ("architecture", "library", "op", "op_name", "phase")
#: endings of columns that hold measured numbers, also where a field of them is no number
MEASURES = ("_us", "_ms", "_s", "_W", "_J")
#: names of the 16-bit formats, one kernel for all
SAME = {"bf16": "bfloat16", "fp16": "bfloat16", "float16": "bfloat16", "half": "bfloat16"}
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
    most: int = 1200  #: rows used in one fit
    origin: int = 2  #: leading parts of a group name that say whose kernel it is, not which


def read_table(path: str | Path) -> dict[str, Any]:
    """Columns of a CSV file (also .gz): float64 where every value is a number, else text."""
    found = {}
    for name, fields in read_columns(path, "data").items():
        column = as_column(fields)
        measure = column.dtype.kind == "U" and name.endswith(MEASURES)
        found[name] = np.array([number_or_nan(field) for field in fields]) if measure else column
    return found


def number_or_nan(field: Any) -> float:
    """The number that a field states, nan where it states none."""
    try:
        return float(field)
    except ValueError:
        return float("nan")


def take(rows: Rows, index: Any) -> dict[str, Any]:
    """The rows at an index or under a mask."""
    return {name: column[index] for name, column in rows.items()}


def size(rows: Rows) -> int:
    """Number of rows."""
    return len(next(iter(rows.values())))


def label(rows: Rows, *columns: str, extra: Iterable[Any] = ()) -> Any:
    """Group names ``a/b/c`` from text columns; an absent column reads ``any``."""
    parts = [np.asarray(rows[c]).astype(str) if c in rows else np.full(size(rows), "any") for c in columns]
    rows_ = zip(*parts, *extra, strict=True)
    return np.array(["/".join(SAME.get(p, p).replace("/", ":") for p in row) for row in rows_])


def computed_formats(rows: Rows) -> Rows:
    """The rows with a cache of 8-bit floats named 16-bit where the device has no unit for them.

    Its kernels take the same time to a per cent, and both are one group.
    """
    systems = np.asarray(rows["system"] if "system" in rows else rows["device"])
    without = [system for system in np.unique(systems) if not _has_fp8(device_name(str(system)))]
    narrow = np.isin(systems, without) & (np.asarray(rows["kv_dtype"]) == "fp8")
    return {**rows, "kv_dtype": np.where(narrow, "bfloat16", rows["kv_dtype"])}


def _has_fp8(name: str) -> bool:
    try:
        return "fp8" in device(name).compute["matrix"].peak
    except UnknownNameError:  # of a description that is not in the catalogue
        return True


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


def columns(*names: str) -> frozenset[str]:
    """Columns that a table of a family must have."""
    return frozenset(names)
