"""S065: Jia et al., TinyML Design Contest for Life-Threatening Ventricular Arrhythmia Detection, 2023."""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts


@predicts("S065-MAC-01", fidelity="count")
def products() -> float:
    """Multiply-accumulates of the reference network."""
    return float(pm.workload("iegm-net").flops()) / 2.0
