"""Energy: published prices, scaling between nodes, the ledger, and clocks under a power limit."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from perfmodel.engine import energy
from perfmodel.errors import UnknownNameError
from perfmodel.hardware.catalog import device
from perfmodel.hardware.technology import technology

T = technology()


@pytest.mark.parametrize(
    ("operation", "node", "picojoule"),
    [
        ("int8_add", 45e-9, 0.03), ("fp16_mul", 45e-9, 1.1), ("fp32_mul", 45e-9, 3.7),
        ("fp32_mul", 7e-9, 1.31), ("int8_mul", 7e-9, 0.07), ("bf16_mul", 7e-9, 0.21),
    ],
)  # fmt: skip
def test_published_operation_energies(operation: str, node: float, picojoule: float) -> None:
    """Horowitz ISSCC 2014 at 45 nm, Jouppi et al. ISCA 2021 at 7 nm."""
    assert energy.operation_energy(operation, node, T) == pytest.approx(picojoule * 1e-12)


def test_scaling_between_and_beyond_the_anchors() -> None:
    nodes = np.array([45e-9, 28e-9, 16e-9, 7e-9, 5e-9])
    for operation in energy.operations(T):
        assert np.all(np.diff(energy.operation_energy(operation, nodes, T)) < 0), operation
    # An operation that one node lists follows the mean factor of 2.6.
    ratio = energy.operation_energy("bf16_mul", 45e-9, T) / energy.operation_energy("bf16_mul", 7e-9, T)
    assert ratio == pytest.approx(2.6)
    with pytest.raises(UnknownNameError, match="int8_add"):
        energy.operation_energy("int8_ad", 7e-9, T)


def test_arithmetic_is_a_lower_bound_of_a_chip() -> None:
    """Simba, 16 nm: 0.11 pJ per int8 operation for the whole chip (Zimmer et al., VLSI 2019)."""
    arithmetic = energy.mac_energy("int8", 16e-9, T) / 2
    assert 0.3 * 0.11e-12 < arithmetic < 0.11e-12


@pytest.mark.parametrize(
    ("node", "kibibytes", "picojoule"),
    [(22e-9, 8, 1.21), (45e-9, 32, 8.272), (45e-9, 1024, 41.931), (90e-9, 4096, 378.932)],
)
def test_sram_table_is_reproduced(node: float, kibibytes: int, picojoule: float) -> None:
    """CACTI 7 rows, energy of a 64 bit read."""
    found = energy.sram_energy(kibibytes * 1024, node, T)
    assert found * 8 == pytest.approx(picojoule * 1e-12, rel=1e-12)


def test_sram_sources_and_shape() -> None:
    assert energy.sram_energy(1e6, 7e-9, T, "published") * 8 == pytest.approx(14e-12)
    assert energy.sram_energy(32e3, 45e-9, T, "published") * 8 == pytest.approx(20e-12)
    sizes, nodes = np.array([8.0, 64.0, 512.0]) * 1024, np.array([22e-9, 45e-9])[:, None]
    grid = energy.sram_energy(sizes, nodes, T)
    assert grid.shape == (2, 3)
    assert grid[1, 2] == pytest.approx(float(energy.sram_energy(sizes[2], 45e-9, T)))
    assert np.all(np.diff(grid, axis=1) > 0)
    assert np.all(np.diff(grid, axis=0) > 0)
    area = energy.sram_macro_area(np.array([1, 4]) * 2.0**20, 45e-9, T) * 1e6
    assert area.tolist() == pytest.approx([3.8479, 13.9469])
    assert energy.sram_leakage(2.0**20, 45e-9, T) == pytest.approx(16.594e-3)
    assert energy.sram_access_time(2.0**20, 45e-9, T) == pytest.approx(3.194e-9)
    assert energy.sram_energy(2.0**20, 45e-9, T, write=True) * 8 == pytest.approx(36.212e-12)
    with pytest.raises(UnknownNameError, match="cacti"):
        energy.sram_energy(1024, 45e-9, T, "cactus")
    with pytest.raises(UnknownNameError, match="read_energy"):
        energy.sram_energy(1024, 45e-9, T, "published", write=True)


def test_ledger_by_hand() -> None:
    amounts = {"compute.matrix.int8": 1000.0, "memory.hbm": 10.0, "launch": 1.0}
    prices = {"compute.matrix.int8": 2e-12, "memory.hbm": 50e-12}
    total = 1000 * 2e-12 + 10 * 50e-12 + 3.0 * 1e-9  # operations + bytes + static power x time
    assert energy.ledger_energy(amounts, prices, 3.0, 1e-9) == pytest.approx(total, rel=1e-15)
    assert energy.unpriced(amounts, prices) == ("launch",)


def test_prices_of_a_device() -> None:
    prices = energy.ledger_prices(device("a100-sxm-80gb"), T)
    assert prices["memory.hbm"] == pytest.approx(6.0e-12 * 8)  # Micron, HBM2e device energy per bit
    assert prices["compute.matrix.bf16"] == pytest.approx((0.21 + 0.38) * 1e-12 / 2)
    assert prices["memory.shared"] < prices["memory.l2"] < prices["memory.hbm"]
    doubled = energy.ledger_prices(device("a100-sxm-80gb"), T, overhead=2.0)
    assert doubled["compute.matrix.bf16"] == pytest.approx(2 * prices["compute.matrix.bf16"])
    # Arithmetic and HBM at full rate stay below the board limit of 400 W.
    assert 312e12 * prices["compute.matrix.bf16"] + 2.039e12 * prices["memory.hbm"] < 400


def test_clock_under_a_power_limit() -> None:
    assert energy.clock_fraction(100.0, 20.0, 400.0) == 1.0
    # 8 times too much dynamic power: half of the clock where power follows its cube.
    assert energy.clock_fraction(800.0, 0.0, 100.0) == pytest.approx(0.5)
    assert energy.clock_fraction(800.0, 0.0, 100.0, exponent=1) == pytest.approx(1 / 8)
    duration, joule = energy.power_capped(1.0, 800.0, 0.0, 100.0)
    assert (duration, joule) == (pytest.approx(2.0), pytest.approx(200.0))
    duration, joule = energy.power_capped(1.0, 50.0, 20.0, 100.0)
    assert (duration, joule) == (pytest.approx(1.0), pytest.approx(70.0))


def test_average_power_never_exceeds_the_limit() -> None:
    limits = np.array([30.0, 72.0, 350.0, 700.0])
    duration, joule = energy.power_capped(2.0, 900.0, 15.0, limits, exponent=2.5)
    assert np.all(joule / duration <= limits * (1 + 1e-12))
    assert np.all(np.diff(duration) <= 0)  # a higher limit is never slower


def test_rate_and_energy_are_inverse() -> None:
    spent = energy.nominal_energy(239e12, 362e12, 35.0, 350.0, 2.5)
    assert energy.sustained_rate(362e12, spent, 35.0, 350.0, 2.5) == pytest.approx(239e12)


def test_a_small_board_holds_a_small_part_of_its_peak() -> None:
    """L4 and L40S have one architecture; L4 has a fifth of the power for a third of the peak."""
    spent = energy.nominal_energy(239e12, 362e12, 35.0, 350.0)
    large = energy.sustained_rate(362e12, spent, 35.0, 350.0) / 362e12
    small = energy.sustained_rate(121e12, spent, 7.2, 72.0) / 121e12
    assert small < large < 1


def test_symbols() -> None:
    sympy = pytest.importorskip("sympy")
    limit = sympy.Symbol("P", positive=True)
    fraction = energy.clock_fraction(800.0, 0.0, limit)
    assert float(fraction.subs(limit, 100)) == pytest.approx(0.5)
    feature = sympy.Symbol("L", positive=True)
    assert float(energy.mac_energy("fp32", feature, T).subs(feature, 7e-9)) == pytest.approx(1.69e-12)


def _shared() -> Path | None:
    place = Path(os.environ.get("PERFMODEL_SHARED", Path(__file__).parents[2] / "shared"))
    return place / "data" / "devices" / "resolved.csv" if place.is_dir() else None


@pytest.mark.skipif(_shared() is None, reason="no shared data")
def test_shared_fp8_rate_of_power_capped_boards() -> None:
    """H100 gives the energy of FP8 over BF16; L40S and B200 then follow within 5 % (medians of large GEMMs).

    None of the three reaches twice its BF16 rate with FP8: all are held down by power, not by the unit.
    """
    path = _shared()
    assert path is not None
    with path.open(encoding="utf-8") as lines:
        rows = {(r["device"], r["field"]): r["value"] for r in csv.DictReader(lines)}

    def measured(board: str, key: str) -> float:
        return float(rows[board, f"gemm_measured_median_{key}"])

    boards = {"H100-SXM": (989e12, 700.0), "L40S": (362e12, 350.0), "B200": (2250e12, 1000.0)}
    spent = {}
    for board, (peak, limit) in boards.items():
        spent[board] = energy.nominal_energy(measured(board, "bf16"), peak, 0.1 * limit, limit, 2.0)
    peak, limit = boards["H100-SXM"]
    fp8 = energy.nominal_energy(measured("H100-SXM", "fp8"), 2 * peak, 0.1 * limit, limit, 2.0)
    ratio = fp8 / spent["H100-SXM"]
    for board in ("L40S", "B200"):
        peak, limit = boards[board]
        predicted = energy.sustained_rate(2 * peak, ratio * spent[board], 0.1 * limit, limit, 2.0)
        assert predicted == pytest.approx(measured(board, "fp8"), rel=0.05), board
