"""What the accuracy page says beside a score: errors of parts of it, and passes checked on a machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perfmodel.explore.kernel_tables import read_table

#: passes that ``perfmodel probe --check --rows FILE`` measured beside what it had predicted
PASSES = Path(__file__).parent / "data" / "probe_passes.csv"


def by_kernel(fit: Mapping[str, Any], split: str) -> str:
    """Errors of the kernels that make up a fit: keys ``<split> <kernel>`` of its report."""
    start = f"{split} "
    parts = {key.removeprefix(start): score for key, score in fit.items() if key.startswith(start)}
    return ", ".join(f"{name} {score['mape']:.1f} % of {score['n']}" for name, score in parts.items())


def checked_passes(table: Path = PASSES) -> tuple[float | None, int, str]:
    """Mean error, rows and note of the passes that were checked on machines described by the probe."""
    if not table.is_file():
        return None, 0, "`perfmodel probe --check --rows FILE` measures it"
    rows = read_table(table)
    error = np.abs(rows["predicted_s"] / rows["measured_s"] - 1.0)
    note = f"largest {100 * error.max():.1f} %"
    for name in np.unique(rows["machine"]):
        mine, load = error[rows["machine"] == name], rows["load"][rows["machine"] == name]
        by_load = {k: mine[load == k].mean() for k in np.unique(load)}
        note += f"; {name}, by load: " + ", ".join(f"{k:g}: {100 * e:.1f} %" for k, e in by_load.items())
    return float(error.mean()), len(error), note
