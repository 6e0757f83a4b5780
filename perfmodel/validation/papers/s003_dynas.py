"""S003: Sarah et al., A Hardware-Aware System for Accelerating Deep Neural Network Optimization.

Sub-networks that its searches tried, as the repository of its authors lists them.
"""

from __future__ import annotations

from functools import cache

from perfmodel.validation.cases import predicts, published
from perfmodel.workload.nets.nas import OfaMobileNet
from perfmodel.workload.workload import Workload


@cache
def _network(config: str) -> Workload:
    """Network of an encoding: depths of the stages, kernels and expansions of the blocks."""
    parts = (part.split() for part in config.split(";"))
    found = {name: tuple(float(value) for value in values) for name, *values in parts}
    dims = OfaMobileNet(depths=found["d"], kernels=found["ks"], expansions=found["e"])
    return Workload("ofa-mobilenet-v3", "image", dims)


def _cases(start: str) -> dict[str, str]:
    return {row.case: row.config for row in published().values() if row.case.startswith(start)}


@predicts(_cases("S003-PARAMETERS"), fidelity="count")
def parameters(config: str) -> float:
    """Parameters."""
    return float(_network(config).parameters)


@predicts(_cases("S003-MAC"), fidelity="count")
def operations(config: str) -> float:
    """Multiply-accumulates of an image."""
    return float(_network(config).flops(batch=1.0)) / 2.0
