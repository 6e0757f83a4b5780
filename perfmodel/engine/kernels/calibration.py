"""Shipped corrections of the kernel models and which of them apply to a device.

A file ``hardware_specs/calibrations/kernels-<name>.yaml`` holds groups of fitted corrections by family; a
group is named ``backend/kernel source/number formats/mode``.  A device without a file uses that of its
architecture (corrections are dimensionless), else the class file fitted to all devices together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from perfmodel import shipped
from perfmodel.spec import FrozenMap, Provenance, anything, load, many, text


@dataclass(frozen=True, kw_only=True)
class KernelCalibration:
    """One file of fitted corrections."""

    sources_required = False

    calibration: str = text(doc="name of the file's subject: a device or a class")
    applies_to: tuple[str, ...] = many(text(), doc="names of devices, * and ? match; first file wins")
    data: str = text(doc="data set that was fitted")
    date: str = text(doc="day of the fit")
    transfer: Any = anything(default=None, doc="errors on devices that were left out of a class fit")
    families: Any = anything(doc="family -> group -> rows, errors and values")
    provenance: FrozenMap[Provenance] = field(default_factory=FrozenMap, compare=False, repr=False)


@dataclass(frozen=True)
class Applied:
    """Corrections that apply to a group: the values, where they come from, and their held-out spread."""

    values: Any
    calibration: str  #: file they come from; empty: none, the documented starts
    group: str
    low: float = 0.7  #: measured / predicted, 10 % quantile on rows that were not fitted
    high: float = 1.6  #: and 90 %


@cache
def _shelf() -> tuple[tuple[Path, tuple[str, ...]], ...]:
    """Shipped files and the device patterns of their second line, the class last; nothing is parsed yet."""
    folder = shipped.folder("hardware_specs") / "calibrations"
    found = []
    for path in sorted(folder.glob("kernels-*.yaml")):
        with path.open(encoding="utf-8") as lines:
            patterns = next(line for line in lines if line.startswith("applies_to:"))
        found.append((path, tuple(json.loads(patterns.partition(":")[2]))))
    return tuple(sorted(found, key=lambda one: "*" in one[1]))


@cache
def _file(path: Path) -> KernelCalibration:
    return load(KernelCalibration, path)


def calibrations_of(device: str) -> Iterator[KernelCalibration]:
    """Shipped calibrations that apply to a device: those that name it, those of its kin, the class."""
    for named in (True, False):
        for path, patterns in _shelf():
            if (device in patterns) == named and any(fnmatch(device, pattern) for pattern in patterns):
                yield _file(path)


def calibrations() -> tuple[KernelCalibration, ...]:
    """All shipped kernel calibrations, the class last."""
    return tuple(_file(path) for path, _ in _shelf())


def corrections_for(family: str, kind: type[Any], device: str, group: str,
                    files: tuple[KernelCalibration, ...] | None = None) -> Applied:
    """Corrections of a kernel family for a group on a device, or the nearest group that is known.

    kind   corrections class of the family
    group  ``backend/kernel source/number formats/mode``; parts may be empty
    """
    for one in calibrations_of(device) if files is None else files:
        groups = (one.families or {}).get(family, {})
        if groups and any(fnmatch(device, pattern) for pattern in one.applies_to):
            name = nearest(group, groups)
            entry: Mapping[str, Any] = groups[name]
            known = {f.name for f in fields(kind)}
            values = {key: float(value) for key, value in entry["values"].items() if key in known}
            low, high = entry.get("spread", (0.7, 1.6))
            return Applied(kind(**values), one.calibration, name, float(low), float(high))
    return Applied(kind(), "", "")


def nearest(group: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
    """The known group closest to the asked one: formats and mode count most, then source, then backend.

    Where nothing tells two groups apart, the better known and faster one is taken.
    """
    if group in known:
        return group
    asked = group.split("/")

    def likeness(candidate: str) -> float:
        parts = candidate.split("/")
        score = sum(weight * _alike(mine, other) for weight, mine, other in
                    zip((1.0, 2.0), asked[:2], parts[:2], strict=False))
        rest, wanted = list(parts[2:]), [part for part in asked[2:] if part not in ("", "any")]
        score += sum(4.0 if part in rest else -1.0 for part in wanted)
        score += sum(1.0 for mine, other in zip(asked[2:], parts[2:], strict=False) if mine == other)
        score -= 0.1 * len([part for part in rest if part not in wanted])
        entry = known[candidate] if isinstance(known, Mapping) else {}
        # the error of rows that were fitted says little of a group too small to hold any out
        error = float(entry.get("held_out", {}).get("mape", 30.0 if entry else 0.0))
        values = entry.get("values", {})
        fixed, rate = float(values.get("launch", 0.0)), float(values.get("compute", 0.0))
        # a kernel that the runtime seldom calls has few rows, and they fit well
        rows = 0.2 * math.log10(max(float(entry.get("rows", 1.0)), 1.0))
        return score + rows - 0.02 * min(error, 30.0) - 0.02 * min(fixed, 20.0) + 0.2 * min(rate, 1.5)

    return max(known, key=likeness)


def _alike(mine: str, other: str) -> float:
    if "any" in (mine, other):  # a wish for any source is met by each, and best by none that is pooled
        return 0.4
    if mine == other:
        return 1.0
    return 0.5 if mine in other or other in mine else 0.0
