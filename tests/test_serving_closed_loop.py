"""Closed-loop serving: queueing on constant steps counted by hand, the step cost, profiles and scores."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import perfmodel as pm
from perfmodel.engine.fidelity import cost_model
from perfmodel.errors import ArgumentError, InfeasibleError, UnknownNameError
from perfmodel.formats import precision
from perfmodel.scenario import corrections as corrections_module
from perfmodel.scenario.corrections import IDEAL as NO_CORRECTION
from perfmodel.scenario.corrections import corrections
from perfmodel.scenario.runtime import IDEAL, runtime, runtimes
from perfmodel.scenario.serving import (
    FirstToken,
    cache_slots,
    closed_loop,
    disaggregated,
    first_wave,
    static_batch,
    waves,
)
from perfmodel.scenario.serving_cost import Hardware, Layout, Numbers, StepCost
from perfmodel.scenario.serving_counts import step_counts
from perfmodel.scenario.serving_engine import engine_step
from perfmodel.scenario.serving_power import board_power, energy_per_token
from perfmodel.validation import power_campaign, power_score
from perfmodel.validation.names import candidates, hardware_name, served_workload
from perfmodel.validation.serving_campaigns import options
from perfmodel.validation.serving_data import points, read_rows, table_kind
from perfmodel.validation.serving_fit import fit_batch, left_out, shipped
from perfmodel.validation.serving_score import score_serving

DECODE, TOKEN = 0.010, 1e-5


def constant(decode, prefill):
    """A step of 10 ms and 10 us per prompt token."""
    return DECODE + TOKEN * prefill + 0.0 * decode


def test_one_request_meets_only_itself():
    r = closed_loop(constant, 1.0, 1000.0, 101.0)
    assert r.ttft == pytest.approx(0.010 + 1000 * 1e-5)  # its prefill step
    assert r.tpot == pytest.approx(0.010)  # a decode step without prompts
    # 101 tokens in 20 ms and 100 steps of 10 ms
    assert r.throughput == pytest.approx(101 / (0.020 + 100 * 0.010))
    assert (r.resident, r.running) == (1.0, 1.0)


def test_long_prompt_goes_in_pieces():
    r = closed_loop(constant, 1.0, 10_000.0, 101.0, chunk=4096.0)
    assert r.ttft == pytest.approx(3 * 0.010 + 10_000 * 1e-5)  # ceil(10000/4096) = 3 steps


def test_prompts_of_the_others_slow_the_decode_steps():
    """In S steps 7 others bring 7 x 100 prompt tokens: t = 10 ms + 7 x 100/S x 10 us, S = 100 + ttft/t."""
    r = closed_loop(constant, 8.0, 100.0, 101.0)
    stay = 100 + r.ttft / r.step
    assert r.step == pytest.approx(0.010 + 7 * 100 / stay * 1e-5, rel=1e-3)
    assert r.ttft == pytest.approx(0.010 + 100 * 1e-5)
    assert r.running == pytest.approx(1 + 7 * 100 / stay, rel=1e-3)


def test_requests_beyond_memory_wait():
    free = closed_loop(constant, 4.0, 100.0, 101.0)
    full = closed_loop(constant, 10.0, 100.0, 101.0, slots=4.0)
    assert full.tpot == pytest.approx(free.tpot)
    rate = free.throughput / 101.0
    assert full.ttft == pytest.approx(free.ttft + 6 / rate)  # 6 requests leave one after the other


def test_overheads_of_the_first_token():
    r = closed_loop(constant, 1.0, 1000.0, 101.0, first=FirstToken(0.05, 2.0, 0.5))
    assert r.ttft == pytest.approx(0.05 + 2 * 0.010 + 0.020)  # nobody else: no burst


def test_first_wave_of_a_measured_run():
    def step(decode, prefill):
        return 0.01 + 1e-5 * prefill

    steady = closed_loop(step, 8.0, 1000.0, 101.0, chunk=4000.0)
    run = closed_loop(step, 8.0, 1000.0, 101.0, chunk=4000.0, first=FirstToken(rounds=10.0))
    wave = first_wave(step, 8.0, 1000.0, 4000.0)
    assert wave == pytest.approx(0.05 * (2.0 + 1.0) / 2.0)  # two steps of four prompts
    assert run.ttft == pytest.approx(steady.ttft + (wave - steady.ttft) / 10.0)
    assert run.tpot == steady.tpot
    assert first_wave(step, 1.0, 1000.0, 4000.0) == pytest.approx(step(0.0, 1000.0))
    assert first_wave(step, 1.0, 8000.0, 4000.0) == pytest.approx(2.0 * step(0.0, 4000.0))
    assert first_wave(step, 1.0, 1000.0, 4000.0, starts=0.5) == 0.5


def test_kernels_of_a_prompt_start_behind_its_work():
    def step(decode, prefill):
        return 0.01 + 1e-5 * prefill

    def first(starts):
        return closed_loop(step, 1.0, 1000.0, 101.0, first=FirstToken(starts=starts)).ttft

    assert first(0.015) == pytest.approx(0.02)
    assert first(0.035) == pytest.approx(0.035)


def test_graphs_hold_short_prompts():
    engine = runtime("vllm")
    assert engine.graph == 512.0

    def starts(prompt):
        return replace(cost(engine=engine), prompt=prompt).starts()

    assert starts(512.0) == 0.0 and starts(513.0) > 1e-3


def test_speculation_divides_the_steps():
    r = closed_loop(constant, 1.0, 1000.0, 101.0, accepted=2.0, drafted=3.0)
    assert r.tpot == pytest.approx(0.010 / 2)


def test_saturated_prefill_limits_the_rate():
    """A chunk of 512 tokens per step and prompts of 4096: at least 8 steps per request, whatever the rest."""
    r = closed_loop(constant, 64.0, 4096.0, 2.0, chunk=512.0)
    steps_per_request = (r.ttft + r.tpot) / r.step / 64.0
    assert steps_per_request >= 8.0 - 1e-6


def test_disaggregated_decode_carries_no_prompts():
    r = disaggregated(constant, constant, 8.0, 1000.0, 101.0, prefill_workers=4.0, decode_workers=2.0)
    assert r.tpot == pytest.approx(0.010)
    assert r.ttft >= 0.020
    alone = disaggregated(constant, constant, 1.0, 1000.0, 101.0)
    assert alone.ttft == pytest.approx(0.020, rel=0.01)


def test_disaggregated_prefill_can_saturate():
    """One prefill worker of 20 ms per prompt serves 50 requests/s, however many wait."""
    r = disaggregated(constant, constant, 200.0, 1000.0, 11.0, decode_workers=20.0)
    assert r.throughput / 11.0 == pytest.approx(50.0, rel=0.05)


def test_batch_in_waves():
    assert waves(10.0, 4.0) == 3.0  # 4 + 4 + 2
    assert waves(10.0, 4.0, 0.0) == 2.5
    assert waves(3.0, 4.0) == 1.0
    total = static_batch(constant, constant, 8.0, 100.0, 11.0, slots=4.0)
    assert total == pytest.approx(2 * (0.010 + 4 * 100 * 1e-5 + 10 * 0.010))


def test_slots_are_the_room_over_one_request():
    # (0.9 x 80 - 16 - 2) GB / (0.1 MB x 1024 tokens + 0) = 54e9/102.4e6
    assert cache_slots(80e9, 16e9, 1e5, 1000.0, reserve=2e9, block=16.0) == pytest.approx(54e9 / (1e5 * 1008))
    assert cache_slots(10e9, 16e9, 1e5, 1000.0) == 1.0


@given(st.integers(1, 512), st.integers(1, 8192), st.integers(2, 2048))
def test_more_requests_are_never_faster_for_one(concurrency, prompt, answer):
    few = closed_loop(constant, float(concurrency), float(prompt), float(answer))
    more = closed_loop(constant, concurrency + 16.0, float(prompt), float(answer))
    assert more.tpot >= few.tpot * (1 - 1e-2)
    assert few.tpot >= DECODE - 1e-12
    assert more.throughput >= few.throughput * 0.98


def test_arrays_equal_scalars():
    loads = np.array([1.0, 7.0, 300.0])
    together = closed_loop(constant, loads, 1000.0, 200.0)
    for i, load in enumerate(loads):
        alone = closed_loop(constant, float(load), 1000.0, 200.0)
        assert together.ttft[i] == pytest.approx(alone.ttft)
        assert together.tpot[i] == pytest.approx(alone.tpot)


# --- counts and cost -------------------------------------------------------------------------------------


def test_counts_of_a_dense_model():
    counts = step_counts(pm.workload("llama-3.1-8b"), context=1000.0, prompt=1024.0)
    # 32 layers of q, k, v, o and three products of the feed-forward part
    per_layer = 4096 * (4096 + 2 * 1024) + 4096 * 4096 + 3 * 4096 * 14336
    assert counts.dense == pytest.approx(32 * per_layer)
    assert counts.head == 128256 * 4096
    assert counts.cache == 32 * 2 * 8 * 128 * 1000  # layers, k and v, heads, width, tokens
    assert counts.chain == 32 * 1000
    assert counts.decode_mixing == 32 * 4 * 32 * 128 * 1000
    assert counts.moe_layers == 0.0


def test_two_devices_halve_weights_and_reduce_twice_per_layer():
    one = step_counts(pm.workload("llama-3.1-8b"), context=1000.0, prompt=1024.0)
    two = step_counts(pm.workload("llama-3.1-8b"), context=1000.0, prompt=1024.0, tp=2.0)
    assert two.dense == pytest.approx(one.dense / 2)
    assert two.reductions == 64.0
    assert two.reduced == 64 * 4096


def cost(tp=1.0, fix=NO_CORRECTION, engine=IDEAL, **changes):
    hardware = replace(Hardware.of(pm.system("h100-sxm5", 8)), **changes)
    counts = step_counts(pm.workload("llama-3.1-8b"), context=1024.0, prompt=1024.0, tp=tp)
    return StepCost(counts, hardware, Layout(tp), Numbers.of(hardware, fix, "bf16"), engine, fix, 1024.0, 1024.0)


def test_decode_step_is_the_weights_over_the_bandwidth():
    c = cost()
    parts = c.parts(1.0, 0.0)
    weights = 2 * (c.counts.dense + c.counts.head)
    assert parts["dense"] + parts["head"] == pytest.approx(weights / 3.35e12, rel=1e-3)
    assert parts["attention"] == pytest.approx(2 * c.counts.cache / 3.35e12, rel=1e-3)
    assert parts["host"] == parts["kernels"] == parts["collectives"] == 0.0


def test_more_of_anything_is_never_slower():
    base = cost(tp=2.0, fix=corrections(), engine=runtime("vllm"))
    for change in ({"bandwidth": 6.7e12}, {"link": 9e11}, {"latency": 0.0}):
        better = cost(tp=2.0, fix=corrections(), engine=runtime("vllm"), **change)
        for decode, prefill in ((1.0, 0.0), (64.0, 512.0), (0.0, 8192.0)):
            assert better(decode, prefill) <= base(decode, prefill)


@given(st.floats(0.0, 512.0), st.floats(0.0, 8192.0))
def test_step_grows_with_its_tokens(decode, prefill):
    c = cost(fix=corrections(), engine=runtime("sglang"))
    here = c(decode, prefill)
    assert c(decode + 1.0, prefill) >= here
    assert c(decode, prefill + 16.0) >= here
    assert all(part >= 0.0 for part in c.parts(decode, prefill).values())


def test_one_request_equals_inference():
    node, model = pm.system("h100-sxm5", 8), pm.workload("llama-3.1-8b")
    step = engine_step(model, node, precision("bf16"), cost_model("roofline"), prompt=1024.0,
                       context=1024.0 + 0.5 * 257, tp=2.0)
    served = closed_loop(step, 1.0, 1024.0, 257.0)
    alone = pm.inference(model, node, batch=1, input=1024, output=257, tp=2)
    assert served.ttft == pytest.approx(alone.ttft, rel=1e-6)
    assert served.tpot == pytest.approx(alone.tpot, rel=1e-3)  # the mean context, not a mean over contexts


def test_mixed_step_reads_the_weights_once():
    step = engine_step(pm.workload("llama-3.1-8b"), pm.system("h100-sxm5"), precision("bf16"),
                       cost_model("roofline"), prompt=64.0, context=512.0)
    assert step(8.0, 64.0) < step(8.0, 0.0) + step(0.0, 64.0)
    assert step(8.0, 64.0) > step(8.0, 0.0)


def test_serving_sweeps_and_refuses():
    node = pm.system("h100-sxm5", 8)
    r = pm.serving("llama-3.1-70b", node, concurrency=[1, 16], tp=[1, 4], output=1024)
    assert r.tpot.shape == (2, 2)
    assert np.all(np.isnan(r.tpot[:, 0])) and np.all(r.tpot[:, 1] > 0)
    assert np.all(r.low.tpot[:, 1] < r.tpot[:, 1]) and np.all(r.high.tpot[:, 1] > r.tpot[:, 1])
    assert np.all(r.high.throughput[:, 1] < r.throughput[:, 1])
    with pytest.raises(InfeasibleError, match="GiB"):
        pm.serving("llama-3.1-70b", node, concurrency=1)
    with pytest.raises(ArgumentError):
        pm.serving("llama-3.1-70b", node, concurrency=0, tp=4)


def test_profiles():
    assert {"ideal", "vllm", "sglang", "tensorrt-llm"} <= set(runtimes())
    for name in runtimes():
        assert name == "ideal" or runtime(name).source
    with pytest.raises(UnknownNameError, match="vllm"):
        runtime("vlm")
    with pytest.raises(UnknownNameError):
        corrections("serve")


def test_calibration_states_its_errors():
    fit = corrections_module.calibration().fit
    for name in ("serving", "batch", "power"):
        assert fit[name]["rows"] > 0 and fit[name]["data"] and fit[name]["date"]
    assert fit["serving"]["unseen_model"]["tpot_mixture"]["mape"] < 18.0
    assert fit["batch"]["unseen_device"]["latency_dense"]["mape"] < 12.0


def test_board_power():
    assert board_power(700.0, 0.5, 0.1, (0.2, 0.5, 1.0)) == pytest.approx(700 * (0.2 + 0.25 + 0.1))
    assert board_power(700.0, 1.0, 1.0, (0.2, 0.5, 1.0)) == 700.0
    assert energy_per_token(400.0, 2.0, 1000.0) == pytest.approx(0.8)


# --- tables ----------------------------------------------------------------------------------------------


def test_names_of_tables():
    assert hardware_name("b200_sxm") == "b200-sxm"
    assert hardware_name("Nvidia H100 GPU") == "h100-sxm5"
    assert "llama-3.1-8b" in candidates("nvidia/Llama-3.1-8B-Instruct-FP8")
    assert "deepseek-v3" in candidates("deepseek-ai/DeepSeek-R1")
    for path, name in (("mistralai/Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b"),
                       ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "llama-4-scout"),
                       ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "nemotron-3-nano-30b-a3b"),
                       ("Qwen/Qwen3-235B-A22B-Instruct-2507", "qwen3-235b-a22b")):
        assert served_workload(path).name == name
    for path in ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "Qwen/Qwen3-Coder-1B-Instruct"):
        with pytest.raises(UnknownNameError):  # another architecture, though the beginning is known
            served_workload(path)
    with pytest.raises(UnknownNameError):
        hardware_name("abacus")


def test_tables_are_recognised():
    assert table_kind(["m", "n", "k"]) == ""


SERVING_ROW = (
    "model,model_path,system,backend,backend_version,mode,precision,gemm_dtype,moe_dtype,isl_tokens,osl_tokens,"
    "source_concurrency,tp,attention_dp,moe_tp,moe_ep,ttft_ms,tpot_ms,measured_date\n"
    "llama-3.1-8b,meta-llama/Llama-3.1-8B,h100_sxm,vllm,1,agg,,,,1024,512,8,1,1,1,1,100,8,\n"
    "llama-3.1-8b,meta-llama/Llama-3.1-8B,h100_sxm,vllm,1,agg,,,,1024,512,32,2,1,1,1,140,9,\n"
    "llama-3.1-8b,meta-llama/Llama-3.1-8B,nothing,vllm,1,agg,,,,1024,512,32,2,1,1,1,140,9,\n"
)


def test_options_of_the_campaigns():
    row = {"isl_tokens": "1024", "osl_tokens": "1024", "mode": "agg", "source_concurrency": "4", "tp": "2"}
    other = {**row, "isl_tokens": "2048", "backend": "vllm"}
    trt = {**row, "backend": "trtllm", "model_path": "Llama-3.1-70B", "system": "h200_sxm"}
    sglang = {**row, "backend": "sglang", "system": "b200_sxm", "gemm_dtype": "nvfp4"}
    found = options([other, trt, {**trt, "tp": "8"}, sglang, {**sglang, "source_concurrency": "16"}])
    assert found.length.tolist() == [1.0, 0.9, 0.9, 0.9, 0.9]
    assert found.hold.tolist() == [0.0, 20.0, 0.0, 5.0, 15.0]
    assert found.rounds.tolist() == [math.inf, 10.0, 10.0, 10.0, 10.0]
    assert found.chunk[1:].tolist() == [16384.0] * 4 and math.isnan(found.chunk[0])
    early = {**trt, "model_path": "DeepSeek-R1", "measured_date": "2025-11-02"}
    assert options([early, {**early, "measured_date": "2026-02-05"}]).chunk.tolist() == [1092.0, 8192.0]
    graphs = {**row, "backend": "vllm", "system": "b200_sxm", "model_path": "MiniMax-M2.5", "gemm_dtype": "fp8"}
    found = options([{**graphs, "measured_date": "2026-04-08"}, {**graphs, "measured_date": "2026-03-25"}])
    assert found.graph[0] == 2048.0 and found.chunk[0] == 2.0 * 1024.0
    assert np.isnan(found.graph[1]) and np.isnan(found.chunk[1])
    short = {**row, "backend": "trtllm", "backend_version": "1.0.0rc3"}
    assert options([short, {**short, "moe_dtype": "fp8_block"}]).slots.tolist() == [3.0, math.inf]


def test_prompts_that_a_campaign_sends_again():
    """100 prompts at random: after 2 x 16 of them 73 are new, and all but none after 50 x 16 more."""
    row = {"isl_tokens": "4000", "osl_tokens": "100", "backend": "vllm", "backend_version": "0.12.0"}
    found = options([{**row, "source_concurrency": "16"}, {**row, "backend_version": "0.14.0"}])
    assert found.chunk[0] == 16.0 + 4000.0 + 1500.0 and found.rounds[0] == 50.0
    again = found.repeated(np.array([16.0, 16.0]))
    assert again[0] == pytest.approx(1.0 - 100.0 * math.exp(-0.32) / 800.0, abs=1e-4) and again[1] == 0.0


def test_one_draft_yields_at_most_two_tokens(tmp_path):
    """Data-parallel builds draft one token: a step yields 1 + a, whatever the model of the other rows."""
    head, names = SERVING_ROW.split("\n", 1)[0], SERVING_ROW.split("\n", 1)[0].split(",")
    known = {
        "model": "deepseek-v3", "model_path": "deepseek-ai/DeepSeek-V3", "system": "b200_sxm", "tp": "1",
        "backend": "trtllm", "backend_version": "1.2.0rc6.post3", "mode": "agg", "gemm_dtype": "fp8",
        "moe_dtype": "fp8", "isl_tokens": "1024", "osl_tokens": "8192", "source_concurrency": "64",
        "attention_dp": "8", "moe_tp": "1", "moe_ep": "8", "ttft_ms": "100", "tpot_ms": "10",
    }
    file = tmp_path / "drafts.csv"
    file.write_text(head + "\n" + ",".join(known.get(name, "") for name in names) + "\n")
    fit = shipped("serving")
    part = points(read_rows(file), fit.fix)[0][0]
    assert part.speculative.tolist() == [1.0] and part.cost.width.tolist() == [2.0]
    never, always = (replace(fit, acceptance=a).predict(part)["tpot"][0] for a in (1e-9, 1.0 - 1e-9))
    assert 0.5 < always / never < 0.55  # prompts are a little denser among fewer steps


BATCH_ROW = (
    "device,num_devices,framework,model_path,isl_tokens,osl_tokens,batch,weight_dtype,kv_dtype,draft_model,"
    "num_speculative_tokens,latency_s,throughput_tok_per_s\n"
    "Nvidia H100 GPU,1,vLLM,meta-llama/Meta-Llama-3-8B,128,128,1,fp16,fp16,,,1,256\n"
    "Nvidia H100 GPU,1,vLLM,meta-llama/Meta-Llama-3-8B,128,128,1,fp8,fp8,,,1,256\n"
    "Nvidia H100 GPU,1,vLLM,meta-llama/Meta-Llama-3-8B,128,128,64,fp16,fp16,JackFram/llama-68m,3,1,256\n"
    "Nvidia H100 GPU,1,vLLM,meta-llama/Meta-Llama-3-8B,128,128,64,fp16,fp16,,,1,256\n"
)


def test_narrow_weights_and_drafts_of_batches(tmp_path):
    file = tmp_path / "batch.csv"
    file.write_text(BATCH_ROW)
    fit = shipped("batch")
    part = points(read_rows(file), fit.fix)[0][0]
    order = np.lexsort((part.draft, part.load, part.cost.numbers.dense_bytes))
    narrow, wide, plain, drafted = fit.predict(part)["latency"][order]
    assert narrow < 0.75 * wide < plain
    assert part.draft[order][3] == 136e6
    assert drafted > 0.8 * plain  # a batch of 64 gains little or nothing


def test_score_of_an_own_table(tmp_path):
    file = tmp_path / "own.csv"
    file.write_text(SERVING_ROW)
    r = score_serving(file)
    assert r["summary"]["tpot"]["n"] == 2
    assert sum(r["skipped"].values()) == 1
    assert r["groups"][0]["system"] == "h100_sxm"
    bound = score_serving(file, "roofline")
    assert bound["summary"]["tpot"]["bias"] < 0.0  # no engine beats the bounds
    file.write_text("a,b\n1,2\n")
    with pytest.raises(ArgumentError):
        score_serving(file)


def test_shared_serving_scores(shared):
    r = score_serving(shared / "data" / "aiconfigurator" / "serving.csv.gz")
    assert r["summary"]["tpot_dense"]["mape"] < 12.0
    assert r["summary"]["tpot_mixture"]["mape"] < 18.0
    assert r["summary"]["tpot"]["spearman"] > 0.93


def test_shared_batch_scores(shared):
    r = score_serving(shared / "data" / "llm_inference_bench" / "end_to_end.csv")
    for framework, limit in (("TensorRT-LLM", 8.0), ("vLLM", 12.0)):
        chosen = [g["latency"] for g in r["groups"]
                  if g["framework"] == framework and g["device"].startswith("Nvidia")]
        mean = sum(e["n"] * e["mape"] for e in chosen) / sum(e["n"] for e in chosen)
        assert mean < limit
    power = score_serving(shared / "data" / "llm_inference_bench" / "power.csv")
    assert power["summary"]["power"]["mape"] < 20.0
    assert power["summary"]["energy_per_token"]["mape"] < 20.0


def test_shared_fit_predicts_a_device_it_has_not_seen(shared):
    path = shared / "data" / "llm_inference_bench" / "end_to_end.csv"
    rows = [r for r in read_rows(path) if r["framework"] == "vLLM" and r["device"].startswith("Nvidia")
            and r["model_path"].endswith(("Llama-2-7b-hf", "Meta-Llama-3-8B"))]
    base = shipped("batch")
    data = points(rows, base.fix)[0][0]
    guess = left_out(data, data.labels("device"), fit_batch, base)["latency"]
    error = np.abs(guess / data.column("latency_s") - 1.0)
    assert math.isfinite(error.mean()) and error.mean() < 0.12


def test_power_of_a_kernel_table(tmp_path):
    file = tmp_path / "power.csv"
    file.write_text(
        "system,backend,dtype,tokens,hidden,inter,topk,experts,moe_tp_size,moe_ep_size,latency_us,power_W,energy_J\n"
        "b200_sxm,vllm,bfloat16,1,1000,500,1,1,1,1,10,500,0.005\n"
        "b200_sxm,vllm,bfloat16,8192,4096,2048,2,8,1,1,900,900,0.81\n"
    )
    rows = power_score.read_table(str(file))
    flop, moved, _ = power_score.work(rows)
    assert flop[0] == 6 * 1000 * 500  # three products of 1000 x 500
    assert moved[0] == 3 * 1000 * 500 * 2 + 2 * 2 * 1000  # weights, row in and out
    r = power_score.score_power(file)
    assert r["kind"] == "moe" and r["summary"]["power"]["n"] == 2
    assert not power_score.recognises(["power_W"])


def test_a_cache_moves_between_workers():
    """Llama-3.1-8B keeps 128 KiB a token in bf16: 8192 tokens are 1 GiB, over the last link of the system."""
    node = pm.system("h100-sxm5", count=2)
    point = {"input": 8192, "output": 2, "prefill_workers": 1, "decode_workers": 1, "fidelity": "roofline"}
    slow = node.vary({"device.links.nvlink.bandwidth": 1e9})
    near, far = (
        pm.serving("llama-3.1-8b", one, concurrency=1, **point).ttft for one in (node, slow)
    )
    link = node.device.links["nvlink"].bandwidth
    assert float(far - near) == pytest.approx(2**30 * (1e-9 - 1.0 / link), rel=1e-3)


def test_a_sensor_shows_the_last_second():
    """Set-up of 1 s at 100 W, a loop of 1 s at 500 W; then set-up of 0.5 s, and 10 ms at 900 W."""
    one = np.ones(2)
    same = np.zeros(2, int)
    there = power_campaign.Cases({}, ("k",), same, same, same, np.array([0, 1]))
    power, length, setup = np.array([500.0, 900.0]), np.array([1.0, 0.01]), np.array([1.0, 0.5])

    (ran,) = power_campaign.played(there, setup + length, one)

    def read(ahead):
        return power_campaign.readings(
            there, ran, power, length, ahead * one, setup, 100.0 * one, 100.0 * one
        )

    shown = read(0.0)
    # of two boards that share the line each meets its sizes once
    assert there.fresh(one).tolist() == [True, False] and there.fresh(2.0 * one).all()
    # a tenth of a second of calls before the loop
    assert read(0.1)[1] == pytest.approx(0.1 * 900 + 0.5 * 100 + 0.4 * 500)
    # eleven readings that rise from 100 to 500; one reading of half set-up, half of the loop before
    assert shown == pytest.approx([(100 + 500) / 2, 0.5 * 100 + 0.5 * 500])


def test_a_long_case_keeps_its_board():
    """Of two boards that share a queue one runs the long case, the other all short ones after it."""
    many = np.zeros(9, int)
    there = power_campaign.Cases({}, ("k",), many, many, many, np.arange(9))
    for ran in power_campaign.played(there, np.array([90.0] + 8 * [1.0]), np.full(9, 2.0)):
        assert np.count_nonzero(ran.board == ran.board[list(ran.order).index(0)]) == 1
        assert sorted(ran.order) == list(range(9))


def test_a_guess_of_a_reading_is_the_one_of_least_relative_error():
    shown = np.array([[300.0, 500.0], [300.0, 500.0], [900.0, 700.0], [900.0, 600.0], [900.0, 800.0]])
    (low, high) = power_campaign.closest(shown)
    errors = [np.mean(np.abs(p / shown[:, 0] - 1.0)) for p in (300.0, 600.0, 900.0)]
    assert low == 300.0 and errors[0] == min(errors) and 500.0 < high < 650.0


def test_tokens_that_a_drawn_routing_moves():
    """An expert takes no token twice: with two of eight experts a share above a half is moved on."""
    rows = {"tokens": np.array([8192.0] * 3), "experts": np.array([8.0] * 3), "topk": np.array([2.0, 2.0, 1.0]),
            "distribution": np.array(["balanced", "power_law_1.2", "power_law_1.2"])}
    none, some, rounding = power_campaign.steps(rows)
    assert none == 0.0 and 100.0 < some < 8192.0 and rounding < 8.0


def test_order_of_the_head_counts_of_a_campaign():
    """Numbers of the script: 198 kernels of decode before its rule of 16 heads, 223 of prompts, grid first."""
    prompts, decode = power_campaign.heads(False), power_campaign.heads(True)
    assert len(prompts) == 223 and np.all(decode[:, 0] <= 16 * decode[:, 1])
    assert prompts[0].tolist() == [64, 64, 64, 0] and prompts[-1].tolist() == [16, 1, 256, 0]
    assert decode[0].tolist() == [64, 4, 64, 0]


def test_cases_between_the_rows_of_a_power_table():
    """The scripts walk decode batches in the order of a set, lengths within them, formats innermost."""
    rows = {"batch": [1, 32], "q_len": [1, 1], "past_len": [3, 131071], "n_heads": [8, 8], "n_kv_heads": [1, 1],
            "head_dim": [128, 128], "window": [0, 0], "latency_us": [6, 90]}
    table = {k: np.array(v, dtype=float) for k, v in rows.items()} | {"kv_dtype": np.array(["bfloat16"] * 2)}
    there = power_campaign.cases(table)
    assert there.rows["batch"][0] == 32.0 and there.rows["past_len"][0] == 1.0
    # 2^24 tokens of 8 heads: 16 batches of 131,072 tokens fit and 32 do not, so that row was added
    found = {k: v[there.place[0]] for k, v in there.rows.items() if k != "kv_dtype"}
    assert found == {k: v[0] for k, v in table.items() if k in found}
    assert there.place[1] == len(there.kind) - 1
    time = power_campaign.filled(np.full(len(there.kind), 1e-6), np.array([6e-6, 90e-6]), there)
    assert time[there.place].tolist() == [6e-6, 90e-6]


def test_shared_power_of_kernels(shared):
    for table, limit in (("moe.csv.gz", 15.0), ("attention_prefill.csv", 12.0), ("attention_decode.csv", 13.0)):
        r = power_score.score_power(shared / "data" / "aiconfigurator" / f"power_{table}")
        assert r["summary"]["power"]["mape"] < limit
