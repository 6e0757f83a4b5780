"""Shipped corrections of the kernel models and which of them apply to a device.

A file ``hardware_specs/calibrations/kernels-<name>.yaml`` holds groups of fitted corrections by family; a
group is named ``backend/kernel source/number formats/mode``.  A device without a file uses that of a device
of its architecture (corrections are dimensionless), else those of the nearest architectures (`lineage`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from perfmodel import shipped
from perfmodel.engine.kernels.lineage import nearest, pass_on
from perfmodel.spec import FrozenMap, Provenance, anything, load, many, text


@dataclass(frozen=True, kw_only=True)
class KernelCalibration:
    """One file of fitted corrections."""

    sources_required = False

    calibration: str = text(doc="name of the file's subject: a device")
    applies_to: tuple[str, ...] = many(text(), doc="names of devices, * and ? match; first file wins")
    data: str = text(doc="data set that was fitted")
    date: str = text(doc="day of the fit")
    families: Any = anything(doc="family -> group -> rows, errors and values")
    provenance: FrozenMap[Provenance] = field(default_factory=FrozenMap, compare=False, repr=False)


@dataclass(frozen=True)
class Applied:
    """Corrections that apply to a group: the values, where they come from, and their held-out spread."""

    values: Any
    calibration: str  #: files they come from, joined by +; empty: none, the documented starts
    group: str
    low: float = 0.7  #: measured / predicted, 10 % quantile on rows that were not fitted
    high: float = 1.6  #: and 90 %


@cache
def _shelf() -> tuple[tuple[Path, tuple[str, ...]], ...]:
    """Shipped files and the device patterns of their second line; nothing is parsed yet."""
    folder = shipped.folder("hardware_specs") / "calibrations"
    found = []
    for path in sorted(folder.glob("kernels-*.yaml")):
        with path.open(encoding="utf-8") as lines:
            patterns = next(line for line in lines if line.startswith("applies_to:"))
        found.append((path, tuple(json.loads(patterns.partition(":")[2]))))
    return tuple(found)


@cache
def _file(path: Path) -> KernelCalibration:
    return load(KernelCalibration, path)


def calibrations_of(device: str) -> Iterator[KernelCalibration]:
    """Shipped calibrations that apply to a device: those that name it, then those of its architecture."""
    for named in (True, False):
        for path, patterns in _shelf():
            if (device in patterns) == named and any(fnmatch(device, pattern) for pattern in patterns):
                yield _file(path)


@cache
def calibrations() -> tuple[KernelCalibration, ...]:
    """All shipped kernel calibrations."""
    return tuple(_file(path) for path, _ in _shelf())


@cache
def transfer() -> Mapping[str, Any]:
    """Family -> errors on measured devices without their own file, spread of measured over predicted."""
    path = shipped.folder("hardware_specs") / "calibrations" / "transfer.yaml"
    return load(KernelCalibration, path).families if path.exists() else {}


def corrections_for(family: str, kind: type[Any], device: str, group: str,
                    files: tuple[KernelCalibration, ...] | None = None) -> Applied:
    """Corrections of a kernel family for a group on a device, or the nearest group that is known.

    kind   corrections class of the family
    group  ``backend/kernel source/number formats/mode``; parts may be empty
    files  calibrations to choose from; None: the shipped ones
    """
    if files is None:
        hashable: Any = kind
        return _shipped(family, hashable, device, group)
    fit = (one for one in files if any(fnmatch(device, pattern) for pattern in one.applies_to))
    return _own(family, kind, device, group, fit) or passed_on(family, kind, device, group, files)


@cache
def _shipped(family: str, kind: Any, device: str, group: str) -> Applied:
    found = _own(family, kind, device, group, calibrations_of(device))
    return found or passed_on(family, kind, device, group, calibrations())


def _own(family: str, kind: type[Any], device: str, group: str,
         files: Iterator[KernelCalibration]) -> Applied | None:
    """Corrections from the first file that has the family."""
    for one in files:
        groups = (one.families or {}).get(family, {})
        if not groups:
            continue
        name = nearest(group, groups)
        entry: Mapping[str, Any] = groups[name]
        known = {f.name for f in fields(kind)}
        values = {key: float(value) for key, value in entry["values"].items() if key in known}
        low, high = (float(end) for end in entry.get("spread", (0.7, 1.6)))
        if device != one.calibration and "*" not in one.applies_to:  # fitted to another of its architecture
            least, most = transfer().get("kin", {}).get("any", {}).get("spread", (1.0, 1.0))
            low, high = min(low, float(least)), max(high, float(most))
        return Applied(kind(**values), one.calibration, name, low, high)
    return None


def passed_on(family: str, kind: type[Any], device: str, group: str,
              files: tuple[KernelCalibration, ...]) -> Applied:
    """Corrections from the files of other devices, the nearest architectures first; else the starts."""
    donors = {
        one.calibration: groups
        for one in files
        if (groups := (one.families or {}).get(family)) and one.applies_to != (one.calibration,)
    }  # a file that names its own device alone lends nothing
    if not donors:
        return Applied(kind(), "", "")
    starts: dict[str, Any] = {f.name: f.default for f in fields(kind)}
    found = pass_on(device, family, group, donors, starts)
    kernel = "same kernel" if found.same_kernel else "other kernel"
    low, high = transfer().get(family, {}).get(kernel, {}).get("spread", (0.6, 1.8))
    return Applied(kind(**found.values), "+".join(found.donors), found.group, float(low), float(high))
