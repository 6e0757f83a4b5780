"""S045: Yaseen, What is YOLOv8, arXiv:2408.15857; latencies of the model documentation."""

from __future__ import annotations

from functools import partial

from perfmodel.validation.heldout import held_out_cases, network_features
from perfmodel.workload.nets.yolo import Yolo
from perfmodel.workload.workload import Workload


def _features(scale: str) -> tuple[float, float]:
    net = Workload("yolov8" + scale, "yolo", Yolo(version="v8", scale=scale))
    return network_features(net, "a100-sxm-80gb")


held_out_cases(
    {f"S045-A100-0{i}": partial(_features, scale) for i, scale in enumerate("nsmlx", start=1)},
    reason="one efficiency for all widths",
)
