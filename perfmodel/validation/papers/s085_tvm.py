"""S085: Chen et al., TVM, OSDI 2018, arXiv:1802.04799; VTA configuration ``pynq_sample``."""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts

LOG_BATCH, LOG_BLOCK = 0.0, 4.0


@predicts("S085-VTA-01", fidelity="count")
def core_products() -> float:
    """Multiply-accumulates of one clock: the product that the core issues each clock."""
    core = pm.op.matmul(m=2.0**LOG_BATCH, n=2.0**LOG_BLOCK, k=2.0**LOG_BLOCK)
    return float(core.flops) / 2.0
