"""YAML text to a tree of marked nodes, and the merge of a file over its base.

Only PyYAML's *composer* is used: it gives nodes with their line and column and leaves every scalar a text, so
the booleans, octals and dates of YAML 1.1 never happen.  Aliases, tags and duplicate keys are refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import Fault

_PLAIN_TAGS = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
_MAX_DEPTH = 60


@dataclass(slots=True)
class Node:
    """A scalar (`text`), mapping (`entries`) or list (`items`), its place and the source it stands under."""

    file: str
    line: int
    col: int
    path: str = ""
    text: str | None = None
    plain: bool = False
    entries: dict[str, Entry] | None = None
    items: tuple[Node, ...] | None = None
    source: Node | None = None
    note: str = ""

    @property
    def is_null(self) -> bool:
        """True for an empty value, ``~`` or ``null``."""
        return self.plain and self.text in ("", "~", "null")

    def kind(self) -> str:
        """What the node is, in words for a message."""
        if self.entries is not None:
            return "a mapping"
        if self.items is not None:
            return "a list"
        return "an empty value" if self.is_null else repr(self.text)


@dataclass(slots=True)
class Entry:
    """One key of a mapping: the key's own place and the value."""

    key: Node
    value: Node


@dataclass
class Faults:
    """Collects everything that is wrong."""

    found: list[Fault] = field(default_factory=list)

    def add(self, node: Node, path: str, message: str, allowed: str = "", close: str | None = None) -> None:
        """Record a fault at a node."""
        self.found.append(Fault(node.file, node.line, node.col, path, message, allowed, close))


def compose(content: str, name: str, faults: Faults) -> Node | None:
    """Marked tree of a YAML text, or None (with faults) if it is not one readable document."""
    import yaml  # not needed before the first file is read

    loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    top = Node(name, 1, 1)
    try:
        too_deep = _too_deep(yaml.parse(content, Loader=loader))
        if too_deep:
            _refuse_depth(faults, Node(name, too_deep.line + 1, too_deep.column + 1))
            return None
        raw = yaml.compose(content, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Node(name, mark.line + 1, mark.column + 1) if mark else top
        if "nesting depth" in str(error.problem):  # the scanner of PyYAML 6.0.4 and newer gives up first
            _refuse_depth(faults, place)
            return None
        faults.add(place, "", f"not readable as YAML: {error.problem or error.context}")
        return None
    except yaml.YAMLError as error:
        faults.add(top, "", f"not readable as YAML: {' '.join(str(error).split())[:200]}")
        return None
    if raw is None:
        faults.add(top, "", "the file is empty", "a mapping of keys to values")
        return None
    return _Builder(name, faults).build(raw, "")


def _refuse_depth(faults: Faults, place: Node) -> None:
    faults.add(place, "", f"nested deeper than {_MAX_DEPTH} levels", "plain nested mappings and lists")


def _too_deep(events: Iterable[Any]) -> Any:
    """Mark of the first node below the depth limit: events need no recursion, composing recurses in C."""
    depth = 0
    for event in events:
        if hasattr(event, "flow_style"):
            depth += 1
            if depth > _MAX_DEPTH:
                return event.start_mark
        elif type(event).__name__ in ("MappingEndEvent", "SequenceEndEvent"):
            depth -= 1
    return None


class _Builder:
    """Turns composed YAML nodes into ours and refuses aliases, tags and duplicate keys."""

    def __init__(self, name: str, faults: Faults) -> None:
        self.name, self.faults = name, faults
        self.seen: set[int] = set()

    def build(self, raw: Any, path: str) -> Node:
        node = Node(self.name, raw.start_mark.line + 1, raw.start_mark.column + 1, path)
        if id(raw) in self.seen:
            self.faults.add(node, path, "an alias is used", "plain values; use `base:` to share")
            node.text, node.plain = "", True
            return node
        self.seen.add(id(raw))
        if raw.tag not in _PLAIN_TAGS:
            self.faults.add(node, path, f"the tag {raw.tag!r} is used", "plain values without tags")
        if raw.id == "mapping":
            node.entries = self.entries(raw, path)
        elif raw.id == "sequence":
            node.items = tuple(self.build(item, join(path, str(i))) for i, item in enumerate(raw.value))
        else:
            node.text, node.plain = raw.value, not raw.style  # the C composer's style of plain is ""
        return node

    def entries(self, raw: Any, path: str) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for raw_key, raw_value in raw.value:
            key = Node(self.name, raw_key.start_mark.line + 1, raw_key.start_mark.column + 1)
            name = raw_key.value if raw_key.id == "scalar" else None
            if not name:
                self.faults.add(key, path, "a key is not a plain name", "a name")
                continue
            here = join(path, name)
            if name in entries:
                first = entries[name].key.line
                self.faults.add(
                    key, here, f"duplicate key {name!r}, first given in line {first}", "each key once"
                )
                continue
            entries[name] = Entry(key, self.build(raw_value, here))
        return entries


def join(path: str, name: str) -> str:
    """Path of a child."""
    return f"{path}.{name}" if path else name


def annotate(node: Node, source: Node | None = None, note: str = "") -> None:
    """Push `source:` and `note:` of each block down to everything inside it.

    Done file by file before a merge, so that a value keeps the source of the file that states it.
    """
    entries = node.entries or {}
    own, remark = entries.get("source"), entries.get("note")
    if own and own.value.text is not None and not own.value.is_null:
        source = own.value
    if remark and remark.value.text:
        note = remark.value.text
    node.source, node.note = source, note
    for name, entry in entries.items():
        if name not in ("source", "sources"):
            annotate(entry.value, source, note)
    for item in node.items or ():
        annotate(item, source, note)


def merge(base: Node, over: Node) -> Node:
    """`over` laid over `base`, key by key; an empty value in `over` removes the key of the base."""
    if base.entries is None or over.entries is None or "value" in over.entries or "value" in base.entries:
        return over
    entries = dict(base.entries)
    for name, entry in over.entries.items():
        if entry.value.is_null and name in entries:
            del entries[name]
        elif name in entries:
            entries[name] = Entry(entry.key, merge(entries[name].value, entry.value))
        else:
            entries[name] = entry
    return replace(over, entries=entries)
