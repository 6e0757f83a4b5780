"""Peak memory of one prefill over the context, measured by SSM-Scope (shared data, left out where absent).

Source: github.com/sapmitra/SSM-Scope 574a2c2, RTX 4090, batch 1, logits of all positions kept.
"""

import csv
import os
from pathlib import Path

import pytest

import perfmodel as pm
from perfmodel.engine.capacity import footprint

SHARED = Path(os.environ.get("PERFMODEL_SHARED", Path(__file__).parents[2] / "shared"))
TABLE = SHARED / "data" / "ssm_scope" / "memory.csv"

MODELS = {
    "qwen25-instruct": "qwen2.5-0.5b", "mamba-790m": "mamba-790m", "mamba-1.4b": "mamba-1.4b",
    "mamba2-780m": "mamba2-780m", "falcon-h1-0.5b": "falcon-h1-0.5b",
}
#: mean relative error allowed: decoder-only and Mamba 4 %, hybrids 15 % (the measured hybrid keeps no KV cache)
LIMITS = {"falcon-h1-0.5b": 0.15}

pytestmark = pytest.mark.skipif(not TABLE.is_file(), reason="shared data not here")


def measured(name):
    with TABLE.open(encoding="utf-8") as lines:
        return [row for row in csv.DictReader(lines) if row["model_name"] == name]


def predicted(model, context):
    """Total bytes of one prefill [B]."""
    graph = pm.workload(model).graph(batch=1, query=context, context=context, logits="all")
    return footprint(graph, pm.precision({"base": "bf16", "state": "bf16"})).total


@pytest.mark.parametrize("name", MODELS)
def test_memory_over_context(name):
    errors = {}
    for row in measured(name):
        context = float(row["context_tokens"])
        errors[context] = predicted(MODELS[name], context) / 2**20 / float(row["total_MiB"]) - 1
    assert errors
    limit = LIMITS.get(name, 0.04)
    assert sum(abs(e) for e in errors.values()) / len(errors) <= limit
    # above 1000 tokens every row holds but one: Qwen at 57344 tokens, where the measured program falls back
    # to another kernel (3.3 times slower from 32768 tokens on) that needs 1.5 GiB of workspace
    large = {c: e for c, e in errors.items() if c >= 1000 and (name, c) != ("qwen25-instruct", 57344.0)}
    assert max(abs(e) for e in large.values()) <= limit


@pytest.mark.parametrize("name", MODELS)
def test_weights_exact(name):
    for row in measured(name):
        assert pm.workload(MODELS[name]).parameters * 2 / 2**20 == pytest.approx(float(row["weights_MiB"]), abs=0.01)


@pytest.mark.parametrize("name", ["qwen25-instruct"])
def test_cache(name):
    for row in measured(name):
        grown = pm.workload(MODELS[name]).kv_bytes_per_token() * float(row["context_tokens"])
        assert grown / 2**20 == pytest.approx(float(row["kv_cache_MiB"]), rel=1e-3)
