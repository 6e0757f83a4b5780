"""Tables: rows of SI numbers with units, shown as text, HTML, CSV or plain data."""

from __future__ import annotations

import csv
import html
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from perfmodel.errors import UnitError, UnknownNameError, optional
from perfmodel.units import format_si


@dataclass(frozen=True)
class Column:
    """Name and unit of a column: an SI unit, ``1`` for numbers, ``%`` for fractions, ``""`` for text."""

    name: str
    unit: str = ""

    @property
    def header(self) -> str:
        """Name with its unit, for files: ``latency [s]``."""
        return f"{self.name} [{self.unit}]" if self.unit not in ("", "1", "%") else self.name


@dataclass(frozen=True, repr=False)
class Table:
    """Rows of values in SI units; fractions are fractions, missing values are None or nan."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    title: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        names = [column.name for column in self.columns]
        return (dict(zip(names, row, strict=True)) for row in self.rows)

    def column(self, name: str) -> list[Any]:
        """Values of one column.  Raises UnknownNameError."""
        names = [column.name for column in self.columns]
        if name not in names:
            raise UnknownNameError("column", name, names)
        return [row[names.index(name)] for row in self.rows]

    def rich(self, limit: int | None = None) -> Any:
        """rich.table.Table of the first `limit` rows."""
        from rich.table import Table as RichTable
        from rich.text import Text

        shown = RichTable(title=self.title or None, title_justify="left", header_style="bold", box=_box())
        for column in self.columns:
            text = column.unit == ""
            shown.add_column(
                column.name, justify="left" if text else "right", overflow="fold", no_wrap=not text
            )
        for row in self.rows[:limit]:
            shown.add_row(*(Text(show(v, c.unit)) for v, c in zip(row, self.columns, strict=True)))
        if limit is not None and len(self.rows) > limit:
            shown.caption = f"{limit} of {len(self.rows)} rows; write all with -o file.csv"
        return shown

    def to_text(self, limit: int | None = None, width: int = 400) -> str:
        """Plain text with aligned columns."""
        from rich.console import Console

        stream = io.StringIO()
        Console(file=stream, width=width, color_system=None).print(self.rich(limit))
        return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())

    def to_html(self, limit: int | None = 200) -> str:
        """HTML table."""
        head = "".join(f"<th>{html.escape(c.name)}</th>" for c in self.columns)
        sides = ["left" if column.unit == "" else "right" for column in self.columns]
        body = "".join(
            "<tr>"
            + "".join(
                f'<td style="text-align:{side}">{html.escape(show(value, column.unit))}</td>'
                for side, value, column in zip(sides, row, self.columns, strict=True)
            )
            + "</tr>"
            for row in self.rows[:limit]
        )
        title = f"<caption>{html.escape(self.title)}</caption>" if self.title else ""
        return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def to_csv(self) -> str:
        """CSV with one header line that names the units; all digits."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([column.header for column in self.columns])
        writer.writerows([["" if _missing(v) else v for v in row] for row in self.rows])
        return stream.getvalue()

    def to_dict(self) -> dict[str, Any]:
        """``{"columns": [{"name", "unit"}], "rows": [{name: value}]}``, nan as None."""
        columns = [{"name": c.name, "unit": c.unit} for c in self.columns]
        return {"columns": columns, "rows": [{k: plain(v) for k, v in row.items()} for row in self]}

    def to_pandas(self) -> Any:
        """pandas.DataFrame (needs pandas)."""
        return optional("pandas").DataFrame(list(self.rows), columns=[column.name for column in self.columns])

    def __repr__(self) -> str:
        return self.to_text(limit=60)

    def _repr_html_(self) -> str:
        return self.to_html()


def _box() -> Any:
    from rich import box

    return box.SIMPLE_HEAD


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def show(value: Any, unit: str) -> str:
    """A value for people: SI prefix and unit, percent for fractions, a dash for nothing."""
    if _missing(value):
        return "-"
    if unit == "" or isinstance(value, str):
        return str(value)
    if unit == "%":
        return f"{100.0 * value:.1f} %"
    try:
        return format_si(float(value), unit, binary=unit == "B")
    except UnitError:  # a unit that the table of units does not know, such as item/s
        return f"{float(value):.4g} {unit}"


def plain(value: Any) -> Any:
    """The value as JSON takes it: nested lists of numbers and texts, None for nan and infinities."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (str, bool, int)) or value is None:
        return value
    if isinstance(value, np.ndarray) and value.ndim > 0:
        return [plain(item) for item in value]
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (float, np.ndarray)):
        number = float(value)
        return number if math.isfinite(number) else None
    return str(getattr(value, "name", value))


def scalar(value: Any) -> float:
    """One number out of a float or an array of one element."""
    return float(np.asarray(value).reshape(-1)[0])
