"""Sweeps equal single calls, fronts equal brute force, slopes equal finite differences and hand counts."""

from __future__ import annotations

from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import perfmodel as pm
from perfmodel.explore.pareto import non_dominated

MODELS, SYSTEMS, PRECISIONS = ["llama-3.1-8b", "llama-2-70b"], ["h100-sxm5:8", "a100-sxm-80gb:8"], ["bf16", "fp8"]


def test_sweep_equals_single_calls() -> None:
    grid = pm.sweep("inference", MODELS, SYSTEMS, precision=PRECISIONS, batch=[1, 8], input=200, output=50, tp=8)
    assert list(grid.axes) == ["workload", "system", "precision", "batch"] and grid.shape == (2, 2, 2, 2)
    for i, model in enumerate(MODELS):
        for j, system in enumerate(SYSTEMS):
            for k, precision in enumerate(PRECISIONS):
                if (j, k) == (1, 1):  # A100 has no fp8
                    assert np.all(np.isnan(grid.tpot[i, j, k])) and "fp8" in grid.reason[i, j, k, 0]
                    assert grid.bound[i, j, k, 0] == ""
                    continue
                for b, batch in enumerate((1, 8)):
                    one = pm.inference(model, system, precision=precision, batch=batch, input=200, output=50, tp=8)
                    for metric in ("ttft", "tpot", "memory", "energy_per_token", "mfu"):
                        assert grid.__getattr__(metric)[i, j, k, b] == pytest.approx(getattr(one, metric), rel=1e-13)
                    assert grid.bound[i, j, k, b] == one.bound and grid.reason[i, j, k, b] == ""


def test_sweep_masks_what_does_not_fit() -> None:
    grid = pm.sweep("inference", ["llama-3.1-8b", "llama-3.1-405b"], "h100-sxm5", output=8)
    assert grid.feasible.tolist() == [1.0, 0.0] and "GiB too much" in grid.reason[1]


class Remote:
    """Stands for a cluster: it has `submit` and nothing else."""

    def submit(self, function, *arguments):  # type: ignore[no-untyped-def]
        future: Future = Future()
        future.set_result(function(*arguments))
        return future


@pytest.mark.parametrize("make", [lambda: ProcessPoolExecutor(2), lambda: ThreadPoolExecutor(3), Remote])
def test_any_executor(make) -> None:  # type: ignore[no-untyped-def]
    question = {"precision": ["bf16", "fp8"], "batch": [1, 2, 3, 5, 8, 4096], "input": [64, 128], "output": 16}
    here = pm.sweep("inference", MODELS, "h100-sxm5:8", **question)
    there = make()
    parts = pm.sweep("inference", MODELS, "h100-sxm5:8", executor=there, **question)
    if hasattr(there, "shutdown"):
        there.shutdown()
    assert list(here.axes) == list(parts.axes)
    for metric in ("ttft", "tpot", "memory", "energy_per_token"):
        np.testing.assert_allclose(np.asarray(getattr(parts, metric)), np.asarray(getattr(here, metric)), rtol=1e-14)
    assert np.array_equal(parts.reason, here.reason) and np.array_equal(parts.bound, here.bound)


def test_sweep_over_objects_and_varied_systems() -> None:
    node = pm.system("h100-sxm5").vary({"device.memory.hbm.bandwidth": [2e12, 4e12]})
    grid = pm.sweep(pm.inference, pm.workload("llama-3.1-8b"), [node, node], metrics=["tpot"])
    assert list(grid.axes) == ["system", "device.memory.hbm.bandwidth"] and list(grid.metrics) == ["tpot", "reason"]
    table = grid.table()
    assert table.column("system") == ["h100-sxm5"] * 4


def brute(costs: np.ndarray) -> set[int]:
    good = [i for i, row in enumerate(costs) if np.all(np.isfinite(row))]
    return {
        i for i in good
        if not any(np.all(costs[j] <= costs[i]) and np.any(costs[j] < costs[i]) for j in good)
        and not any(j < i and np.array_equal(costs[j], costs[i]) for j in good)
    }


@given(st.integers(1, 4), st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_front_equals_brute_force(objectives: int, points: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    costs = rng.integers(0, 6, size=(points, objectives)).astype(float)
    costs[rng.random(costs.shape) < 0.05] = np.nan
    assert set(non_dominated(costs).tolist()) == brute(costs)


def test_front_of_a_result() -> None:
    grid = pm.inference("llama-3.1-8b", "h100-sxm5", batch=[1, 8, 64, 4096], tp=1, output=64)
    front = pm.pareto(grid, ["tpot", "throughput"])
    rows = list(front.table())
    assert [row["batch"] for row in rows] == [1, 8, 64]  # 4096 does not fit
    assert len(pm.pareto(grid, ["tpot", "-throughput"])) == 1  # both down: only batch 1
    assert len(pm.pareto(grid, "memory")) == 1
    assert front.plot().axes and "no other point" in repr(front)


def test_sensitivity_of_a_memory_bound_pass() -> None:
    node = pm.system("h100-sxm5").vary({"device.launch.overhead": 0.0})
    one = pm.inference("llama-3.1-8b", node, batch=1, input=128, output=2)
    slopes = {row["field"]: row["sensitivity"] for row in pm.sensitivity(one, "tpot")}
    assert slopes["device.memory.hbm.bandwidth"] == pytest.approx(-1.0, abs=1e-6)
    assert slopes["device.compute.matrix.peak.bf16"] == 0.0
    prefill = pm.inference("llama-3.1-8b", node, batch=8, input=2048, output=2)
    slopes = {row["field"]: row["sensitivity"] for row in pm.sensitivity(prefill, "ttft")}
    # without launches every op is bound by one rate, so the slopes add up to -1
    assert sum(slopes.values()) == pytest.approx(-1.0, abs=1e-5)


def test_sensitivity_equals_asking_again() -> None:
    one = pm.inference("llama-3.1-8b", "h100-sxm5:8", batch=4, input=512, output=32, tp=8)
    for row in list(pm.sensitivity(one, "tpot"))[:4]:
        up, down = (
            pm.inference(
                "llama-3.1-8b", pm.system("h100-sxm5:8").vary({row["field"]: row["value"] * f}),
                batch=4, input=512, output=32, tp=8,
            ).tpot
            for f in (1.0001, 0.9999)
        )
        expected = (np.log(up) - np.log(down)) / (np.log(1.0001) - np.log(0.9999))
        assert row["sensitivity"] == pytest.approx(expected, rel=1e-9)


def test_sensitivity_at_a_point_of_a_sweep_and_of_a_forward_pass() -> None:
    grid = pm.inference("llama-3.1-8b", "h100-sxm5", batch=[1, 64], output=8)
    at = pm.sensitivity(grid, "tpot", batch=64)
    one = pm.sensitivity(pm.inference("llama-3.1-8b", "h100-sxm5", batch=64, output=8), "tpot")
    assert list(at) == list(one)
    kernel = pm.kernel(pm.op.matmul(m=4096, n=4096, k=4096), "h100-sxm5")
    top = next(iter(pm.sensitivity(kernel, "latency")))
    assert top["field"] == "device.compute.matrix.peak.bf16" and -1.0 < top["sensitivity"] < -0.9


def test_search_is_exact() -> None:
    space = {"precision": ["bf16", "fp8"], "batch": list(range(1, 65)), "tp": [1, 2, 4, 8], "input": 1024, "output": 64}
    best = pm.search("inference", "llama-3.1-8b", "h100-sxm5:8", "throughput", ["ttft <= 150 ms", "tpot <= 6 ms"], **space)
    grid = best.result
    kept = (np.asarray(grid.ttft) <= 0.15) & (np.asarray(grid.tpot) <= 6e-3)
    assert best.value == np.max(np.asarray(grid.throughput)[kept]) and len(best.order) == kept.sum()
    again = pm.inference("llama-3.1-8b", "h100-sxm5:8", input=1024, output=64, **best.point)
    assert again.throughput == pytest.approx(best.value) and again.ttft <= 0.15
    rows = list(best.table(3))
    assert len(rows) == 3 and rows[0]["throughput"] >= rows[1]["throughput"] and rows[0]["ttft"] <= 0.15
    smallest = pm.search("inference", "llama-3.1-8b", "h100-sxm5:8", "memory", **space)
    assert smallest.value == np.nanmin(np.asarray(smallest.result.memory))


def test_search_says_why_there_is_nothing() -> None:
    with pytest.raises(pm.PerfmodelError, match="ttft <= 1 us: kept by 0, best is"):
        pm.search("inference", "llama-3.1-8b", "h100-sxm5", where="ttft <= 1 us", batch=[1, 2])


def test_training_and_serving_can_be_swept_and_have_slopes() -> None:
    step = pm.training("llama-2-7b", "dgx-a100", batch=64, sequence=2048, tp=8)
    top = next(iter(pm.sensitivity(step, "step_time")))
    assert top["field"] == "device.compute.matrix.peak.bf16" and -1.0 < top["sensitivity"] < -0.3
    grid = pm.sweep("training", "llama-2-7b", "dgx-a100", recompute=["none", "full"], batch=64, sequence=2048, tp=8)
    assert grid.step_time[0] == pytest.approx(step.step_time) and grid.step_time[1] > grid.step_time[0]
    served = pm.sweep("serving", "llama-3.1-8b", ["h100-sxm5", "h200-sxm"], fidelity="roofline", concurrency=[1, 8])
    assert served.tpot.shape == (2, 2) and np.all(served.tpot[1] < served.tpot[0])


@pytest.mark.parametrize("fidelity", ["dataflow", "calibrated"])
def test_slopes_of_every_number_at_every_fidelity(fidelity: str) -> None:
    one = pm.inference("llama-3.1-8b", "h100-sxm5:8", batch=8, input=256, output=16, tp=4, fidelity=fidelity)
    slopes = {row["field"]: row["sensitivity"] for row in pm.sensitivity(one, "tpot")}
    assert all(np.isfinite(list(slopes.values()))) and slopes["device.memory.hbm.bandwidth"] < -0.1
    assert "What would help tpot" in one.explain()
