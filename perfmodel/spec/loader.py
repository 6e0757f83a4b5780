"""YAML description -> frozen dataclass, with every fault of the file reported at once.

A file is read in four steps: compose to marked nodes, lay it over its `base:`, read each field by its rule,
build the dataclasses bottom up.  Numbers carry a source: `source: id` in the block, in an enclosing block, or
on the number itself as `{value: 3.35 TB/s, source: id}`; the top-level mapping `sources:` explains the ids.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from ..errors import Fault, PerfmodelError, SpecError, UnitError, nearest
from ..units import number
from .fields import (
    REQUIRED,
    Anything,
    Block,
    Flag,
    FrozenMap,
    Many,
    Provenance,
    Quantity,
    Rule,
    Table,
    Text,
    default_of,
    has_field,
    rules,
)
from .inherit import Resolver, entries_of, over_base, read_file
from .nodes import Faults, Node, annotate, compose, join

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+\-]*\Z")
_WRAPPER = ("value", "source", "note")
_BAD = object()  # a value that could not be read; its fault is recorded


def load(cls: type[T], path: str | Path, resolve: Resolver | None = None) -> T:
    """Read a description file.

    resolve: turns the name after `base:` into the path of that file.
    Raises SpecError with all faults.
    """
    faults = Faults()
    content = read_file(Path(path), faults)
    if content is None:
        raise SpecError(faults.found)
    return _load(cls, content, str(path), resolve, faults)


def loads(cls: type[T], content: str, name: str = "<string>", resolve: Resolver | None = None) -> T:
    """Read a description from a text; `name` stands for the file in messages."""
    return _load(cls, content, name, resolve, Faults())


def _load(cls: type[T], content: str, name: str, resolve: Resolver | None, faults: Faults) -> T:
    tree = compose(content, name, faults)
    if tree is not None:
        annotate(tree)
        tree = over_base(tree, resolve, faults)
        built = _Reader(faults, tree).top(cls, tree)
        if not faults.found:
            return built  # type: ignore[no-any-return]
    raise SpecError(faults.found)


def _names_a_source(node: Node) -> bool:
    children = [entry.value for entry in (node.entries or {}).values()] + list(node.items or ())
    return "source" in (node.entries or {}) or any(_names_a_source(child) for child in children)


class _Reader:
    """Reads one merged tree; collects faults and provenance."""

    def __init__(self, faults: Faults, tree: Node) -> None:
        self.faults = faults
        self.provenance: dict[str, Provenance] = {}
        self.citations = self.read_citations(tree)
        self.sourced = True
        self.names_a_source = _names_a_source(tree)
        self.told_unsourced = False

    def read_citations(self, tree: Node) -> dict[str, str]:
        entry = (tree.entries or {}).get("sources")
        if entry and entry.value.entries is None:
            self.faults.add(
                entry.value, "sources", f"{entry.value.kind()} where a mapping is wanted", "id: citation"
            )
        found = {}
        for name, item in entries_of(tree, "sources").items():
            found[name] = item.value.text or ""
            if not found[name].strip() or item.value.is_null:
                self.faults.add(
                    item.value, f"sources.{name}", f"{item.value.kind()} is not a citation", "a text"
                )
        return found

    def top(self, cls: type, tree: Node) -> Any:
        built = self.block(Block(cls), tree, "")
        if built is not _BAD and hasattr(built, "misnamed"):
            for keys, name, known in built.misnamed():
                place = tree
                for key in keys:
                    place = (place.entries or {})[key].value
                close = nearest(name, known)
                self.faults.add(place, ".".join(keys), f"{name!r} is not known", ", ".join(known), close)
        if built is not _BAD and has_field(cls, "provenance"):
            built = replace(built, provenance=FrozenMap(self.provenance))
        return built

    def value(self, rule: Rule, node: Node, path: str) -> Any:
        readers: dict[type, Callable[[Any, Node, str], Any]] = {
            Quantity: self.quantity,
            Text: self.text,
            Flag: self.flag,
            Block: self.block,
            Table: self.table,
            Many: self.many,
            Anything: self.anything,
        }
        return readers[type(rule)](rule, node, path)

    def block(self, rule: Block, node: Node, path: str) -> Any:
        cls = rule.cls
        if node.entries is None:
            self.faults.add(
                node, path, f"{node.kind()} where a mapping is wanted", "keys " + ", ".join(rules(cls))
            )
            return _BAD
        outer, self.sourced = self.sourced, self.sourced and getattr(cls, "sources_required", True)
        values = self.keys(cls, node, path)
        self.sourced = outer
        return self.construct(cls, values, node, path)

    def keys(self, cls: type, node: Node, path: str) -> dict[str, Any]:
        known, values = rules(cls), dict[str, Any]()
        reserved = {"source", "note"} | ({"sources", "base"} if not path else set())
        misspelt: set[str | None] = set()
        for name, entry in (node.entries or {}).items():
            here = join(path, name)
            if name == "source" and name not in known:
                self.check_source(entry.value, here)
            if name == "sources" and not path:
                values |= {"sources": FrozenMap(self.citations)} if name in known else {}
            elif name in known:
                if not entry.value.is_null or default_of(cls, name) is REQUIRED:
                    values[name] = self.value(known[name], entry.value, here)
            elif name not in reserved:
                close = nearest(name, [*known, *reserved])
                misspelt.add(close)
                self.faults.add(entry.key, here, f"unknown key {name!r}", ", ".join(known), close)
        for name, rule in known.items():
            if name in values or default_of(cls, name) is not REQUIRED:
                continue
            values[name] = _BAD
            if name not in misspelt:  # one cause, one fault
                message = f"required key {name!r} is missing"
                self.faults.add(node, join(path, name), message, _wanted(rule))
        return values

    def construct(self, cls: type, values: dict[str, Any], node: Node, path: str) -> Any:
        if any(value is _BAD for value in values.values()):
            return _BAD
        try:
            return cls(**values)
        except PerfmodelError as error:  # a check across fields in __post_init__
            self.faults.add(node, path, str(error))
            return _BAD

    def quantity(self, rule: Quantity, node: Node, path: str) -> Any:
        plain = self.unwrap(node, path)
        if plain is None:
            return _BAD
        if plain.text is None or plain.is_null:
            self.faults.add(plain, path, f"{plain.kind()} where a number is wanted", _wanted(rule))
            return _BAD
        self.note_source(plain, path, needed=True)
        try:
            return rule.read(plain.text)
        except UnitError as error:
            self.faults.add(plain, path, error.message, error.allowed, error.nearest)
            return _BAD

    def unwrap(self, node: Node, path: str) -> Node | None:
        """The scalar of `{value: ..., source: ..., note: ...}`, carrying that source and note."""
        if node.entries is None:
            return node
        for name, entry in node.entries.items():
            if name == "source":
                self.check_source(entry.value, join(path, name))
            if name not in _WRAPPER:
                allowed = "value, source, note"
                self.faults.add(
                    entry.key, join(path, name), f"unknown key {name!r}", allowed, nearest(name, _WRAPPER)
                )
        if "value" not in node.entries:
            self.faults.add(node, path, "a mapping without `value`", "a number, or {value, source, note}")
            return None
        return node.entries["value"].value

    def note_source(self, node: Node, path: str, needed: bool) -> None:
        source = node.source.text if node.source else None
        if source is None and needed and self.sourced:
            self.missing_source(node, path)
        if source is not None and node.source and source not in self.citations and needed and self.sourced:
            self.dangling(node.source, source)
        # where a class asks for no sources, `source` may be the citation itself
        citation = self.citations.get(source, "" if self.sourced else source) if source else ""
        self.provenance[path] = Provenance(source, citation, node.note, node.file, node.line)

    def missing_source(self, node: Node, path: str) -> None:
        """Report a number without source; once if the file names no source at all."""
        allowed = "`source: id` here or in an enclosing block, with the id under `sources`"
        message = "number without a source"
        if self.told_unsourced:
            return
        if not self.names_a_source:
            message += ", like all numbers of this file"
            self.told_unsourced = True
        self.faults.add(node, path, message, allowed)

    def check_source(self, node: Node, path: str) -> None:
        """The `source` of a block must be an id that `sources` explains."""
        if node.text is None or node.is_null:
            self.faults.add(
                node, path, f"{node.kind()} where a source id is wanted", ", ".join(self.citations)
            )
        elif self.sourced and node.text not in self.citations:
            self.dangling(node, node.text)

    def dangling(self, node: Node, source: str) -> None:
        """Report an undefined source once for each place that names it."""
        if any((f.file, f.line, f.col) == (node.file, node.line, node.col) for f in self.faults.found):
            return
        example = f"an id under `sources`, as in `sources: {{{source}: where it is from}}`"
        allowed = ", ".join(self.citations) or example
        self.faults.add(
            node, node.path, f"source {source!r} is not defined", allowed, nearest(source, self.citations)
        )

    def text(self, rule: Text, node: Node, path: str) -> Any:
        if node.text is None or node.is_null or not node.text.strip():
            self.faults.add(node, path, f"{node.kind()} where a text is wanted", _wanted(rule))
            return _BAD
        if rule.choices is not None and node.text not in rule.choices:
            close = nearest(node.text, rule.choices)
            self.faults.add(node, path, f"{node.text!r} is not possible", ", ".join(rule.choices), close)
            return _BAD
        self.note_source(node, path, needed=False)
        return node.text

    def flag(self, rule: Flag, node: Node, path: str) -> Any:
        if node.text not in ("true", "false") or not node.plain:
            likely = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(
                (node.text or "").lower()
            )
            close = likely or nearest(node.text or "", ("true", "false"))
            self.faults.add(node, path, f"{node.kind()} where a flag is wanted", "true, false", close)
            return _BAD
        self.note_source(node, path, needed=False)
        return node.text == "true"

    def table(self, rule: Table, node: Node, path: str) -> Any:
        if node.entries is None:
            self.faults.add(node, path, f"{node.kind()} where a mapping is wanted", _wanted(rule))
            return _BAD
        found: dict[str, Any] = {}
        for name, entry in node.entries.items():
            here = join(path, name)
            if name in ("source", "note") and name not in (rule.keys or ()):
                if name == "source":
                    self.check_source(entry.value, here)
                continue
            if rule.keys is not None and name not in rule.keys:
                close = nearest(name, rule.keys)
                self.faults.add(entry.key, here, f"unknown key {name!r}", ", ".join(rule.keys), close)
                continue
            if not _NAME.match(name):
                self.faults.add(entry.key, here, f"{name!r} cannot be a name", "letters, digits, _ + and -")
            found[name] = self.value(rule.of, entry.value, here)
        return _BAD if any(value is _BAD for value in found.values()) else FrozenMap(found)

    def many(self, rule: Many, node: Node, path: str) -> Any:
        if node.entries is not None and "value" in node.entries and isinstance(rule.of, Quantity):
            unwrapped = self.unwrap(node, path)
            node = unwrapped if unwrapped is not None else node
        if node.items is None:
            self.faults.add(node, path, f"{node.kind()} where a list is wanted", _wanted(rule))
            return _BAD
        if len(node.items) < rule.least:
            allowed = f"{rule.least} entry at least, or no such key"
            self.faults.add(node, path, f"a list of {len(node.items)}", allowed)
            return _BAD
        found = tuple(self.value(rule.of, item, join(path, str(i))) for i, item in enumerate(node.items))
        return _BAD if any(value is _BAD for value in found) else found

    def anything(self, rule: Anything, node: Node, path: str) -> Any:
        if path:
            self.note_source(node, path, needed=False)
        if node.entries is not None:
            return {
                name: self.anything(rule, entry.value, join(path, name))
                for name, entry in node.entries.items()
            }
        if node.items is not None:
            return [self.anything(rule, item, join(path, str(i))) for i, item in enumerate(node.items)]
        return self.plain_scalar(node, path)

    def plain_scalar(self, node: Node, path: str) -> Any:
        """A scalar of a raw tree: true/false, a number, empty, else a text."""
        word = node.text or ""
        if not node.plain:
            return word
        if node.is_null:
            return None
        if word in ("true", "false"):
            return word == "true"
        if not re.match(r"[+-]?\.?(\d|nan\Z|inf\Z)", word.lower()):
            return word
        try:
            value = number(word)
        except UnitError as error:
            if re.search(r"[A-Za-z/:]|\.\d*\.|\d-", word) and not re.match(r"[+-]?(0[xo]|\.)", word.lower()):
                return word  # a name such as 128x128 or 2024-01-01
            self.faults.add(node, path, error.message, error.allowed + "; a text needs quotes", error.nearest)
            return _BAD
        return int(word) if re.fullmatch(r"[+-]?\d+", word) else value


def _wanted(rule: Rule) -> str:
    """What a rule allows, in words."""
    from ..units import examples

    if isinstance(rule, Quantity):
        span = rule.range_text()
        return examples(rule.unit) + (f", {span}" if span and rule.unit != "count" else "")
    if isinstance(rule, Text):
        return ", ".join(rule.choices) if rule.choices is not None else "a text"
    if isinstance(rule, Flag):
        return "true, false"
    if isinstance(rule, Block):
        return "a mapping with the keys " + ", ".join(rules(rule.cls))
    if isinstance(rule, Table):
        return "a mapping of " + (", ".join(rule.keys) if rule.keys else "names to values")
    return "a list" if isinstance(rule, Many) else "any value"


__all__ = ["Fault", "Resolver", "load", "loads"]
