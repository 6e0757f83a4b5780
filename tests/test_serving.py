"""pm.serving: closed loop, open loop, refusal."""

from __future__ import annotations

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.errors import ArgumentError, InfeasibleError, UnknownNameError


def test_one_request_alone_is_its_prefill_and_its_decode_steps() -> None:
    """At fidelity roofline nothing is added: weights once per token, prompt FLOP over the peak."""
    one = pm.serving("llama-3.1-8b", "h100-sxm5", concurrency=1, input=1024, output=64, fidelity="roofline")
    active = pm.workload("llama-3.1-8b").active_parameters * 2 / 3.35e12
    assert active < one.tpot < 1.05 * active
    prompt = pm.workload("llama-3.1-8b").flops(1, 1024, 1024, logits="last") / 989e12
    assert prompt < one.ttft < 1.6 * prompt
    assert one.latency == pytest.approx(one.ttft + 63 * one.tpot)
    assert one.throughput == pytest.approx(64 / one.latency)


def test_more_requests_serve_more_and_wait_longer() -> None:
    loads = [1, 2, 8, 32, 128]
    result = pm.serving("llama-3.1-8b", "h100-sxm5", concurrency=loads, input=512, output=256)
    assert np.all(np.diff(result.throughput) > 0)
    assert np.all(np.diff(result.tpot) > 0)
    assert result.fidelity == "calibrated"


def test_rate_and_concurrency_are_two_views_of_one_state() -> None:
    closed = pm.serving("llama-3.1-8b", "h100-sxm5", concurrency=24, input=512, output=256)
    opened = pm.serving("llama-3.1-8b", "h100-sxm5", rate=closed.request_rate, input=512, output=256)
    # arrivals at random fill the instance unevenly
    assert opened.concurrency == pytest.approx(24, rel=0.05)
    assert opened.tpot == pytest.approx(closed.tpot, rel=0.05)


def test_a_rate_beyond_the_capacity_is_masked_or_refused() -> None:
    sweep = pm.serving("llama-3.1-8b", "h100-sxm5", rate=[1, 1e5], input=512, output=256)
    assert np.isnan(sweep.ttft[1])
    assert "rate" in sweep.reason[1]


def test_objective() -> None:
    result = pm.serving("llama-3.1-8b", "h100-sxm5", concurrency=[1, 512], input=512, output=256, slo={"tpot": 0.02})
    assert result.goodput[0] == result.throughput[0]
    assert result.goodput[1] == 0.0


def test_faster_memory_is_never_slower() -> None:
    node = pm.system("h100-sxm5").vary({"device.memory.hbm.bandwidth": [1e12, 2e12, 4e12, 8e12]})
    result = pm.serving("llama-3.1-8b", node, concurrency=[1, 64], input=512, output=128)
    assert np.all(np.diff(result.tpot, axis=1) < 0)


#: models and devices that no serving measurement is of
UNMEASURED = (
    ("qwen3-30b-a3b", "a100-sxm-80gb:4", "bf16", "vllm"), ("mixtral-8x7b", "mi300x:4", "bf16", "vllm"),
    ("gpt-oss-120b", "gb200:4", "fp8", "tensorrt-llm"), ("glm-4.5-air", "h200-sxm:4", "fp8", "sglang"),
)


@pytest.mark.parametrize(("model", "node", "numbers", "runtime"), UNMEASURED)
def test_more_load_takes_longer_and_nothing_beats_the_roofline(
    model: str, node: str, numbers: str, runtime: str
) -> None:
    asked = {"concurrency": [1, 4, 16, 64], "input": [256, 1024, 4096], "output": 256, "tp": [2, 4]}
    real = pm.serving(model, node, precision=numbers, runtime=runtime, **asked)
    bound = pm.serving(model, node, precision=numbers, fidelity="roofline", **asked)
    assert np.all(real.resident == real.concurrency)  # memory is no limit here
    for name in ("ttft", "tpot"):
        time = np.asarray(real.data[name])
        assert time.shape == (4, 3, 2) and np.all(time >= np.asarray(bound.data[name]))
        assert np.all(np.diff(time, axis=0) > 0) and np.all(np.diff(time, axis=1) > 0)
        assert np.all(np.diff(time, axis=2) < 0.0)
    assert np.all(np.diff(real.throughput, axis=0) > 0)


def test_refusals() -> None:
    with pytest.raises(ArgumentError, match="exactly one"):
        pm.serving("llama-3.1-8b", "h100-sxm5")
    with pytest.raises(ArgumentError, match="concurrency"):
        pm.serving("llama-3.1-8b", "h100-sxm5", concurrency=0)
    with pytest.raises(UnknownNameError, match="vllm"):
        pm.serving("llama-3.1-8b", "h100-sxm5", concurrency=1, runtime="vlm")
    with pytest.raises(InfeasibleError, match="GiB too much"):
        pm.serving("llama-3.1-70b", "h100-sxm5", concurrency=1)
    # within the device, beyond what the engine leaves for weights
    with pytest.raises(InfeasibleError, match=r"72.00 for the engine\); 7"):
        pm.serving("deepseek-v3", "h100-sxm5:8", concurrency=1, tp=8, precision="fp8")


def test_one_request_must_fit_beside_the_weights() -> None:
    # 128 Ki tokens of 32 layers x 2 x 8 heads x 128 elements are 16 GiB in 16 bits, the weights 15, the device 22
    with pytest.raises(ArgumentError, match="cache of every request"):
        pm.serving("llama-3.1-8b", "l4", concurrency=1, input=131072, output=1)
    swept = pm.serving("llama-3.1-8b", "l4", concurrency=1, input=[1024, 131072], output=1)
    assert np.isnan(swept.ttft[1]) and swept.ttft[0] > 0


def test_what_bounds_a_step() -> None:
    """Few requests wait for weights, many and long prompts for arithmetic, a small model for its kernel starts."""
    ask = pm.serving
    assert ask("llama-3.1-8b", "h100-sxm5", concurrency=1).bound == "memory"
    assert ask("llama-3.1-8b", "h100-sxm5", concurrency=64, input=8192, output=16).bound == "compute"
    assert ask("qwen2.5-0.5b", "h100-sxm5", concurrency=1, output=1024).bound == "overhead"
    assert ask("deepseek-v3", "h200-sxm:8", tp=8, ep=8, precision="fp8", concurrency=256, input=8192, output=8).bound == "compute"
    swept = ask("llama-3.1-8b", "h100-sxm5", rate=[1, 19], input=1024, output=256, requests=300)
    assert list(swept.bound) == ["memory", "compute"] == list(swept.high.bound)
    assert "bound: by memory bandwidth" in repr(ask("llama-3.1-8b", "h100-sxm5", concurrency=1))
