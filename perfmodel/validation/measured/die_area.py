"""Die area by component, one column ``NAME_mm2`` per die.

[1] Zhang et al., LLMCompass, ISCA 2024, arXiv:2312.03134.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError
from perfmodel.validation.measured.rows import scored
from perfmodel.validation.measured.tables import Table

NAME = "die_area"
#: device of a column -> die of the technology file
DIES = {"A100": "ga100", "MI210": "aldebaran", "MI250": "aldebaran", "MI250X": "aldebaran", "H100": "gh100"}
#: the source counts the control of the links under either name: both are the rest
REST = ("link_controller", "other")


def recognises(header: frozenset[str]) -> bool:
    """True for tables of components and their area."""
    return "component" in header and any(name.endswith("_mm2") for name in header)


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Errors by die: each component, and their sum."""
    from perfmodel.engine.silicon import die_area
    from perfmodel.hardware.technology import technology

    parts = [str(p) for p in table.columns["component"]]
    guess: list[float] = []
    real: list[float] = []
    die_of: list[str] = []
    metric: list[str] = []
    for column in sorted(name for name in table.header if name.endswith("_mm2")):
        device = column.removesuffix("_mm2")
        if device not in DIES:
            continue
        area = die_area(technology().dies[DIES[device]], technology())
        areas = {k: float(v) * 1e6 for k, v in area.items()}
        areas["rest"] = areas.pop("link_controller") + areas.pop("fixed")
        areas["l2"] = areas.pop("cache")
        measured: dict[str, float] = {}
        for part, value in zip(parts, table.numbers(column), strict=True):
            name = "rest" if part in REST else part
            measured[name] = measured.get(name, 0.0) + float(value)
        known = {name: value for name, value in measured.items() if name in areas}
        rows = [("component", areas[k], v) for k, v in known.items()]
        rows.append(("total", sum(areas[k] for k in known), sum(known.values())))
        for kind, predicted, value in rows:
            metric.append(kind)
            guess.append(predicted)
            real.append(value)
            die_of.append(device)
    if not guess:
        raise ArgumentError("data", table.path.name, "area of one of the dies " + ", ".join(DIES))
    kinds, mine = np.array(metric), np.array(guess)
    metrics = {k: (np.where(kinds == k, mine, np.nan), np.where(kinds == k, real, np.nan))
               for k in ("component", "total")}
    return scored(metrics, {"device": die_of}, "count")
