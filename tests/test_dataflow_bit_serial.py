"""Bit-serial engines: phases of a tile by hand, and the throughput of Marsellus."""

from __future__ import annotations

import numpy as np
import pytest

from perfmodel.engine.dataflow.bit_serial import NE16, RBE, BitSerialMachine, bit_serial_cycles
from perfmodel.errors import ArgumentError


def test_a_tile_of_rbe_by_hand():
    """3 x 3 pixels, 64 channels and filters, 2 x 2 bits."""
    run = bit_serial_cycles(3, 3, 64, 64, 3, RBE, weight_bits=2, input_bits=2, output_bits=2)
    assert run.load == 2 * 2 * 25  # two groups of channels, twice for the two groups of filters, 5 x 5 pixels
    assert run.multiply == 2 * 64 * 2  # two groups of channels, a bit of a filter a cycle
    assert run.scale == 64
    assert run.store == 2 * 9
    assert run.cycles == 100 + 256 + 64 + 18
    assert run.macs == 9 * 64 * 64 * 9


def test_bits():
    """Products grow with weight bits and, beyond four, with passes over the inputs; loads with passes alone."""
    base = bit_serial_cycles(9, 9, 64, 64, 3, RBE, weight_bits=4, input_bits=4, output_bits=4)
    wide = bit_serial_cycles(9, 9, 64, 64, 3, RBE, weight_bits=8, input_bits=8, output_bits=8)
    assert wide.multiply == 4 * base.multiply
    assert wide.load == 2 * base.load
    pointwise = bit_serial_cycles(9, 9, 64, 64, 1, RBE, weight_bits=8, input_bits=4, output_bits=4)
    assert pointwise.multiply == base.multiply / 4  # all weight bits at once
    assert pointwise.load == base.load * 9 / 25


def test_peaks_are_those_of_the_arrays():
    """Many channels: 2592 / QW / passes for RBE, 1296 / QW for NE16, less loads that never overlap."""
    for machine, bits, peak in ((RBE, 2, 10368 / 4 / 2), (RBE, 8, 162), (NE16, 8, 162)):
        run = bit_serial_cycles(3, 3, 1e6, 32, 3, machine, weight_bits=bits, input_bits=bits)
        assert run.macs / run.multiply == pytest.approx(peak, rel=0.03)
        assert run.macs / run.cycles < peak


def test_marsellus_throughput_of_a_layer_with_64_channels():
    """637 Gop/s at 2 x 2 bits and 420 MHz (arXiv:2305.08415, abstract; the layer is not named there)."""
    run = bit_serial_cycles(9, 9, 64, 64, 3, RBE, weight_bits=2, input_bits=2, output_bits=2)
    assert 2 * run.macs / run.cycles * 420e6 / 1e9 == pytest.approx(637, rel=0.01)


def test_arrays_and_bad_numbers():
    run = bit_serial_cycles(np.array([3, 9]), 3, 32, 32, np.array([1, 3]), NE16)
    assert run.cycles.shape == (2,)
    with pytest.raises(ArgumentError, match="port"):
        BitSerialMachine(channels=16, port=-1)
