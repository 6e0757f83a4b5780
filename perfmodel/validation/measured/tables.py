"""Files of measurements: CSV (plain or gzip) and NumPy archives, as columns."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError
from perfmodel.explore.kernel_tables import number_or_nan
from perfmodel.explore.measurements import read_columns


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
        return np.array([number_or_nan(v) for v in self.columns[name]], dtype=np.float64)

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
    return Table(place, read_columns(place, "data"))
