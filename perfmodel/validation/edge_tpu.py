"""Networks on a Coral Edge TPU behind a link: what a pass asks of call, array, link and host.

Each amount is a time at nominal rates, so that four constants near one describe a host.

[1] Google, Edge TPU benchmarks, github.com/google-coral/edgetpu (5020de9), basic_engine_reference_*.csv.
[2] Google, Edge TPU compiler (coral.ai/docs/edgetpu/compiler): parameters that the on-chip memory cannot hold
    beside the activations come from the host in every pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from perfmodel.engine.dataflow.systolic import systolic
from perfmodel.explore.positive import Rates, fit_rates
from perfmodel.hardware.catalog import device
from perfmodel.ops.core import Op
from perfmodel.workload.nets.inception import GoogLeNet, InceptionV4
from perfmodel.workload.nets.mobile import MobileNetV1, MobileNetV2
from perfmodel.workload.nets.ssd import Ssd
from perfmodel.workload.workload import Workload

#: nominal time of one call, and of one box and class of a detector on the host [s]: orders of magnitude
CALL, BOX = 1e-3, 50e-9
#: standard deviation of the logarithm of a constant, and of a measurement
STRAY, NOISE = 0.5, 0.1


@dataclass(frozen=True)
class Network:
    """A network, bytes of its image and of its results, and boxes x classes that the host sorts."""

    workload: Workload
    image: float
    results: float
    boxes: float = 0.0


#: network of the benchmark [1]; the detectors have 1917 and 2034 boxes
NETWORKS: Mapping[str, Network] = {
    "inception_v1_224_quant": Network(Workload("inception_v1", "image", GoogLeNet()), 224**2 * 3, 1e3),
    "inception_v4_299_quant": Network(Workload("inception_v4", "image", InceptionV4()), 299**2 * 3, 1e3),
    "mobilenet_v1_1.0_224_quant": Network(Workload("mobilenet_v1", "image", MobileNetV1()), 224**2 * 3, 1e3),
    "mobilenet_v2_1.0_224_quant": Network(Workload("mobilenet_v2", "image", MobileNetV2()), 224**2 * 3, 1e3),
    "ssd_mobilenet_v1_coco_quant_postprocess": Network(
        Workload("ssd_mobilenet_v1", "image", Ssd(backbone="mobilenet_v1")),
        300**2 * 3, 1917 * 95, 1917 * 91),
    "ssd_mobilenet_v2_face_quant_postprocess": Network(
        Workload("ssd_mobilenet_v2_face", "image", Ssd(backbone="mobilenet_v2", classes=2.0, height=320.0)),
        320**2 * 3, 2034 * 6, 2034 * 2),
}


def _cycles(op: Op) -> float:
    """Cycles of an op on the array; a depthwise filter reads one channel and takes its taps one by one."""
    matrix, size = device("edge-tpu").compute["matrix"], op.loops
    rows, columns = matrix.rows or 1.0, matrix.columns or 1.0
    if op.family == "matmul":
        m, n, k = size["m"], size["n"], size["k"]
    elif size.get("g", 1.0) > 1:
        m, n, k = size["p"] * size["q"] * size["r"] * size["s"], size["g"], 1.0
    else:
        m, n, k = size["p"] * size["q"], size["k"], size["c"] * size["r"] * size["s"]
    return float(op.count) * float(systolic(m, n, k, rows, columns, overlap=True).cycles)


def array_time(ops: Sequence[Op]) -> float:
    """Seconds of the convolutions and products on the array."""
    clock = device("edge-tpu").compute["matrix"].clock or 1.0
    return sum(_cycles(op) for op in ops if op.family in ("conv2d", "matmul")) / float(clock)


@cache
def amounts(network: str) -> tuple[float, float, float]:
    """Seconds on the array, bytes over the link, and boxes of one pass.

    Weights stream where they and the largest inputs and results of a layer exceed the on-chip memory [2].
    """
    known, described = NETWORKS[network], device("edge-tpu")
    ops = known.workload.graph(batch=1.0).ops
    held = max(float(op.elements(kind="activation")) for op in ops if op.family in ("conv2d", "matmul"))
    room = float(described.memory["sram"].capacity or 0.0) - held
    streamed = max(0.0, float(known.workload.parameters) - room)
    return array_time(ops), known.image + known.results + streamed, known.boxes


def features(networks: Sequence[str], link: float) -> Any:
    """Nominal seconds [N, 4] of call, array, link [B/s] and boxes."""
    rows = []
    for network in networks:
        array, moved, boxes = amounts(network)
        rows.append((CALL, array, moved / link, boxes * BOX))
    return np.array(rows)


def constants(networks: Sequence[str], seconds: Any, link: float) -> Rates:
    """Constants of a host from networks measured on it, drawn towards one."""
    x = features(networks, link)
    return fit_rates(x, np.asarray(seconds, dtype=float), np.zeros(x.shape[1]), NOISE, stray=STRAY)


def best_link(networks: Sequence[str], seconds: Any, links: Sequence[float]) -> tuple[Rates, float]:
    """Constants of a host and the link [B/s] under which they fit its networks best."""
    def miss(found: tuple[Rates, float]) -> float:
        model, link = found
        return float(np.mean(np.abs(np.log(model.predict(features(networks, link)) / seconds))))

    return min(((constants(networks, seconds, link), link) for link in links), key=miss)
