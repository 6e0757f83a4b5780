"""S116: Krishnamoorthi, Quantizing deep convolutional networks for efficient inference, arXiv:1806.08342."""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts

#: device of the whitepaper's CPU measurements
CPU = "pixel-2"


def _speedup(device: str) -> float:
    """Float over 8-bit latency of a MobileNet."""
    wide, narrow = (
        float(pm.forward("mobilenet-v1", device, batch=1, precision=p).latency) for p in ("fp32", "int8")
    )
    return wide / narrow


@predicts("S116-HEAD-01", side="least", reason="the bound of the units, not of the library")
def at_least() -> float:
    """Speed-up on a CPU core; the published band starts here."""
    return _speedup(CPU)


@predicts("S116-HEAD-02", side="most", reason="the bound of the units, not of the library")
def at_most() -> float:
    """Speed-up on a CPU core; the published band ends here."""
    return _speedup(CPU)


@predicts("S116-HEAD-04", fidelity="count")
def size() -> float:
    """Weights in 32 bits over weights in 8."""
    graph = pm.workload("mobilenet-v1").graph(batch=1.0)
    wide, narrow = (float(graph.bytes("weight", pm.precision(p))) for p in ("fp32", "int8"))
    return wide / narrow
