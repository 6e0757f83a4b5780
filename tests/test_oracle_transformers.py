"""Counts of published architectures against an independent oracle (tests/facts/README.md).

Every row: parameters exact; FLOPs of linear layers, routed experts, head and attention within 0.1 %.
Multimodal files are counted without their vision tower, whose parameters the oracle lists apart.
"""

import csv
from pathlib import Path

import pytest

from perfmodel.workload.importers.hf import from_config

FACTS = Path(__file__).parent / "facts"
ROWS = list(csv.DictReader((FACTS / "transformers.csv").read_text(encoding="utf-8").splitlines()))

#: ops that the oracle leaves out: scans depend on the code, and it counts convolutions with their padding
SCANS = {"scan", "ssd", "linear_attention", "gated_delta_rule", "wkv", "rglru", "causal_conv1d"}
ATTENTION = {"attention", "cross_attention", "compressed_attention", "indexer"}
TOLERANCE = 1e-3


def tokens_of(row):
    """Tokens of the counted pass; whisper's frames are fixed, an image has none."""
    first = row["input"].split()[0]
    return {"3x224x224": 1, "3000": 128}.get(first) or int(first)


def sums(graph):
    """FLOP by class of op."""
    found = {"linear": 0.0, "experts": 0.0, "attention": 0.0, "convolution": 0.0, "scan": 0.0, "head": 0.0}
    for op in graph.ops:
        if op.family in SCANS:
            found["scan"] += op.flops
        elif op.family in ATTENTION:
            found["attention"] += op.flops
        elif op.family == "grouped_matmul":
            found["experts"] += op.flops
        elif op.family.startswith("conv"):
            found["convolution"] += op.flops
        else:
            found["linear"] += op.flops
        if op.name == "head":
            found["head"] += op.flops
    return found


@pytest.fixture(scope="module")
def models():
    kept = {}

    def get(row):
        name = row["name"]
        if name not in kept:
            kept[name] = from_config(FACTS / "configs" / f"{name}.json", defaults=True)
        return kept[name]

    return get


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_parameters_exact(row, models):
    model = models(row)
    counted = model.parameters
    left_out = int(row["parameters_vision"] or 0) if model.family == "decoder" else 0
    assert counted == int(row["parameters_total"]) - left_out


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_flops(row, models):
    tokens = tokens_of(row)
    graph = models(row).graph(batch=1, query=tokens, context=tokens, causal=False, logits="all")
    found = sums(graph)
    expected = {
        "linear": row["flops_linear"], "experts": row["flops_experts"], "head": row["flops_head"],
        "attention": row["attention_square"] and int(row["attention_square"]) * tokens**2,
    }
    for part, value in expected.items():
        if value not in ("", "0"):
            assert found[part] == pytest.approx(float(value), rel=TOLERANCE), part
    if row["flops_full"]:
        assert graph.flops - found["scan"] == pytest.approx(float(row["flops_full"]), rel=TOLERANCE)


@pytest.mark.parametrize("row", [row for row in ROWS if row["flops_full_1024"]], ids=lambda row: row["name"])
def test_flops_at_1024_tokens(row, models):
    flops = models(row).flops(batch=1, query=1024, context=1024, causal=False, logits="all")
    assert flops == pytest.approx(float(row["flops_full_1024"]), rel=TOLERANCE)


def test_enough_architectures():
    assert len(ROWS) >= 60
    assert len({row["model_type"] for row in ROWS}) >= 25


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row["parameters_active"] and row["model_type"] != "longcat_flash"],
    ids=lambda row: row["name"],
)
def test_active_parameters(row, models):
    """The oracle's active parameters keep the input embedding in; ours leave it out."""
    model = models(row)
    graph = model.graph(batch=1, query=1, context=1)
    table = sum(op.storage("weight") for op in graph.ops if op.family == "embedding")
    tied = table if row["tied"] == "0" else 0.0
    wanted = float(row["parameters_active"]) - float(row["parameters_vision"] or 0)
    assert model.active_parameters + tied == pytest.approx(wanted, rel=TOLERANCE)
