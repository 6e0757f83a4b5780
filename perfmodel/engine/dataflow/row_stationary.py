"""Row-stationary execution pass by pass, as Eyeriss works.

A pass maps p filters and q channels on every PE, r channel groups and t filter groups over sets of PEs, e
output rows and n images; a PE slides one filter row over one input row.  Filters enter before a pass, the
first window of every input row before the first MAC; inputs and partial sums then stream beside the MACs, and
the last column of sums (of the last image) leaves after them.

[1] Y.-H. Chen, J. Emer, V. Sze, "Eyeriss", ISCA 2016, doi:10.1109/ISCA.2016.40.
[2] Y.-H. Chen et al., "Eyeriss", JSSC 52(1) 2017, doi:10.1109/JSSC.2016.2616357.
"""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value, ceil_div, maximum


@dataclass(frozen=True, kw_only=True)
class RowStationaryMapping:
    """Mapping parameters of a pass, in the letters of [1]."""

    n: Value = 1.0
    e: Value
    p: Value
    q: Value
    r: Value = 1.0
    t: Value = 1.0


@dataclass(frozen=True, kw_only=True)
class RowStationaryBuses:
    """Words per cycle of the on-chip networks; Eyeriss: 64, 16 and 64 bit, words of 16 (recalled, [2])."""

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
    up [1].
    """
    buses = buses or RowStationaryBuses()
    m = mapping
    passes = (
        ceil_div(images, m.n) * ceil_div(filters, m.p * m.t) * ceil_div(channels, m.q * m.r)
        * ceil_div(out_rows, m.e)
    )
    rows = (m.e - 1.0) * stride + kernel
    columns = (out_columns - 1.0) * stride + kernel
    compute = m.n * m.p * m.q * kernel * out_columns
    ifmap = m.n * m.q * m.r * rows * columns / buses.ifmap
    psum = m.n * m.p * m.t * m.e * out_columns / buses.psum
    load = m.p * m.q * m.r * m.t * kernel**2 / buses.filter
    fill = rows * kernel * m.q * m.r / buses.ifmap
    drain = m.e * m.p * m.t / buses.psum
    # the first window is part of the input stream, the last column part of the stream of sums
    whole = maximum(compute + drain, ifmap - fill, psum) + load + fill
    return RowStationaryRun(passes * whole, passes, m.r * m.t * kernel * m.e, compute, load, fill, drain)
