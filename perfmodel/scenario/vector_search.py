"""Vector search on an FPGA: an inverted file with product quantisation as a pipeline of six stages.

A query is rotated, compared with the cell centres, its best cells are selected, distance tables are built,
the codes of the cells are scanned, and the best results are kept.  All stages work at once on different
queries, so the slowest sets the throughput.

Reference
[1] Jiang et al., Co-design Hardware and Algorithm for Vector Search (FANNS), SC 2023, arXiv:2306.11182, and
    the performance model of its repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from perfmodel.algebra import Value, ceil_div, floor, log2, maximum
from perfmodel.scenario.pipeline import Pipeline

#: mean length of scanned cells over that of all, by log2 of the number of cells, rotated vectors [1]
IMBALANCE = {
    10.0: 1.1025, 11.0: 1.1246, 12.0: 1.1230, 13.0: 1.1359, 14.0: 1.1527,
    15.0: 1.1441, 16.0: 1.1411, 17.0: 1.1477, 18.0: 1.1543,
}
#: rows multiplied at once in the rotation -> latency of the adder tree [cycles] [1]
ADDER_LATENCY: Mapping[int, float] = {4: 21.0, 8: 37.0}
#: rows of one distance table: 8-bit codes
TABLE_ROWS = 256.0


@dataclass(frozen=True)
class Index:
    """An inverted file.

    vectors  on this board; cells, probed: lists in all and scanned per query; results: kept per query
    width    dimensions of a vector
    """

    vectors: Value
    cells: Value
    probed: Value
    results: Value
    width: Value = 128.0


@dataclass(frozen=True)
class Units:
    """Processing elements of each stage.

    cell, table, scan  units of the distance, table and scan stages
    selectors          priority queues of the first level of cell selection; 1: a single level
    unroll             rows multiplied at once in the rotation
    """

    cell: Value
    table: Value
    scan: Value
    selectors: Value = 1.0
    unroll: int = 4


def queue_cycles(length: Value, inserts: Value) -> Value:
    """Cycles of a systolic queue that keeps `length` of `inserts` [1]: ``3 + (5 + 2 N) + (2 + q)``."""
    return 10.0 + 2.0 * inserts + length


def imbalance(cells: Value) -> Value:
    """Mean length of scanned cells over that of all, rotated vectors [1]; straight lines in log2(cells)."""
    return np.interp(log2(cells), list(IMBALANCE), list(IMBALANCE.values()))


def search_cycles(index: Index, units: Units) -> Mapping[str, Value]:
    """Cycles per query of each stage [1]; all sizes float or array but the unroll factor."""
    d, probed = index.width, index.probed
    length = floor(imbalance(index.cells) * index.vectors / index.cells / units.scan) + 1.0
    select = queue_cycles(probed, floor(index.cells / units.selectors))
    # a second level merges what the queues of the first have kept
    merge = queue_cycles(probed, units.selectors * probed)
    inserts = probed * length
    pairs = queue_cycles(index.results, floor(inserts / 2.0))
    return {
        "rotation": d + ADDER_LATENCY[units.unroll] + d * d / units.unroll + d,
        "cells": d + 10.0 + 2.0 * ceil_div(8.0 * index.cells, units.cell),
        "selection": maximum(select, merge * (units.selectors > 1.0)),
        "tables": d + ceil_div(probed, units.table) * (132.0 + 36.0 + 16.0 * TABLE_ROWS),
        "scan": probed * ((2.0 + TABLE_ROWS + units.scan - 1.0) + (63.0 + length)),
        "results": np.where(units.scan > index.results, inserts, pairs),
    }


def search_pipeline(index: Index, units: Units, clock: Value) -> Pipeline:
    """The six stages as a pipeline of times [s]; clock [Hz]."""
    return Pipeline({name: cycles / clock for name, cycles in search_cycles(index, units).items()})
