"""Mixture of experts: loads, touched experts, bytes."""

import dataclasses

import numpy as np
import pytest

from perfmodel.engine.kernels.expert_programs import ExpertProgram, block_rows, expert_program
from perfmodel.engine.kernels.facts import GpuFacts
from perfmodel.engine.kernels.gemm import Storage
from perfmodel.engine.kernels.moe import ROWS, moe_time, rank_load

GPU = GpuFacts(processors=100.0, clock=1e9, dram=1e12, l2_bytes=40e6, l2=5e12, peak={"bf16": 100e12}, special=1.6e12)
BF16 = Storage(2, 2, 2, "bf16")


def layer(tokens=64, hidden=2048, inner=1024, topk=8, experts=64, tp=1, ep=1, exponent=0.0, **more):
    return moe_time(tokens, hidden, inner, topk, experts, tp, ep, exponent, BF16, GPU, **more)


def test_balanced_load_is_the_mean():
    load = rank_load(64, 8, 64, 1, 0.0)
    assert float(load.assigned[0]) == pytest.approx(64 * 8)
    assert float(load.touched[0]) == pytest.approx(64)
    assert load.blocks == pytest.approx(np.array([64, 64, 64, 64, 64]))  # 8 tokens an expert


def test_power_law_keeps_the_mean_on_one_rank_and_is_hotter_on_many():
    alone = rank_load(512, 8, 64, 1, 1.2)
    assert float(alone.assigned[0]) == pytest.approx(512 * 8, rel=0.15)
    spread = rank_load(512, 8, 64, 16, 1.2)
    assert float(spread.assigned[0]) > 2 * 512 * 8 / 16
    assert float(spread.assigned[0]) <= 512 * 4  # no expert gets more than all tokens


def test_few_tokens_are_dealt_out_one_by_one():
    load = rank_load(1, 8, 256, np.array([1, 8, 32]), 1.01)
    assert load.assigned[:, 0] == pytest.approx([8, 1, 1])
    assert load.touched[:, 0] == pytest.approx([8, 1, 1])


def test_instructions_of_one_warp_do_not_grow_with_the_matrix_unit():
    faster = dataclasses.replace(GPU, peak={"bf16": 800e12})  # 2048 operations a clock and processor: 205e12
    slow, fast = (layer(tokens=65536, program=ExpertProgram(single=True)).seconds,
                  moe_time(65536, 2048, 1024, 8, 64, 1, 1, 0.0, BF16, faster, program=ExpertProgram(single=True)).seconds)
    assert 0.4 < fast / slow < 1


def test_every_expert_is_read_once_when_there_are_many_tokens():
    weights = 64 * 3 * 2048 * 1024 * 2  # 64 experts, three matrices of 2 B
    time = layer(tokens=4096)
    assert time.memory >= weights / 1e12
    assert time.seconds >= time.memory


def test_one_token_reads_its_own_experts():
    assert layer(tokens=1).memory < layer(tokens=64).memory / 4
    assert layer(tokens=1).memory >= 8 * 3 * 2048 * 1024 * 2 / 1e12


def test_never_below_the_matrix_bound():
    tokens = np.array([1.0, 64, 4096])
    assert np.all(layer(tokens=tokens).seconds >= tokens * 8 * 6 * 2048 * 1024 / 100e12)


def test_sharding_is_faster():
    whole = layer(tokens=1024).seconds
    assert layer(tokens=1024, tp=4).seconds < whole
    assert layer(tokens=1024, ep=4).seconds < whole


def test_without_a_gate_there_are_two_matrices():
    assert layer(gated=False).memory < layer().memory


def chip(work):
    """A GPU whose processors do so much 16-bit matrix work in a clock."""
    return dataclasses.replace(GPU, peak={"bf16": work * 1e11, "fp8": 2 * work * 1e11, "fp4": 4 * work * 1e11})


def test_few_balanced_tokens_lie_evenly_on_the_first_stride():
    load = rank_load(16, 8, 256, 32, 0.0)  # every second of 32 experts, the rank has eight
    assert float(load.assigned[0]) == pytest.approx(4)
    assert float(load.touched[0]) == pytest.approx(4)


def test_an_untuned_product_runs_the_first_tile_of_its_list():
    group = "vllm/vllm_modeloptfp8moe_flashinfer_cutlass_flashinferexperts/fp8"
    tiles = [(p.rows[0], p.columns) for p in (expert_program(group, chip(work)) for work in (1024, 4096, 8192))]
    assert tiles == [(32.0, 128.0), (128.0, 16.0), (128.0, 128.0)]
    tuned = expert_program("trtllm/moe_torch_flow_cutlass/fp8", chip(4096))
    times = [moe_time(64, 2048, 1024, 8, 64, 1, 1, 0.0, Storage(1, 1, 2, "fp8"), chip(4096), program=one).seconds
             for one in (expert_program(group, chip(4096)), tuned)]
    assert times[0] > 2 * times[1]


def test_blocks_of_16_rows_widen_weights_and_compute_for_all_ranks():
    program = expert_program("trtllm/moe_torch_flow_triton_fp8_block/fp8_block", chip(1024))
    eight = Storage(1, 1, 2, "fp8")
    times = [moe_time(8192, 2048, 1024, 8, 64, 1, ranks, 0.0, eight, chip(1024), program=program)
             for ranks in (1, 16)]
    assert float(times[0].rows) == 0.0  # a layer has several products
    assert times[0].seconds >= 8192 * 8 * 6 * 2048 * 1024 / chip(1024).matrix("bf16")
    assert times[1].compute == pytest.approx(times[0].compute, rel=0.1)


def test_rows_follow_the_rule_of_the_library():
    def taken(program, each, tokens):
        return ROWS[block_rows(program, ROWS, each, tokens)].tolist()

    triton = ExpertProgram(rule="tokens")
    assert [taken(triton, 1.0, tokens) for tokens in (8, 64, 300, 4096)] == [[16], [32], [64], [128]]
    assert taken(ExpertProgram(rule="near"), 20.0, 1) == [16, 32, 64, 128]
    assert taken(ExpertProgram(rule="below"), 20.0, 1) == [16]
    assert taken(ExpertProgram(rule="below"), 1000.0, 1) == [64]
    assert taken(ExpertProgram(rows=(8.0, 64.0)), 5.0, 1) == [8, 16, 32, 64]


def test_chiplets_fetch_through_the_cache_behind_them():
    many = dataclasses.replace(GPU, chiplets=8.0, llc_bytes=256e6, llc=1e12)
    times = [moe_time(1024, 2048, 1024, 8, 64, 1, 1, 0.0, BF16, gpu) for gpu in (GPU, many)]
    assert times[1].seconds > times[0].seconds
    assert times[1].memory >= 64 * 3 * 2048 * 1024 * 2 / 1e12
