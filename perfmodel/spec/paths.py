"""Read and change one value of nested frozen dataclasses by path, such as ``memory.hbm.bandwidth``.

A path names fields of dataclasses, keys of tables and positions in lists, joined by dots.  A change gives a
new object; it is checked by the same rule that the loader uses, and its provenance says that a user set it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from ..errors import ArgumentError, UnitError, UnknownNameError
from ..units import examples
from .fields import Block, Flag, FrozenMap, Many, Provenance, Quantity, Rule, Table, Text, rules

T = TypeVar("T")

#: Source id of values that `vary` or `--set` put in.
USER = "user"


def get_path(obj: Any, path: str) -> Any:
    """Value at a path; raises UnknownNameError with the nearest match."""
    value = obj
    for depth, part in enumerate(path.split(".")):
        value = _child(value, part, path, depth, obj)
    return value


def paths(obj: Any) -> tuple[str, ...]:
    """All paths of an object that hold a single value (number, text, flag) and can be changed."""
    return tuple(_leaves(obj, ""))


def rule_at(obj: Any, path: str) -> Rule | None:
    """Rule of the value at a path: its unit, range or choices; None where nothing is declared."""
    get_path(obj, path)
    value, rule = obj, None
    for part in path.split("."):
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            rule = rules(type(value)).get(part)
        else:
            rule = rule.of if isinstance(rule, (Table, Many)) else None
        value = _child(value, part, part, 0, value)
    return rule


def replace_path(obj: T, path: str, value: Any) -> T:
    """A copy of `obj` with the value at `path` replaced.

    value: a text with a unit (``"4 TB/s"``), a number in SI, an array or list of either, a sympy expression,
    or an instance of the block's class.  Raises UnknownNameError for a wrong path, UnitError or ArgumentError
    for a value that the field does not allow.
    """
    get_path(obj, path)  # a wrong path is reported with all known paths
    changed: T = _replace(obj, path.split("."), value, None, path)
    return changed


def _replace(obj: Any, parts: list[str], value: Any, rule: Rule | None, path: str) -> Any:
    if not parts:
        return _checked(rule, value, path)
    head, rest = parts[0], parts[1:]
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        child_rule = rules(type(obj)).get(head)
        changed: dict[str, Any] = {head: _replace(getattr(obj, head), rest, value, child_rule, path)}
        kept = getattr(obj, "provenance", None)
        if isinstance(kept, Mapping):
            changed["provenance"] = _set_by_user(kept, ".".join(parts))
        return dataclasses.replace(obj, **changed)
    inner = rule.of if isinstance(rule, (Table, Many)) else None
    if isinstance(obj, Mapping):
        return FrozenMap({**obj, head: _replace(obj[head], rest, value, inner, path)})
    index = int(head)
    return (*obj[:index], _replace(obj[index], rest, value, inner, path), *obj[index + 1 :])


def _set_by_user(kept: Mapping[str, Provenance], path: str) -> FrozenMap[Provenance]:
    old = kept.get(path)
    note = f"instead of the value of source {old.source!r}" if old and old.source else ""
    below = {name: entry for name, entry in kept.items() if not name.startswith(path + ".")}
    return FrozenMap({**below, path: Provenance(USER, "set by the user", note)})


def _checked(rule: Rule | None, value: Any, path: str) -> Any:
    if isinstance(rule, Quantity):
        return _checked_quantity(rule, value, path)
    if isinstance(rule, Flag):
        truth = {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value
        if not isinstance(truth, bool):
            raise ArgumentError(path, value, "true, false")
        return truth
    if isinstance(rule, Text):
        if not isinstance(value, str) or (rule.choices is not None and value not in rule.choices):
            raise ArgumentError(path, value, ", ".join(rule.choices or ("a text",)))
        return value
    if isinstance(rule, Block) and isinstance(value, rule.cls):
        return value
    if isinstance(rule, Many) and isinstance(value, (list, tuple, np.ndarray)):
        return tuple(_checked(rule.of, item, path) for item in value)
    allowed = "a path to a single value" + (f", or a {rule.cls.__name__}" if isinstance(rule, Block) else "")
    raise ArgumentError(path, value, allowed)


def _checked_quantity(rule: Quantity, value: Any, path: str) -> Any:
    if hasattr(value, "free_symbols"):
        return value
    if isinstance(value, str):
        try:
            return rule.read(value)
        except UnitError as error:
            raise UnitError(f"{path}: {error.message}", error.allowed, error.nearest) from None
    if isinstance(value, (list, tuple)):
        value = np.array([_checked_quantity(rule, item, path) for item in value], dtype=float)
    allowed = rule.range_text() or examples(rule.unit)
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "iuf":
            raise TypeError
        array = array.astype(float)
    except (TypeError, ValueError):
        raise ArgumentError(path, value, f"{examples(rule.unit)}, or numbers in SI") from None
    if array.size == 0:
        raise ArgumentError(path, value, "at least one value")
    _check_range(rule, array, path, allowed)
    return array if array.ndim else float(array)


def _check_range(rule: Quantity, array: Any, path: str, allowed: str) -> None:
    bad = ~np.isfinite(array)
    if rule.positive:
        bad |= ~(array > 0)
    if rule.low is not None:
        bad |= array < rule.low
    if rule.high is not None:
        bad |= array > rule.high
    if rule.unit == "count":
        bad |= array != np.floor(array)
        allowed = examples(rule.unit)
    if bad.any():
        raise ArgumentError(path, float(array[bad].flat[0]), allowed)


def _child(value: Any, part: str, path: str, depth: int, top: Any) -> Any:
    if dataclasses.is_dataclass(value) and part in rules(type(value)):
        return getattr(value, part)
    if isinstance(value, Mapping) and part in value:
        return value[part]
    if isinstance(value, tuple) and part.isdigit() and int(part) < len(value):
        return value[int(part)]
    tail = path.split(".")
    choices = [".".join([*tail[:depth], name, *tail[depth + 1 :]]) for name in _names(value)]
    if not choices:
        choices = list(paths(top))
    raise UnknownNameError("path", path, choices)


def _names(value: Any) -> list[str]:
    if dataclasses.is_dataclass(value):
        return list(rules(type(value)))
    if isinstance(value, Mapping):
        return list(value)
    return [str(i) for i in range(len(value))] if isinstance(value, tuple) else []


def _leaves(value: Any, path: str) -> Iterator[str]:
    names = _names(value)
    if not names:
        if path and value is not None and not isinstance(value, (Mapping, tuple)):
            yield path
        return
    for name in names:
        yield from _leaves(_child(value, name, name, 0, value), f"{path}.{name}" if path else name)
