"""S109: Conti et al., Marsellus, JSSC 2024, arXiv:2305.08415."""

from __future__ import annotations

from perfmodel.engine.dataflow.bit_serial import RBE, bit_serial_cycles
from perfmodel.engine.lowbit import bit_products, packed_rate
from perfmodel.validation.cases import predicts

#: 9 x 9 blocks of four columns with 32 lanes; clock at 0.8 V [Hz, recalled]
BLOCKS, COLUMNS, LANES, CLOCK = 81.0, 4.0, 32.0, 420e6


@predicts("S109-RBE-01", fidelity="count")
def one_bit_products() -> float:
    """One-bit products per clock of the convolution engine."""
    return float(bit_products(BLOCKS, COLUMNS, LANES))


@predicts("S109-HEAD-01", reason="the layer is not named in the abstract")
def engine_rate() -> float:
    """Convolution engine at 2 x 2 bits [Gop/s]: a 3 x 3 layer of 64 channels and filters (assumed).

    With 32, 128 and 256 channels: 536, 702 and 740 Gop/s; the products alone: 1089.
    """
    run = bit_serial_cycles(9.0, 9.0, 64.0, 64.0, 3.0, RBE, weight_bits=2.0, input_bits=2.0, output_bits=2.0)
    return float(2.0 * run.macs / run.cycles) * CLOCK / 1e9


@predicts("S109-HEAD-03", reason="peak of the dot product units; loop and load instructions are not modelled")
def core_rate() -> float:
    """Peak of 16 cores with 2-bit dot products [Gop/s]."""
    return 16.0 * float(packed_rate(32.0, 2.0)) * 2.0 * CLOCK / 1e9
