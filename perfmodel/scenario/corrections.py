"""Dimensionless corrections of the serving model, fitted once and shipped with their errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from perfmodel import shipped
from perfmodel.algebra import Value
from perfmodel.errors import UnknownNameError
from perfmodel.spec import FrozenMap, Provenance, anything, load, quantity, table, text

_NONE: Mapping[str, Any] = {}


@dataclass(frozen=True, kw_only=True)
class Corrections:
    """How far a step of a serving engine stays from the bounds of its device."""

    bandwidth: Value = quantity("1", default=1.0, doc="achieved over nominal memory bandwidth")
    compute: Value = quantity("1", default=1.0, doc="factor on the fractions of the matrix peak")
    sharpness: Value = quantity("1", default=8.0, low=1.0, doc="p of (memory^p + compute^p)^(1/p)")
    elementwise: Value = quantity("1", default=1.0, doc="traffic between products over the least")
    attention_prefill: Value = quantity("1", default=1.0, doc="fraction of the bf16 peak, long prompts")
    attention_half: Value = quantity("1", default=0.0, positive=False, low=0.0,
                                     doc="prompt tokens at which prefill attention reaches half of it")
    link: Value = quantity("1", default=1.0, doc="achieved over nominal link bandwidth")
    latency: Value = quantity("1", default=1.0, doc="latency of a collective step over the link's own")
    grouped: Value = quantity("1", default=1.0, doc="rate of expert products over that of dense ones")
    fused_experts: Value = quantity("1", default=1.0, doc="kernels of 4-bit experts over unfused ones")
    fractions: Mapping[str, Value] = table(quantity("1"), default=_NONE,
                                           doc="large-product fraction of the matrix peak by number format")

    def fraction(self, key: str) -> Value:
        """Fraction of the matrix peak that large products reach in this format; 1 where none is known."""
        return self.fractions.get(key, 1.0)


@dataclass(frozen=True, kw_only=True)
class ServingCalibration:
    """File ``calibrations/serving.yaml``: corrections by name of the data they come from."""

    sources_required = False

    calibration: str = text(doc="name of the file's subject")
    corrections: Mapping[str, Corrections] = table(Corrections, doc="name -> fitted values")
    power: Mapping[str, Any] = anything(default=None, doc="activity model of board power")
    fit: Mapping[str, Any] = anything(default=None, doc="data set, rows, errors and date of each fit")
    provenance: FrozenMap[Provenance] = field(default_factory=FrozenMap, compare=False, repr=False)


#: no correction: the bounds of the device
IDEAL = Corrections()


@cache
def calibration(path: str = "") -> ServingCalibration:
    """The shipped calibration, or the one of a file."""
    file = Path(path) if path else shipped.folder("hardware_specs") / "calibrations" / "serving.yaml"
    return load(ServingCalibration, file)


def corrections(name: str = "serving") -> Corrections:
    """Fitted corrections by name; ``ideal`` is none."""
    if name == "ideal":
        return IDEAL
    known = calibration().corrections
    if name not in known:
        raise UnknownNameError("calibration", name, ("ideal", *known))
    return known[name]
