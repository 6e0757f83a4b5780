"""prima.cpp: time per token of a desktop alone, and of four home devices in a ring.

Free memory and disks are those printed beside the table; Q4_K files hold about 4.8 bits per weight.

[1] Li et al., PRIMA.CPP, arXiv:2504.08791; repository of the authors (MIT).
"""

from __future__ import annotations

import re
from typing import Any

from perfmodel.errors import ArgumentError
from perfmodel.validation.measured.rows import each, scored
from perfmodel.validation.measured.tables import Table

NAME = "prima_cpp"
COLUMNS = {"model", "quantisation", "llamacpp_ms_per_token", "prima_ms_per_token"}
#: stored bits of a weight, with scales [recalled]
BITS = {"Q4_K": 4.8, "IQ1": 1.8, "Q8_0": 8.5}


def recognises(header: frozenset[str]) -> bool:
    """True for tables of time per token by runtime."""
    return header >= COLUMNS


def _bytes(model: str, quantisation: str) -> float:
    size = re.search(r"(\d+(?:\.\d+)?)B", model)
    if size is None or quantisation not in BITS:
        raise ArgumentError("model", model, "a name with its size, as 8B, in " + ", ".join(BITS))
    return float(size[1]) * 1e9 * BITS[quantisation] / 8.0


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Errors of the time per token on one device (llamacpp) and on all four (prima)."""
    from perfmodel.scenario.cluster import ring_time
    from perfmodel.scenario.offload import placed_read_time
    from perfmodel.validation.papers import s078_prima as home

    models, kinds = table.texts("model"), table.texts("quantisation")
    tiers = home._tiers()
    gpu, host = tiers[0], tiers[2]

    def alone(i: int) -> float:
        size = _bytes(models[i], kinds[i])
        speeds = gpu.bandwidth, host.bandwidth, home.DISK
        return 1e3 * float(placed_read_time(size, gpu.room, host.room, *speeds))

    def ring(i: int) -> float:
        return 1e3 * float(ring_time(_bytes(models[i], kinds[i]), tiers, home.DISKS))

    metrics = {
        "llamacpp": (each(len(models), alone), table.numbers("llamacpp_ms_per_token")),
        "prima": (each(len(models), ring), table.numbers("prima_ms_per_token")),
    }
    return scored(metrics, {"quantisation": kinds}, "roofline")
