"""The ``array:`` block of a device: what a mapping must know about a spatial array beside its memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perfmodel.algebra import Value
from perfmodel.spec import flag, many, quantity, table, text

_EMPTY: Mapping[str, Any] = {}

#: operator families that one loop nest states, and the loops of any of them
FAMILIES = ("matmul", "grouped_matmul", "conv1d", "conv2d", "conv3d")
LOOPS = ("b", "e", "g", "m", "n", "k", "c", "d", "p", "q", "u", "r", "s")


@dataclass(frozen=True, kw_only=True)
class ArrayAxis:
    """One direction of the array.

    Loop names differ by operator (``m n k`` of a product, ``b g k c p q r s`` of a convolution), so the rules
    are given per operator family.
    """

    size: Value = quantity("count", doc="positions along the axis")
    under: str = text(doc="memory level directly above; levels listed after it exist once per position")
    loops: Mapping[str, tuple[str, ...]] = table(
        many(text(choices=LOOPS)), keys=FAMILIES, default=_EMPTY,
        doc="operator family -> loops that may be spread here; absent: any",
    )
    fixed: Mapping[str, Mapping[str, Value]] = table(
        table(quantity("count")), keys=FAMILIES, default=_EMPTY,
        doc="operator family -> loop -> prescribed factor",
    )
    most: Value = quantity("count", default=2.0, doc="different loops that may share the axis")
    hop_energy: Value = quantity(
        "J/B", default=0.0, positive=False, low=0.0, doc="energy of one neighbour-to-neighbour step"
    )


@dataclass(frozen=True, kw_only=True)
class SpatialArray:
    """Axes, multiply-accumulate energy and timing of a spatial array."""

    axes: Mapping[str, ArrayAxis] = table(ArrayAxis, doc="directions of the array, outermost first")
    mac_energy: Mapping[str, Value] = table(
        quantity("J", positive=False, low=0.0), default=_EMPTY,
        doc="energy of one multiply-accumulate by number format",
    )
    rate: Value = quantity("1", default=1.0, doc="multiply-accumulates of one position in one cycle")
    rates: Mapping[str, Value] = table(
        quantity("1"), default=_EMPTY,
        doc="the same by number format: bit-serial engines, packed lanes; others run at `rate`",
    )
    skew: Value = quantity(
        "1", default=0.0, positive=False, low=0.0, doc="cycles until the last position has its first operand"
    )
    static_power: Value = quantity("W", default=0.0, positive=False, low=0.0, doc="leakage and clock tree")
    partial: Value = quantity("bit", default=32.0, doc="width of a partial sum")
    bypass: Mapping[str, tuple[str, ...]] = table(
        many(text(choices=("weight", "input", "output"))), default=_EMPTY,
        doc="memory level -> operands that may pass it by",
    )
    systolic: bool = flag(default=False, doc="rigid wavefront: closed forms of the systolic model apply")
