"""S055: Yen, Xiao, Xu, S4: a High-sparsity, High-performance AI Accelerator, arXiv:2207.08006.

Results of its cards in MLPerf inference 2.1.  The sparsity of the networks is not printed: the rate at which
the card gets through dense operations comes from the other network.
"""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts, published


def _operations(name: str) -> float:
    """FLOP of a sample of the dense network; sentences are padded to 384 tokens."""
    net = pm.workload(name)
    if name == "resnet-50":
        return float(net.flops(batch=1.0))
    return float(net.flops(batch=1.0, query=384.0, causal=False))


@predicts({
    "S055-MLPERF-01": ("resnet-50", "S055-MLPERF-02", "bert-large"),
    "S055-MLPERF-02": ("bert-large", "S055-MLPERF-01", "resnet-50"),
}, fidelity="calibrated")
def one_chip(name: str, other: str, measured: str) -> float:
    """Throughput at the rate of the other network [1/s]."""
    return published()[other].value * _operations(measured) / _operations(name)


@predicts({"S055-MLPERF-03": ("S055-MLPERF-01", 2.0), "S055-MLPERF-04": ("S055-MLPERF-02", 3.0)},
          fidelity="calibrated")
def more_chips(other: str, chips: float) -> float:
    """Throughput of a card with more chips [recalled: two and three] from that with one [1/s]."""
    return published()[other].value * chips
