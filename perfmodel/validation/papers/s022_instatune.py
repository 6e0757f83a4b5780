"""S022: Sarah et al., InstaTune: Instantaneous Neural Architecture Search During Fine-Tuning.

Its fronts trade accuracy for multiply-accumulates; the full network of the vision space is the ViT below.
"""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts


@predicts({"S022-MAC-01": "vit-b-16", "S022-MAC-02": "vit-l-16"}, fidelity="count")
def operations(name: str) -> float:
    """Multiply-accumulates of an image [G]."""
    return float(pm.workload(name).flops(batch=1.0)) / 2e9
