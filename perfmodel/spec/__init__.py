"""Descriptions in YAML as frozen dataclasses: fields with units, located errors, sources, schema, what-if."""

from .fields import (
    REQUIRED,
    FrozenMap,
    Provenance,
    anything,
    block,
    flag,
    many,
    numbers,
    provenance,
    quantity,
    rules,
    table,
    text,
)
from .loader import load, loads
from .paths import get_path, paths, replace_path
from .schema import json_schema
from .writing import dump

__all__ = [
    "REQUIRED",
    "FrozenMap",
    "Provenance",
    "anything",
    "block",
    "dump",
    "flag",
    "get_path",
    "json_schema",
    "load",
    "loads",
    "many",
    "numbers",
    "paths",
    "provenance",
    "quantity",
    "replace_path",
    "rules",
    "table",
    "text",
]
