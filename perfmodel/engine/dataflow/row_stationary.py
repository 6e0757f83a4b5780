"""Row-stationary execution pass by pass, as Eyeriss works.

A pass maps p filters and q channels on every PE, r channel groups and t filter groups over sets of PEs, e
output rows and n images; a PE slides one filter row over one input row.  Filters enter before a pass, the
first window of every input row before the first MAC; inputs and partial sums then stream beside the MACs, and
the last column of sums (of the last image) leaves after them.  Activations are run-length coded off chip.

[1] Y.-H. Chen, J. Emer, V. Sze, "Eyeriss", ISCA 2016, doi:10.1109/ISCA.2016.40.
[2] Y.-H. Chen et al., "Eyeriss", JSSC 52(1) 2017, doi:10.1109/JSSC.2016.2616357.
"""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value, ceil_div, maximum, minimum


@dataclass(frozen=True, kw_only=True)
class RowStationaryMapping:
    """Mapping parameters of a pass, in the letters of [1]; m: filters with sums in the global buffer."""

    n: Value = 1.0
    m: Value = 0.0
    e: Value
    p: Value
    q: Value
    r: Value = 1.0
    t: Value = 1.0


@dataclass(frozen=True, kw_only=True)
class RowStationaryBuses:
    """Words per cycle of the on-chip networks; Eyeriss: 64, 16 and 64 bit, words of 16 [2]."""

    filter: Value = 4.0
    ifmap: Value = 1.0
    psum: Value = 4.0


@dataclass(frozen=True)
class RowStationaryRun:
    """Cycles of a layer, passes, PEs in use, and cycles of one pass by part."""

    cycles: Value
    passes: Value
    active: Value
    compute: Value
    filters: Value
    fill: Value
    drain: Value


def row_stationary(
    images: Value, filters: Value, channels: Value, out_rows: Value, out_columns: Value, kernel: Value,
    stride: Value, mapping: RowStationaryMapping, buses: RowStationaryBuses | None = None,
) -> RowStationaryRun:
    """Processing cycles of one convolution.

    filters    M, of all groups;  channels  C that a filter sees;  out_rows, out_columns  E, F;  kernel  R = S

    Pass: ``max(n p q S F + e p t / psum bus, ifmap stream, psum stream) + p q r t R S / filter bus +
    rows q r S / ifmap bus`` with ``rows = (e - 1) U + R``; passes ``N/n M/(p t) C/(q r) E/e``, each rounded
    up; the last strip has the rows that are left [1].  The parts are those of a pass over a whole strip.
    """
    buses = buses or RowStationaryBuses()
    m = mapping
    strips = ceil_div(out_rows, m.e)
    each = ceil_div(images, m.n) * ceil_div(filters, m.p * m.t) * ceil_div(channels, m.q * m.r)
    columns = (out_columns - 1.0) * stride + kernel
    compute = m.n * m.p * m.q * kernel * out_columns
    load = m.p * m.q * m.r * m.t * kernel**2 / buses.filter

    def strip(height: Value) -> tuple[Value, Value, Value]:
        rows = (height - 1.0) * stride + kernel
        fill = rows * kernel * m.q * m.r / buses.ifmap
        drain = height * m.p * m.t / buses.psum
        ifmap = m.n * m.q * m.r * rows * columns / buses.ifmap
        psum = m.n * m.p * m.t * height * out_columns / buses.psum
        # the first window is part of the input stream, the last column part of the stream of sums
        return maximum(compute + drain, ifmap - fill, psum) + load + fill, fill, drain

    whole, fill, drain = strip(m.e)
    last, _, _ = strip(out_rows - (strips - 1.0) * m.e)
    cycles = each * ((strips - 1.0) * whole + last)
    return RowStationaryRun(cycles, each * strips, m.r * m.t * kernel * m.e, compute, load, fill, drain)


@dataclass(frozen=True)
class RowStationaryTraffic:
    """Bytes between global buffer and array, and between DRAM and chip, of a layer.

    sums, ifmap, filters      through the global buffer
    dram_ifmap, dram_filters, dram_ofmap
    held                      bytes of inputs and sums that stay in the global buffer at once
    """

    sums: Value
    ifmap: Value
    filters: Value
    dram_ifmap: Value
    dram_filters: Value
    dram_ofmap: Value
    held: Value

    @property
    def dram(self) -> Value:
        """All bytes off chip."""
        return self.dram_ifmap + self.dram_filters + self.dram_ofmap


def run_length_coded(zeros: Value) -> Value:
    """Size of run-length coded activations over the plain one [2]: three runs and levels in 64 bits.

    zeros  share of zeros; runs beyond 31 are not counted; never above 1, a layer may be stored plain
    """
    return minimum((1.0 - zeros) * (64.0 / 3.0) / 16.0, 1.0)


def row_stationary_traffic(
    images: Value, filters: Value, channels: Value, out_rows: Value, out_columns: Value, kernel: Value,
    stride: Value, mapping: RowStationaryMapping, *, groups: Value = 1.0, zeros_in: Value = 0.0,
    zeros_out: Value = 0.0, word: Value = 2.0,
) -> RowStationaryTraffic:
    """Traffic of one convolution [1, 2]; arguments as in :func:`row_stationary`, C as a filter sees it.

    A pass reads sums from the global buffer and writes them back: ``2 N M E F C/(q r)``; inputs are read once
    per p t filters, ``N G C rows columns E/e M/(G p t)``, filters once per strip and n images, ``M C R S E/e
    N/n``.  Off chip inputs come once per m filters, results leave once, both coded (`run_length_coded`).
    """
    p = mapping
    strips = ceil_div(out_rows, p.e)
    rows = (p.e - 1.0) * stride + kernel
    all_rows = out_rows * stride + strips * (kernel - stride)  # strips share kernel - stride rows
    columns = (out_columns - 1.0) * stride + kernel
    results = images * filters * out_rows * out_columns * word
    inputs = images * groups * channels * all_rows * columns * word
    weights = filters * channels * kernel**2 * strips * ceil_div(images, p.n) * word
    own = filters / groups
    return RowStationaryTraffic(
        sums=2.0 * results * ceil_div(channels, p.q * p.r), ifmap=inputs * ceil_div(own, p.p * p.t),
        filters=weights, dram_filters=weights,
        dram_ifmap=inputs * ceil_div(own, maximum(p.m, p.p * p.t)) * run_length_coded(zeros_in),
        dram_ofmap=results * run_length_coded(zeros_out),
        held=p.n * (p.q * p.r * rows * columns + maximum(p.m, p.p * p.t) * p.e * out_columns) * word,
    )
