"""The accelerator that the mapping engine sees: levels, array axes, and a MAC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from perfmodel.algebra import Value, minimum
from perfmodel.engine.dataflow.mapping import MAC
from perfmodel.engine.dataflow.problem import ROLES
from perfmodel.errors import ArgumentError, UnknownNameError
from perfmodel.formats import Precision, precision

INFINITE = float("inf")


@dataclass(frozen=True)
class Widths:
    """Bits of one element: operands, finished outputs, and partial sums."""

    weight: Value = 8.0
    input: Value = 8.0
    output: Value = 8.0
    partial: Value = 32.0

    def __post_init__(self) -> None:
        for name in ("weight", "input", "output", "partial"):
            check(f"widths.{name}", getattr(self, name), "a finite number of bits > 0")

    def of(self, role: str, partial: Value = False) -> Value:
        """Bits of an element of this role [bit]."""
        if role != "output":
            return getattr(self, role)
        return np.where(partial, self.partial, self.output)

    def narrow(self, role: str) -> Value:
        """Bits of an element of this role at its narrowest [bit]."""
        return minimum(self.of(role, False), self.of(role, True))


def widths(choice: str | Mapping[str, str] | Precision | Widths) -> Widths:
    """Widths of a precision policy (partial sums: its accumulator) or as given."""
    if isinstance(choice, Widths):
        return choice
    policy = precision(choice)
    bits = {k: policy.format(k).bits_per_element for k in ("weight", "activation", "accumulator")}
    # integer products add up in 32 bits as well, whatever float format the policy names
    return Widths(bits["weight"], bits["activation"], bits["activation"], bits["accumulator"])


@dataclass(frozen=True, kw_only=True)
class Level:
    """One memory level.

    capacity         of one instance [B]
    bandwidth        of one port of one instance [B/cycle]; shared_ports: one port reads and writes,
                     else one port each
    read_energy, write_energy  [J/B]
    holds            roles that live here (``weight``, ``input``, ``output``)
    optional         roles among them that may bypass this level
    double_buffered  half of the capacity is being refilled
    word             width of one access [bit]
    """

    name: str
    capacity: Value = INFINITE
    bandwidth: Value = INFINITE
    shared_ports: bool = False
    read_energy: Value = 0.0
    write_energy: Value = 0.0
    holds: tuple[str, ...] = ROLES
    optional: tuple[str, ...] = ()
    double_buffered: bool = False
    word: Value = 1.0

    def __post_init__(self) -> None:
        where = f"level {self.name}"
        check(f"{where}.capacity", self.capacity, "bytes > 0", infinite=True)
        check(f"{where}.bandwidth", self.bandwidth, "bytes per cycle > 0", infinite=True)
        check(f"{where}.word", self.word, "bits > 0")
        check(f"{where}.read_energy", self.read_energy, "J/B >= 0", zero=True)
        check(f"{where}.write_energy", self.write_energy, "J/B >= 0", zero=True)
        for role in (*self.holds, *self.optional):
            if role not in ROLES:
                raise UnknownNameError(f"role in {where}.holds", role, ROLES)
        if not self.holds:
            raise ArgumentError(f"{where}.holds", self.holds, "one role at least")

    @property
    def room(self) -> Value:
        """Capacity that a tile may fill [B]."""
        return self.capacity / 2.0 if self.double_buffered else self.capacity


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One direction of a spatial array.

    under       level directly above: what is listed after it exists once per position
    loops       loops that may be spread over the axis, or operator family -> loops; empty: any
    hop_energy  of one neighbour-to-neighbour step [J/B]
    fixed       loop -> factor, or family -> loop -> factor: prescribed unrolling (clipped to the bound)
    most        how many different loops may share the axis
    """

    name: str
    size: Value
    under: str
    loops: tuple[str, ...] | Mapping[str, tuple[str, ...]] = ()
    hop_energy: Value = 0.0
    fixed: Mapping[str, Any] = field(default_factory=dict)
    most: int = 2

    def allowed(self, family: str) -> tuple[str, ...]:
        """Loops of an operator family that may lie here; empty: any."""
        return tuple(self.loops.get(family, ())) if isinstance(self.loops, Mapping) else self.loops

    def prescribed(self, family: str) -> Mapping[str, Value]:
        """Loop -> factor that an operator family must use here; empty: free."""
        nested = any(isinstance(value, Mapping) for value in self.fixed.values())
        return self.fixed.get(family, {}) if nested else self.fixed

    def __post_init__(self) -> None:
        check(f"axis {self.name}.size", self.size, "positions >= 1", least=1.0)
        check(f"axis {self.name}.hop_energy", self.hop_energy, "J/B >= 0", zero=True)


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """Levels from the outermost to the innermost, array axes, MACs.

    mac_energy    of one multiply-accumulate [J]
    clock         [Hz]
    rate          multiply-accumulates of one array position in one cycle
    skew          cycles before the last position of the array has its first operand
    static_power  leakage and clock tree [W]
    """

    name: str
    levels: tuple[Level, ...]
    axes: tuple[Axis, ...] = ()
    mac_energy: Value = 0.0
    clock: Value = 1e9
    rate: Value = 1.0
    skew: Value = 0.0
    static_power: Value = 0.0

    def __post_init__(self) -> None:
        names = [level.name for level in self.levels]
        if not names:
            raise ArgumentError("levels", (), "one level at least")
        _distinct("level", names)
        _distinct("axis", [axis.name for axis in self.axes])
        check("mac_energy", self.mac_energy, "J >= 0", zero=True)
        check("clock", self.clock, "Hz > 0")
        check("rate", self.rate, "MAC per cycle > 0")
        check("skew", self.skew, "cycles >= 0", zero=True)
        check("static_power", self.static_power, "W >= 0", zero=True)
        if set(self.levels[0].holds) != set(ROLES) or np.any(np.isfinite(self.levels[0].capacity)):
            allowed = "an outermost level that holds all roles, unbounded"
            raise ArgumentError(f"level {names[0]}", self.levels[0].holds, allowed)
        for axis in self.axes:
            if axis.under not in names:
                raise UnknownNameError(f"level of axis {axis.name}", axis.under, names)

    @property
    def priced(self) -> bool:
        """Whether anything costs energy."""
        prices = [self.mac_energy, self.static_power, *(axis.hop_energy for axis in self.axes)]
        prices += [price for level in self.levels for price in (level.read_energy, level.write_energy)]
        return any(np.any(np.asarray(price) > 0) for price in prices)

    def level(self, name: str) -> Level:
        """Level of this name."""
        for level in self.levels:
            if level.name == name:
                return level
        raise UnknownNameError("level", name, [level.name for level in self.levels])

    def inside(self, axis: Axis) -> frozenset[str]:
        """Levels that exist once per position of the axis."""
        names = [level.name for level in self.levels]
        return frozenset(names[names.index(axis.under) + 1:]) | {MAC}

    @property
    def inner_levels(self) -> dict[str, frozenset[str]]:
        """Axis name -> levels that exist once per position."""
        return {axis.name: self.inside(axis) for axis in self.axes}

    @property
    def positions(self) -> Value:
        """MAC positions."""
        result: Value = 1.0
        for axis in self.axes:
            result = result * axis.size
        return result


def check(
    name: str, value: Value, allowed: str, *, zero: bool = False, infinite: bool = False, least: float = 0.0
) -> None:
    """Refuse a number that is nan, infinite or out of range; arrays are looked through."""
    numbers = np.asarray(value, dtype=float)
    good = numbers >= least if (zero or least) else numbers > 0
    if not infinite:
        good = good & np.isfinite(numbers)
    if not good.all():
        raise ArgumentError(name, value, allowed)


def _distinct(kind: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ArgumentError(kind, name, "each name once")
        seen.add(name)
