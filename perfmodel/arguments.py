"""Checks of the arguments of the public API: one clear error, and nothing is computed from garbage."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from perfmodel.algebra import is_symbolic
from perfmodel.axes import Axis, as_axis, is_value
from perfmodel.errors import ArgumentError, nearest

#: every whole number up to here is a float of its own; products of sizes stay finite
LARGEST = 2.0**53


def number(
    name: str,
    value: Any,
    *,
    low: float = 0.0,
    above: bool = True,
    high: float = float("inf"),
    whole: bool = False,
) -> Any:
    """The value as float, Axis or symbol, if every element is finite and within the range.

    above  `low` itself is excluded.  Raises ArgumentError that names argument, value and range.
    """
    if is_symbolic(value):
        return value
    allowed = _range_text(low, above, high, whole)
    if isinstance(value, (bool, str, bytes, np.bool_, np.datetime64, np.timedelta64)) or value is None:
        raise ArgumentError(name, value, allowed)
    try:
        axis = value if is_value(value) else as_axis(name, value)
        array = np.asarray(axis.values if isinstance(axis, Axis) else axis, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError(name, value, allowed) from None
    if array.ndim > 1 and not is_value(value):
        raise ArgumentError(name, value, allowed)
    wrong = ~np.isfinite(array) | (array < low) | (array > high)
    if above:
        wrong |= array == low
    if whole:
        wrong |= array != np.floor(array)
    if np.any(wrong):
        raise ArgumentError(name, float(array[wrong].flat[0]), allowed)
    return axis if isinstance(axis, Axis) else array if array.ndim else float(array)


def whole(name: str, value: Any, *, low: float = 1.0) -> Any:
    """A whole number of at least `low` that a float holds exactly, or an axis of such numbers."""
    return number(name, value, low=low, above=False, high=LARGEST, whole=True)


def choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """One of the choices.  Raises ArgumentError with the nearest one."""
    known = tuple(choices)
    if not isinstance(value, str) or value not in known:
        close = nearest(value, known) if isinstance(value, str) else None
        raise ArgumentError(name, value, "one of " + ", ".join(known), close)
    return value


def text(name: str, value: Any) -> str:
    """A text; what it may say is known further down."""
    if not isinstance(value, str):
        raise ArgumentError(name, value, "a text")
    return value


def _range_text(low: float, above: bool, high: float, is_whole: bool) -> str:
    kind = "a whole number" if is_whole else "a finite number"
    start = f"above {low:g}" if above else f"at least {low:g}"
    most = "2^53" if high == LARGEST else f"{high:g}"
    end = f" and at most {most}" if high != float("inf") else ""
    return f"{kind} {start}{end}, or a list of such numbers"
