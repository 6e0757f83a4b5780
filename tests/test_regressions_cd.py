"""Faults that an outside test of mapping, calibration and measured data found, each kept fixed."""

from __future__ import annotations

from pathlib import Path

import pytest

import perfmodel as pm
from perfmodel.errors import PerfmodelError

EYERISS = Path(__file__).parents[1] / "hardware_specs" / "eyeriss-v1.yaml"


@pytest.mark.parametrize("name", ["gemmini", "tpu-v1", "array-16x16"])
def test_a_product_of_single_numbers_maps(name):
    result = pm.map(pm.op.matmul(1, 1, 1), name)
    assert float(result.traffic) == 3  # A, B and C of one byte
    assert result.price.cycles > 0
    again = pm.map(pm.op.matmul(1, 1, 1), name, mapping=result.text())
    assert float(again.cycles) == pytest.approx(float(result.cycles))


def test_an_array_that_prices_nothing_is_charged_by_its_power():
    op = pm.op.matmul(64, 256, 256)
    mapped = pm.kernel(op, "tpu-v1", precision="int8", fidelity="dataflow")
    assert float(mapped.energy) >= float(pm.kernel(op, "tpu-v1", precision="int8").energy) > 0


def test_static_power_is_charged_once():
    op, base = pm.op.matmul(64, 64, 64), pm.device("array-16x16")
    free = pm.kernel(op, base, precision="int8", fidelity="dataflow")
    leaking = pm.kernel(
        op, base.vary({"array.static_power": 3.0}), precision="int8", fidelity="dataflow"
    )
    assert float(leaking.energy) - float(free.energy) == pytest.approx(3.0 * float(free.latency), rel=1e-6)


@pytest.mark.parametrize(("old", "new", "match"), [
    ("matmul: [m, n]", "matmul: [m, z]", r":\d+:\d+: array\.axes\.cols\.loops\.matmul\.1: 'z'"),
    ("matmul: [m, n]", "matmull: [m, n]", r":\d+:\d+: .*unknown key 'matmull'.*did you mean 'matmul'"),
])
def test_misspelt_loops_and_families_are_refused(tmp_path, old, new, match):
    path = tmp_path / "eyeriss.yaml"
    path.write_text(EYERISS.read_text().replace(old, new, 1))
    with pytest.raises(PerfmodelError, match=match):
        pm.device(path)
