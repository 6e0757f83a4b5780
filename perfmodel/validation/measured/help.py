"""HELP tables: latency of every network of NAS-Bench-201, FBNet and OFA-MobileNetV3 on phones, CPUs and GPUs.

Lee et al., arXiv:2106.08630: ten samples of the new device, rank correlation on the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError
from perfmodel.validation.measured import spaces
from perfmodel.validation.measured.protocol import Task, few_shot
from perfmodel.validation.measured.statistics import averaged
from perfmodel.validation.measured.tables import Table
from perfmodel.workload.nets.nas import CELL_EDGES

NAME = "help"


def recognises(header: frozenset[str]) -> bool:
    """True for the archives of one of the three spaces."""
    return {"devices", "latency_ms"} <= header and bool(header & {"arch_ops", "ks"})


def task(columns: Mapping[str, Any]) -> Task:
    """Features of the space of a file."""
    if "ks" in columns:
        made = spaces.ofa(columns["ks"], columns["e"], columns["d"], columns["r"])
        return Task("ofa", made)
    choices = np.asarray(columns["arch_ops"])
    if choices.shape[1] == len(CELL_EDGES):
        return Task("nasbench201", spaces.nasbench201(choices))
    if choices.shape[1] != 22:
        raise ArgumentError("arch_ops", choices.shape, "[N, 6] (NAS-Bench-201) or [N, 22] (FBNet)")
    layers = Task("fbnet", spaces.fbnet_layers(choices))
    counted = Task("", spaces.fbnet(choices)).table()[:, 1:]
    # a device that differs from all others does so by kind of operation, not layer by layer
    by_layer = np.linalg.lstsq(layers.table(), counted, rcond=None)[0]
    return Task("fbnet", layers.features, deviation=by_layer @ by_layer.T)


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Errors by device."""
    made = task(table.columns)
    groups = []
    for device, times in zip(table.texts("devices"), table.columns["latency_ms"], strict=True):
        scored, _ = few_shot(made, str(device), times)
        groups.append({"space": made.name, "device": str(device), **scored})
    return {"fidelity": "calibrated", "summary": averaged(groups), "groups": groups}


def devices(table: Table) -> Mapping[str, Any]:
    """Times by device [ms]."""
    return dict(zip(map(str, table.columns["devices"]), table.columns["latency_ms"], strict=True))
