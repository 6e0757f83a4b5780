"""S019: Li et al., YOLOv6, arXiv:2209.02976; throughput tables of the authors' repository.

The work of each network is the FLOP count of its row: fixed time + FLOP/rate, from the other networks.
"""

from __future__ import annotations

import re

from perfmodel.validation.cases import published
from perfmodel.validation.heldout import held_out_cases

#: FLOP of the quantised networks: those of the same name in 16 bits [GFLOP]
_INT8 = {"YOLOv6-N": 11.1, "YOLOv6-T": 36.7, "YOLOv6-S": 44.2}


def _work(case: str) -> float:
    workload = published()[case].workload
    found = re.search(r"([\d.]+) GFLOP", workload)
    return float(found.group(1)) if found else _INT8[workload.split()[0]]


def _register(groups: tuple[str, ...], quantity: str, rate: bool, reason: str) -> None:
    rows = [
        row.case for row in published().values()
        if row.case.startswith(groups) and quantity in row.quantity and row.gate != "report"
    ]
    held_out_cases(
        {case: lambda case=case: (1.0, _work(case)) for case in rows},  # type: ignore[misc]
        items=1.0 if rate else 0.0, reason=reason,
    )


_FLOP_ALONE = ("FLOP alone: narrow networks are bound by the traffic of their activations and by "
               "kernel starts, and the activation function is not in the count")
for _batch in ("batch 1,", "batch 32,"):
    _register(("S019-V2", "S019-P6"), _batch, True, _FLOP_ALONE)
    _register(("S019-INT8",), _batch, True, _FLOP_ALONE)
for _chip in ("Snapdragon", "SDM660"):
    _register((f"S019-LITE-{_chip}",), "latency", False, "")
