"""S042: Termritthikun et al., Explainable Knowledge Distillation for On-device Chest X-Ray Classification.

The student is EEEA-Net-C2 with a head of 14 findings [recalled].
"""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts

FINDINGS = 14.0


def _student() -> pm.Workload:
    return pm.workload("eeea-net-c2").vary({"classes": FINDINGS})


@predicts("S042-HEAD-01", fidelity="count")
def parameters() -> float:
    """Parameters of the student [M]."""
    return float(_student().parameters) / 1e6


@predicts("S042-HEAD-02", fidelity="count")
def operations() -> float:
    """Multiply-accumulates of one image of 224 x 224 [G]; the authors count one as one operation."""
    return float(_student().flops(batch=1.0)) / 2e9
