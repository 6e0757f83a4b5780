"""Number formats, sparsity formats and precision policies; the numbers are in ``formats.yaml``.

A Format says how many bits one element takes, scales and zero points included, and at which peak a device
computes with it.  A Precision gives each kind of tensor its format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from perfmodel.algebra import Value, ceil, log2
from perfmodel.errors import ArgumentError, UnknownNameError
from perfmodel.shipped import several

#: Roles of weights that a Precision may give a format of their own.
ROLES = ("expert", "embedding", "head")


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


class Operand(Protocol):
    """What a Precision needs to know of a tensor."""

    @property
    def kind(self) -> str:
        """Precision class of the tensor."""

    @property
    def role(self) -> str:
        """Role of a weight, or empty."""

    @property
    def format(self) -> str:
        """Format fixed for this tensor, or empty."""


@cache
def _data() -> Mapping[str, Any]:
    import yaml

    text = Path(__file__).with_name("formats.yaml").read_text(encoding="utf-8")
    data: Mapping[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return data


@cache
def formats() -> Mapping[str, Format]:
    """All number formats by name."""
    return {name: Format(name, **entry) for name, entry in _data()["formats"].items()}


_WIDTH = re.compile(r"(\d+(?:\.\d+)?)bit\Z")


@cache
def find_format(name: str) -> Format:
    """Format of this name, or ``"4.82bit"``: weights of that mean width, scales included, computed as int8.

    Raises UnknownNameError with the nearest match.
    """
    if name in formats():
        return formats()[name]
    width = _WIDTH.match(name)
    if width is None or not 0.0 < float(width[1]) <= 64.0:
        raise UnknownNameError("number format", name, formats())
    return Format(name, float(width[1]), "int8", source="mean width given by the caller")


def known_format(name: str) -> bool:
    """True if find_format knows the name."""
    return name in formats() or _WIDTH.match(name) is not None


@dataclass(frozen=True)
class Precision:
    """Format of each kind of tensor; experts, embedding and head may differ from the other weights."""

    name: str
    weight: str = "bf16"
    activation: str = "bf16"
    kv: str = "bf16"
    state: str = "fp32"
    accumulator: str = "fp32"
    index: str = "int32"
    logits: str = "bf16"
    communication: str = "bf16"
    expert: str = ""
    embedding: str = ""
    head: str = ""

    def format(self, kind: str) -> Format:
        """Format of a tensor kind."""
        return find_format(getattr(self, kind))

    def bytes(self, kind: str) -> float:
        """Stored bytes per element of a tensor kind [B]."""
        return self.format(kind).bytes

    def of(self, tensor: Operand) -> Format:
        """Format of one tensor: its own, that of its role, or that of its kind."""
        if tensor.format:
            return find_format(tensor.format)
        if tensor.kind == "weight" and tensor.role in ROLES:
            return find_format(getattr(self, tensor.role) or self.weight)
        return self.format(tensor.kind)


def policies() -> tuple[str, ...]:
    """Names that `precision` accepts."""
    return tuple(_data()["policies"])


def precision(choice: str | Mapping[str, str] | Precision) -> Precision:
    """Precision from a policy name (``bf16``, ``fp8``, ``w4a16`` ...) or a mapping kind -> format.

    A mapping may carry ``base: <policy>``; what it leaves out comes from there (default bf16).  Kinds are
    those of tensors and the weight roles ``expert``, ``embedding`` and ``head``.
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
        raise ArgumentError("precision", choice, "a policy or a mapping kind -> format" + several(choice))
    given = dict(choice)
    base = precision(given.pop("base", "bf16"))
    for kind, name in given.items():
        if kind not in kinds:
            raise UnknownNameError("tensor kind", kind, kinds)
        if not isinstance(name, str):
            raise ArgumentError(f"precision[{kind!r}]", name, "the name of a number format")
        find_format(name)
    label = "+".join(f"{kind}:{name}" for kind, name in given.items()) or base.name
    return replace(base, name=label, **given)


@dataclass(frozen=True)
class Sparsity:
    """Storage of a sparse tensor.

    layout   ``n:m`` (n of each m kept, position stored per kept element [1]), ``bitmap`` (one bit per element
             [2]), ``block`` (whole blocks of `block` elements, one index of `index_bits` per kept block),
             ``pruned`` (removed structures leave a smaller dense tensor: no index)
    density  kept share of the elements; n/m for ``n:m``
    m        group size for ``n:m``

    [1] Mishra et al., arXiv:2104.08378.  [2] Joo et al., Endor, arXiv:2406.11674.
    """

    layout: str
    density: Value
    m: Value = 4.0
    block: Value = 256.0
    index_bits: Value = 16.0

    def bits_per_element(self, payload: Value) -> Value:
        """Stored bits per element of the dense tensor; `payload` bits per kept element [bit].

        ``n:m``: d (b + ceil(log2 m)); ``bitmap``: d b + 1; ``block``: d (b + index/block); ``pruned``: d b.
        """
        kept = self.density * payload
        if self.layout == "n:m":
            return kept + self.density * ceil(log2(self.m))
        if self.layout == "bitmap":
            return kept + 1.0
        if self.layout == "block":
            return kept + self.density * self.index_bits / self.block
        return kept

    def compression(self, payload: Value) -> Value:
        """Dense bits over stored bits."""
        return payload / self.bits_per_element(payload)


#: layouts of a Sparsity
LAYOUTS = ("n:m", "bitmap", "block", "pruned")
