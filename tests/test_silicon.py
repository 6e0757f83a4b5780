"""Printed figures of chips beside their predictions; layers of NVDLA by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import perfmodel as pm
from perfmodel.validation import nvdla

SHARED = Path(os.environ.get("PERFMODEL_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "dataflow"
SILICON = SHARED / "silicon_cases.csv"
#: (kind, system) -> largest mean error
LIMITS = {
    ("processing_latency", "Eyeriss"): 0.04, ("total_latency", "Eyeriss"): 0.06,
    ("dram_accesses", "Eyeriss"): 0.08, ("global_buffer_accesses", "Eyeriss"): 0.002,
    ("active_pes", "Eyeriss"): 0.0, ("throughput", "TPU"): 0.2, ("counters", "TPU"): 0.35,
    ("frames per second", "NVDLA"): 0.3, ("component area", "A100"): 0.15, ("component area", "MI210"): 0.15,
    ("die area", "A100"): 0.05, ("die area", "MI210"): 0.05, ("die area", "H100"): 0.1,
}


@pytest.mark.skipif(not SILICON.exists(), reason="shared data is not beside the repository")
def test_shared_figures():
    found = pm.validate(data=SILICON).scores
    errors = {(group["metric"], group["system"]): group["mape"] for group in found["groups"]}
    assert set(errors) == set(LIMITS)
    assert all(errors[key] <= limit for key, limit in LIMITS.items())


def test_a_layer_bound_by_products():
    """64 channels and 64 kernels at 64 x 32: two rounds of 100 pixels and 9 taps."""
    one = nvdla.layer_time(64, 64, 100, 9, 6400, at_once=(64, 32), buffer=1e6, bandwidth=1e12)
    assert one == pytest.approx(100 * 9 * 2 / 1e9)


def test_a_layer_bound_by_memory():
    """Inputs of 200 B and weights of 300 B in halves of 100 B: inputs thrice, or weights twice."""
    shape = {"channels": 10, "filters": 30, "pixels": 20, "taps": 1, "inputs": 200}
    once = nvdla.layer_time(**shape, at_once=(64, 64), buffer=600, bandwidth=1.0)
    again = nvdla.layer_time(**shape, at_once=(64, 64), buffer=200, bandwidth=1.0)
    assert once == 200 + 300 + 600
    assert again == once + min(2 * 200, 1 * 300)


@pytest.mark.parametrize(("multipliers", "published"), [(2048, 269), (512, 93), (256, 46)])
def test_resnet50_on_nvdla(multipliers, published):
    """The two smallest (7.3 and 3.6) come out 1.6 times too fast."""
    assert nvdla.frames_per_second(multipliers) == pytest.approx(published, rel=0.1)
