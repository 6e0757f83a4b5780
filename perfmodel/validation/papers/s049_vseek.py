"""S049: V-Seek: Accelerating LLM Reasoning on Server-class RISC-V Platforms, arXiv:2503.17422."""

from __future__ import annotations

from functools import partial

import perfmodel as pm
from perfmodel.validation.cases import predicts, published
from perfmodel.validation.heldout import held_out_cases


def _weights(model: str) -> tuple[float]:
    """Weights that a token reads, all in the same 4-bit format [G]."""
    return (float(pm.workload(model).active_parameters) / 1e9,)


for _first, _second in (("S049-HEAD-01", "S049-HEAD-02"), ("S049-HEAD-03", "S049-HEAD-04")):
    held_out_cases(
        {_first: partial(_weights, "llama-3.1-8b"), _second: partial(_weights, "qwen2.5-14b")}, items=1.0
    )


@predicts("S049-L7B-01", fidelity="calibrated",
          reason="another 4-bit format: fewer bits per weight than the two reasoning models")
def older_model() -> float:
    """Decode rate of Llama-7B [token/s] at the bandwidth of the two reasoning models."""
    rates = [
        published()[name].value * _weights(model)[0]
        for name, model in (("S049-HEAD-01", "llama-3.1-8b"), ("S049-HEAD-02", "qwen2.5-14b"))
    ]
    return sum(rates) / len(rates) / _weights("llama-7b")[0]
