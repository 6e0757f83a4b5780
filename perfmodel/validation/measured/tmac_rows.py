"""T-MAC: rows of one runtime each: decode rate by threads, and energy of a token.

Energy per token is power times the time of a token, both measured: a check of the table.  A rate is predicted
from the other rows of its device and runtime, as in the table by threads; other runtimes are left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from perfmodel.validation.measured.left_out import one_left_out
from perfmodel.validation.measured.rows import scored
from perfmodel.validation.measured.tables import Table
from perfmodel.validation.measured.tmac import WORKLOADS

NAME = "tmac_rows"
COLUMNS = {"device", "model", "weight_bits", "runtime", "threads", "tok_per_s"}


def recognises(header: frozenset[str]) -> bool:
    """True for decode rates with the runtime of each row."""
    return header >= COLUMNS


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Errors of the time of a token, and of its energy where the power is stated."""
    devices, runtimes, rates = table.texts("device"), table.texts("runtime"), table.numbers("tok_per_s")
    metrics = {"tpot": (_times(table), 1.0 / rates)}
    if "energy_J_per_token" in table.header:
        metrics["energy"] = (table.numbers("power_W") / rates, table.numbers("energy_J_per_token"))
    return scored(metrics, {"device": devices, "runtime": runtimes}, "calibrated", "one row left out",
                  otherwise="fewer than 4 rows of the device and runtime to learn from, or an unknown model")


def _times(table: Table) -> Any:
    from perfmodel.workload.workload import workload

    models, threads, rates = table.texts("model"), table.numbers("threads"), table.numbers("tok_per_s")
    size = np.array([float(workload(WORKLOADS[m]).parameters) if m in WORKLOADS else np.nan for m in models])
    weights = size * table.numbers("weight_bits")
    features = {"weights": weights, "lookups": weights / threads, "products": size / threads}
    found = np.full(len(rates), np.nan)
    pairs = zip(table.columns["device"], table.columns["runtime"], strict=True)
    groups = np.array([f"{d}|{r}" for d, r in pairs])
    for group in np.unique(groups):
        mine = np.flatnonzero((groups == group) & np.isfinite(weights / threads / rates))
        if len(mine) >= 4:
            found[mine] = one_left_out({k: v[mine] for k, v in features.items()}, 1.0 / rates[mine])[0]
    return found
