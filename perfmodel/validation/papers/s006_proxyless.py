"""S006: Cai, Zhu, Han, ProxylessNAS, ICLR 2019, arXiv:1812.00332; table of the authors' repository.

The GPU and the batch are not stated: taken as a V100 and 8 images.
"""

from __future__ import annotations

from functools import partial

import perfmodel as pm
from perfmodel.validation.heldout import held_out_cases, network_features


def _features(name: str) -> tuple[float, float]:
    return network_features(pm.workload(name), "v100-sxm2-16gb", 8.0, "fp32")


held_out_cases(
    {
        "S006-GPU-01": partial(_features, "mobilenet-v2"),
        "S006-GPU-02": partial(_features, "shufflenet-v2-1.5"),
        "S006-GPU-03": partial(_features, "resnet-34"), "S006-GPU-04": partial(_features, "mnasnet-b1"),
    },
    reason="the dense network comes out fastest: constants from networks bound by kernel starts alone",
)
