"""Single printed figures of chips: those that a model here predicts, each with its system and quantity.

Facts that descriptions take as inputs (energies per operation, wafer prices, fab carbon) are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError
from perfmodel.validation import eyeriss, nvdla, tpu_v1
from perfmodel.validation.measured.rows import scored
from perfmodel.validation.measured.tables import Table

NAME = "silicon"
COLUMNS = {"system", "quantity", "value", "unit", "condition", "evidence"}
#: figures by (system, quantity)
Figures = Mapping[tuple[str, str], float]
#: die -> die of the technology file; part of a row -> component
_DIES = {"A100": "ga100", "MI210": "aldebaran", "H100": "gh100"}
_PARTS = {
    "cores": "cores", "crossbar": "crossbar", "global_buffer": "cache", "memory_phy": "memory_phy",
    "memory_controller": "memory_controller", "device_link_phy": "link_phy",
}


def recognises(header: frozenset[str]) -> bool:
    """True for tables of single figures with their evidence."""
    return header >= COLUMNS


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Errors by system and kind of figure; rows of 0 and those that nothing predicts are left out."""
    systems, quantities = table.texts("system"), table.texts("quantity")
    values = table.numbers("value")
    figures = {(str(s), str(q)): float(v) for s, q, v in zip(systems, quantities, values, strict=True)}
    found = [(system, *_predict(system, name, figures)) for system, name in figures]
    real = np.array(list(figures.values()))
    guess = np.array([np.nan if value is None else value for _, _, value in found])
    if not np.isfinite(guess).any():
        raise ArgumentError("data", table.path.name, "figures of " + ", ".join(_PREDICTORS))
    kinds = np.array([kind for _, kind, _ in found])
    metrics = {
        str(kind): (np.where(kinds == kind, guess, np.nan), np.where(kinds == kind, real, np.nan))
        for kind in dict.fromkeys(kinds[np.isfinite(guess)])
    }
    answer = scored(metrics, {"system": [system.split()[0] for system, _, _ in found]}, "dataflow",
                    otherwise="no model of this figure")
    # figures whose kind nothing predicts
    others = int(np.sum((real > 0) & ~np.isin(kinds, list(metrics))))
    answer["skipped"].update({"no model of this figure": others} if others else {})
    return answer


def _predict(system: str, quantity: str, figures: Figures) -> tuple[str, float | None]:
    """Kind and prediction of a figure; None where nothing predicts it."""
    predictor = next((p for prefix, p in _PREDICTORS.items() if system.startswith(prefix)), None)
    return predictor(system, quantity, figures) if predictor else ("", None)


def _tpu(system: str, quantity: str, figures: Figures) -> tuple[str, float | None]:
    name, _, part = quantity.partition("_")
    if name not in tpu_v1.APPLICATIONS or part not in ("throughput", *tpu_v1.COUNTERS):
        return "", None
    return part if part == "throughput" else "counters", tpu_v1.predicted(name, part)


def _eyeriss(system: str, quantity: str, figures: Figures) -> tuple[str, float | None]:
    found = re.fullmatch(r"(alexnet|vgg16)_(CONV[\d-]+)_(\w+)", quantity)
    if found is None or found[2] not in eyeriss.NETWORKS[found[1]][1]:
        return "", None
    network, layer, kind = found.groups()
    return kind, eyeriss.predicted(network, layer).get(kind)


def _nvdla(system: str, quantity: str, figures: Figures) -> tuple[str, float | None]:
    found = re.fullmatch(r"NVDLA (\d+) MAC", system)
    known = found is not None and int(found[1]) in nvdla.CONFIGURATIONS
    if not known or found is None or quantity != "resnet50_throughput_int8":
        return "", None
    return "frames per second", nvdla.frames_per_second(int(found[1]))


def _die(system: str, quantity: str, figures: Figures) -> tuple[str, float | None]:
    from perfmodel.engine.silicon import die_area
    from perfmodel.hardware.technology import technology

    if system not in _DIES or not quantity.startswith("die_area"):
        return "", None
    areas = die_area(technology().dies[_DIES[system]], technology())
    if quantity == "die_area":
        return "die area", float(sum(areas.values())) * 1e6
    part = _PARTS.get(quantity.removeprefix("die_area_"))
    return "component area", float(areas[part]) * 1e6 if part else None


_PREDICTORS: Mapping[str, Callable[[str, str, Figures], tuple[str, float | None]]] = {
    "TPU v1": _tpu, "Eyeriss": _eyeriss, "NVDLA": _nvdla, "A100": _die, "MI210": _die, "H100": _die,
}
