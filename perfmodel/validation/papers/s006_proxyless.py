"""S006: Cai, Zhu, Han, ProxylessNAS, ICLR 2019, arXiv:1812.00332; table of the authors' repository.

The GPU and the batch are not stated: taken as a V100 and 8 images.
"""

from __future__ import annotations

from functools import partial

import perfmodel as pm
from perfmodel.validation.cases import predicts, run
from perfmodel.validation.heldout import held_out_cases, network_features


def _features(name: str) -> tuple[float, float]:
    return network_features(pm.workload(name), "v100-sxm2-16gb", 8.0, "fp32")


held_out_cases(
    {
        "S006-GPU-01": partial(_features, "mobilenet-v2"),
        "S006-GPU-02": partial(_features, "shufflenet-v2-1.5"),
        "S006-GPU-03": partial(_features, "resnet-34"), "S006-GPU-04": partial(_features, "mnasnet-b1"),
        "S006-GPU-05": partial(_features, "proxyless-gpu"),
    },
    reason="the dense network comes out too fast: constants from networks bound by kernel starts alone",
)


@predicts("S006-HEAD-01", fidelity="calibrated")
def faster() -> float:
    """Latency of MobileNetV2 over that of the network found for the GPU, each from the other networks."""
    return run("S006-GPU-01").predicted / run("S006-GPU-05").predicted
