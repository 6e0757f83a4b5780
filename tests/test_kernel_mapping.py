"""pm.kernel says how an op is laid out: tile, split and waves, or a loop nest."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.cli import main
from perfmodel.engine.gpu import kernel_plan
from perfmodel.engine.kernels.gemm import SPLIT, TILE_M, TILE_N


@pytest.mark.parametrize("fidelity", ["roofline", "dataflow", "calibrated"])
def test_a_product_names_its_tile_and_waves(fidelity):
    text = pm.kernel(pm.op.matmul(m=64, n=4096, k=4096), "h100-sxm5", fidelity=fidelity).mapping
    assert text.startswith("tile ") and "k " in text and text.endswith("132 processors")


def test_the_plan_is_a_candidate_and_counts_its_waves():
    op = pm.op.matmul(m=4096, n=4096, k=4096)
    plan = kernel_plan(op, pm.system("h100-sxm5"), pm.precision("bf16"))
    choice = (float(plan.rows), float(plan.columns), float(plan.split))
    assert choice in set(zip(TILE_M, TILE_N, SPLIT, strict=True))
    blocks = (4096 / choice[0]) * (4096 / choice[1]) * choice[2]
    assert blocks / 132 <= plan.waves <= np.ceil(blocks / 132)


def test_small_and_deep_products_split_k():
    texts = pm.kernel(pm.op.matmul(m=16, n=256, k=[256, 65536]), "h100-sxm5", fidelity="dataflow").mapping
    assert "k not split" in texts[0] and "k split in" in texts[1]


def test_attention_and_several_ops():
    decode = pm.op.attention(batch=1, query=1, context=[128, 131072], heads=32, kv_heads=8, head_dim=128)
    texts = pm.kernel(decode, "h100-sxm5").mapping
    assert texts.shape == (2,) and "cache split in" in texts[1]
    both = pm.kernel([pm.op.matmul(m=8, n=256, k=256), pm.op.elementwise(1e6)], "h100-sxm5").mapping
    assert both.splitlines()[0].startswith("matmul: tile") and both.splitlines()[1].startswith("elementwise: ")
    assert "sustained rates" in pm.kernel(pm.op.matmul(m=8, n=8, k=8), "epyc-7763", precision="fp32").mapping


def test_an_array_shows_its_loop_nest():
    op = pm.op.matmul(m=64, n=256, k=256)
    text = pm.kernel(op, "array-16x16", precision="int8", fidelity="dataflow").mapping
    assert text == pm.map(op, "array-16x16").text()
    swept = pm.kernel(pm.op.matmul(m=[1, 64], n=256, k=256), "array-16x16", precision="int8").mapping
    assert swept[1] == text != swept[0]


def test_mappings_travel(capsys):
    r = pm.kernel(pm.op.matmul(m=[1, 4096], n=4096, k=4096), "h100-sxm5")
    again = pickle.loads(pickle.dumps(r))
    assert list(again.mapping) == list(r.mapping)
    assert r.to_pandas()["mapping"][1] == r.mapping[1]
    assert main(["kernel", "matmul", "m=1,4096", "n=4096", "k=4096", "--on", "h100-sxm5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mapping"] == list(r.mapping)
    assert main(["kernel", "matmul", "m=64", "n=256", "k=256", "--on", "h100-sxm5"]) == 0
    assert "mapping: tile" in capsys.readouterr().out
