"""YOLOBench: latency of 88 YOLO variants (depth and width multipliers) at 11 resolutions on edge devices.

Operations, bytes and kernels of a family are products of powers of depth, width and resolution, with a few
sums; the logarithm of the time is therefore a smooth function of their logarithms with terms per family.
Lazarevich et al., arXiv:2307.13901.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError
from perfmodel.validation.measured.protocol import Task, few_shot
from perfmodel.validation.measured.statistics import averaged
from perfmodel.validation.measured.tables import Table

NAME = "yolobench"
#: depth and width multiplier of the named sizes
SIZES = {"n": (0.33, 0.25), "s": (0.33, 0.5), "m": (0.67, 0.75), "l": (1.0, 1.0)}
#: digits of a multiplier in a name
MULTIPLIERS = {"1": 1.0, "25": 0.25, "33": 0.33, "5": 0.5, "6": 0.6, "67": 0.67, "75": 0.75}
FAMILIES = ("yolo3", "yolo4", "yolo5", "yolo6l", "yolo6m", "yolo6s", "yolo7", "yolo8")


def recognises(header: frozenset[str]) -> bool:
    """True for a table of variants and resolutions with a column of milliseconds per device."""
    return {"variant", "resolution_px"} <= header and any(name.endswith("_ms") for name in header)


def variant(name: str) -> tuple[str, float, float]:
    """Family, depth and width multiplier of ``yolo5d67w25``, ``yolo6l-d33w5``, ``yolo8s`` and their like."""
    found = re.fullmatch(r"(yolo\d+[a-z]?)-?d(\d+)w(\d+)", name)
    if found and {found[2], found[3]} <= set(MULTIPLIERS) and found[1] in FAMILIES:
        return found[1], MULTIPLIERS[found[2]], MULTIPLIERS[found[3]]
    if name[:-1] in FAMILIES and name[-1] in SIZES:
        return name[:-1], *SIZES[name[-1]]
    raise ArgumentError(
        "variant", name, f"one of {', '.join(FAMILIES)} with d<depth>w<width> or a size n, s, m, l"
    )


def task(table: Table) -> Task:
    """Logarithms of resolution, width and depth, their products, and terms of each family."""
    parts = [variant(str(name)) for name in table.columns["variant"]]
    pixels = np.log(table.numbers("resolution_px") / 320.0)
    depth, width = (np.log(np.array([p[i] for p in parts]) / 0.6) for i in (1, 2))
    one = np.ones(len(parts))
    found = {
        "constant": one,
        "resolution": pixels,
        "width": width,
        "depth": depth,
        "resolution^2": pixels**2,
        "width^2": width**2,
        "resolution width": pixels * width,
        "resolution depth": pixels * depth,
        "width depth": width * depth,
        "depth^2": depth**2,
    }
    free = [1.0] * 4 + [0.3] * 6
    for name in FAMILIES:
        here = np.array([p[0] == name for p in parts]) * one
        for term, value in (("", one), (" resolution", pixels), (" width", width), (" depth", depth)):
            found[f"{name}{term}"] = here * value
            free.append(0.3 if term else 1.0)
    return Task(
        "yolobench", found, form="logarithmic", criterion="mean", deviation=_scaled(found, free), ridge=1e-3
    )


def _scaled(features: Mapping[str, Any], free: list[float]) -> Any:
    # features are divided by their largest magnitude later: the freedom is that of the unscaled term
    return np.diag(np.array(free) * Task("", features).scale)


def devices(table: Table) -> Mapping[str, Any]:
    """Times by device [ms]."""
    return {name.removesuffix("_ms"): table.numbers(name) for name in table.columns if name.endswith("_ms")}


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Errors by device."""
    made = task(table)
    groups = [{"device": name, **few_shot(made, name, times)[0]} for name, times in devices(table).items()]
    return {"fidelity": "calibrated", "summary": averaged(groups), "groups": groups}
