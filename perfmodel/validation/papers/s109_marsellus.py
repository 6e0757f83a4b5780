"""S109: Conti et al., Marsellus, JSSC 2024, arXiv:2305.08415."""

from __future__ import annotations

from perfmodel.engine.lowbit import bit_products, bit_serial_rate, packed_rate
from perfmodel.validation.cases import predicts

#: 9 x 9 blocks of four columns with 32 lanes; clock at 0.8 V [Hz, recalled]
BLOCKS, COLUMNS, LANES, CLOCK = 81.0, 4.0, 32.0, 420e6


@predicts("S109-RBE-01", fidelity="count")
def one_bit_products() -> float:
    """One-bit products per clock of the convolution engine."""
    return float(bit_products(BLOCKS, COLUMNS, LANES))


@predicts("S109-HEAD-01", reason="peak of the array; filling and draining of accumulators is not modelled")
def engine_rate() -> float:
    """Peak of the convolution engine at 2 x 2 bits [Gop/s]."""
    products = bit_products(BLOCKS, COLUMNS, LANES)
    return float(bit_serial_rate(products, 2.0, 2.0)) * 2.0 * CLOCK / 1e9


@predicts("S109-HEAD-03", reason="peak of the dot product units; loop and load instructions are not modelled")
def core_rate() -> float:
    """Peak of 16 cores with 2-bit dot products [Gop/s]."""
    return 16.0 * float(packed_rate(32.0, 2.0)) * 2.0 * CLOCK / 1e9
