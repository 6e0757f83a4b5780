"""S050: Lee et al., HELP, NeurIPS 2021, arXiv:2106.08630, and HW-NAS-Bench, arXiv:2103.10584.

The rank correlations need latency tables of devices that are kept apart; what can be said without them is the
first architecture: its bound on two processors, its mapping on Eyeriss, and its time on the board of an Edge
TPU whose constants six other networks give (S088).
"""

from __future__ import annotations

from functools import cache

import perfmodel as pm
from perfmodel.validation import edge_tpu
from perfmodel.validation.cases import predicts, published
from perfmodel.workload.nets.nas import NasBench201
from perfmodel.workload.workload import Workload

#: pool, 1x1, skip, 1x1, skip, skip
FIRST = (4.0, 2.0, 1.0, 2.0, 1.0, 1.0)


#: side of the image, classes, and the link of the board [B/s] (PCIe 2.0 x1)
SIDE, CLASSES, LINK = 32.0, 10.0, 0.5e9


def _first() -> Workload:
    return Workload("cell-0", "nas_bench_201", NasBench201(edges=FIRST))


@predicts({"S050-HWNASBENCH-03": "raspberry-pi-4", "S050-HWNASBENCH-05": "pixel-3"})
def first_architecture(device: str) -> float:
    """Latency of architecture 0 on 32 x 32 images [ms]."""
    return float(pm.forward(_first(), device, batch=1, precision="fp32").latency) * 1e3


@predicts("S050-HWNASBENCH-04", fidelity="calibrated")
def on_edge_tpu() -> float:
    """Latency on the board of an Edge TPU [ms]."""
    networks = list(edge_tpu.NETWORKS)
    seconds = [published()[f"S088-CORAL-BOARD-{i + 1:02}"].value * 1e-3 for i in range(len(networks))]
    array = edge_tpu.array_time(_first().graph(batch=1.0).ops)
    asked = [[edge_tpu.CALL, array, (SIDE**2 * 3.0 + CLASSES) / LINK, 0.0]]
    return float(edge_tpu.constants(networks, seconds, LINK).predict(asked)[0]) * 1e3


@cache
def _on_eyeriss() -> pm.Result:
    return pm.map_network(_first(), "eyeriss-v1")


@predicts("S050-HWNASBENCH-06", fidelity="dataflow")
def on_eyeriss() -> float:
    """Latency on Eyeriss [ms], every layer by its fastest mapping."""
    return float(_on_eyeriss().latency) * 1e3


@predicts("S050-HWNASBENCH-07", fidelity="dataflow",
          reason="energies per access are relative here, one MAC 1 pJ, the estimator prints none")
def energy_on_eyeriss() -> float:
    """Energy on Eyeriss [mJ]."""
    return float(_on_eyeriss().energy) * 1e3
