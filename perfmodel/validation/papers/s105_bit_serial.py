"""S105: Accelerating Deep Learning Model Inference on Arm CPUs with Ultra-Low Bit Quantization, 2022."""

from __future__ import annotations

from perfmodel.engine.lowbit import popcount_rate
from perfmodel.validation.cases import predicts

#: vector registers of the cores [bit], and fp32 products of one instruction
VECTOR, FLOATS = 128.0, 4.0


@predicts([f"S105-HEAD-0{i}" for i in (1, 2, 3, 4)], fidelity="count")
def speedup() -> float:
    """Two-bit products by counting ones over fp32 products, per vector instruction."""
    return float(popcount_rate(VECTOR, 2.0, 2.0)) / FLOATS
