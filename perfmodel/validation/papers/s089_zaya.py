"""S089: Anthony et al., Training Foundation Models on a Full-Stack AMD Platform, arXiv:2511.17127.

ZAYA1-8B as the configuration class of transformers describes it; the printed numbers leave embeddings out.
"""

from __future__ import annotations

from perfmodel.validation.cases import predicts
from perfmodel.workload.importers.hf import from_config

EXPERTS = 16.0


@predicts({"S089-HEAD-01": 1.0, "S089-HEAD-02": EXPERTS}, fidelity="count")
def parameters(experts: float) -> float:
    """Parameters with this many experts per layer [B]."""
    net = from_config({"model_type": "zaya"}, defaults=True)
    total = 0.0
    for op in net.graph(batch=1.0, query=1.0, context=1.0).ops:
        if op.family != "embedding":
            routed = op.family == "grouped_matmul"
            total += float(op.storage("weight")) * (experts / EXPERTS if routed else 1.0)
    return total / 1e9
