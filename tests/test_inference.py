"""Inference: counted by hand, equal point by point, masked where it cannot be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.engine.roofline import cost
from perfmodel.errors import ArgumentError, ImpossibleError, InfeasibleError, PrecisionError, UnknownNameError
from perfmodel.formats import precision
from perfmodel.workload.transforms import tensor_parallel


def sum_of_passes(model: str, system: str, batch: int, first: int, output: int, tp: int) -> float:
    """Every decode pass on its own, at its own context."""
    where, how = pm.system(system), precision("bf16")
    workload = pm.workload(model)
    seconds = 0.0
    for new in range(1, output):
        graph = tensor_parallel(tp)(workload.graph(batch=batch, query=1, context=first + new, logits="last"))
        seconds += sum(float(cost(op, where, how).time) for op in graph.ops)
    return seconds


@pytest.mark.parametrize(
    ("model", "batch", "tp"), [("llama-3.1-8b", 1, 1), ("llama-2-7b", 64, 8), ("qwen3-0.6b", 256, 1)]
)
def test_decode_is_the_sum_over_every_token(model: str, batch: int, tp: int) -> None:
    result = pm.inference(model, "h100-sxm5:8", batch=batch, input=100, output=300, tp=tp)
    literal = sum_of_passes(model, "h100-sxm5:8", batch, 100, 300, tp)
    assert result.tpot * 299 == pytest.approx(literal, rel=1e-4)


def test_published_kv_cache_sizes() -> None:
    for model, bytes_per_token in {
        "llama-3-8b": 131_072,
        "llama-2-7b": 524_288,
        "qwen2.5-72b": 327_680,
        "llama-3.1-405b": 516_096,
    }.items():
        assert pm.workload(model).kv_bytes_per_token("fp16") == bytes_per_token


def test_mesh_equals_point_by_point() -> None:
    system = pm.system("h100-sxm5", count=8)
    bandwidths, batches, inputs, degrees = [2e12, 3.35e12], [1, 7, 64], [128, 1000], [1, 2, 8]
    varied = system.vary({"device.memory.hbm.bandwidth": bandwidths})
    mesh = pm.inference("llama-3.1-8b", varied, batch=batches, input=inputs, output=50, tp=degrees)
    assert mesh.ttft.axes == ("batch", "input", "tp", "device.memory.hbm.bandwidth")
    places = itertools.product(*(range(n) for n in mesh.shape))
    for place, (b, i, t, w) in zip(
        places, itertools.product(batches, inputs, degrees, bandwidths), strict=True
    ):
        one = pm.inference(
            "llama-3.1-8b", system.vary({"device.memory.hbm.bandwidth": w}), batch=b, input=i, output=50, tp=t
        )
        for metric in ("ttft", "tpot", "throughput", "memory", "energy_per_token", "power", "mfu"):
            assert getattr(mesh, metric)[place] == pytest.approx(getattr(one, metric), rel=1e-12), metric


def test_chunks_equal_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    from perfmodel.axes import Mesh

    question = {"batch": list(range(1, 30)), "input": [64, 128, 4096], "output": [2, 100], "tp": [1, 2, 3]}
    whole = pm.inference("llama-2-7b", "a100-sxm-80gb:8", **question)
    monkeypatch.setitem(Mesh.evaluate.__kwdefaults__, "chunk", 37)
    pieces = pm.inference("llama-2-7b", "a100-sxm-80gb:8", **question)
    for metric in ("ttft", "tpot", "memory", "reason", "energy"):
        left, right = getattr(whole, metric), getattr(pieces, metric)
        if metric == "reason":
            np.testing.assert_array_equal(left, right)
        else:  # the order of a sum may differ, so the last digit may
            np.testing.assert_allclose(left, right, rtol=1e-14)


def test_weights_are_read_once_per_pass() -> None:
    """Batch 1, no context to speak of: TPOT is the active weights over the bandwidth, plus launches."""
    node = pm.system("h100-sxm5").vary({"device.launch.overhead": 0.0})
    result = pm.inference("llama-3.1-8b", node, batch=1, input=1, output=2)
    active = pm.workload("llama-3.1-8b").active_parameters * 2 / 3.35e12
    assert result.tpot == pytest.approx(active, rel=2e-3)
    assert result.decode_bound == "memory"
    assert result.low.tpot == result.tpot < result.high.tpot


def test_tensor_parallel_shares_memory_and_adds_messages() -> None:
    one, eight = (pm.inference("llama-3.1-70b", "dgx-h100", batch=4, tp=t, precision="fp8") for t in (1, 8))
    embedding_and_norms = 2e7  # norms are replicated
    assert eight.weights == pytest.approx(one.weights / 8, abs=embedding_and_norms)
    assert eight.kv_cache == pytest.approx(one.kv_cache / 8)
    slower = pm.system("dgx-h100").vary({"links.nvlink.bandwidth": 50e9})
    assert pm.inference("llama-3.1-70b", slower, batch=4, tp=8, precision="fp8").ttft > eight.ttft


def test_key_value_heads_are_replicated_beyond_their_number() -> None:
    """Llama-3.1-70B has 8 key-value heads: 16-way tensor parallelism keeps one per device."""
    eight, sixteen = (pm.inference("llama-3.1-70b", "h100-sxm5:16", batch=4, tp=t) for t in (8, 16))
    assert sixteen.kv_cache == pytest.approx(eight.kv_cache)
    assert sixteen.weights < eight.weights


def test_infeasible_points() -> None:
    with pytest.raises(InfeasibleError, match=r"GiB too much at tp=1"):
        pm.inference("llama-3.1-70b", "h100-sxm5", batch=1)
    with pytest.raises(ArgumentError, match="tp must divide"):
        pm.inference("llama-3.1-8b", "h100-sxm5:8", tp=3)
    sweep = pm.inference("llama-3.1-70b", "h100-sxm5:8", batch=[1, 4096], tp=[1, 3, 4, 16], input=512)
    assert list(np.isnan(sweep.ttft).ravel()) == [True, True, False, True] + [True] * 4
    assert sweep.reason[0, 0].startswith("more memory")
    assert sweep.reason[0, 1].startswith("tp must divide")
    assert sweep.reason[0, 3].startswith("tp x pp")


def test_bad_names_and_formats() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'llama-3\.1-8b'"):
        pm.workload("lama-3.1-8b")
    with pytest.raises(UnknownNameError, match="h100-sxm5"):
        pm.system("h100-smx5")
    with pytest.raises(PrecisionError, match="fp8"):
        pm.inference("llama-2-7b", "a100-sxm-80gb", precision="fp8")
    for wrong in (0, -1, 0.5, float("nan"), "many", True, [1, 0], []):
        with pytest.raises(ArgumentError, match="batch"):
            pm.inference("llama-2-7b", "a100-sxm-80gb", batch=wrong)


def test_pipeline_halves_the_weights() -> None:
    one, two = (pm.inference("llama-2-13b", "a100-sxm-80gb:8", batch=8, pp=p) for p in (1, 2))
    assert two.weights == pytest.approx(one.weights / 2)
    assert two.kv_cache == pytest.approx(one.kv_cache / 2)


def test_more_of_anything_is_never_slower() -> None:
    node = pm.system("h100-sxm5", 8)
    for path in (
        "device.memory.hbm.bandwidth",
        "device.compute.matrix.peak.bf16",
        "device.links.nvlink.bandwidth",
    ):
        rates = np.geomspace(1e10, 1e16, 13)
        result = pm.inference("llama-3.1-8b", node.vary({path: rates}), batch=[1, 64], tp=8)
        assert np.all(np.diff(result.ttft, axis=1) <= 0)
        assert np.all(np.diff(result.tpot, axis=1) <= 0)


def test_replicas_share_out_the_sequences():
    one = pm.inference("llama-3.1-8b", "h100-sxm5", batch=8)
    four = pm.inference("llama-3.1-8b", "h100-sxm5:4", batch=32, dp=4)
    assert four.throughput == pytest.approx(4 * one.throughput) and four.power == pytest.approx(4 * one.power)
    for metric in ("ttft", "tpot", "memory", "energy_per_token", "cost_per_token"):
        assert getattr(four, metric) == pytest.approx(getattr(one, metric))
    with pytest.raises(ImpossibleError, match="dp x pp must divide the batch"):
        pm.inference("llama-3.1-8b", "h100-sxm5:4", batch=6, dp=4)
    with pytest.raises(ImpossibleError, match="tp x pp x dp must not exceed"):
        pm.inference("llama-3.1-8b", "h100-sxm5:4", batch=8, dp=4, tp=2)


def test_experts_are_shared_out_among_replicas():
    node = pm.system("h100-sxm5:8")
    ask = {"batch": 64, "input": 512, "output": 64, "precision": "fp8"}
    r = pm.inference("mixtral-8x7b", node, dp=8, ep=[1, 2, 4, 8], **ask)
    assert np.all(np.diff(r.weights) < 0) and np.all(np.diff(r.tpot) < 0)  # fewer experts to hold and to read
    model = pm.workload("mixtral-8x7b")
    experts = 32 * 8 * 3 * 4096 * 14336  # layers x experts x matrices
    assert r.weights[-1] == pytest.approx(model.parameters - experts * 7 / 8, rel=0.01)
    for i, ep in enumerate((1, 2, 4, 8)):  # an axis is the same as one call at a time
        single = pm.inference("mixtral-8x7b", node, dp=8, ep=ep, **ask)
        assert single.tpot == pytest.approx(r.tpot[i], rel=1e-12)
    sent = [row["op"] for row in single.breakdown("decode") if "all_to_all" in row["op"]]
    assert len(sent) == 2  # there and back
    grid = pm.inference("mixtral-8x7b", node, dp=[1, 2, 8], ep=[1, 8, 3], **ask)
    assert np.array_equal(grid.feasible, [[1, 0, 0], [1, 0, 0], [1, 1, 0]])
    assert grid.reason[0, 1] == "ep must divide dp and the experts of a layer"
    with pytest.raises(ImpossibleError, match="the experts of a layer"):
        pm.inference("llama-3.1-8b", node, batch=64, dp=8, ep=8)


def test_cost_of_a_token_follows_from_the_rent():
    r = pm.inference("llama-3.1-8b", pm.system("h200-sxm").vary({"device.rent": ["2 USD/h", "4 USD/h"]}), batch=8)
    assert r.cost_per_token == pytest.approx(np.array([2.0, 4.0]) / 3600 / r.throughput)
    rented = pm.inference("llama-3.1-8b", "h100-sxm5", batch=8)
    told = {row["field"]: row["sensitivity"] for row in pm.sensitivity(rented, "cost_per_token")}
    assert told["device.rent"] == pytest.approx(1.0, rel=1e-3)
    assert "rent for 1e6 tokens: 0.3629 USD .. 0.7257 USD" in repr(r)
    assert np.isnan(pm.inference("llama-3.1-8b", "h200-sxm").cost_per_token)
