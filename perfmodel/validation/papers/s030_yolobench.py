"""S030: Lazarevich et al., YOLOBench, ICCVW 2023, arXiv:2307.13901.

Ten other networks per device calibrate it: ``data/yolobench_samples.csv`` (results table of the authors'
repository, Apache-2.0).
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np

from perfmodel.validation.cases import predicts
from perfmodel.validation.heldout import constants, network_work
from perfmodel.workload.nets.yolo import Yolo
from perfmodel.workload.workload import Workload

#: device in the case name -> column of the samples
_COLUMNS = {
    "JetsonNanoGPU": "jetson_nano_ms", "IntelCPU": "intel_cpu_ms", "RaspberryPi4": "raspberry_pi_4_ms",
    "OrangePi": "orange_pi_ms",
}
_CASES = {
    f"S030-{device}-0{i}": (device, model)
    for device in _COLUMNS for i, model in enumerate(("yolo8n_480", "yolo8s_480", "yolo8l_480"), start=1)
}


@cache
def _features(name: str) -> tuple[float, float, float]:
    """Kernels, FLOP and bytes of ``yolo<version><scale>_<rows>``; the benchmark trains on 20 classes."""
    dims = Yolo(version=f"v{name[4]}", scale=name[5], height=float(name.split("_")[1]), classes=20.0)
    net = Workload(name, "yolo", dims)
    dense, _, moved = network_work(net)
    return float(len(net.graph(batch=1).ops)), dense, moved


@cache
def _constants(device: str) -> tuple[float, ...]:
    path = Path(__file__).parents[1] / "data" / "yolobench_samples.csv"
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    times = [float(row[_COLUMNS[device]]) for row in rows]
    fitted = constants([_features(row["model"]) for row in rows], times)
    return tuple(float(x) for x in fitted)


_THREE = "three constants for all layers: narrow layers use the matrix units of this device less than wide"


@predicts(_CASES, fidelity="calibrated", reason=_THREE)
def latency(device: str, model: str) -> float:
    """Latency [ms] from kernels, FLOP and bytes."""
    return float(np.dot(_constants(device), _features(model)))
