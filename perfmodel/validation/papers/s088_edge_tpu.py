"""S088: Gupta, Akin, Accelerator-aware Neural Network Design using AutoML, arXiv:2003.02838.

Latencies of the MobileNet tables (TensorFlow slim) and of the Coral reference benchmarks.
"""

from __future__ import annotations

import re
from functools import cache, partial
from typing import Any

import numpy as np

import perfmodel as pm
from perfmodel.explore.positive import fit_rates
from perfmodel.validation import edge_tpu
from perfmodel.validation.cases import predicts, published
from perfmodel.validation.heldout import held_out, held_out_cases, network_features
from perfmodel.workload.nets.mobile import MobileNetV2, MobileNetV3
from perfmodel.workload.workload import Workload

#: network of a case
MOBILE = {
    "01": MobileNetV3(), "03": MobileNetV3(size="small"), "04": MobileNetV3(minimal=True),
    "05": MobileNetV2(), "06": MobileNetV2(multiplier=1.4), "07": MobileNetV2(multiplier=0.35, height=96.0),
}


@cache
def mobile_features(index: str, device: str) -> tuple[float, float]:
    """Kernels and roofline of a network in floats."""
    return network_features(Workload(f"net{index}", "image", MOBILE[index]), device, precision="fp32")


held_out_cases({f"S088-MBNET-Pixel1-{i}": partial(mobile_features, i, "pixel-1") for i in MOBILE},
               reason="activation functions with a division are priced as any other")
held_out_cases({
    f"S088-MBNET-Pixel2-{i}": partial(mobile_features, i, "pixel-2") for i in ("01", "03", "04")
}, reason="two constants from two networks, one of them without the costly activation")


@cache
def _narrow(device: str) -> tuple[float, float]:
    return network_features(Workload("net02", "image", MobileNetV3()), device, precision="int8")


@predicts({"S088-MBNET-Pixel1-02": ("Pixel1", "pixel-1"), "S088-MBNET-Pixel2-02": ("Pixel2", "pixel-2")},
          fidelity="calibrated",
          reason="the vector units double their rate at 8 bits; the library gained 1.16 and 1.44 times")
def narrow(group: str, device: str) -> float:
    """Latency at 8 bits [ms]; constants from the networks of the device in floats."""
    start = f"S088-MBNET-{group}-"
    known = {f"{start}{i}": mobile_features(i, device) for i in MOBILE if f"{start}{i}" in published()}
    times = {case: published()[case].value for case in known}
    return held_out({**known, f"{start}02": _narrow(device)}, times, f"{start}02")


def _macs(case: str) -> tuple[float]:
    found = re.search(r"([\d.]+) MMAC", published()[case].workload)
    return (float(found.group(1)) if found else 0.0,)


held_out_cases(
    {case: partial(_macs, case) for case in ("S088-PIXEL4-02", "S088-PIXEL4-04")},
    reason="one rate from one other network: the fixed time cannot be told apart",
)

#: networks on the Edge TPU of a Pixel 4, classifiers and (S048) detectors
_PIXEL4 = {
    "S088-PIXEL4-01": "mobilenet-edgetpu-0.75", "S088-PIXEL4-03": "mobilenet-edgetpu",
    "S048-EDGETPU-01": "ssdlite-mobiledet-edgetpu", "S048-EDGETPU-02": "ssdlite-mobilenet-edgetpu",
}


def _on_array(network: str) -> tuple[float, float]:
    """A call, and the milliseconds of the layers on the array of the Coral part; the one here is larger."""
    return 1.0, 1e3 * edge_tpu.array_time(pm.workload(network).graph(batch=1.0).ops)


held_out_cases({case: partial(_on_array, network) for case, network in _PIXEL4.items()})

#: link of both hosts, USB 3 and PCIe 2.0 x1 [B/s]
_LINK = 0.5e9
_HOSTS = ("USB", "BOARD")
#: networks of the Coral benchmark, in the order of the cases
_CORAL = tuple(edge_tpu.NETWORKS)
_CORAL_CASES = {
    f"S088-CORAL-{host}-0{i + 1}": (host, network) for host in _HOSTS for i, network in enumerate(_CORAL)
}


@cache
def _on_coral(case: str) -> Any:
    """Nominal seconds of the array, which both hosts share, and of call, link and boxes of each host."""
    host, network = _CORAL_CASES[case]
    call, array, link, boxes = edge_tpu.features([network], _LINK)[0]
    own = np.array([call, link, boxes])
    return np.concatenate([[array], *(own * (name == host) for name in _HOSTS)])


@predicts({case: case for case in _CORAL_CASES}, fidelity="calibrated", reason={
    **{f"S088-CORAL-{host}-01": "weights just exceed the chip, how many stream is not published"
       for host in _HOSTS},
    **{f"S088-CORAL-{host}-0{i}": "boxes and suppression of the detector run on the host"
       for host in _HOSTS for i in (5, 6)},
})
def coral(case: str) -> float:
    """Latency [ms] from the other networks on both hosts of the same chip."""
    others = [name for name in _CORAL_CASES if name != case]
    known = np.array([_on_coral(name) for name in others])
    seconds = np.array([published()[name].value * 1e-3 for name in others])
    model = fit_rates(known, seconds, np.zeros(known.shape[1]), edge_tpu.NOISE, stray=edge_tpu.STRAY)
    return float(model.predict(_on_coral(case)[None])[0]) * 1e3
