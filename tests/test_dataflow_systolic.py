"""Rigid systolic arrays against the published simulator and against a cycle-by-cycle count."""

from __future__ import annotations

import csv
import itertools
import os
import time
from pathlib import Path

import numpy as np
import pytest

from perfmodel.engine.dataflow.systolic import systolic
from perfmodel.errors import ArgumentError, UnknownNameError

SHARED = Path(os.environ.get("PERFMODEL_SHARED", Path(__file__).parents[2] / "shared"))
CYCLES = SHARED / "data" / "dataflow" / "scalesim_cycles.csv"


def _columns(dataflow: str) -> dict[str, np.ndarray]:
    with CYCLES.open() as file:
        rows = [row for row in csv.DictReader(file) if row["dataflow"] == dataflow]
    skip = {"layer", "kind", "dataflow"}
    return {key: np.array([float(row[key] or "nan") for row in rows]) for key in rows[0] if key not in skip}


@pytest.mark.skipif(not CYCLES.exists(), reason="shared data is not beside the repository")
@pytest.mark.parametrize("dataflow", ["os", "ws", "is"])
def test_shared_scalesim_rows_are_exact(dataflow: str) -> None:
    column = _columns(dataflow)
    shape = column["array_rows"], column["array_cols"]
    run = systolic(column["M"], column["N"], column["K"], *shape, dataflow)
    # SCALE-Sim reports the zero-based index of the last cycle (its issue 125), hence + 1
    np.testing.assert_array_equal(run.cycles, column["total_cycles"] + 1)
    np.testing.assert_array_equal(run.reads["input"], column["ifmap_sram_reads"])
    np.testing.assert_array_equal(run.reads["weight"], column["filter_sram_reads"])
    np.testing.assert_allclose(100 * run.occupancy, column["mapping_eff_pct"], atol=6e-7)
    np.testing.assert_allclose(
        100 * run.utilisation * run.cycles / (run.cycles - 1), column["overall_util_pct"], atol=6e-7
    )
    # for os rows the peer adds folds x (R + C) idle writes to the true count M N (its documented error)
    extra = run.folds * (column["array_rows"] + column["array_cols"]) if dataflow == "os" else 0
    np.testing.assert_array_equal(run.writes["output"] + extra, column["ofmap_sram_writes"])


def test_a_million_rows_in_a_second() -> None:
    rng = np.random.default_rng(0)
    m, n, k = rng.integers(1, 5000, (3, 500_000)).astype(float)
    start = time.perf_counter()
    systolic(m, n, k, 16.0, 16.0, "ws")
    assert 500_000 / (time.perf_counter() - start) > 1e6


def _wavefront(m: int, n: int, k: int, rows: int, columns: int) -> int:
    """Cycles of output-stationary folds found by stepping: PE (i, j) works on k at cycle i + j + k."""
    corners = itertools.product((0, rows - 1), (0, columns - 1), (0, k - 1))
    fold = 1 + max(sum(corner) for corner in corners)  # the array is rigid: an edge fold passes all of it
    return fold * len(range(0, m, rows)) * len(range(0, n, columns))


def test_output_stationary_equals_a_stepped_wavefront() -> None:
    for m, n, k, rows, columns in [(1, 1, 1, 1, 1), (5, 7, 3, 2, 4), (16, 16, 16, 4, 4), (9, 2, 11, 8, 3)]:
        assert systolic(m, n, k, rows, columns, "os").cycles == _wavefront(m, n, k, rows, columns)


def test_overlapped_folds_hide_the_load() -> None:
    apart = systolic(1000, 256, 256, 128, 128, "ws")
    joined = systolic(1000, 256, 256, 128, 128, "ws", overlap=True)
    assert joined.cycles == 4 * 1000 + 128 + 254  # 4 folds + first load + skew
    assert joined.cycles < apart.cycles
    # a short stream is bound by the weight load: 128 cycles a fold
    assert systolic(10, 256, 256, 128, 128, "ws", overlap=True).stream == 4 * 128


def test_symbolic_reading_agrees() -> None:
    sympy = pytest.importorskip("sympy")
    m, n, k = sympy.symbols("m n k", positive=True)
    form = systolic(m, n, k, 8, 16, "is").cycles
    assert float(form.subs({m: 100, n: 50, k: 70})) == systolic(100, 50, 70, 8, 16, "is").cycles


@pytest.mark.parametrize("value", [0, -3, float("nan"), float("inf")])
def test_bad_sizes_are_refused(value: float) -> None:
    with pytest.raises(ArgumentError, match="rows"):
        systolic(8, 8, 8, value, 8)


def test_unknown_dataflow_is_refused_with_a_hint() -> None:
    with pytest.raises(UnknownNameError, match="output_stationary"):
        systolic(8, 8, 8, 8, 8, "output_stationery")
