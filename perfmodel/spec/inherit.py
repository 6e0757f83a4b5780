"""A description over its `base:`: the file is read, checked against its sources and laid under the tree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import PerfmodelError
from .nodes import Entry, Faults, Node, annotate, compose, merge

#: name after `base:` -> path of that file
Resolver = Callable[[str], str | Path]


def read_file(path: Path, faults: Faults) -> str | None:
    """Text of a file, or None with its fault."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        faults.add(Node(str(path), 1, 1), "", "no such file")
    except UnicodeDecodeError as error:
        faults.add(Node(str(path), 1, 1), "", f"not UTF-8 text (byte {error.start})")
    except OSError as error:
        faults.add(Node(str(path), 1, 1), "", f"cannot be read: {error.strerror}")
    return None


def over_base(tree: Node, resolve: Resolver | None, faults: Faults) -> Node:
    """Lay the tree over the file named by its `base:` key, one level deep."""
    if tree.entries is None or "base" not in tree.entries:
        return tree
    name = tree.entries["base"].value
    if resolve is None or not name.text or name.is_null:
        why = "base is not possible here" if resolve is None else f"{name.kind()} is not a name"
        faults.add(name, "base", why, "" if resolve is None else "the name of another description")
        return tree
    try:
        path = Path(resolve(name.text))
    except PerfmodelError as error:
        faults.add(name, "base", str(error))
        return tree
    content = read_file(path, faults)
    base = compose(content, str(path), faults) if content is not None else None
    if base is None or base.entries is None:
        return tree
    if "base" in base.entries:
        allowed = "one level: name the file that has no base"
        faults.add(
            base.entries["base"].key, "base", f"{name.text!r} is based on another file itself", allowed
        )
    _check_sources_agree(base, tree, faults)
    annotate(base)
    return merge(base, tree)


def _check_sources_agree(base: Node, tree: Node, faults: Faults) -> None:
    """A derived file must not give another text to a source id of its base: the base's numbers cite it."""
    for name, entry in entries_of(tree, "sources").items():
        first = entries_of(base, "sources").get(name)
        if first and first.value.text != entry.value.text:
            faults.add(
                entry.key, f"sources.{name}", f"source {name!r} differs from the one of the base", "a new id"
            )


def entries_of(tree: Node, name: str) -> dict[str, Entry]:
    """Entries of a mapping at the top of a file; empty where there is none."""
    entry = (tree.entries or {}).get(name)
    return entry.value.entries or {} if entry else {}
