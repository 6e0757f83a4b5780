"""S048: Huang et al., Speed/accuracy trade-offs for modern convolutional object detectors, arXiv:1611.10012.

Latencies of the TensorFlow 1 detection model zoo, pre- and post-processing included.
"""

from __future__ import annotations

from functools import cache, partial

from perfmodel.validation.heldout import held_out_cases, network_features
from perfmodel.workload.nets.detection import RetinaNet, TwoStage
from perfmodel.workload.nets.ssd import Ssd
from perfmodel.workload.workload import Workload


def _two_stage(depth: float, proposals: float, neck: str = "c4") -> TwoStage:
    return TwoStage(height=600.0, depth=depth, neck=neck, proposals=proposals)


#: case -> network
_NETS = {
    "01": Ssd(backbone="mobilenet_v1"), "02": Ssd(backbone="mobilenet_v2"),
    "03": Ssd(backbone="inception_v2"), "04": RetinaNet(height=640.0),
    "05": _two_stage(50.0, 300.0, "inception_v2"),
    "06": _two_stage(50.0, 300.0), "07": _two_stage(50.0, 20.0), "08": _two_stage(101.0, 300.0, "rfcn"),
    "09": _two_stage(101.0, 300.0), "10": _two_stage(101.0, 20.0),
}


@cache
def _features(index: str) -> tuple[float, float, float]:
    """Kernels, roofline, and a constant for what surrounds the network."""
    net = Workload(f"detector{index}", "image", _NETS[index])
    return (*network_features(net, "gtx-titan-x", precision="fp32"), 1.0)


held_out_cases(
    {f"S048-TITANX-{i}": partial(_features, i) for i in _NETS},
    reason="the two small networks differ in kernels only; the time of boxes and suppression is not in them",
)
