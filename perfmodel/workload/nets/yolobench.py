"""Networks of YOLOBench by their name, e.g. ``yolo8d33w25`` or ``yolo6m-d1w5`` [1].

[1] Lazarevich et al., YOLOBench, arXiv:2307.13901.
"""

from __future__ import annotations

import re

from perfmodel.algebra import Value
from perfmodel.errors import ArgumentError
from perfmodel.workload.nets.yolo import Yolo
from perfmodel.workload.nets.yolo_v6 import YoloV6
from perfmodel.workload.workload import Workload

_NAME = re.compile(r"yolo(?P<version>[34578])(?:(?P<scale>[nsmlx])|d(?P<depth>\d+)w(?P<width>\d+))\Z")
_SIX = re.compile(r"yolo6(?P<scale>[sml])-d(?P<depth>\d+)w(?P<width>\d+)\Z")
#: YOLOv8 narrows its widest layers in the larger sizes: size -> most channels before scaling
_MOST = {"d1w25": 512.0, "d1w5": 512.0, "d1w75": 512.0, "d67w1": 768.0, "d67w5": 768.0, "d67w25": 768.0}


def yolobench(name: str, resolution: Value = 640.0, classes: Value = 20.0) -> Workload:
    """Workload of a YOLOBench variant with the head of YOLOv8.

    name        variant as in the published latency table, without the resolution
    resolution  input rows and columns, may be an array
    classes     20 in the published networks (VOC)

    Raises ArgumentError for a name of another form.
    """
    six, other = _SIX.match(name), _NAME.match(name)
    if six is not None:
        dims: Yolo | YoloV6 = YoloV6(
            scale=six["scale"], release="0.4", head="decoupled", relu=True, height=resolution,
            classes=classes, depth_multiplier=_part(six["depth"]), width_multiplier=_part(six["width"]),
        )
        return Workload(name, "yolo_v6", dims, source="arXiv:2307.13901")
    if other is None:
        raise ArgumentError("name", name, "a variant such as yolo8n, yolo5d33w1 or yolo6s-d33w25")
    version, scale = f"v{other['version']}", other["scale"]
    if scale is not None:
        dims = Yolo(version=version, scale=scale, height=resolution, classes=classes)
        return Workload(name, "yolo", dims, source="arXiv:2307.13901")
    most = _MOST.get(name[5:], 1024.0) if version == "v8" else 1024.0
    dims = Yolo(version=version, height=resolution, classes=classes, most=most,
                depth_multiplier=_part(other["depth"]), width_multiplier=_part(other["width"]))
    return Workload(name, "yolo", dims, source="arXiv:2307.13901")


def _part(digits: str) -> float:
    """``33`` is 0.33, ``5`` is 0.5, ``1`` is 1."""
    return 1.0 if digits == "1" else float(f"0.{digits}")
