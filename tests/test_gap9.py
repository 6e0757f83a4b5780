"""Networks on GAP9: their work counted from layers, and each predicted from the others."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

import perfmodel as pm
from perfmodel.validation.measured.gap9_networks import NETWORKS

SHARED = Path(os.environ.get("PERFMODEL_SHARED", Path(__file__).parents[2] / "shared")) / "data"
CYCLES = SHARED / "gap9" / "cycles.csv"
#: networks whose "MACs" are two per multiply-accumulate and nothing else
PLAIN = (
    "test_1_simplecnn", "test_2_tinycnn", "test_3_mlp", "test_5_densenet_basic", "test_6_multitilecnn",
    "test_8_stride2", "test_28_conv2d_remainder", "test_30_autotune_stress", "test_37_zeropad2d",
)


def test_work_by_hand():
    plain = NETWORKS["test_1_simplecnn"]
    assert plain["convolution"] == 28 * 28 * 16 * 9 + 14 * 14 * 16 * 32 * 9
    assert plain["vector product"] == 7 * 7 * 32 * 10
    assert plain["elements"] == 28 * 28 * 16 + 14 * 14 * 32 + 28 * 28 * 16 + 14 * 14 * 32  # results, then pooled
    assert NETWORKS["test_15_tinymyo_tiny"]["attention"] == 2 * 50 * 50 * 192


@pytest.mark.skipif(not CYCLES.exists(), reason="shared data is not beside the repository")
def test_shared_operations_of_the_source():
    with CYCLES.open() as file:
        stated = {row["network"]: float(row["macs"]) for row in csv.DictReader(file)}
    assert set(stated) <= set(NETWORKS)
    for name in PLAIN:
        work = NETWORKS[name]
        assert 2 * (work["convolution"] + work["vector product"]) == stated[name]


@pytest.mark.skipif(not CYCLES.exists(), reason="shared data is not beside the repository")
def test_shared_each_network_from_the_others():
    assert pm.validate(data=CYCLES).scores["summary"]["mape"] < 0.16


@pytest.mark.skipif(not CYCLES.exists(), reason="shared data is not beside the repository")
def test_shared_unknown_networks_still_have_a_prediction(tmp_path):
    path = tmp_path / "cycles.csv"
    path.write_text(CYCLES.read_text().replace("test_9_padding", "test_99_unknown"))
    assert pm.validate(data=path).scores["summary"]["n"] == 24
