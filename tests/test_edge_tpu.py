"""Networks behind a link, by hand and on the Coral benchmark."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.validation import edge_tpu

SHARED = Path(os.environ.get("PERFMODEL_SHARED", Path(__file__).parents[2] / "shared")) / "data"
CORAL = SHARED / "coral_edgetpu" / "latency.csv"


def test_cycles_on_the_array():
    """64 x 64 weights: a fold lasts its inputs, 64 at least; 64 to load, 126 to fill and drain."""
    assert edge_tpu._cycles(pm.op.conv2d(1, 64, 128, 10, 10, 1)) == 2 * 100 + 64 + 126
    assert edge_tpu._cycles(pm.op.conv2d(1, 64, 64, 10, 10, 3)) == 9 * 100 + 64 + 126
    assert edge_tpu._cycles(pm.op.matmul(m=1, n=65, k=64)) == 2 * 64 + 64 + 126
    assert edge_tpu._cycles(pm.op.conv2d(1, 128, 128, 10, 10, 3, groups=128)) == 2 * 900 + 64 + 126


def test_what_fits_does_not_stream():
    """Weights of 42.7 MB, 8 MB on the chip less the largest inputs and results of a layer; an image of 224 fits."""
    array, moved, boxes = edge_tpu.amounts("mobilenet_v1_1.0_224_quant")
    assert (moved, boxes) == (224 * 224 * 3 + 1000, 0)
    assert 0.57e9 / 4096 / 480e6 < array < 2e-3
    assert 34e6 < edge_tpu.amounts("inception_v4_299_quant")[1] < 38e6


@pytest.mark.skipif(not CORAL.exists(), reason="shared data is not beside the repository")
def test_shared_networks_from_the_others_of_a_host():
    found = pm.validate(data=CORAL).scores
    assert found["summary"]["n"] == 18
    assert found["summary"]["mape"] < 0.25
    assert len(found["groups"]) == 3


@pytest.mark.skipif(not CORAL.exists(), reason="shared data is not beside the repository")
def test_shared_constants_are_near_the_nominal_ones():
    with CORAL.open() as file:
        rows = [row for row in csv.DictReader(file) if row["host"] == "rp3b"]
    names, times = [row["model"] for row in rows], [float(row["latency_ms"]) * 1e-3 for row in rows]
    model = edge_tpu.constants(names, times, 60e6)
    assert np.all(np.abs(model.theta) < np.log(4))


@pytest.mark.skipif(not CORAL.exists(), reason="shared data is not beside the repository")
def test_shared_host_with_an_unknown_link(tmp_path):
    """Four networks and more tell USB 2 from USB 3."""
    path = tmp_path / "latency.csv"
    path.write_text(CORAL.read_text().replace("rp3b", "board").replace("x86_64", "desktop"))
    errors = {group["device"]: group["mape"] for group in pm.validate(data=path).scores["groups"]}
    assert errors["board"] < 0.4
    assert errors["desktop"] < 0.3
