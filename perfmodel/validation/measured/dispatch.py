"""Which scorer a file of measurements goes to."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perfmodel.errors import ArgumentError
from perfmodel.validation.measured.statistics import as_fractions
from perfmodel.validation.measured.tables import Table, read

#: modules of this package; each has NAME, ``recognises(header)`` and ``score(table, fidelity)``
SCORERS = (
    "help", "yolobench", "hat", "clsbench", "networks", "gap9", "tmac", "ssm_scope", "arrays", "hat_models",
    "prima", "die_area", "vector_search", "detector", "megatron",
    "requests", "kernel_rows", "tmac_rows", "silicon", "refused",
)
FIDELITIES = ("roofline", "dataflow", "calibrated")


def known() -> Mapping[str, Any]:
    """Scorers of this package by name of their data set."""
    found = [importlib.import_module(f"{__package__}.{name}") for name in SCORERS]
    return {module.NAME: module for module in found}


def score(path: str | Path, fidelity: str | None = None) -> dict[str, Any]:
    """Errors of the predictions of a file of measurements: ``{"summary": {...}, "groups": [...]}``.

    path      CSV or NumPy archive with the columns of a known data set
    fidelity  roofline, dataflow or calibrated; None: calibrated, or the only one that applies

    Errors are fractions.  A file with several metrics has one object per metric in `summary`.
    """
    if fidelity is not None and fidelity not in FIDELITIES:
        raise ArgumentError("fidelity", fidelity, ", ".join(FIDELITIES))
    table = read(path)
    for name, module in known().items():
        if module.recognises(table.header):
            return {"data": name, **module.score(table, fidelity)}
    from perfmodel.validation.serving_score import recognises, score_serving

    if recognises(sorted(table.header)):
        return {"data": "serving", **as_fractions(score_serving(path, fidelity or "calibrated"))}
    return _kernels(table, fidelity)


def _kernels(table: Table, fidelity: str | None) -> dict[str, Any]:
    from perfmodel.explore.kernel_adapters import standard_tables
    from perfmodel.explore.kernel_known import FAMILIES
    from perfmodel.explore.kernel_tables import read_table
    from perfmodel.explore.score_kernels import score as score_kernels

    parts = [] if table.path.suffix == ".npz" else standard_tables(read_table(table.path))
    if not any(family.columns <= set(part) for family in FAMILIES for part in parts):
        sets = [name for name in known() if name != "refused"]
        allowed = ", ".join((*sets, "serving points", "batches", *(family.name for family in FAMILIES)))
        columns = ", ".join(sorted(table.header))
        raise ArgumentError("data", f"a file with the columns {columns}", "those of one of " + allowed)
    return {"data": "kernels", **as_fractions(score_kernels(table.path, fidelity or "calibrated"))}
