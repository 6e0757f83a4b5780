"""Row-stationary passes against the published layers of AlexNet and VGG-16 on Eyeriss, and by hand."""

from __future__ import annotations

import csv
import itertools
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from perfmodel.engine.dataflow.row_stationary import RowStationaryMapping as Mapping
from perfmodel.engine.dataflow.row_stationary import row_stationary, row_stationary_traffic
from perfmodel.engine.dataflow.row_stationary_search import Shape, least_energy_mapping
from perfmodel.errors import ArgumentError
from perfmodel.validation import eyeriss

SHARED = Path(os.environ.get("PERFMODEL_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "dataflow"
SILICON = SHARED / "silicon_cases.csv"


def published() -> dict[tuple[str, str], dict[str, float]]:
    """(network, layer) -> quantity -> value of Tables V and VI."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    with SILICON.open() as file:
        for row in csv.DictReader(file):
            if row["system"] == "Eyeriss" and "_CONV" in row["quantity"]:
                network, layer, quantity = row["quantity"].split("_", 2)
                found.setdefault((network, layer), {})[quantity] = float(row["value"])
    return found


def relative(network: str) -> dict[str, dict[str, float]]:
    """Layer -> quantity -> relative error."""
    rows = {layer: values for (name, layer), values in published().items() if name == network}
    return {
        layer: {key: value / values[key] - 1 for key, value in eyeriss.predicted(network, layer).items()}
        for layer, values in rows.items()
    }


@pytest.mark.skipif(not SILICON.exists(), reason="shared data is not beside the repository")
def test_shared_alexnet():
    errors = relative("alexnet")
    assert np.mean([abs(e["processing_latency"]) for e in errors.values()]) < 0.04
    for found in errors.values():
        assert found["active_pes"] == 0
        assert abs(found["global_buffer_accesses"]) < 0.004
        assert abs(found["total_latency"]) < 0.12
        assert abs(found["dram_accesses"]) < 0.15


@pytest.mark.skipif(not SILICON.exists(), reason="shared data is not beside the repository")
def test_shared_vgg16():
    """Nothing but active PEs and buffer traffic went into the mappings."""
    errors = relative("vgg16")
    for found in errors.values():
        assert found["active_pes"] == 0
        assert abs(found["processing_latency"]) < 0.05
        assert abs(found["total_latency"]) < 0.1
        assert abs(found["dram_accesses"]) < 0.06


@pytest.mark.skipif(not SILICON.exists(), reason="shared data is not beside the repository")
def test_shared_mappings_of_vgg16_follow_from_the_buffer_traffic():
    """All mappings on 12 x 14 PEs with scratchpads of 12, 224 and 24 words and 25 banks of 4 KiB."""
    for (network, name), counters in published().items():
        if network != "vgg16":
            continue
        layer, found = eyeriss.NETWORKS["vgg16"][1][name], []
        ranges = (range(1, 57), (1, 2, 4, 8), range(1, 9), range(1, 5), range(1, 25), (1, 3))
        for e, r, t, q, p, n in itertools.product(*ranges):
            sets = 4 * (14 // e) if e <= 14 else 4 // -(-e // 14)
            if r * t > sets or 3 * e * r * t != counters["active_pes"] or e > layer.size or 3 * p * q > 224:
                continue
            if layer.channels % (q * r) or layer.filters % (p * t) or (n > 1 and e < layer.size):
                continue
            mapping = Mapping(n=n, m=p * t, e=e, p=p, q=q, r=r, t=t)
            shape = (3, layer.filters, layer.channels, layer.size, layer.size, 3, 1, mapping)
            moved = row_stationary_traffic(*shape)
            halves = 2 if layer.size > 112 else 1
            if moved.held / halves > 25 * 4096:
                continue
            total = float(moved.sums + moved.ifmap + moved.filters) / 2**20
            found.append((abs(total / counters["global_buffer_accesses"] - 1), mapping))
        found.sort(key=lambda pair: pair[0])
        assert replace(found[0][1], m=layer.mapping.m) == layer.mapping
        assert found[0][0] < 0.0015
        assert found[1][0] > 9 * found[0][0]


@pytest.mark.skipif(not SILICON.exists(), reason="shared data is not beside the repository")
def test_shared_mappings_of_least_energy():
    """One rule for both networks: the published parameters or others as fast, never the printed times."""
    rows, same = published(), 0
    for (network, name), values in rows.items():
        batch, layers = eyeriss.NETWORKS[network]
        one = layers[name]
        shape = Shape(batch, one.filters, one.channels, one.size, one.kernel, one.stride, one.groups)
        zeros = values["zeros_in_ifmap"] / 100
        found = least_energy_mapping(shape, zeros_in=zeros)
        same += found == one.mapping
        sizes = (batch, one.filters, one.channels, one.size, one.size, one.kernel, one.stride, found)
        error = float(row_stationary(*sizes).cycles) / 200e3 / values["processing_latency"] - 1
        assert abs(error) < (0.1 if network == "alexnet" else 0.04)
    assert same >= 6


@pytest.mark.skipif(not SILICON.exists(), reason="shared data is not beside the repository")
def test_shared_zeros_are_the_printed_ones():
    for (network, name), values in published().items():
        assert eyeriss.NETWORKS[network][1][name].zeros == pytest.approx(values["zeros_in_ifmap"] / 100)


def test_least_energy_mapping_keeps_the_rules():
    found = least_energy_mapping(Shape(2, 8, 4, 14, 3))
    assert found.r * found.t <= 4  # sets of 3 x 14 PEs above each other
    assert found.p * found.q * 3 <= 224
    assert found.q * found.r * 16 <= 128
    assert found.m == 8  # all sums fit: 2 x 8 x 14 x 14 words
    with pytest.raises(ArgumentError, match="12 rows"):
        least_energy_mapping(Shape(1, 8, 4, 14, 13))


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


def test_traffic_by_hand():
    """Two filters of 3 x 3 on one 6 x 6 image, four channels in two rounds, strips of two rows."""
    moved = row_stationary_traffic(1, 2, 4, 4, 4, 3, 1, Mapping(e=2, p=1, q=2), zeros_in=0.5, word=1)
    assert moved.sums == 2 * (2 * 4 * 4) * 2  # read and written in each of two rounds
    assert moved.ifmap == 4 * (2 * 4) * 6 * 2  # two strips of four rows of six, once per filter
    assert moved.filters == 2 * 4 * 9 * 2  # once per strip
    assert moved.dram_ifmap == pytest.approx(4 * 8 * 6 * 2 * 0.5 * 64 / 3 / 16)
    assert moved.dram_ofmap == 2 * 4 * 4  # no zeros: stored plain
    assert moved.held == 2 * 4 * 6 + 1 * 2 * 4
    assert moved.dram == moved.dram_ifmap + moved.filters + 32


def test_the_last_strip_is_shorter():
    layer, mapping = (1, 4, 4, 5, 5, 3, 1), Mapping(e=2, p=4, q=1)
    two, one = (row_stationary(1, 4, 4, rows, 5, 3, 1, mapping).cycles for rows in (2, 1))
    assert row_stationary(*layer, mapping).cycles == 2 * two + one
