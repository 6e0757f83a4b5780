"""Number formats and precision policies, read from ``formats.yaml``.

A Format says how many bits one element takes, scales and zero points included, and at which peak a device
computes with it.  A Precision gives each kind of tensor its format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from perfmodel.errors import ArgumentError, UnknownNameError


@dataclass(frozen=True)
class Format:
    """Storage and compute format of a tensor.

    bits        payload of one element [bit]
    scale_bits  scale of one group [bit]; zero_bits: zero point of one group [bit]; group: elements per group
    compute     key of the device's peak used when this is the widest operand
    """

    name: str
    bits: float
    compute: str
    group: float = 1.0
    scale_bits: float = 0.0
    zero_bits: float = 0.0
    source: str = ""

    @property
    def bits_per_element(self) -> float:
        """Stored bits of one element: payload plus its share of scale and zero point [bit]."""
        return self.bits + (self.scale_bits + self.zero_bits) / self.group

    @property
    def bytes(self) -> float:
        """Stored bytes of one element [B]."""
        return self.bits_per_element / 8.0


@cache
def _data() -> Mapping[str, Any]:
    import yaml

    text = Path(__file__).with_name("formats.yaml").read_text(encoding="utf-8")
    data: Mapping[str, Any] = yaml.safe_load(text)
    return data


@cache
def formats() -> Mapping[str, Format]:
    """All number formats by name."""
    return {name: Format(name, **entry) for name, entry in _data()["formats"].items()}


def find_format(name: str) -> Format:
    """Format of this name.  Raises UnknownNameError with the nearest match."""
    if name not in formats():
        raise UnknownNameError("number format", name, formats())
    return formats()[name]


@dataclass(frozen=True)
class Precision:
    """Format of each kind of tensor."""

    name: str
    weight: str = "bf16"
    activation: str = "bf16"
    kv: str = "bf16"
    state: str = "fp32"
    accumulator: str = "fp32"
    index: str = "int32"
    logits: str = "bf16"
    communication: str = "bf16"

    def format(self, kind: str) -> Format:
        """Format of a tensor kind."""
        return find_format(getattr(self, kind))

    def bytes(self, kind: str) -> float:
        """Stored bytes per element of a tensor kind [B]."""
        return self.format(kind).bytes


def policies() -> tuple[str, ...]:
    """Names that `precision` accepts."""
    return tuple(_data()["policies"])


def precision(choice: str | Mapping[str, str] | Precision) -> Precision:
    """Precision from a policy name (``bf16``, ``fp8``, ``w4a16`` ...) or a mapping kind -> format.

    A mapping may carry ``base: <policy>``; what it leaves out comes from there (default bf16).
    Raises UnknownNameError for an unknown policy, kind or format.
    """
    if isinstance(choice, Precision):
        return choice
    kinds = [f.name for f in fields(Precision) if f.name != "name"]
    if isinstance(choice, str):
        table = _data()["policies"]
        if choice not in table:
            raise UnknownNameError("precision", choice, table)
        return Precision(choice, **table[choice])
    if not isinstance(choice, Mapping):
        raise ArgumentError("precision", choice, "a policy name or a mapping kind -> format")
    given = dict(choice)
    base = precision(given.pop("base", "bf16"))
    for kind, name in given.items():
        if kind not in kinds:
            raise UnknownNameError("tensor kind", kind, kinds)
        find_format(name)
    label = "+".join(f"{kind}:{name}" for kind, name in given.items()) or base.name
    return replace(base, name=label, **given)
