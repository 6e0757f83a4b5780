"""S020: Xu et al., Latency-Aware Differentiable Neural Architecture Search.

Cells of its search space, of which the authors of DARTS print the size.
"""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts


@predicts({"S020-SPACE-01": "darts-v2", "S020-SPACE-02": "darts-v2-imagenet"}, fidelity="count")
def parameters(name: str) -> float:
    """Parameters without the auxiliary head [M]."""
    return float(pm.workload(name).parameters) / 1e6
