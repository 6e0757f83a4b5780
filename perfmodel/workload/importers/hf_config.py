"""Reading one Hugging Face ``config.json``: aliases, defaults of the model's class, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from perfmodel.errors import Fault, SpecError

#: Fields that say which model it is; a file must give them, whatever the class would fill in.
CORE = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")


@cache
def _data() -> Mapping[str, Any]:
    import yaml

    text = Path(__file__).with_name("hf_defaults.yaml").read_text(encoding="utf-8")
    data: Mapping[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return data


def has_defaults(kind: str) -> bool:
    """Whether the class of this model type has defaults of its own here."""
    return kind in _data()

#: no size of a model is as large
LARGEST = 1e15


class Config:
    """Fields of a configuration.

    raw      what the file holds
    file     its name, for messages
    kind     model type whose class defaults and aliases apply
    defaults True: also the CORE fields may come from the class
    """

    def __init__(self, raw: Mapping[str, Any], file: str, kind: str, defaults: bool = False) -> None:
        self.raw, self.file, self.kind, self.all_defaults = raw, file, kind, defaults
        table = _data().get(kind, {})
        self.alias: Mapping[str, str] = table.get("alias", {})
        self.defaults: Mapping[str, Any] = table.get("defaults", {})
        self.sparse_files = bool(table.get("core_by_default", False))
        self.missing: list[str] = []

    def get(self, *names: str, fallback: Any = None) -> Any:
        """Value of the first of `names` that the file gives, else the class default, else `fallback`."""
        spelled = [spelling for name in names for spelling in (name, self.alias.get(name)) if spelling]
        for name in spelled:
            if self.raw.get(name) is not None:
                return self.raw[name]
        for name in spelled:
            if name in self.raw:  # given as null
                return fallback
        for name in spelled:
            if self.defaults.get(name) is not None and self.may_default(names[0]):
                return self.defaults[name]
        return fallback

    def may_default(self, name: str) -> bool:
        """Whether the class may fill this field in."""
        return self.all_defaults or self.sparse_files or name not in CORE

    def need(self, *names: str) -> float:
        """A number that must be there; its absence is noted and reported with all others."""
        value = _same(self.get(*names))
        wrong = isinstance(value, bool) or not isinstance(value, (int, float))
        if wrong or not 0 < value < LARGEST or value != int(value):
            self.missing.append(names[0])
            return 1.0
        return float(value)

    def number(self, *names: str, fallback: Any = None) -> Any:
        """A number or `fallback`."""
        value = _same(self.get(*names, fallback=fallback))
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return fallback
        if not abs(value) < LARGEST:  # JSON lets nan and infinity through
            self.missing.append(names[0])
            return fallback
        return float(value)

    def flag(self, *names: str, fallback: bool = False) -> bool:
        """A switch."""
        return bool(self.get(*names, fallback=fallback))

    def text(self, *names: str, fallback: str = "") -> str:
        """A word."""
        return str(self.get(*names, fallback=fallback))

    def list(self, *names: str) -> Sequence[Any]:
        """A list, empty if there is none."""
        value = self.get(*names)
        return value if isinstance(value, (list, tuple)) else ()

    def inner(self, name: str) -> Config:
        """A nested mapping, read with the same defaults."""
        value = self.get(name)
        inner = Config(value if isinstance(value, Mapping) else {}, self.file, f"{self.kind}.{name}", True)
        inner.missing = self.missing
        return inner

    @property
    def layers(self) -> int:
        """Number of layers."""
        return int(self.need("num_hidden_layers", "num_layers"))

    def check(self) -> None:
        """Raise SpecError with one line per missing field."""
        if self.missing:
            names = sorted(set(self.missing))
            raise SpecError(
                Fault(
                    self.file,
                    1,
                    1,
                    name,
                    f"required field {name!r} is missing or not a number above 0",
                    f"a whole number, for model_type {self.kind!r}",
                )
                for name in names
            )


def _same(value: Any) -> Any:
    """The one value of a list with equal entries, one per layer; anything else as it is."""
    if isinstance(value, (list, tuple)) and value and all(entry == value[0] for entry in value):
        return value[0]
    return value
