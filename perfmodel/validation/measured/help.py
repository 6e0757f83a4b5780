"""HELP tables: latency of every network of NAS-Bench-201, FBNet and OFA-MobileNetV3 on phones, CPUs and GPUs.

Lee et al., arXiv:2106.08630: ten samples of the new device, rank correlation on the others.  Every device is
scored on all networks with its family left out.  A device that HELP does not learn from is also scored as
HELP does: prior from its training devices, samples among the networks that it learns from, ranks of the next
thousand without the fastest and the slowest tenth (its Tables 2 and 3; split of github.com/HayeonLee/HELP).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError
from perfmodel.validation.measured import spaces
from perfmodel.validation.measured.protocol import SAMPLES, Task, few_shot
from perfmodel.validation.measured.statistics import averaged, errors
from perfmodel.validation.measured.tables import Table
from perfmodel.workload.nets.nas import CELL_EDGES

NAME = "help"
#: what HELP learns from: devices of each space, and networks
_SMALL = {"silver_4114", "silver_4210r", "samsung_a50", "pixel3", "essential_ph_1", "samsung_s7"}
LEARNED = {
    "nasbench201": (_SMALL | {"1080ti_1", "1080ti_32", "1080ti_256"}, 900),
    "fbnet": (_SMALL | {"1080ti_1", "1080ti_32", "1080ti_64"}, 4000),
    "ofa": ({f"{gpu}_{batch}" for gpu in ("2080ti", "titan_xp", "v100") for batch in (1, 32, 64)}, 4000),
}
QUERIES = 1000


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
        if device not in LEARNED[made.name][0] and len(times) > LEARNED[made.name][1] + SAMPLES:
            scored["published"] = published(made, str(device), times)
        groups.append({"space": made.name, "device": str(device), **scored})
    summary = averaged(groups)
    ranks = [group["published"] for group in groups if "published" in group]
    if ranks:
        summary |= {"published": float(np.mean(ranks)), "published devices": len(ranks)}
    return {"fidelity": "calibrated", "summary": summary, "groups": groups}


def published(task: Task, device: str, times: Any) -> float:
    """Rank correlation as HELP scores a device that it does not learn from."""
    known, learned = LEARNED[task.name]
    _, (rows, guess, _, _) = few_shot(task, device, times, known=known, among=learned)
    asked = (rows >= learned) & (rows < learned + QUERIES)
    order = np.flatnonzero(asked)[np.argsort(times[rows[asked]], kind="stable")]
    middle = order[int(0.1 * len(order)) : int(0.9 * len(order))]
    return float(errors(guess[middle], times[rows[middle]])["spearman"])


def devices(table: Table) -> Mapping[str, Any]:
    """Times by device [ms]."""
    return dict(zip(map(str, table.columns["devices"]), table.columns["latency_ms"], strict=True))
