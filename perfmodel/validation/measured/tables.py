"""Files of measurements: CSV (plain or gzip) and NumPy archives, as columns."""

from __future__ import annotations

import csv
import gzip
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError


@dataclass(frozen=True)
class Table:
    """Columns of a file by name: lists of text for CSV, arrays for archives."""

    path: Path
    columns: Mapping[str, Any]

    @property
    def header(self) -> frozenset[str]:
        """Names of the columns."""
        return frozenset(self.columns)

    def numbers(self, name: str) -> Any:
        """A column as float64; nan where a field is empty or no number."""
        return np.array([number(v) for v in self.columns[name]], dtype=np.float64)

    def texts(self, name: str) -> Any:
        """A column as an array of text."""
        return np.array([str(v) for v in self.columns[name]])


def read(path: str | Path) -> Table:
    """Columns of a file.  Raises ArgumentError for a file that is missing, empty or not a table."""
    place = Path(path)
    if not place.is_file():
        raise ArgumentError("data", str(path), "the path of a CSV (.csv, .csv.gz) or NumPy (.npz) file")
    if place.suffix == ".npz":
        try:
            with place.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return Table(place, {name: archive[name] for name in archive.files})
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, zlib.error) as error:
            raise ArgumentError("data", str(place), f"a NumPy archive ({error})") from error
    return Table(place, _csv(place))


def _csv(place: Path) -> Mapping[str, Sequence[str]]:
    try:
        with (
            gzip.open(place, "rt", encoding="utf-8-sig", newline="")
            if place.suffix == ".gz"
            else place.open(encoding="utf-8-sig", newline="")
        ) as lines:
            rows = list(csv.reader(lines))
    except (UnicodeDecodeError, OSError, EOFError, zlib.error, csv.Error) as error:
        raise ArgumentError("data", str(place), f"a CSV file in UTF-8 ({error})") from error
    if len(rows) < 2:
        raise ArgumentError("data", str(place), "a header line and at least one row")
    ragged = next((i for i, row in enumerate(rows, start=1) if len(row) != len(rows[0])), 0)
    if ragged:
        raise ArgumentError("data", f"{place}:{ragged}", f"{len(rows[0])} fields, as the header has")
    return {name: [row[i] for row in rows[1:]] for i, name in enumerate(rows[0])}


def number(text: Any) -> float:
    """The number that a field states, nan where it states none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
