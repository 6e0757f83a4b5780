"""Requests of an open loop: generated at a rate, or read from a trace."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError, Fault, SpecError, nearest

#: columns of a trace: seconds, tokens, tokens
COLUMNS = ("arrival_s", "prefill_tokens", "decode_tokens")
#: column that names the trace of a row, in a file that holds several
NAME = "trace"
FORM = (
    f"a CSV file with columns {', '.join(COLUMNS)}; rows (arrival, prompt, answer); or a mapping of columns"
)


@dataclass(frozen=True, repr=False)
class Requests:
    """Requests in the order of their arrival.

    arrival  seconds from the first one [N]; prompt, answer: tokens [N]
    """

    name: str
    # not compared: arrays in the question of a Result would be taken for axes
    arrival: Any = field(compare=False)
    prompt: Any = field(compare=False)
    answer: Any = field(compare=False)

    def __repr__(self) -> str:
        return f"{self.name} ({len(self.arrival)} requests)"

    @property
    def rate(self) -> float:
        """Mean requests per second: gaps over the time that they span."""
        span = float(self.arrival[-1] - self.arrival[0])
        return (len(self.arrival) - 1) / span if span > 0.0 else float("inf")


def generate(
    count: int, *, burstiness: float = 1.0, input_cv: float = 0.0, output_cv: float = 0.0, seed: int = 0
) -> Requests:
    """Requests of mean rate 1/s with mean prompt and answer 1, to be scaled; the same for the same arguments.

    burstiness           coefficient of variation of the gaps, gamma distributed: 1 Poisson, 0 evenly spaced
    input_cv, output_cv  the same of the lengths; 0: all equal
    """
    streams = [np.random.default_rng([seed, stream]) for stream in range(3)]
    gaps, prompt, answer = (
        _gamma(rng, cv, count) for rng, cv in zip(streams, (burstiness, input_cv, output_cv), strict=True)
    )
    arrival = np.cumsum(gaps)
    return Requests("generated", (arrival - arrival[0]) * (count / max(arrival[-1], 1e-12)), prompt, answer)


def _gamma(rng: np.random.Generator, cv: float, count: int) -> Any:
    return np.ones(count) if cv == 0.0 else rng.gamma(1.0 / cv**2, cv**2, count)


def traces(source: Any) -> tuple[Requests, ...]:
    """Requests of a trace.

    source  path, or ``path:name`` of one trace in a file; rows; a mapping of columns, data frame, structured
            array

    A table with a column ``trace`` holds one trace for each of its names.
    Raises SpecError with line and column of every bad value of a file, ArgumentError otherwise.
    """
    if isinstance(source, Requests):
        return (source,)
    if isinstance(source, tuple) and source and all(isinstance(one, Requests) for one in source):
        return source
    if isinstance(source, (str, Path)):
        return _file(str(source))
    names = getattr(getattr(source, "dtype", None), "names", None)
    if names is None:
        names = getattr(source, "columns", None)  # a data frame
    if names is not None or isinstance(source, Mapping):
        return _columns({str(name): source[name] for name in (source if names is None else names)})
    if isinstance(source, Iterable):
        table = _numbers(list(source), 2)
        if table.shape[1] != 3:
            raise ArgumentError("trace", f"rows of {table.shape[1]} values", FORM)
        return (_requests("trace", *table.T),)
    raise ArgumentError("trace", source, FORM)


def _columns(table: Mapping[str, Any]) -> tuple[Requests, ...]:
    """Traces of named columns."""
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        unknown = next((name for name in table if name not in (*COLUMNS, NAME)), "")
        raise ArgumentError("trace", list(table), FORM, nearest(unknown, missing))
    columns = [_numbers(table[name]) for name in COLUMNS]
    if NAME not in table or len(set(map(len, columns))) > 1:
        return (_requests("trace", *columns),)
    labels = np.asarray(table[NAME]).astype(str)
    if len(labels) != len(columns[0]):
        raise ArgumentError(
            "trace", f"{len(labels)} names of {len(columns[0])} rows", "columns of equal length"
        )
    return tuple(
        _requests(name, *(column[labels == name] for column in columns))
        for name in dict.fromkeys(labels.tolist())
    )


def _numbers(values: Any, ndim: int = 1) -> Any:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ArgumentError("trace", values, FORM) from None
    if array.ndim != ndim or not array.size:
        raise ArgumentError("trace", values, FORM)
    return array


def _requests(name: str, arrival: Any, prompt: Any, answer: Any) -> Requests:
    if not len(arrival) == len(prompt) == len(answer):
        raise ArgumentError(
            "trace", f"{len(arrival)}, {len(prompt)}, {len(answer)} values", "columns of equal length"
        )
    for column, values in zip(COLUMNS, (arrival, prompt, answer), strict=True):
        wrong = [i for i, value in enumerate(values) if _refused(column, value)]
        if wrong:
            raise ArgumentError(f"trace.{column}[{wrong[0]}]", float(values[wrong[0]]), _allowed(column))
    order = np.argsort(arrival, kind="stable")
    return Requests(name, arrival[order] - arrival[order[0]], prompt[order], answer[order])


def _refused(column: str, value: float) -> bool:
    if column == COLUMNS[0]:
        return not (np.isfinite(value) and value >= 0.0)
    return not (np.isfinite(value) and value >= 1.0 and value == np.floor(value))


def _allowed(column: str) -> str:
    return "seconds, at least 0" if column == COLUMNS[0] else "a whole number of tokens, at least 1"


def _file(text: str) -> tuple[Requests, ...]:
    """Traces of a CSV file, plain or gzip."""
    path, wanted = Path(text), ""
    if not path.is_file() and ":" in text:
        path, wanted = Path(text.rpartition(":")[0]), text.rpartition(":")[2]
    if not path.is_file():
        raise ArgumentError("trace", text, f"the path of an existing file; a trace is {FORM}")
    try:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", newline="", encoding="utf-8-sig") as lines:
            rows = list(csv.reader(lines))
    except (OSError, UnicodeDecodeError, csv.Error, EOFError, zlib.error) as error:
        raise SpecError([Fault(str(path), 1, 1, "trace", f"cannot be read: {error}", FORM)]) from None
    found = _rows(path, rows)
    if wanted and wanted not in found:
        raise ArgumentError("trace", wanted, "one of " + ", ".join(found), nearest(wanted, found))
    return tuple(
        _requests(name, *np.array(values).T) for name, values in found.items() if wanted in ("", name)
    )


def _rows(path: Path, rows: Sequence[Sequence[str]]) -> dict[str, list[list[float]]]:
    """Name of a trace -> its rows of numbers.  Raises SpecError with every fault of the file."""
    header = [name.strip() for name in rows[0]] if rows else []
    faults = [
        Fault(str(path), 1, 1, name, "no such column", "columns " + ", ".join(COLUMNS), nearest(name, header))
        for name in COLUMNS
        if name not in header
    ]
    if faults or len(rows) < 2:
        raise SpecError(faults or [Fault(str(path), 1, 1, "trace", "no rows", FORM)])
    places = [header.index(name) for name in COLUMNS]
    named = header.index(NAME) if NAME in header else -1
    found: dict[str, list[list[float]]] = {}
    for line, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != len(header):
            faults.append(
                Fault(str(path), line, 1, "trace", f"{len(row)} fields", f"{len(header)}, as in line 1")
            )
            continue
        values = []
        for column, place in zip(COLUMNS, places, strict=True):
            value = _number(row[place])
            if _refused(column, value):
                faults.append(
                    Fault(str(path), line, place + 1, column, f"{row[place]!r} given", _allowed(column))
                )
            values.append(value)
        found.setdefault(row[named].strip() if named >= 0 else path.stem, []).append(values)
    if faults:
        raise SpecError(faults)
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
