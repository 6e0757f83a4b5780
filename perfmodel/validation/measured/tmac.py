"""T-MAC tables: decode rate of low-bit language models on CPUs, by threads.

A token reads all weights; looking up tables (T-MAC) or unpacking the bits (llama.cpp) is shared by the
threads. Each row is predicted from the others of its device and engine.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from perfmodel.validation.measured.left_out import one_left_out
from perfmodel.validation.measured.rows import counted
from perfmodel.validation.measured.statistics import averaged, errors
from perfmodel.validation.measured.tables import Table

NAME = "tmac"
COLUMNS = {"device", "model", "weight_bits", "threads", "tmac_tok_per_s", "llamacpp_tok_per_s"}
#: model of the table -> workload
WORKLOADS = {"BitNet-3B": "bitnet-3b", "Llama-2-7B": "llama-2-7b"}


def recognises(header: frozenset[str]) -> bool:
    """True for tables of decode rates by threads."""
    return header >= COLUMNS


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Errors of the time per token by engine and device."""
    from perfmodel.workload.workload import workload

    models = table.texts("model")
    known = np.array([m in WORKLOADS for m in models])
    size = np.array([float(workload(WORKLOADS[m]).parameters) if m in WORKLOADS else np.nan for m in models])
    bits, threads, devices = table.numbers("weight_bits"), table.numbers("threads"), table.texts("device")
    features = {"weights": size * bits, "lookups": size * bits / threads, "products": size / threads}
    groups = []
    for engine in ("tmac", "llamacpp"):
        seconds = 1.0 / table.numbers(f"{engine}_tok_per_s")
        for device in np.unique(devices):
            mine = np.flatnonzero((devices == device) & known & np.isfinite(seconds))
            if len(mine) >= 4:
                guess, low, high = one_left_out({k: v[mine] for k, v in features.items()}, seconds[mine])
                groups.append(
                    {"metric": engine, "device": str(device), **errors(guess, seconds[mine], low, high)}
                )
    summary = {
        engine: averaged(g for g in groups if g["metric"] == engine) for engine in ("tmac", "llamacpp")
    }
    return {
        "fidelity": "calibrated",
        "split": "one row left out",
        "summary": summary,
        "groups": groups,
        "skipped": counted("model without a description", models[~known]),
    }
