"""Every shipped device and system description loads, is sourced, and agrees with itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from perfmodel.hardware.audit import audit, recalled_numbers
from perfmodel.hardware.device import Device, System
from perfmodel.spec import load

SPECS = Path(__file__).parents[1] / "hardware_specs"


def _files(key: str) -> list[Path]:
    return [p for p in sorted(SPECS.glob("*.yaml")) if key in _keys(p)]


def _keys(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split(":")[0] for line in lines if line[:1].isalpha()]


SYSTEMS = _files("system")
DEVICES = [p for p in _files("device") if p not in SYSTEMS]


@pytest.mark.parametrize("path", DEVICES, ids=lambda p: p.stem)
def test_device_loads_and_audits_clean(path: Path) -> None:
    device = load(Device, path)
    assert device.name == path.stem
    assert audit(device) == []


@pytest.mark.parametrize("path", SYSTEMS, ids=lambda p: p.stem)
def test_system_loads_and_names_a_device(path: Path) -> None:
    system = load(System, path)
    assert system.name == path.stem
    assert system.device in {p.stem for p in DEVICES}
    assert system.count >= 1
    for link in system.links.values():
        assert link.bandwidth > 0
    assert all(item.citation for item in system.provenance.values() if item.source)


@pytest.mark.parametrize("path", DEVICES, ids=lambda p: p.stem)
def test_a_justification_answers_a_finding(path: Path) -> None:
    device = load(Device, path)
    findings = audit(replace(device, justified={}))
    for number_format, reason in device.justified.items():
        assert reason
        assert any(f"peak.{number_format} is" in finding for finding in findings)


def test_recalled_numbers_are_visible() -> None:
    device = load(Device, SPECS / "h100-sxm5.yaml")
    recalled = recalled_numbers(device)
    assert "power.idle" in recalled
    assert "compute.matrix.peak.bf16" not in recalled


def test_audit_finds_a_wrong_factor() -> None:
    device = load(Device, SPECS / "a100-sxm-80gb.yaml")
    unit = device.compute["matrix"]
    sparse = replace(unit, peak={**unit.peak, "bf16": 624e12, "int8": 2496e12})
    findings = audit(replace(device, compute={**device.compute, "matrix": sparse}))
    assert any("bf16" in f and "+100.1 %" in f for f in findings)
    assert any("int8 is 8 times fp16" in f for f in findings)
    slow = replace(device.main_memory, bandwidth=2e9)
    assert any("ridge point" in f for f in audit(replace(device, memory={**device.memory, "hbm": slow})))


def test_datasheet_numbers_of_the_reference_devices() -> None:
    """Numbers a reader knows by heart, to the digit."""
    h100 = load(Device, SPECS / "h100-sxm5.yaml")
    assert h100.compute["matrix"].peak["bf16"] == 989e12
    assert h100.main_memory.bandwidth == 3.35e12
    assert h100.main_memory.capacity == 80 * 2**30
    assert h100.links["nvlink"].bandwidth == 450e9
    a100 = load(Device, SPECS / "a100-sxm-80gb.yaml")
    assert a100.compute["matrix"].peak["fp16"] == 312e12
    assert a100.main_memory.bandwidth == 2.039e12
    assert load(Device, SPECS / "tpu-v5e.yaml").compute["matrix"].peak["int8"] == 393e12
    assert load(Device, SPECS / "mi300x.yaml").main_memory.capacity == 192 * 2**30
    assert load(System, SPECS / "gb200-nvl72.yaml").count == 72
