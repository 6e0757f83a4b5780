"""Field helpers: how a frozen dataclass says what its YAML form may hold.

Each helper returns a ``dataclasses.field`` whose metadata hold one of the rule classes below.  The loader,
the JSON Schema, ``vary`` and the writer all read these rules, so a field is described once::

    @dataclass(frozen=True, kw_only=True)
    class MemoryLevel:
        capacity: Value = quantity("B", doc="bytes of one instance")
        bandwidth: Value = quantity("B/s")
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass
from typing import Any, TypeAlias, TypeVar

from ..errors import UnitError
from ..units import format_si, parse

V = TypeVar("V")

#: Marks a field that a file must give.
REQUIRED: Any = MISSING
_KEY = "spec"


class FrozenMap(Mapping[str, V]):
    """An immutable mapping in insertion order; hashable if its values are, and it pickles."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, V] | Iterable[tuple[str, V]] = ()) -> None:
        self._items = dict(items)

    def __getitem__(self, key: str) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return f"FrozenMap({self._items!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (FrozenMap, (self._items,))

    def set(self, key: str, value: V) -> FrozenMap[V]:
        """A copy with one entry replaced or added."""
        return FrozenMap({**self._items, key: value})


@dataclass(frozen=True)
class Provenance:
    """Where a value comes from: source id and its citation, a note, and the place in the file."""

    source: str | None = None
    citation: str = ""
    note: str = ""
    file: str = ""
    line: int = 0


@dataclass(frozen=True)
class Quantity:
    """A number with a unit; `low` and `high` are in SI and included."""

    unit: str
    positive: bool = True
    low: float | None = None
    high: float | None = None
    doc: str = ""

    def range_text(self) -> str:
        """The allowed range in words, empty if any finite number will do."""
        words = []
        if self.positive and (self.low is None or self.low <= 0):
            words.append("above 0")
        elif self.low is not None:
            words.append(f"at least {format_si(self.low, self.unit)}")
        if self.high is not None:
            words.append(f"at most {format_si(self.high, self.unit)}")
        return " and ".join(words)

    def fault_of(self, value: float) -> str:
        """Why an SI value is refused, or an empty string."""
        if not math.isfinite(value):
            return "is not finite"
        if self.positive and value <= 0:
            return "is not above 0"
        if self.low is not None and value < self.low:
            return "is too small"
        if self.high is not None and value > self.high:
            return "is too large"
        return ""

    def read(self, text: str) -> float:
        """SI value of a text; raises UnitError."""
        value = parse(text, self.unit)
        fault = self.fault_of(value)
        if fault:
            raise UnitError(f"{text.strip()!r} {fault}", self.range_text())
        return value


@dataclass(frozen=True)
class Text:
    """A text, of `choices` if given."""

    choices: tuple[str, ...] | None = None
    doc: str = ""


@dataclass(frozen=True)
class Flag:
    """``true`` or ``false``."""

    doc: str = ""


@dataclass(frozen=True)
class Block:
    """A nested dataclass."""

    cls: type
    doc: str = ""


@dataclass(frozen=True)
class Table:
    """A mapping from names (of `keys` if given) to values of one rule."""

    of: Rule
    keys: tuple[str, ...] | None = None
    doc: str = ""


@dataclass(frozen=True)
class Many:
    """A list of values of one rule."""

    of: Rule
    doc: str = ""
    least: int = 0


@dataclass(frozen=True)
class Anything:
    """Any YAML tree, kept as plain Python values."""

    doc: str = ""


Rule: TypeAlias = Quantity | Text | Flag | Block | Table | Many | Anything


def quantity(
    unit: str,
    *,
    default: Any = REQUIRED,
    positive: bool = True,
    low: float | None = None,
    high: float | None = None,
    doc: str = "",
) -> Any:
    """A number in `unit`, kept as an SI float; ``"1"`` is dimensionless, ``"count"`` a whole number above 0.

    A text as `default` is read with the unit, a number is SI.  `low`/`high` are SI and included; a `low` of 0
    with ``positive=False`` allows zero.
    """
    if isinstance(default, str):
        default = parse(default, unit)
    return _field(Quantity(unit, positive, low, high, doc), default)


def text(*, default: Any = REQUIRED, choices: Iterable[str] | None = None, doc: str = "") -> Any:
    """A text; plain ``no``, ``1.10`` or ``on`` stay texts."""
    return _field(Text(tuple(choices) if choices is not None else None, doc), default)


def flag(*, default: Any = REQUIRED, doc: str = "") -> Any:
    """A boolean: only ``true`` and ``false`` are read."""
    return _field(Flag(doc), default)


def block(cls: type, *, default: Any = REQUIRED, doc: str = "") -> Any:
    """A nested dataclass; ``default=None`` makes it optional."""
    return _field(Block(cls, doc), default)


def table(of: Any, *, keys: Iterable[str] | None = None, default: Any = REQUIRED, doc: str = "") -> Any:
    """A mapping from names to `of`: a dataclass, or another helper such as ``quantity("FLOP/s")``."""
    if isinstance(default, Mapping):
        default = FrozenMap(default)
    return _field(Table(_rule(of), tuple(keys) if keys is not None else None, doc), default)


def many(of: Any, *, default: Any = REQUIRED, doc: str = "", least: int = 0) -> Any:
    """A list of `of` (a dataclass or another helper), kept as a tuple; a list given has `least` entries."""
    return _field(Many(_rule(of), doc, least), tuple(default) if isinstance(default, list) else default)


def numbers(
    unit: str = "1",
    *,
    default: Any = REQUIRED,
    positive: bool = True,
    low: float | None = None,
    high: float | None = None,
    doc: str = "",
) -> Any:
    """A list of numbers in one unit, kept as a tuple of SI floats."""
    return many(quantity(unit, positive=positive, low=low, high=high, doc=doc), default=default, doc=doc)


def anything(*, default: Any = REQUIRED, doc: str = "") -> Any:
    """A raw tree: plain dict, list, float, int, bool, str; positions are kept in the provenance."""
    return _field(Anything(doc), default)


def rules(cls: type) -> dict[str, Rule]:
    """The rules of a spec dataclass by field name, in order."""
    found = {}
    for item in dataclasses.fields(cls):
        rule = item.metadata.get(_KEY)
        if rule is not None:
            found[item.name] = rule
    return found


def default_of(cls: type, name: str) -> Any:
    """Default of a field, or REQUIRED."""
    for item in dataclasses.fields(cls):
        if item.name == name:
            return item.default_factory() if callable(item.default_factory) else item.default
    return REQUIRED


def has_field(cls: type, name: str) -> bool:
    """True if the dataclass has a field of that name, described or not."""
    return any(item.name == name for item in dataclasses.fields(cls))


def provenance(obj: Any) -> Mapping[str, Provenance]:
    """Path -> Provenance of a loaded object; empty if its class keeps none."""
    kept = getattr(obj, "provenance", None)
    return kept if isinstance(kept, Mapping) else FrozenMap[Provenance]()


def _rule(of: Any) -> Rule:
    if isinstance(of, dataclasses.Field):
        found: Rule = of.metadata[_KEY]
        return found
    if isinstance(of, type):
        return Block(of)
    raise TypeError(f"table/many of {of!r}: give a dataclass or a field helper")


def _field(rule: Rule, default: Any) -> Any:
    metadata = {_KEY: rule}
    if isinstance(default, (list, dict, set)):
        factory: Callable[[], Any] = default.copy
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)
