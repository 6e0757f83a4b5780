"""S034: Han et al., Parameter-Efficient Fine-Tuning for Large Models, arXiv:2403.14608.

The survey has no measurements of its own; counted is its best-known family on its best-known model.
"""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts

RANK, WIDTH = 8.0, 4096.0


def _adapted() -> pm.Workload:
    parts = {"qkv": (WIDTH, WIDTH)}  # queries and values
    return pm.workload("llama-7b").apply(pm.transform.adapt(RANK, ("qkv",), parts=parts))


@predicts("S034-LORA-01", fidelity="count")
def trainable() -> float:
    """Parameters of the adapters."""
    return float(pm.transform.trainable(_adapted().graph(batch=1.0, query=1.0, context=1.0)))


@predicts("S034-LORA-02", fidelity="count")
def parameters() -> float:
    """Parameters of model and adapters."""
    return float(_adapted().parameters)
