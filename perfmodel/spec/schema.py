"""JSON Schema (draft 2020-12) of a spec dataclass, for completion and checks in editors.

The schema is a little stricter than the loader about spelling (``W``, not ``J/s``) and cannot see dangling
sources, missing sources or ranges of numbers with units; the loader decides.
"""

from __future__ import annotations

import re
from typing import Any

from ..units import ATOMS, examples, unit
from .fields import REQUIRED, Anything, Block, Flag, Many, Quantity, Rule, Table, Text, default_of, rules

_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
_SOURCE = {"type": "string", "description": "id of an entry of `sources`"}
_NOTE = {"type": "string", "description": "remark on the values here"}


def json_schema(cls: type) -> dict[str, Any]:
    """Schema of the YAML files that `load(cls, ...)` reads."""
    definitions: dict[str, Any] = {}
    top = _block(cls, definitions)
    top["properties"] |= {
        "sources": {
            "type": "object",
            "description": "citations by id",
            "additionalProperties": {"type": "string"},
        },
        "base": {"type": "string", "description": "name of the description that this one overrides"},
    }
    required = top.pop("required", [])
    if required:  # a file with a base may leave out what the base gives
        top["anyOf"] = [{"required": ["base"]}, {"required": required}]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": cls.__name__,
        **top,
        "$defs": definitions,
    }


def _block(cls: type, definitions: dict[str, Any]) -> dict[str, Any]:
    properties = {name: _optional(cls, name, _rule(rule, definitions)) for name, rule in rules(cls).items()}
    required = [name for name in rules(cls) if default_of(cls, name) is REQUIRED]
    schema: dict[str, Any] = {
        "type": "object",
        "description": (cls.__doc__ or "").strip().split("\n")[0],
        "properties": {"source": _SOURCE, "note": _NOTE, **properties},
        "additionalProperties": False,
    }
    if required:
        schema["required"] = required
    return schema


def _optional(cls: type, name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """An optional field may be left empty."""
    if default_of(cls, name) is REQUIRED:
        return schema
    described = {"description": schema["description"]} if "description" in schema else {}
    return {**described, "anyOf": [schema, {"type": "null"}]}


def _rule(rule: Rule, definitions: dict[str, Any]) -> dict[str, Any]:
    schema = _shape(rule, definitions)
    says = "; ".join(words for words in (rule.doc, schema.get("description", "")) if words)
    return {**schema, "description": says} if says else schema


def _shape(rule: Rule, definitions: dict[str, Any]) -> dict[str, Any]:
    if isinstance(rule, Quantity):
        return _quantity(rule)
    if isinstance(rule, Text):
        return (
            {"enum": list(rule.choices)}
            if rule.choices is not None
            else {"type": ["string", "number", "boolean"]}
        )
    if isinstance(rule, Flag):
        return {"type": "boolean"}
    if isinstance(rule, Block):
        return _reference(rule.cls, definitions)
    if isinstance(rule, Many):
        items: dict[str, Any] = {"type": "array", "items": _rule(rule.of, definitions)}
        if rule.least:
            items["minItems"] = rule.least
        return {"anyOf": [items, _wrapped(items)]} if isinstance(rule.of, Quantity) else items
    if isinstance(rule, Table):
        return _table(rule, definitions)
    return {} if isinstance(rule, Anything) else {"not": {}}


def _reference(cls: type, definitions: dict[str, Any]) -> dict[str, Any]:
    if cls.__name__ not in definitions:
        definitions[cls.__name__] = {}
        definitions[cls.__name__] = _block(cls, definitions)
    return {"$ref": f"#/$defs/{cls.__name__}"}


def _table(rule: Table, definitions: dict[str, Any]) -> dict[str, Any]:
    inner = _rule(rule.of, definitions)
    schema: dict[str, Any] = {"type": "object", "properties": {"source": _SOURCE, "note": _NOTE}}
    if rule.keys is None:
        return {**schema, "additionalProperties": inner}
    schema["properties"] |= dict.fromkeys(rule.keys, inner)
    return {**schema, "additionalProperties": False}


def _quantity(rule: Quantity) -> dict[str, Any]:
    bare: dict[str, Any]
    if rule.unit == "count":
        whole = {"type": "integer", "minimum": 1}
        bare = {"anyOf": [whole, {"type": "string", "pattern": f"^{_NUMBER}$"}]}
    elif rule.unit == "1":
        plain: dict[str, Any] = {"type": "number"}
        if rule.positive:
            plain["exclusiveMinimum"] = 0
        if rule.low is not None:
            plain["minimum"] = rule.low
        if rule.high is not None:
            plain["maximum"] = rule.high
        bare = {"anyOf": [plain, {"type": "string", "pattern": rf"^{_NUMBER}\s*%?$"}]}
    else:
        pattern = rf"^\s*{_NUMBER}\s*{unit_pattern(rule.unit)}\s*$"
        bare = {"type": "string", "pattern": pattern}
    span = rule.range_text()
    says = examples(rule.unit) + (f"; {span}" if span and rule.unit != "count" else "")
    return {"description": says, "anyOf": [bare, _wrapped(bare)]}


def _wrapped(bare: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"value": bare, "source": _SOURCE, "note": _NOTE},
        "required": ["value"],
        "additionalProperties": False,
    }


def unit_pattern(wanted: str) -> str:
    """Regular expression of the units that may be written where `wanted` is expected, with all prefixes."""
    return "".join(_term_pattern(piece) for piece in re.split(r"([*/])", wanted))


def _term_pattern(piece: str) -> str:
    if piece in ("*", "/"):
        return re.escape(piece)
    if piece == "1":
        return "1?"
    stem, power = re.fullmatch(r"(.*?)(\d?)", piece).groups()  # type: ignore[union-attr]
    dims = unit(stem).dims
    options = []
    for name, atom in ATOMS.items():
        if atom.dims == dims:
            prefixes = "|".join(atom.prefixes)
            options.append((f"({prefixes})?" if prefixes else "") + name)
    return f"({'|'.join(options)})" + (rf"\^?{power}" if power else "")
