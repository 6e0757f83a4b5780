"""S039: Liu et al., LLM-FP4: 4-Bit Floating-Point Quantized Transformers, arXiv:2310.16836, Table 6."""

from __future__ import annotations

from perfmodel.engine.unit_area import adder_area, float_multiplier_area, multiplier_area
from perfmodel.validation.cases import predicts

#: width -> adder and multiplier of the integer units of its table [um2]
UNITS = {4.0: (93.0, 182.0), 6.0: (132.0, 340.0)}


@predicts("S039-AREA-01", fidelity="count")
def multiplier() -> float:
    """Multiplier of 6 bits from that of 4 [um2]."""
    return float(multiplier_area(6.0, UNITS[4.0][1], 4.0))


@predicts("S039-AREA-02", fidelity="count")
def adder() -> float:
    """Adder of 6 bits from that of 4 [um2]."""
    return float(adder_area(6.0, UNITS[4.0][0], 4.0))


@predicts({"S039-AREA-03": (2.0, 1.0, 4.0), "S039-AREA-04": (3.0, 2.0, 6.0)}, fidelity="count")
def floating(exponent: float, mantissa: float, width: float) -> float:
    """Floating-point multiplier from the integer units of its width [um2]."""
    add, multiply = UNITS[width]
    return float(float_multiplier_area(exponent, mantissa, multiply, add, width))
