"""Priors of efficiency: how far real kernels stay from the roofline when nothing is calibrated.

The interval of an uncalibrated result runs from the bound itself (`low`) to the bound on a device derated
by these fractions (`high`).  They are deliberately wide; a calibration replaces them by the residuals on
rows it did not see.

Fractions of peak: the worst sustained GEMM and bandwidth fractions seen in public latency tables of
datacentre GPUs, large shapes (0.45 of the matrix peak for fp8 and narrower, 0.7 of the memory bandwidth),
rounded down.  Vector, link and launch values are conventions [recalled].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from perfmodel.hardware.device import Link, System

#: fraction of the nominal rate that a cautious estimate uses
CAUTIOUS: Mapping[str, float] = {
    "matrix": 0.45,
    "vector": 0.4,
    "special": 0.4,
    "lookup": 0.4,
    "memory": 0.65,
    "links": 0.6,
    "launch": 2.5,
}


def derated(system: System, fractions: Mapping[str, float] = CAUTIOUS) -> System:
    """The system with every rate multiplied by the fraction of its kind, and launches made longer."""
    device = system.device
    compute = {
        name: replace(unit, peak={key: peak * fractions.get(name, 1.0) for key, peak in unit.peak.items()})
        for name, unit in device.compute.items()
    }
    memory = {
        name: replace(
            level, bandwidth=None if level.bandwidth is None else level.bandwidth * fractions["memory"]
        )
        for name, level in device.memory.items()
    }
    launch = device.launch
    if launch is not None:
        launch = replace(launch, overhead=launch.overhead * fractions["launch"])

    def slower(links: Mapping[str, Link]) -> dict[str, Link]:
        share = fractions["links"]
        return {name: replace(link, bandwidth=link.bandwidth * share) for name, link in links.items()}

    device = replace(device, compute=compute, memory=memory, launch=launch, links=slower(device.links))
    return replace(system, device=device, links=slower(system.links))
