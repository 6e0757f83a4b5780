"""S032: YOLOv12: A Breakdown of the Key Architectural Features, 2025; latencies of the authors' repository.

The faster variant of the table leaves away a few layers of the published network that is described here.
"""

from __future__ import annotations

from functools import partial

from perfmodel.validation.heldout import held_out_cases, network_features
from perfmodel.workload.nets.yolo import Yolo
from perfmodel.workload.workload import Workload


def _features(scale: str) -> tuple[float, float]:
    return network_features(Workload("yolo12" + scale, "yolo", Yolo(version="12", scale=scale)), "t4")


held_out_cases(
    {f"S032-TURBO-0{i}": partial(_features, scale) for i, scale in enumerate("nsmlx", start=1)},
    reason="one efficiency for all widths",
)
