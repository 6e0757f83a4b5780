"""Errors of the kernel models on devices whose own calibration is left out: the nearest architectures answer.

Intervals are honest when the device that is scored had no part in them: a device's coverage is that of the
10 % and 90 % quantiles of measured over predicted time on the *other* devices left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import numpy as np

from perfmodel.engine.kernels.calibration import KernelCalibration, corrections_for
from perfmodel.engine.kernels.facts import gpu_facts
from perfmodel.explore.kernel_known import FAMILIES
from perfmodel.explore.kernel_tables import Family, Rows, device_name, size, take
from perfmodel.explore.score_kernels import errors
from perfmodel.hardware.catalog import device

#: entry of devices that share their architecture with a measured one
KIN = "kin"
#: fewer rows of a group are not scored; rows of a group that are used
LEAST, MOST = 20, 400


@dataclass(frozen=True)
class Scored:
    """Rows of one group of a device, predicted from other devices."""

    device: str
    group: str
    kin: bool  #: the file of another device of its architecture applies to it
    same: bool  #: a donor knows the kernel source
    weight: float  #: rows of the group over rows used
    predicted: Any
    measured: Any


def left_out(tables: Mapping[str, Rows], files: Sequence[KernelCalibration]) -> dict[str, Any]:
    """Family -> device -> errors without its own file, and the spread to state.

    tables  by family name; files: calibrations of all measured devices
    """
    found: dict[str, Any] = {}
    kin: list[Scored] = []
    for family in FAMILIES:
        if family.name in tables:
            scored = predictions(family, tables[family.name], files)
            kin += [one for one in scored if one.kin]
            others = [one for one in scored if not one.kin]
            if others:
                found[family.name] = _entry(others)
    if kin:
        found[KIN] = {"any": {"rows": sum(len(one.measured) for one in kin), "spread": _spread(kin)}}
    return found


def predictions(family: Family, rows: Rows, files: Sequence[KernelCalibration]) -> list[Scored]:
    """Times of every measured device, predicted without its own file, by group of kernels."""
    scored = []
    for system in np.unique(rows["system"]):
        name = device_name(str(system))
        if not any(one.calibration == name for one in files):
            continue  # not a device that was fitted
        kin = any(_applies(one, name) and one.calibration != name for one in files)
        donors = tuple(one for one in files if one.calibration != name and _applies(one, name) == kin)
        own = take(rows, rows["system"] == system)
        groups, gpu = family.groups(own), gpu_facts(device(name))
        for group in np.unique(groups):
            some = take(own, groups == group)
            count = size(some)
            applied = corrections_for(family.name, family.corrections, name, str(group), donors)
            if count < LEAST or not applied.calibration or " of " in str(group):
                continue  # tables by node (2 of one node ...) measure its network, which is no device's
            some = take(some, np.random.default_rng(0).permutation(count)[:MOST])
            seconds = family.predict(some, gpu, applied.values, str(group)).seconds
            measured = some["latency_us"] * 1e-6
            good = np.isfinite(seconds)
            same = str(group).split("/")[1] == applied.group.split("/")[1]
            weight = count / size(some)
            scored.append(Scored(name, str(group), kin, same, weight, seconds[good], measured[good]))
    return scored


def _applies(file: KernelCalibration, device: str) -> bool:
    return any(fnmatch(device, pattern) for pattern in file.applies_to)


def _entry(scored: Sequence[Scored]) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for name in sorted({one.device for one in scored}):
        mine = [one for one in scored if one.device == name]
        others = [one for one in scored if one.device != name]
        error = _errors(mine)
        if others:
            error["coverage"] = round(_coverage(mine, others), 3)
        if all(_vendor(one.device) != _vendor(name) for one in others):
            error["foreign"] = 1
        wide = [one for one in mine if "bfloat16" in one.group.split("/")]
        if 0 < len(wide) < len(mine):
            error["bfloat16"] = _errors(wide)
        entry[name] = error
    for kernel, same in (("same kernel", True), ("other kernel", False)):
        some = [one for one in scored if one.same == same] or list(scored)
        rows = round(sum(one.weight * len(one.measured) for one in some))
        entry[kernel] = {"rows": rows, "spread": _spread(some)}
    return entry


def _vendor(name: str) -> str:
    return device(name).vendor


def _errors(scored: Sequence[Scored]) -> dict[str, Any]:
    rows = [one.weight * len(one.measured) for one in scored]
    each = [errors(one.predicted, one.measured) for one in scored]
    same = sum(count for one, count in zip(scored, rows, strict=True) if one.same)
    found: dict[str, Any] = {"rows": round(sum(rows)), "same_kernel": round(same)}
    for name in ("mape", "median", "p90", "bias"):
        found[name] = round(float(np.average([e[name] for e in each], weights=rows)), 1)
    if same:
        known = [e["mape"] if one.same else 0.0 for e, one in zip(each, scored, strict=True)]
        found["same_kernel_mape"] = round(float(np.dot(known, rows) / same), 1)
    return found


def _coverage(mine: Sequence[Scored], others: Sequence[Scored]) -> float:
    """Share of rows inside the interval that the other devices give."""
    inside, total = 0.0, 0.0
    for one in mine:
        low, high = _spread([other for other in others if other.same == one.same] or others)
        ratio = one.measured / one.predicted
        inside += one.weight * float(np.sum((ratio >= low) & (ratio <= high)))
        total += one.weight * len(ratio)
    return inside / total


def _spread(scored: Sequence[Scored]) -> list[float]:
    """10 % and 90 % quantile of measured over predicted time and of its inverse.

    Whether the next device is faster or slower than its donors is not known: where A is predicted too fast
    from B, B is predicted too slow from A.
    """
    ratio = np.concatenate([one.measured / one.predicted for one in scored])
    ratio = np.concatenate([ratio, 1.0 / ratio])
    weight = np.tile(np.concatenate([np.full(len(one.measured), one.weight) for one in scored]), 2)
    order = np.argsort(ratio)
    share = (np.cumsum(weight[order]) - 0.5 * weight[order]) / weight.sum()
    return [round(float(np.interp(q, share, ratio[order])), 3) for q in (0.1, 0.9)]
