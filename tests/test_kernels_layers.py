"""Whole latent-attention layers: which kernels they launch, and how a table was timed."""

import dataclasses

import numpy as np
import pytest

from perfmodel.engine.kernels.facts import GpuFacts, kernel_start
from perfmodel.engine.kernels.gemm import Storage
from perfmodel.engine.kernels.layers import CHAIN, LayerCorrections, latent_layer_time
from perfmodel.engine.kernels.mla import latent_pass_time, mla_decode_time
from perfmodel.explore.kernel_known import FAMILIES

PEAK = {"bf16": 100e12, "fp8": 200e12, "fp4": 400e12}
GPU = GpuFacts(processors=100.0, clock=1e9, dram=1e12, l2_bytes=40e6, l2=5e12, peak=PEAK, special=1.6e12)
BF16, FP8, FP4 = (Storage(b, b, 2, key) for b, key in ((2, "bf16"), (1, "fp8"), (0.5625, "fp4")))
FAMILY = {one.name: one for one in FAMILIES}
ROWS = {name: np.array([value]) for name, value in
        {"batch": 4.0, "q_len": 64.0, "past_len": 0.0, "n_heads": 16.0}.items()}


def layer(tokens, storage=BF16, gpu=GPU, **options):
    return latent_layer_time(tokens, 1.0, 1024.0, 16.0, storage, 2.0, gpu, absorbed=True, **options).seconds


def test_chains_of_kernels_start_more_often_and_move_more():
    few, many = (layer(t, chained=True) - layer(t) for t in (1.0, 65536.0))
    assert few == pytest.approx(CHAIN * kernel_start(1e9), rel=0.02)
    values = 65536 * (1536 + 512 + 64 * 17)
    assert many - few == pytest.approx(32 * values * (1 / 0.9e12 + 1 / 5e12), rel=0.02)
    both = layer(np.array([1.0, 1.0]), chained=np.array([True, False]))
    assert both[0] == layer(1.0, chained=True) and both[1] == layer(1.0)


def test_narrow_products_have_a_kernel_more():
    fast = dataclasses.replace(GPU, dram=1e15, l2=1e15, peak=dict.fromkeys(PEAK, 1e18))
    assert layer(1.0, FP8, fast) - layer(1.0, BF16, fast) > 3 * kernel_start(1e9)  # three projections


def test_a_walk_of_the_rows_comes_before_each_projection():
    assert layer(1e4, FP8, walk=20e-9) - layer(1e4, FP8) == pytest.approx(3 * 1e4 * 20e-9, rel=1e-3)


def test_rounding_to_four_bits_is_bound_by_the_cache():
    c = LayerCorrections(passes=0.01)
    slow, quick = (layer(65536.0, FP4, dataclasses.replace(GPU, l2=rate), c=c) for rate in (1e12, 2e12))
    assert slow - quick > 65536 * 2.0 * 3.0 * (7168 + 1536 + 16 * 128) * 0.5e-12


def test_few_new_tokens_take_the_kernel_of_the_absorbed_form():
    family = FAMILY["mla_module_prefill"]
    absorbed, expanded = (family.predict(ROWS, GPU, family.corrections(), f"vllm/{source}/bfloat16/bfloat16/bfloat16")
                          for source in ("FLASHMLA", "FLASH_ATTN"))
    with_form = latent_layer_time(4.0, 64.0, 0.0, 16.0, BF16, 2.0, GPU, absorbed=True)
    assert absorbed.seconds == with_form.seconds != expanded.seconds


def test_tables_say_how_their_norms_ran():
    family = FAMILY["mla_module_prefill"]

    def seconds(**more):
        group = "vllm/FLASH_ATTN/bfloat16/bfloat16/bfloat16"
        return float(family.predict({**ROWS, **more}, GPU, family.corrections(), group).seconds[0])

    plain, anew, chains = seconds(), seconds(system=np.array(["b200_sxm"])), seconds(system=np.array(["l40s"]))
    assert plain == anew < chains - CHAIN * kernel_start(1e9) / 2


def test_single_warps_take_a_cache_of_eight_bits_at_the_rate_of_sixteen():
    wide, narrow = (mla_decode_time(512, 1, 65536, 16, b, GPU, rule="none").memory for b in (2.0, 1.0))
    assert wide == narrow
    assert mla_decode_time(512, 1, 65536, 16, 1.0, GPU).memory < 0.6 * wide


def test_latent_values_of_new_tokens_are_read_and_written():
    assert latent_pass_time(1e6, GPU) == pytest.approx(1e6 * 576 * 4 * (1e-12 + 0.2e-12))
    family = FAMILY["mla_prefill"]
    rows = {**ROWS, "n_heads": np.array([1.0]), "batch": np.array([4096.0])}
    time = family.predict(rows, GPU, family.corrections(), "trtllm/default/bfloat16/bfloat16")
    assert time.seconds[0] > latent_pass_time(4096 * 64, GPU)
