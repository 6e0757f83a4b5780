"""S088: Gupta, Akin, Accelerator-aware Neural Network Design using AutoML, arXiv:2003.02838.

Latencies of the MobileNet tables (TensorFlow slim) and of the Coral reference benchmarks.
"""

from __future__ import annotations

import re
from functools import cache, partial

import perfmodel as pm
from perfmodel.scenario.offload import streamed_weights
from perfmodel.validation.cases import predicts, published
from perfmodel.validation.heldout import constants, held_out, held_out_cases, network_features
from perfmodel.workload.nets.inception import GoogLeNet
from perfmodel.workload.nets.mobile import MobileNetV1, MobileNetV2, MobileNetV3
from perfmodel.workload.nets.ssd import Ssd
from perfmodel.workload.workload import Workload

_MOBILE = {
    "01": MobileNetV3(), "03": MobileNetV3(size="small"), "04": MobileNetV3(minimal=True),
    "05": MobileNetV2(), "06": MobileNetV2(multiplier=1.4), "07": MobileNetV2(multiplier=0.35, height=96.0),
}


@cache
def _mobile(index: str, device: str) -> tuple[float, float]:
    return network_features(Workload(f"net{index}", "image", _MOBILE[index]), device, precision="fp32")


held_out_cases({f"S088-MBNET-Pixel1-{i}": partial(_mobile, i, "pixel-1") for i in _MOBILE},
               reason="activation functions with a division are priced as any other")
held_out_cases({
    f"S088-MBNET-Pixel2-{i}": partial(_mobile, i, "pixel-2") for i in ("01", "03", "04")
}, reason="two constants from two networks, one of them without the costly activation")


def _macs(case: str) -> tuple[float]:
    found = re.search(r"([\d.]+) MMAC", published()[case].workload)
    return (float(found.group(1)) if found else 0.0,)


for _pair in (("S088-PIXEL4-01", "S088-PIXEL4-03"), ("S088-PIXEL4-02", "S088-PIXEL4-04")):
    held_out_cases(
        {case: partial(_macs, case) for case in _pair},
        reason="one rate from one other network: the fixed time cannot be told apart",
    )

#: networks of the Coral benchmark, in the order of the cases
_CORAL: tuple[Workload | str, ...] = (
    Workload("inception_v1", "image", GoogLeNet()), "inception-v4",
    Workload("mobilenet_v1", "image", MobileNetV1()),
    Workload("mobilenet_v2", "image", MobileNetV2()),
    Workload("ssd_mobilenet_v1", "image", Ssd(backbone="mobilenet_v1")),
    Workload("ssd_mobilenet_v2_face", "image", Ssd(backbone="mobilenet_v2", classes=2.0, height=320.0)),
)


@cache
def _coral(index: int) -> tuple[float, float]:
    """Constant, and the time of multiply-accumulates or weight streaming, whichever is longer [ms]."""
    net, device = pm.workload(_CORAL[index]), pm.device("edge-tpu")
    seconds = streamed_weights(
        net.flops(), device.compute["matrix"].peak["int8"], net.parameters, device.memory["sram"].capacity,
        device.links["host"].bandwidth,
    )
    return 1.0, float(seconds) * 1e3


def _host(host: str) -> dict[str, int]:
    return {f"S088-CORAL-{host}-0{i + 1}": i for i in range(len(_CORAL))}


@predicts({**{c: (c, "USB") for c in _host("USB")}, **{c: (c, "BOARD") for c in _host("BOARD")}},
          fidelity="calibrated", reason={
              **{f"S088-CORAL-{host}-0{i}": "one efficiency for separable and dense convolutions"
                 for host in ("USB", "BOARD") for i in (1, 2, 3, 4)},
              **{f"S088-CORAL-{host}-0{i}": "boxes and suppression of the detector run on the host"
                 for host in ("USB", "BOARD") for i in (5, 6)},
          })
def coral(case: str, host: str) -> float:
    """Latency [ms]: roofline with weights beyond the on-chip memory streamed, and one fixed time per host.

    The fixed time and the efficiency of the array come from the classifiers that stream nothing.
    """
    known = {name: i for name, i in _host(host).items() if i in (0, 2, 3)}
    index = _host(host)[case]
    values = {name: published()[name].value for name in known}
    if index in (0, 2, 3, 4, 5):
        return held_out({name: _coral(i) for name, i in {**known, case: index}.items()}, values, case)
    # streaming runs at the rate of the link, whatever the efficiency of the array
    fixed, _ = constants([_coral(i) for i in known.values()], list(values.values()))
    return float(fixed) + _coral(index)[1]
