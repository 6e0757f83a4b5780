"""Figures without global state: they need no display, and a notebook shows them."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

from perfmodel.errors import UnitError
from perfmodel.units import convert, format_si

#: Colours that stay apart for colour-blind readers (Okabe and Ito, "Color Universal Design", 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#8C564B")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#9a9a9a"

#: colour of each kind of bound
BOUND_COLOURS = {"compute": COLOURS[0], "memory": COLOURS[1], "links": COLOURS[2], "overhead": COLOURS[6]}


@cache
def _figure_class() -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class Picture(Figure):
        """A matplotlib figure that draws without a window and shows itself in notebooks."""

        def _repr_png_(self) -> bytes:
            return render(self, ".png")

    return Picture, FigureCanvasAgg


def new(width: float = 8.0, height: float = 5.0) -> tuple[Any, Any]:
    """A figure and its axes, in inches."""
    picture, canvas = _figure_class()
    figure = picture(figsize=(width, height), layout="constrained")
    canvas(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def render(figure: Any, ending: str) -> bytes:
    """The figure as bytes of a ``.png``, ``.svg`` or ``.pdf`` file."""
    stream = io.BytesIO()
    # no date in the file: the same figure gives the same bytes
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(ending)
    figure.savefig(stream, format=ending.lstrip("."), dpi=130, metadata=metadata)
    return stream.getvalue()


def scaled(values: Sequence[float], unit: str) -> tuple[float, str]:
    """Divisor and unit with prefix that bring the largest value between 1 and 1000."""
    finite = [abs(v) for v in values if math.isfinite(v) and v]
    if not finite or unit in ("1", "", "%"):
        return 1.0, "" if unit in ("1", "") else unit
    try:
        chosen = format_si(max(finite), unit).split(" ", 1)[1]
        return float(convert(1.0, chosen, unit)), chosen
    except (UnitError, IndexError):
        return 1.0, unit


def label(name: str, unit: str) -> str:
    """Axis label ``name [unit]``."""
    words = name.replace("_", " ")
    return f"{words} [{unit}]" if unit else words


def axis_name(name: str) -> str:
    """Short name of an axis: ``device.memory.hbm.bandwidth`` -> ``hbm bandwidth``."""
    parts = [part for part in name.split(".") if part not in ("device", "memory", "compute", "links", "dims")]
    return " ".join(parts).replace("_", " ")


def set_title(axes: Any, text: str) -> None:
    """Title on the left, wrapped to the width of the figure."""
    import textwrap

    wide = int(axes.figure.get_size_inches()[0] * 11.8)
    axes.set_title("\n".join(textwrap.wrap(text, wide)), loc="left", fontsize=10)


def set_heading(figure: Any, text: str) -> None:
    """Heading over all axes of a figure, wrapped to its width."""
    import textwrap

    wide = int(figure.get_size_inches()[0] * 12.5)
    figure.suptitle("\n".join(textwrap.wrap(text, wide)), fontsize=10, x=0.01, ha="left")


def log_ticks(axis: Any, unit: str) -> None:
    """Ticks with SI prefixes on a logarithmic axis; at 1, 2 and 5 where it spans few decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    if high < 50.0 * low:
        axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: format_si(value, unit)))
    axis.set_minor_formatter(NullFormatter())


def place_labels(
    figure: Any,
    axes: Any,
    labels: Sequence[tuple[float, float, str, str]],
    obstacles: Sequence[tuple[float, float, float]] = (),
) -> None:
    """Write (x, y, text, colour) beside their points so that no label covers another or leaves the axes.

    obstacles  markers (x, y, radius in points) that labels keep clear of
    """
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    frame = axes.get_window_extent(renderer)
    taken: list[Any] = [text.get_window_extent(renderer) for text in axes.texts]
    taken += [_marker_box(figure, axes, *obstacle) for obstacle in obstacles]
    for label in labels:
        for offset in _OFFSETS:
            note = _note(axes, *label, offset)
            box = words_box(note, renderer)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(box.expanded(1.02, 1.15).overlaps(other) for other in taken):
                taken.append(box)
                break
            note.remove()  # without any room the label is left out: the table of ops has it


def words_box(note: Any, renderer: Any) -> Any:
    """Box of the words of an annotation, without the line to its point [pixels]."""
    from matplotlib.text import Text

    note.update_positions(renderer)
    return Text.get_window_extent(note, renderer)


_OFFSETS = [
    (dx, dy)
    for r in (14, 20, 28, 38, 50, 64, 80, 98, 120)
    for dx, dy in ((r, 0), (r, -r), (r, r), (-r, r), (-r, -r), (0, -r), (0, r), (-r, 0))
]


def _note(axes: Any, x: float, y: float, text: str, colour: str, offset: tuple[int, int]) -> Any:
    return axes.annotate(
        text,
        (x, y),
        xytext=offset,
        textcoords="offset points",
        fontsize=8,
        color=colour,
        ha="left" if offset[0] > 0 else "right" if offset[0] < 0 else "center",
        va="center",
        bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.75},
        arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.6, "shrinkA": 0, "shrinkB": 0},
    )


def _marker_box(figure: Any, axes: Any, x: float, y: float, radius: float) -> Any:
    from matplotlib.transforms import Bbox

    centre = axes.transData.transform((x, y))
    pixels = 0.85 * radius * figure.dpi / 72.0
    return Bbox.from_bounds(centre[0] - pixels, centre[1] - pixels, 2 * pixels, 2 * pixels)


def plain_log_ticks(axis: Any) -> None:
    """Plain numbers at 1, 2, 5, 10 ... on a logarithmic axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
