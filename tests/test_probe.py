"""Probe: the machine this runs on becomes a device that answers questions."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

import perfmodel as pm
from perfmodel.cli import main
from perfmodel.engine.achieved import fraction
from perfmodel.explore import probe, probe_check
from perfmodel.validation import accuracy_notes


@pytest.fixture(scope="module")
def machine():
    return probe.probe("here", budget=1.0)


def test_probe_describes_a_device(machine):
    assert machine.device == "here" and machine.kind == "cpu"
    assert machine.compute["matrix"].peak["fp32"] > 1e8
    assert 1e8 < machine.main_memory.bandwidth < 1e13
    assert 1e-8 < machine.launch.overhead < 1e-3
    rates = [level.bandwidth for level in machine.memory.values() if level.bandwidth is not None]
    assert rates == sorted(rates)  # inner levels are faster
    assert pm.forward("resnet-50", machine, precision="fp32").latency > 0


def test_probe_says_that_its_numbers_are_measured(machine):
    assert "measured by perfmodel probe" in machine.sources["probe"]


def test_description_of_given_facts():
    facts = {"levels": (probe.Cache("l2", 2**20, 2),), "fp32": 1e11, "fp64": 5e10, "vector_fp32": 1e10,
             "vector_fp64": 5e9, "special": 1e9, "dram": 2e10, "l2": 1e10, "overhead": 1e-6}
    from perfmodel.hardware.device import Device
    from perfmodel.spec import loads

    read = loads(Device, probe.describe("x", facts), "<test>")
    assert read.memory["l2"].bandwidth is None  # slower than the level outside it: the call was measured
    assert read.memory["l2"].instances == 2 and read.memory["dram"].bandwidth == 2e10


def test_best_time_is_the_shortest_call():
    clock = itertools.chain([0.0, 5.0, 10.0, 11.0], itertools.count(100.0, 3.0))
    assert probe.best_time(lambda: None, 0.01, 3, clock=lambda: next(clock)) == 1.0


def test_corrections_of_one_operator_family_come_first():
    fitted = {"memory.dram@norm": 3.0, "memory.dram": 0.5, "compute.matrix.fp32": 0.8}
    assert fraction(fitted, "memory.dram", "norm") == 3.0
    assert fraction(fitted, "memory.dram", "matmul") == 0.5
    assert fraction(fitted, "compute.matrix.bf16", "matmul") == 0.8  # another format of the same unit
    assert fraction(fitted, "compute.vector.fp32", "norm") == 1.0


def test_predictions_of_the_checked_passes(machine):
    tuned = replace(machine, achieved={"corrections": {"launch": 2.0}, "spread": [0.8, 1.25]})
    for name in probe_check.PASSES:
        middle, low, high = probe_check.predict(tuned, name)
        assert 0 < low < middle < high < 1000


def test_checked_passes_are_added_to_a_table(tmp_path, machine, monkeypatch):
    monkeypatch.setattr(probe_check, "torch_module", lambda: SimpleNamespace(__version__="9"))
    table = tmp_path / "all.csv"
    for measured in (1.0, 0.8):
        one = probe_check.Pass("ResNet, batch 1", 0.9, 0.7, 1.1, measured)
        table.write_text(probe_check.add_rows(table, machine, [one], 2.5))
    error, rows, note = accuracy_notes.checked_passes(table)
    assert rows == 2 and error == pytest.approx((0.1 + 0.125) / 2)
    assert note.startswith("largest 12.5 %; ") and note.endswith(": 11.2 %")
    assert main(["probe", "--rows", str(table)]) == 2  # without --check
    assert accuracy_notes.checked_passes(tmp_path / "none.csv")[0] is None


def test_command_without_torch_says_so(capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    assert main(["probe", "--check"]) == 2
    assert "PyTorch" in capsys.readouterr().err


def test_command_writes_a_device(tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    assert main(["probe", "--budget", "1", "-o", str(file), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["device"] == "mine" and said["check"] == []
    assert pm.device(file).main_memory.bandwidth > 0
    assert main(["probe", "--budget", "-1"]) == 2
    assert main(["probe", "-o", str(tmp_path / "none" / "x.yaml")]) == 2


@pytest.mark.slow
def test_check_with_torch(machine):
    pytest.importorskip("torch")
    from perfmodel.explore import probe_torch

    tuned = replace(machine, achieved=probe_torch.achieved(machine, 3.0))
    passes = probe_check.check(tuned, 3.0)
    assert len(passes) == 4
    assert all(0.2 < one.predicted / one.measured < 5 for one in passes)
