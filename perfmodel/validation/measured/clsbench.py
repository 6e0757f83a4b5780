"""Deeplite classification benchmark: latency of timm models on edge devices.

The counts of each model (operations, elements moved and operators by kind at the resolution of its name) are
in ``timm_counts.csv``: counted on shapes alone with timm 1.0.31 (Apache-2.0), no weights.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError
from perfmodel.validation.measured.protocol import Task, few_shot
from perfmodel.validation.measured.statistics import averaged
from perfmodel.validation.measured.tables import Table

NAME = "clsbench"
COLUMNS = {"device", "timm_model", "latency_ms"}


def recognises(header: frozenset[str]) -> bool:
    """True for tables of timm models."""
    return header >= COLUMNS


@cache
def model_counts() -> Mapping[str, Mapping[str, float]]:
    """Counts by model and resolution."""
    with Path(__file__).with_name("timm_counts.csv").open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(line for line in lines if not line.startswith("#"))
        return {row.pop("name"): {key: float(value) for key, value in row.items()} for row in rows}


def task(models: Any) -> Task:
    """Amounts of each model."""
    counted = model_counts()
    missing = [m for m in models if m not in counted]
    if missing:
        raise ArgumentError("timm_model", missing[0], "a model whose counts are shipped")
    features = list(next(iter(counted.values())))
    amounts = {name: np.array([counted[m][name] for m in models]) + 1e-9 for name in features}
    return Task("clsbench", amounts, form="positive", criterion="mean")


def devices(table: Table) -> Mapping[str, Any]:
    """(models, times [ms]) by device; models without counts are left out."""
    names, models, times = table.texts("device"), table.texts("timm_model"), table.numbers("latency_ms")
    known = np.array([m in model_counts() for m in models])
    return {str(d): (models[(names == d) & known], times[(names == d) & known]) for d in np.unique(names)}


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Errors by device."""
    groups = [
        {"device": name, **few_shot(task(models), name, times)[0]}
        for name, (models, times) in devices(table).items()
    ]
    skipped = len(table.columns["device"]) - sum(len(m) for m, _ in devices(table).values())
    return {
        "fidelity": "calibrated",
        "summary": averaged(groups),
        "groups": groups,
        "skipped": {"no counts of the model": skipped} if skipped else {},
    }
