"""Bit-serial convolution engine with a window of inputs and a tile of sums: RBE (Marsellus), NE16 (GAP9).

The engine works on 3 x 3 output pixels and one group of filters at a time.  For each group of input channels
it loads the window of inputs, a pixel a cycle and port word, then multiplies it with one weight bit of one
filter a cycle (3 x 3 kernels; nine taps at once) or with all bits of one filter (1 x 1 kernels); after the
last group it scales the sums, a filter a cycle in all pixels, and writes them out pixel by pixel.  The
phases do not overlap.

[1] F. Conti et al., "Marsellus", JSSC 2024, arXiv:2305.08415.
[2] github.com/pulp-platform/rbe: docs/architecture.md, rtl/rbe_package.sv (9 x 9 blocks of 4 x 32, windows of
    5 x 5, 32 sums a column, port of 288 bit), rtl/rbe_normquant.sv (one multiplier).
[3] github.com/pulp-platform/ne16, and the cost model of NE16 in the compiler MATCH: 16 input channels, tiles
    of 3 x 3 x 32, port of 256 bit, about six cycles before each phase.
"""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value, ceil_div, where
from perfmodel.engine.dataflow.accelerator import check


@dataclass(frozen=True, kw_only=True)
class BitSerialMachine:
    """Numbers of such an engine.

    channels  input channels of a window;  filters  filters of a tile of sums;  side  output pixels of a side
    port      bits that the memory delivers in a cycle
    inputs    input bits that are multiplied at once
    scaling   filters scaled in a cycle
    start     cycles before a load and before a product
    """

    channels: Value
    filters: Value = 32.0
    side: Value = 3.0
    port: Value = 288.0
    inputs: Value = 4.0
    scaling: Value = 1.0
    start: Value = 0.0

    def __post_init__(self) -> None:
        for name in ("channels", "filters", "side", "port", "inputs", "scaling"):
            check(f"bit-serial machine.{name}", getattr(self, name), "a finite number > 0")


RBE = BitSerialMachine(channels=32.0)
NE16 = BitSerialMachine(channels=16.0, port=256.0, inputs=8.0, start=6.0)


@dataclass(frozen=True)
class BitSerialRun:
    """Cycles of a layer and of its phases; multiply-accumulates of the layer."""

    cycles: Value
    load: Value
    multiply: Value
    scale: Value
    store: Value
    macs: Value


def bit_serial_cycles(
    rows: Value, columns: Value, channels: Value, filters: Value, kernel: Value, machine: BitSerialMachine, *,
    weight_bits: Value = 8.0, input_bits: Value = 8.0, output_bits: Value = 8.0,
) -> BitSerialRun:
    """Cycles of one convolution with kernels of 3 x 3 or 1 x 1 and stride 1.

    rows, columns  of the output [pixels]

    ``tiles (C/c a (groups load + K QW) + K/scaling + groups store)`` with ``a = ceil(QA / inputs)`` passes
    over the input bits, ``groups = K/filters``, ``load = window^2 ceil(c QA' / port)``, QA' bits a pass; QW
    becomes 1 for 1 x 1 kernels, whose weight bits lie where the other taps would.
    """
    m = machine
    tiles = ceil_div(rows, m.side) * ceil_div(columns, m.side)
    groups = ceil_div(filters, m.filters)
    rounds = ceil_div(channels, m.channels) * ceil_div(input_bits, m.inputs)
    width = where(input_bits < m.inputs, input_bits, m.inputs)
    window = (m.side + kernel - 1.0) ** 2
    load = tiles * rounds * groups * (m.start + window * ceil_div(m.channels * width, m.port))
    bits = where(kernel > 1.0, weight_bits, 1.0)
    multiply = tiles * rounds * (groups * m.start + filters * bits)
    scale = tiles * (groups * m.start + filters / m.scaling)
    store = tiles * groups * (m.start + m.side**2 * ceil_div(m.filters * output_bits, m.port))
    macs = 1.0 * rows * columns * channels * filters * kernel**2
    return BitSerialRun(load + multiply + scale + store, load, multiply, scale, store, macs)
