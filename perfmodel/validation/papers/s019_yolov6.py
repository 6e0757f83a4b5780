"""S019: Li et al., YOLOv6, arXiv:2209.02976; throughput tables of the authors' repository.

T4: kernels, and their roofline in 16 and in 8 bits; a constant for each from the other networks at the same
batch size.  Phones: fixed time + FLOP/rate of the counts in the rows.
"""

from __future__ import annotations

import re
from functools import cache, partial

import perfmodel as pm
from perfmodel.validation.cases import predicts, published, run
from perfmodel.validation.heldout import held_out_cases, network_features


def _rows(groups: tuple[str, ...], quantity: str) -> list[str]:
    return [
        row.case for row in published().values()
        if row.case.startswith(groups) and quantity in row.quantity and row.gate != "report"
    ]


@cache
def _turing(case: str, batch: float) -> tuple[float, float, float]:
    """Kernels, and roofline of the network in 16 and in 8 bits [s]."""
    row = published()[case]
    found = re.match(r"YOLOv6-(\w+)", row.workload)
    net = pm.workload("yolov6" + (found.group(1).lower() if found else "n"))
    narrow = "INT8" in row.quantity
    kernels, busy = network_features(net, "t4", batch, "int8" if narrow else "fp16")
    return (kernels, 0.0, busy) if narrow else (kernels, busy, 0.0)


for _batch in (1.0, 32.0):
    held_out_cases(
        {
            case: partial(_turing, case, _batch)
            for case in _rows(("S019-V2", "S019-P6", "S019-INT8"), f"batch {_batch:.0f},")
        },
        items=_batch,
        reason="one efficiency for all networks: the narrow ones fill the tiles of the matrix units less",
    )


def _phone(case: str) -> tuple[float, float]:
    found = re.search(r"([\d.]+) GFLOP", published()[case].workload)
    return 1.0, float(found.group(1)) if found else 0.0


for _chip in ("Snapdragon", "SDM660"):
    held_out_cases({case: partial(_phone, case) for case in _rows((f"S019-LITE-{_chip}",), "latency")})


@predicts("S019-INT8-07", fidelity="calibrated")
def paper_row() -> float:
    """Rate of YOLOv6-S in 8 bits [images/s] of the abstract: the row of the repository at batch 32."""
    return run("S019-INT8-06").predicted
