"""Silicon: area by component, dies per wafer, yield, price and carbon against published numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from perfmodel.engine import silicon
from perfmodel.errors import UnknownNameError
from perfmodel.hardware.technology import technology

T = technology()
# Area by component [mm2]: LLMCompass (arXiv:2312.03134) ae/figure6/real_hardware/die_area.csv.
# Link control and "other" are one item here: the source counts the control of NVLink under "other".
MEASURED = {
    "ga100": {
        "cores": 476.25, "crossbar": 76.44, "cache": 119.31, "memory_phy": 58.0,
        "memory_controller": 31.77, "link_phy": 20.95, "rest": 0.0 + 40.0,
    },
    "aldebaran": {
        "cores": 446.22, "crossbar": 33.0, "cache": 25.2, "memory_phy": 83.26,
        "memory_controller": 40.83, "link_phy": 45.52, "rest": 42.0 + 4.0,
    },
}  # fmt: skip


def _areas(die: str) -> dict[str, float]:
    area = {name: float(value) * 1e6 for name, value in silicon.die_area(T.dies[die], T).items()}
    area["rest"] = area.pop("link_controller") + area.pop("fixed")
    return area


@pytest.mark.parametrize("die", MEASURED)
def test_area_by_component(die: str) -> None:
    area = _areas(die)
    for name, measured in MEASURED[die].items():
        assert area[name] == pytest.approx(measured, rel=0.15), name
    assert sum(area.values()) == pytest.approx(sum(MEASURED[die].values()), rel=0.05)


@pytest.mark.parametrize(("die", "printed"), [("ga100", 826.0), ("aldebaran", 724.0)])
def test_total_area_against_the_printed_die(die: str, printed: float) -> None:
    assert sum(_areas(die).values()) == pytest.approx(printed, rel=0.05)


def test_a_die_that_was_not_fitted() -> None:
    """GH100 is printed with 814 mm2; the constants come from two other dies on other nodes."""
    assert sum(_areas("gh100").values()) == pytest.approx(814.0, rel=0.10)


def test_no_constant_belongs_to_one_chip() -> None:
    for name, component in T.components.items():
        assert not any(maker in name for maker in ("nvidia", "amd", "ga100", "aldebaran"))
        assert component.transistors is not None or component.area is not None


def test_core_parts_sum_to_the_cores() -> None:
    die = T.dies["ga100"]
    core = silicon.core_area(die, T.node(die.process), T)
    assert sum(core.values()) * die.cores == pytest.approx(silicon.die_area(die, T)["cores"])
    assert sum(core.values()) * 1e6 == pytest.approx(3.75, rel=0.05)  # one SM [mm2], same source


def test_die_cost_of_826_mm2_at_7_nm() -> None:
    """Feng and Ma, DAC 2022: 56.604 dies, yield 0.488, 338.2 USD."""
    node, area = T.nodes["7nm"], 826e-6
    assert silicon.dies_per_wafer(area) == pytest.approx(56.604, abs=5e-4)
    density = node.defect_density["chiplet-actuary"]
    assert silicon.negative_binomial_yield(area, density) == pytest.approx(0.488, abs=5e-4)
    assert silicon.priced_die(area, node) == pytest.approx(338.2, abs=0.05)


def test_source_of_the_defect_density_is_a_choice() -> None:
    node = T.nodes["7nm"]
    prices = {source: silicon.priced_die(826e-6, node, source) for source in node.defect_density}
    assert prices["chiplet-actuary"] < prices["ttm-cas"] < prices["catch"]
    with pytest.raises(UnknownNameError, match="chiplet-actuary"):
        silicon.priced_die(826e-6, node, "chiplet-actuari")
    with pytest.raises(UnknownNameError, match="poisson"):
        silicon.priced_die(826e-6, node, model="poison")


def test_yield_models_agree_for_small_dies_and_order_for_large_ones() -> None:
    small = [model(1e-6, 900.0) for model in silicon.YIELD_MODELS.values()]
    assert np.ptp(small) < 1e-5
    large = {name: model(826e-6, 900.0) for name, model in silicon.YIELD_MODELS.items()}
    assert large["poisson"] < large["murphy"] < large["seeds"]
    assert large["poisson"] < large["negative-binomial"] < large["seeds"]
    clustered = silicon.negative_binomial_yield(826e-6, 900.0, cluster=1e9)
    assert clustered == pytest.approx(large["poisson"], rel=1e-6)
    assert silicon.negative_binomial_yield(826e-6, 900.0, 1.0) == pytest.approx(large["seeds"])


def test_wafer_hand_count() -> None:
    """Without rim and saw lane the first term is the area ratio."""
    area, diameter = 1e-4, 0.3
    expected = math.pi * 0.15**2 / area - math.pi * diameter / math.sqrt(2 * area)
    assert silicon.dies_per_wafer(area, diameter, 0.0, 0.0) == pytest.approx(expected)


def test_chiplets_are_cheaper_than_one_large_die() -> None:
    node = T.nodes["5nm"]
    whole = silicon.priced_die(800e-6, node)
    quarters = silicon.module_price([silicon.priced_die(200e-6, node)], [4], bond_yield=0.99)
    assert quarters < whole


def test_embodied_carbon_by_hand() -> None:
    """7 nm, 0.5 kgCO2e/kWh: (2.15 * 0.5 + 0.350 + 0.500) kgCO2e/cm2 [ACT, Table 1]."""
    node = T.nodes["7nm"]
    per_area = silicon.carbon_per_area(node.fab_energy, 0.5 / 3.6e6, node.fab_gas, node.fab_materials)
    assert per_area * 1e-4 == pytest.approx(2.15 * 0.5 + 0.350 + 0.500)
    one = silicon.embodied_carbon(1e-4, node, 0.5 / 3.6e6, good=0.5)
    assert one == pytest.approx((2.15 * 0.5 + 0.350 + 0.500) / 0.5)


def test_arrays_and_symbols() -> None:
    area = np.array([100e-6, 400e-6, 826e-6])
    prices = silicon.priced_die(area, T.nodes["7nm"])
    assert prices.tolist() == pytest.approx([silicon.priced_die(a, T.nodes["7nm"]) for a in area])
    assert np.all(np.diff(prices / area) > 0)  # silicon of a larger die costs more by area
    sympy = pytest.importorskip("sympy")
    a = sympy.Symbol("A", positive=True)
    price = silicon.die_price(a, 9346.0, 900.0)
    assert float(price.subs(a, 826e-6)) == pytest.approx(338.2155, rel=1e-6)


def test_area_grows_with_what_is_on_the_die() -> None:
    die = T.dies["ga100"]
    base = silicon.die_area(die, T)
    more = silicon.die_area(replace(die, cores=np.array([64.0, 128.0, 256.0])), T)
    assert more["cores"].tolist() == pytest.approx([base["cores"] / 2, base["cores"], base["cores"] * 2])
    assert np.all(np.diff(more["crossbar"]) > 0)
    assert silicon.die_area(replace(die, cache_slice=2 * die.cache_slice), T)["cache"] > base["cache"]
