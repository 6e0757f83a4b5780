"""Tile-by-tile execution: by hand, and against cycles measured on RTL."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from perfmodel.engine.dataflow.tiled import TiledMachine, tiled_cycles
from perfmodel.errors import ArgumentError
from perfmodel.validation.gemmini_rows import predicted_cycles, read_levels

SHARED = Path(os.environ.get("PERFMODEL_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "dataflow"
ROWS = SHARED / "gemmini_rtl_cycles.csv"


@pytest.mark.skipif(not ROWS.exists(), reason="shared data is not beside the repository")
def test_shared_rtl_cycles():
    with ROWS.open() as file:
        rows = list(csv.DictReader(file))
    measured = np.array([float(row["rtl_cycles"]) for row in rows])
    predicted = np.array([predicted_cycles(row) for row in rows])
    peer = np.array([float(row["timeloop_cycles"]) for row in rows])
    error = np.abs(predicted / measured - 1)
    assert error.mean() < 0.13
    assert spearmanr(predicted, measured)[0] > 0.99
    assert error.mean() < 0.6 * np.abs(peer / measured - 1).mean()


def test_one_tile_by_hand():
    # 16 x 16 weights, 16 rows: 1 pair of 16 cycles; 16 + 16 requests of 16 B, a quarter of a line each
    cold = tiled_cycles({"k": 16, "c": 16, "p": 16}, [], machine=TiledMachine(cache=511))
    assert cold.compute == 16
    assert cold.load == 32 * (0.25 * 8 + 0.75 * 4)
    assert cold.cycles == cold.load + 16 + 16 * 4
    warm = tiled_cycles({"k": 16, "c": 16, "p": 16}, [], machine=TiledMachine(cache=512))
    assert warm.load == 32 * 4  # 256 B of inputs and 256 of weights are in the cache


def test_short_rows_pay_for_two_instructions():
    wide = tiled_cycles({"k": 16, "c": 16, "p": 16, "q": 4}, []).compute
    short = tiled_cycles({"k": 16, "c": 16, "p": 2, "q": 4}, []).compute
    assert wide == 4 * 16
    assert short == 16 + 3 * 8  # new weights once, then two instructions of 4 rows


def test_a_long_layer_runs_at_its_bottleneck():
    tile = {"k": 64, "c": 64, "p": 64}
    bound = tiled_cycles(tile, [("k", 1000.0)])
    assert bound.cycles / 1000 == pytest.approx(max(bound.compute, bound.load, bound.store), rel=0.01)


def test_what_fits_the_cache_is_fetched_once():
    tile = {"k": 16, "c": 64, "p": 128}
    near = tiled_cycles(tile, [("k", 8.0)], machine=TiledMachine(cache=1e6)).load
    far = tiled_cycles(tile, [("k", 8.0)], machine=TiledMachine(cache=1e3)).load
    assert near < far


def test_arrays_are_accepted_and_bad_numbers_refused():
    many = tiled_cycles({"k": np.array([16.0, 64.0]), "c": 64, "p": 49}, [("c", 2.0)])
    assert many.cycles.shape == (2,)
    with pytest.raises(ArgumentError, match="bus"):
        TiledMachine(bus=-1)
    with pytest.raises(ArgumentError, match="mapping"):
        read_levels("L3 K48")
