"""Write a spec object back as YAML with units and sources."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import ArgumentError
from ..units import format_si
from .fields import (
    Anything,
    Block,
    FrozenMap,
    Many,
    Provenance,
    Quantity,
    Rule,
    Table,
    default_of,
    has_field,
    provenance,
    rules,
)
from .nodes import join

_SAFE = re.compile(r"[A-Za-z][A-Za-z0-9 _./()+,%*=<>;@-]*[A-Za-z0-9)%]\Z|[A-Za-z]\Z")
_UNPRINTABLE = r"[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def dump(obj: Any) -> str:
    """YAML text of a spec object: SI prefixes, sources, only what differs from the defaults.

    Reading it back gives an equal object.  Raises ArgumentError for fields that hold arrays or symbols.
    """
    return "\n".join(_Writer(obj).lines()) + "\n"


class _Writer:
    def __init__(self, obj: Any) -> None:
        self.obj = obj
        self.places: Mapping[str, Provenance] = provenance(obj)
        used = Counter(entry.source for entry in self.places.values() if entry.source)
        # a class with a field `source` of its own writes that, not a source for the whole file
        self.common = used.most_common(1)[0][0] if used and not has_field(type(obj), "source") else None
        listed = getattr(obj, "sources", None)
        self.sources: dict[str, str] = dict(listed) if isinstance(listed, Mapping) else {}
        for entry in self.places.values():
            if entry.source:
                self.sources.setdefault(entry.source, entry.citation or "not given")

    def lines(self) -> Iterator[str]:
        if self.sources:
            yield "sources:"
            for name, citation in self.sources.items():
                yield f"  {name}: {scalar(citation)}"
        if self.common:
            yield f"source: {self.common}"
        yield from self.block(self.obj, "", "", skip=("sources",) if self.sources else ())

    def block(self, obj: Any, path: str, indent: str, skip: tuple[str, ...] = ()) -> Iterator[str]:
        for name, rule in rules(type(obj)).items():
            value = getattr(obj, name)
            if name in skip or value is None or _is_default(type(obj), name, value):
                continue
            yield from self.entry(name, rule, value, join(path, name), indent)

    def entry(self, name: str, rule: Rule, value: Any, path: str, indent: str) -> Iterator[str]:
        if isinstance(rule, Block):
            inner = list(self.block(value, path, indent + "  "))
            yield from [f"{indent}{name}:", *inner] if inner else [f"{indent}{name}: {{}}"]
        elif isinstance(rule, Table):
            yield f"{indent}{name}:" + ("" if value else " {}")
            for key, item in value.items():
                yield from self.entry(key, rule.of, item, join(path, key), indent + "  ")
        elif isinstance(rule, Many):
            yield from self.many(name, rule, value, path, indent)
        elif isinstance(rule, Anything):
            yield f"{indent}{name}: {flow(value)}"
        else:
            yield f"{indent}{name}: {self.leaf(rule, value, path)}"

    def many(self, name: str, rule: Many, value: Any, path: str, indent: str) -> Iterator[str]:
        if not isinstance(rule.of, (Block, Table, Many, Anything)):
            items = ", ".join(self.leaf(rule.of, item, join(path, str(i))) for i, item in enumerate(value))
            yield f"{indent}{name}: [{items}]"
            return
        yield f"{indent}{name}:" + ("" if value else " []")
        for i, item in enumerate(value):
            inner = list(self.entry("_", rule.of, item, join(path, str(i)), indent + "    "))
            if len(inner) == 1:
                yield f"{indent}  - " + inner[0].split(": ", 1)[1]
                continue
            yield f"{indent}  -"
            yield from inner[1:]

    def leaf(self, rule: Rule, value: Any, path: str) -> str:
        if not isinstance(rule, Quantity):
            return scalar(getattr(value, "name", value))  # a system holds its device, the file names it
        if getattr(value, "ndim", 0) or hasattr(value, "free_symbols"):
            raise ArgumentError(path, value, "one number; arrays and symbols cannot be written to a file")
        shown = format_si(float(value), rule.unit, digits=None, binary=_is_binary(float(value), rule.unit))
        place = self.places.get(path)
        if place is None or (place.source in (None, self.common) and not place.note):
            return shown
        extra = f", source: {place.source}" if place.source not in (None, self.common) else ""
        extra += f", note: {quoted(place.note)}" if place.note else ""
        return f"{{value: {shown}{extra}}}"


def _is_default(cls: type, name: str, value: Any) -> bool:
    default = default_of(cls, name)
    return type(default) in (type(value), FrozenMap, int, float) and bool(default == value)


def _is_binary(value: float, unit: str) -> bool:
    """Capacities that are whole multiples of 1 KiB, and not of 1 kB, read better in KiB ... TiB."""
    return unit == "B" and value >= 1024 and value % 1024 == 0 and value % 1000 != 0


def scalar(value: Any) -> str:
    """A scalar as YAML text that the loader reads back unchanged."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, str):
        plain = _SAFE.match(value) and value.lower() not in _WORDS and ": " not in value and len(value) < 200
        return value if plain else quoted(value)
    return repr(value)


def quoted(value: str) -> str:
    """A text in double quotes, with escapes for everything that YAML does not take as it is."""
    return re.sub(_UNPRINTABLE, lambda hit: f"\\U{ord(hit[0]):08x}", json.dumps(value, ensure_ascii=False))


def flow(value: Any) -> str:
    """A raw tree in YAML flow style."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{quoted(str(key))}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    return quoted(value) if isinstance(value, str) else scalar(value)
