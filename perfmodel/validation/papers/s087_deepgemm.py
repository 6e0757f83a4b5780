"""S087: Ganji et al., DeepGEMM: Ultra Low-Precision Inference with Lookup Tables, arXiv:2304.09049.

Instructions per vector register, counted here: the paper prints none.
"""

from __future__ import annotations

from perfmodel.engine.lowbit import shuffle_rate
from perfmodel.validation.cases import predicts

#: AVX2 register [bit]
WORD = 256.0
#: mask weights, mask inputs (one of the two is stored shifted), join, shuffle, add
LOOKUP = 5.0
#: widen weights, widen inputs, multiply-add 16 pairs, add
WIDE, PRODUCTS = 4.0, 16.0


@predicts("S087-HEAD-01", fidelity="count")
def speedup() -> float:
    """Two-bit products by shuffles over eight-bit products, per vector instruction."""
    return float(shuffle_rate(WORD, LOOKUP)) / (PRODUCTS / WIDE)
