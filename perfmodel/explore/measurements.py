"""Tables of measured times as work: what each row asks of each resource, at nominal rates.

A row is one operator (``m, n, k`` of a matrix product, or ``op`` with the sizes of that operator), one pass
of a workload (``workload, batch, query, context``), or plain amounts (``flops, bytes``).  Its time is in a
column ``latency_s``, ``latency_ms`` or ``latency_us``; ``dtype`` or ``precision`` names the number format.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from perfmodel.engine.achieved import LAUNCH
from perfmodel.engine.roofline import OpCost, cost
from perfmodel.errors import ArgumentError, nearest
from perfmodel.formats import precision as precision_of
from perfmodel.hardware.catalog import system as system_of
from perfmodel.hardware.device import Device, System
from perfmodel.ops.core import Op, Tensor, Work

#: time columns and their unit [s]
TIMES = {"latency_s": 1.0, "latency_ms": 1e-3, "latency_us": 1e-6}
#: number formats as tables write them
FORMATS = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32", "float64": "fp64", "half": "fp16"}
_TEXT = ("op", "workload", "dtype", "precision")


@dataclass(frozen=True)
class Term:
    """One op of some rows.

    rows     index into the table [R]
    count    repetitions [R]
    seconds  resource -> time at the nominal rate of one repetition [R]; these overlap
    serial   launch time of one repetition [R]
    """

    rows: Any
    count: Any
    seconds: Mapping[str, Any]
    serial: Any


@dataclass(frozen=True)
class Measured:
    """Rows of a table with their work.

    times [N] in seconds, nan where there is none; group [N]: operator and format, or workload;
    shape [N]: label of the shape family that a cross-validation leaves out together
    """

    times: Any
    terms: Sequence[Term]
    group: Any
    shape: Any

    @property
    def parameters(self) -> tuple[str, ...]:
        """Corrections that the rows could tell something about."""
        found = dict.fromkeys(name for term in self.terms for name in term.seconds)
        serial = any(np.any(np.asarray(term.serial) > 0) for term in self.terms)
        return (*found, LAUNCH) if serial else tuple(found)

    def predict(self, corrections: Mapping[str, float]) -> Any:
        """Time of each row [s]; a correction that is not given is 1."""
        out = np.zeros(len(self.group))
        for term in self.terms:
            parts = [s / corrections.get(name, 1.0) for name, s in term.seconds.items()]
            longest = np.max(np.stack(np.broadcast_arrays(*parts)), axis=0) if parts else 0.0
            np.add.at(out, term.rows, term.count * (longest + corrections.get(LAUNCH, 1.0) * term.serial))
        return out


def read_columns(path: str | Path, argument: str = "measurements") -> dict[str, list[str]]:
    """Columns of a CSV file (plain or gzip) as text.

    Raises ArgumentError that blames `argument` for a file that is missing, empty or not a table.
    """
    place = Path(path)
    if not place.is_file():
        raise ArgumentError(argument, str(path), "the path of a CSV file, or columns")
    opened = gzip.open if place.suffix == ".gz" else open
    try:
        with opened(place, "rt", newline="", encoding="utf-8-sig") as lines:
            reader = csv.reader(lines)
            rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error, EOFError, zlib.error) as error:
        raise ArgumentError(argument, str(path), f"a CSV file in UTF-8 ({error})") from None
    if len(rows) < 2:
        raise ArgumentError(argument, str(path), "a header line and at least one row")
    header = [name.strip() for name in rows[0][1]]
    for line, row in rows:
        if len(row) != len(header):
            raise ArgumentError(argument, f"{path}:{line}", f"{len(header)} fields, as the header has")
    columns = zip(*(row for _, row in rows[1:]), strict=True)
    return {name: [field.strip() for field in column] for name, column in zip(header, columns, strict=True)}


def as_column(values: Sequence[Any]) -> Any:
    """Values as float64, nan where a field is empty; as text where one of them is no number."""
    try:
        return np.array([float(v) if v != "" else np.nan for v in values])
    except (TypeError, ValueError):
        return np.array([str(v) for v in values])


def columns_of(measurements: Any) -> Mapping[str, Sequence[Any]]:
    """Columns of a CSV file, a mapping of columns, a data frame, or rows that are mappings."""
    if isinstance(measurements, (str, Path)):
        return read_columns(measurements)
    if isinstance(measurements, Mapping):
        return measurements
    names = getattr(measurements, "columns", None)  # a data frame
    if names is not None:
        return {str(name): list(measurements[name]) for name in names}
    rows = list(measurements) if isinstance(measurements, Sequence) else []
    if not rows or not all(isinstance(row, Mapping) and row.keys() == rows[0].keys() for row in rows):
        allowed = "the path of a CSV file, columns, or rows of the same columns"
        raise ArgumentError("measurements", measurements, allowed)
    return {str(name): [row[name] for row in rows] for name in rows[0]}


def measured(device: Device, columns: Mapping[str, Sequence[Any]], *, timed: bool = True) -> Measured:
    """Work of the rows on a device.  `timed` False: candidates that have no time yet.

    Raises ArgumentError for columns that say neither operator nor workload, and for times that are not
    positive.
    """
    table = _table(columns)
    size = len(next(iter(table.values())))
    times = _times(table) if timed else np.full(size, np.nan)
    formats = np.array(
        [FORMATS.get(str(f), str(f)) for f in table.get("dtype", table.get("precision", ["bf16"] * size))]
    )
    read = _workloads if "workload" in table else _operators
    group = np.empty(size, dtype=object)
    shape = np.empty(size, dtype=object)
    terms: list[Term] = []
    names = table.get("workload", table.get("op", np.array(["matmul" if "m" in table else "amounts"] * size)))
    for name, number_format in sorted(set(zip(map(str, names), formats, strict=True))):
        rows = np.flatnonzero((names == name) & (formats == number_format))
        found, labels = read(table, name, number_format, rows, system_of(device))
        terms += found
        group[rows] = f"{name}/{number_format}"
        shape[rows] = labels
    return Measured(times, terms, group.astype(str), shape.astype(str))


def check_times(columns: Mapping[str, Sequence[Any]]) -> None:
    """Raises ArgumentError for columns of unequal length, and for times that are missing or not positive."""
    _times(_table(columns))


def _table(columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    sizes = {len(values) for values in columns.values()}
    if len(sizes) != 1 or not next(iter(sizes)):
        raise ArgumentError("measurements", f"columns of {sorted(sizes)} rows", "columns of equal length")
    return {
        name: np.array([str(v) for v in values]) if name in _TEXT else as_column(values)
        for name, values in columns.items()
    }


def _times(table: Mapping[str, Any]) -> Any:
    known = [name for name in TIMES if name in table]
    if len(known) != 1:
        raise ArgumentError(
            "measurements", ", ".join(table), "exactly one of the columns " + ", ".join(TIMES)
        )
    values = table[known[0]]
    if values.dtype.kind != "f" or not np.all(np.isfinite(values)) or np.any(values <= 0):
        raise ArgumentError(known[0], "a value", "finite times above 0 in every row")
    return values * TIMES[known[0]]


def _operators(
    table: Mapping[str, Any], name: str, number_format: str, rows: Any, system: System
) -> tuple[list[Term], Any]:
    from perfmodel.ops import constructors  # noqa: F401  (registers the operators)
    from perfmodel.ops.registry import find

    sizes = {
        k: v[rows]
        for k, v in table.items()
        if v.dtype.kind == "f" and k not in TIMES and np.all(np.isfinite(v[rows]))
    }
    if name == "amounts":
        op = _amounts(table, sizes)
        labels = [f"{v:.1g}" for v in sizes.get("flops", np.zeros(len(rows)))]
    else:
        import inspect

        known = inspect.signature(find(name)).parameters
        given = {k: v for k, v in sizes.items() if k in known}
        missing = [k for k, p in known.items() if p.default is inspect.Parameter.empty and k not in given]
        if missing:
            raise ArgumentError(name, ", ".join(given) or "no sizes", "also needed: " + ", ".join(missing))
        op = find(name)(**given)
        labels = [
            "x".join(f"{v[i]:g}" for k, v in given.items() if k not in ("m", "batch", "query"))
            for i in range(len(rows))
        ]
    return [_term(cost(op, system, precision_of(number_format)), rows)], labels


def _amounts(table: Mapping[str, Any], sizes: Mapping[str, Any]) -> Op:
    if not {"flops", "bytes"} & set(sizes):
        wanted = "columns m, n, k; or op and its sizes; or workload, batch ...; or flops, bytes"
        raise ArgumentError("measurements", ", ".join(table), wanted, nearest("flops", list(table)))
    rows = len(next(iter(sizes.values())))
    moved, work = sizes.get("bytes", np.zeros(rows)), sizes.get("flops", np.zeros(rows))
    # bytes are bytes whatever the format of the row: one-byte elements
    tensor = Tensor("bytes", ("bytes",), format="int8")
    return Op(
        "elementwise",
        {"bytes": moved},
        (tensor,),
        (Work("matrix", work),),
        launches=sizes.get("kernels", 1.0),
    )


def _workloads(
    table: Mapping[str, Any], name: str, number_format: str, rows: Any, system: System
) -> tuple[list[Term], Any]:
    from perfmodel.workload.step import Step
    from perfmodel.workload.workload import workload

    def column(key: str, default: Any) -> Any:
        return table[key][rows] if key in table else np.full(len(rows), float(default))

    batch, query = column("batch", 1), column("query", 1)
    context = table["context"][rows] if "context" in table else query
    graph = workload(name).graph(Step(batch, query, context))
    precision = precision_of(number_format)
    terms = [_term(cost(op, system, precision), rows) for op in graph.ops]
    return terms, [f"{name} {b:g}" for b in batch]


def _term(spent: OpCost, rows: Any) -> Term:
    def full(value: Any) -> Any:
        return np.broadcast_to(np.asarray(value, dtype=np.float64), (len(rows),))

    parts = {name: full(part) for name, part in spent.parts.items()}
    return Term(rows, full(spent.count), parts, full(spent.serial))


def only(found: Measured, rows: Any) -> Measured:
    """Some of the rows."""
    place = np.full(len(found.group), -1)
    place[rows] = np.arange(len(rows))

    def cut(term: Term) -> Term:
        here = place[term.rows] >= 0
        parts = {name: s[here] for name, s in term.seconds.items()}
        return replace(
            term, rows=place[term.rows][here], count=term.count[here], seconds=parts, serial=term.serial[here]
        )

    return Measured(found.times[rows], [cut(t) for t in found.terms], found.group[rows], found.shape[rows])
