"""S050: Lee et al., HELP, NeurIPS 2021, arXiv:2106.08630, and HW-NAS-Bench, arXiv:2103.10584.

The rank correlations need latency tables of devices that are kept apart; what can be said without them is the
bound of the first architecture on two devices that have a description.
"""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts
from perfmodel.workload.nets.nas import NasBench201
from perfmodel.workload.workload import Workload

#: pool, 1x1, skip, 1x1, skip, skip
FIRST = (4.0, 2.0, 1.0, 2.0, 1.0, 1.0)


@predicts({"S050-HWNASBENCH-03": "raspberry-pi-4", "S050-HWNASBENCH-05": "pixel-3"})
def first_architecture(device: str) -> float:
    """Latency of architecture 0 on 32 x 32 images [ms]."""
    net = Workload("cell-0", "nas_bench_201", NasBench201(edges=FIRST))
    return float(pm.forward(net, device, batch=1, precision="fp32").latency) * 1e3
