"""S013: Tomar et al., XQuant, arXiv:2508.10395."""

from __future__ import annotations

from perfmodel.engine.rematerialise import input_cache_saving, stored_bits
from perfmodel.validation.cases import predicts


@predicts("S013-HEAD-01", fidelity="count")
def four_bits() -> float:
    """Saving with 4-bit inputs, groups of 128 with a 16-bit scale and a 4-bit zero point."""
    return float(input_cache_saving(stored_bits(4.0, 128.0, 16.0, 4.0)))


@predicts("S013-HEAD-02", fidelity="count")
def unquantised() -> float:
    """Saving from the input in place of keys and values."""
    return float(input_cache_saving(16.0))


@predicts({"S013-HEAD-03": 3.0, "S013-HEAD-04": 2.0}, fidelity="count")
def cross_layer(bits: float) -> float:
    """Saving where 3 of 32 layers keep 4 bits and the others fewer."""
    return float(input_cache_saving(stored_bits((3.0 * 4.0 + 29.0 * bits) / 32.0, 128.0, 16.0, 4.0)))
