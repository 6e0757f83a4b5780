"""S027: Sarah et al., LLaMA-NAS: Efficient Neural Architecture Search for LLMs, arXiv:2405.18377."""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts, published

SEQUENCE, LAYERS = 512.0, 32.0


def _throughput(layers: float) -> float:
    """Tokens per second of one sequence with so many layers."""
    smaller = pm.workload("llama-2-7b").vary({"blocks.0.repeat": layers})
    result = pm.inference(
        smaller, "a100-sxm-80gb", batch=1, input=SEQUENCE, output=SEQUENCE, precision="fp16",
        fidelity="calibrated",
    )
    return float(result.throughput)


@predicts("S027-HEAD-02", fidelity="calibrated",
          reason="host time per token does not shrink with the model; searched widths differ between layers")
def faster() -> float:
    """Gain of throughput on one GPU where the model is smaller by the factor of the other row."""
    model = pm.workload("llama-2-7b")
    ops = model.graph(batch=1.0, query=1.0, context=1.0).ops
    whole = sum(float(op.storage("weight")) for op in ops if op.name in ("embedding", "head"))
    total = float(model.parameters)
    share = (total / published()["S027-HEAD-01"].value - whole) / (total - whole)
    return _throughput(float(round(share * LAYERS))) / _throughput(LAYERS)
