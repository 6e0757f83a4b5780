"""Calibration: corrections that made the data are found again; what cannot be found is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.cli import main
from perfmodel.errors import ArgumentError, UnknownNameError
from perfmodel.explore.measurements import measured

TRUE = {"compute.matrix.bf16": 0.72, "memory.hbm": 0.83, "launch": 1.7}


def columns(rows: int = 60, noise: float = 0.0, seed: int = 0, most: float = 13) -> dict[str, list[float]]:
    """Matrix products on an A100 whose true corrections are TRUE."""
    rng = np.random.default_rng(seed)
    m, n, k = (2.0 ** rng.integers(4, most, rows) for _ in range(3))
    table = {"m": list(m), "n": list(n), "k": list(k), "dtype": ["bfloat16"] * rows}
    times = measured(pm.device("a100-sxm-80gb"), {**table, "latency_s": [1.0] * rows}).predict(TRUE)
    table["latency_us"] = list(times * 1e6 * np.exp(noise * rng.standard_normal(rows)))
    return table


@pytest.mark.parametrize(("rows", "noise", "tolerance"), [(60, 0.0, 0.01), (200, 0.05, 0.05), (15, 0.0, 0.1)])
def test_true_corrections_are_found(rows, noise, tolerance):
    found = pm.calibrate("a100-sxm-80gb", columns(rows, noise), family="roofline").achieved
    for name, value in TRUE.items():
        assert found["corrections"][name] == pytest.approx(value, rel=tolerance), name
    assert found["rows"] == rows and found["parameters"] == 3
    assert found["held_out"]["mape"] < noise + 0.05
    low, high = found["spread"]
    assert low <= 1.0 + 1e-3 and high >= 1.0 - 1e-3


def test_nominal_numbers_stay_and_calibrated_answers_use_the_fit():
    before = pm.device("a100-sxm-80gb")
    after = pm.calibrate(before, columns(), family="roofline")
    assert after.compute == before.compute and after.memory == before.memory and after.launch == before.launch
    assert before.achieved is None
    op = pm.op.matmul(m=4096, n=4096, k=4096)
    bound = pm.kernel(op, after)
    fitted = pm.kernel(op, after, fidelity="calibrated")
    assert bound.latency == pm.kernel(op, before).latency
    expected = 2 * 4096**3 / (312e12 * 0.72) + 1.7 * before.launch.overhead
    assert fitted.latency == pytest.approx(expected, rel=0.02)
    assert fitted.low.latency <= fitted.latency <= fitted.high.latency


def test_interval_is_that_of_rows_left_out():
    after = pm.calibrate("a100-sxm-80gb", columns(300, 0.1), family="roofline")
    low, high = after.achieved["spread"]
    assert low == pytest.approx(np.exp(-0.128), rel=0.05) and high == pytest.approx(np.exp(0.128), rel=0.05)


def test_too_few_rows_are_refused():
    with pytest.raises(ArgumentError, match="at least 4 rows for 3 corrections"):
        pm.calibrate("a100-sxm-80gb", columns(3))


def test_a_correction_that_no_row_sees_is_refused_and_can_be_fixed():
    table = {"m": [4096.0, 8192, 4096, 8192] * 2, "n": [8192.0] * 8, "k": [8192.0, 8192, 4096, 4096] * 2,
             "latency_us": [2200.0, 4400, 1100, 2200] * 2}
    with pytest.raises(ArgumentError, match="no row is bound by"):
        pm.calibrate("a100-sxm-80gb", table)
    found = pm.calibrate("a100-sxm-80gb", table, fixed={"memory.hbm": 0.9, "launch": 1.0})
    assert found.achieved["corrections"]["memory.hbm"] == 0.9 and found.achieved["parameters"] == 1


def test_corrections_that_only_occur_together_are_refused():
    # a copy of one size: bandwidth and launch cannot be told apart
    table = {"bytes": [3e7] * 30, "flops": [1.0] * 30, "latency_us": [30.0] * 30}
    with pytest.raises(ArgumentError, match=r"tell .* from|no row is bound"):
        pm.calibrate("a100-sxm-80gb", table)


@pytest.mark.parametrize(("change", "match"), [
    ({"latency_us": [0.0] * 60}, "finite times above 0"), ({"latency_us": ["x"] * 60}, "finite times above 0"),
    ({"m": [1.0]}, "equal length"), ({"latency_ms": [1.0] * 60}, "exactly one of the columns"),
    ({"dtype": ["bf17"] * 60}, "bf17"),
])
def test_bad_tables_are_refused(change, match):
    with pytest.raises(pm.PerfmodelError, match=match):
        pm.calibrate("a100-sxm-80gb", {**columns(), **change})


def test_a_table_without_sizes_is_refused():
    with pytest.raises(ArgumentError, match="columns m, n, k"):
        pm.calibrate("a100-sxm-80gb", {"colour": ["red"] * 9, "latency_us": [1.0] * 9})
    with pytest.raises(UnknownNameError, match="family"):
        pm.calibrate("a100-sxm-80gb", columns(), family="gem")


def test_operators_and_whole_workloads_can_be_measured():
    table = {"op": ["matmul"] * 6 + ["elementwise"] * 6, "m": [64.0, 256, 1024, 2048, 4096, 8192] + [float("nan")] * 6,
             "n": [4096.0] * 6 + [float("nan")] * 6, "k": [4096.0] * 6 + [float("nan")] * 6,
             "elements": [float("nan")] * 6 + [1e5, 1e6, 1e7, 2e7, 5e7, 1e8], "dtype": ["bf16"] * 12}
    found = measured(pm.device("a100-sxm-80gb"), {**table, "latency_us": [10.0] * 12})
    assert set(found.group) == {"matmul/bf16", "elementwise/bf16"} and np.all(found.predict({}) > 0)
    network = {"workload": ["resnet-50"] * 8, "batch": [1.0, 2, 4, 8, 16, 32, 64, 128], "dtype": ["fp16"] * 8}
    whole = measured(pm.device("a100-sxm-80gb"), network, timed=False)
    one = pm.forward("resnet-50", "a100-sxm-80gb", batch=8, precision="fp16").latency
    assert whole.predict({})[3] == pytest.approx(float(one))


def test_the_plan_takes_rows_that_matter():
    table = {k: v for k, v in columns(200).items() if k != "latency_us"}
    rows = pm.calibration_plan("a100-sxm-80gb", table, 6)
    assert len(set(rows)) == 6
    picked = {k: [v[i] for i in rows] for k, v in columns(200).items()}
    found = pm.calibrate("a100-sxm-80gb", picked).achieved["corrections"]
    for name, value in TRUE.items():
        assert found[name] == pytest.approx(value, rel=0.15), name


def test_command_writes_a_device_that_can_be_read(tmp_path, capsys):
    table, file = columns(80), tmp_path / "m.csv"
    names = list(table)
    file.write_text("\n".join([",".join(names), *(",".join(str(table[n][i]) for n in names) for i in range(80))]))
    target = tmp_path / "mine.yaml"
    words = ["calibrate", str(file), "--on", "a100-sxm-80gb", "--family", "roofline"]
    assert main([*words, "-o", str(target), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    read = pm.device(target)
    assert read.device == "mine" and read.achieved["corrections"] == said["achieved"]["corrections"]
    assert read.memory == pm.device("a100-sxm-80gb").memory
    assert main(["calibrate", str(file), "--on", str(target), "--family", "roofline"]) == 0
    assert "corrections" in capsys.readouterr().out
    assert main([*words[:4], "--plan", "3", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 3
    assert main([*words, "-o", str(tmp_path / "no" / "x.yaml")]) == 2
    assert main(["calibrate", str(tmp_path / "none.csv"), "--on", "a100-sxm-80gb"]) == 2
