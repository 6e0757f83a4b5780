"""Row-stationary passes against the published AlexNet layers of Eyeriss, and by hand."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from perfmodel.engine.dataflow.row_stationary import RowStationaryMapping as Mapping
from perfmodel.engine.dataflow.row_stationary import row_stationary

SHARED = Path(os.environ.get("PERFMODEL_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "dataflow"
SILICON = SHARED / "silicon_cases.csv"
#: layer -> filters, channels per filter, output size, kernel, stride; mapping of ISCA 2016 Table III (recalled)
ALEXNET = {
    "CONV1": ((96, 3, 55, 11, 4), Mapping(e=7, p=16, q=1, r=1, t=2)),
    "CONV2": ((256, 48, 27, 5, 1), Mapping(e=27, p=16, q=2, r=1, t=1)),
    "CONV3": ((384, 256, 13, 3, 1), Mapping(n=4, e=13, p=16, q=4, r=1, t=4)),
    "CONV4": ((384, 192, 13, 3, 1), Mapping(n=4, e=13, p=16, q=3, r=2, t=2)),
    "CONV5": ((256, 192, 13, 3, 1), Mapping(n=4, e=13, p=16, q=3, r=2, t=2)),
}


def _layer(name):
    (filters, channels, out, kernel, stride), mapping = ALEXNET[name]
    return row_stationary(4, filters, channels, out, out, kernel, stride, mapping)


@pytest.mark.skipif(not SILICON.exists(), reason="shared data is not beside the repository")
def test_shared_alexnet_processing_latency():
    with SILICON.open() as file:
        published = {
            row["quantity"]: float(row["value"]) for row in csv.DictReader(file) if row["system"] == "Eyeriss"
        }
    errors, total = [], 0.0
    for name in ALEXNET:
        run = _layer(name)
        assert run.active == published[f"alexnet_{name}_active_pes"]
        milliseconds = run.cycles / 200e6 * 1e3
        total += milliseconds
        errors.append(milliseconds / published[f"alexnet_{name}_processing_latency"] - 1)
    assert np.mean(np.abs(errors)) < 0.04
    assert abs(total / published["alexnet_total_processing_latency"] - 1) < 0.03


def test_a_pass_by_hand():
    run = row_stationary(1, 2, 1, 4, 4, 3, 1, Mapping(e=4, p=2, q=1))
    assert run.passes == 1
    assert run.compute == 2 * 3 * 4  # two filters, three taps, four outputs
    assert (run.filters, run.fill, run.drain) == (2 * 9 / 4, 6 * 3, 4 * 2 / 4)
    assert run.cycles == max(24 + 2, 6 * 6 - 18, 2 * 4 * 4 / 4) + 4.5 + 18


def test_bandwidth_never_hurts():
    from perfmodel.engine.dataflow.row_stationary import RowStationaryBuses

    layer = (1, 64, 64, 56, 56, 3, 1, Mapping(e=14, p=16, q=4))
    cycles = [row_stationary(*layer, RowStationaryBuses(ifmap=b, psum=b, filter=b)).cycles for b in (0.5, 1, 4)]
    assert cycles == sorted(cycles, reverse=True)


def test_vgg16_conv2_1_lies_between_its_fastest_and_its_least_traffic_mapping():
    """405.3 ms measured (JSSC 2017, Table VI); the mapping is not published, so only the span is known."""
    fast, frugal = (
        float(row_stationary(3, 128, 64, 112, 112, 3, 1, mapping).cycles) / 200e3
        for mapping in (Mapping(e=7, p=16, q=4, r=4, t=2), Mapping(e=6, p=24, q=1, r=1, t=3))
    )
    assert fast == pytest.approx(88.9, rel=0.01)
    assert frugal == pytest.approx(448, rel=0.01)
    assert fast < 405.3 < frugal
