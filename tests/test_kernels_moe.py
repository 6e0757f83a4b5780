"""Mixture of experts: loads, touched experts, bytes."""

import dataclasses

import numpy as np
import pytest

from perfmodel.engine.kernels.facts import GpuFacts
from perfmodel.engine.kernels.gemm import Storage
from perfmodel.engine.kernels.moe import moe_time, rank_load

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
    slow, fast = (layer(tokens=65536, warp=True).seconds,
                  moe_time(65536, 2048, 1024, 8, 64, 1, 1, 0.0, BF16, faster, warp=True).seconds)
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
