"""Kernel models against measured tables, where the shared data folder is present."""

import os
from pathlib import Path

import pytest

from perfmodel.explore.score_kernels import score

SHARED = Path(os.environ.get("PERFMODEL_SHARED", Path(__file__).parents[2] / "shared"))
DATA = SHARED / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the shared data folder is not here")

#: file, calibrated error allowed [%], error of the datasheet bound that it must stay under by half
CASES = [
    ("aiconfigurator/kernel_mla_decode.csv.gz", 12),
    ("aiconfigurator/kernel_attention_prefill.csv.gz", 12),
    ("aiconfigurator/kernel_collectives.csv", 14),
    ("infersim/gemm.csv", 8),
]


@pytest.mark.parametrize(("name", "allowed"), CASES)
def test_calibrated_shared_tables(name, allowed):
    fitted = score(DATA / name)
    bound = score(DATA / name, "roofline")
    assert fitted["summary"]["mape"] <= allowed
    assert fitted["summary"]["mape"] < bound["summary"]["mape"] / 2
    assert fitted["summary"]["spearman"] > 0.97
    assert sum(group["n"] for group in fitted["groups"]) == fitted["summary"]["n"]


def test_uncalibrated_shared_products_beat_the_bound():
    name = DATA / "infersim" / "gemm.csv"
    assert score(name, "dataflow")["summary"]["mape"] < score(name, "roofline")["summary"]["mape"]
