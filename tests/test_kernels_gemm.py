"""Matrix product on a GPU: facts that can be counted by hand, and properties."""

import dataclasses

import numpy as np
import pytest

from perfmodel.engine.kernels.facts import (
    GpuFacts,
    bounds,
    facts_column,
    miss_share,
    soft_maximum,
    wave_count,
)
from perfmodel.engine.kernels.gemm import (
    SPLIT,
    TILE_M,
    GemmCorrections,
    Storage,
    gemm_time,
    power_strength,
    row_walk,
)

GPU = GpuFacts(processors=100.0, clock=1e9, dram=1e12, l2_bytes=40e6, l2=5e12, peak={"bf16": 100e12, "fp8": 200e12},
               special=1.6e12)
BF16 = Storage(2, 2, 2, "bf16")
SIZES = np.array([[1, 4096, 4096], [64, 512, 16384], [4096, 4096, 4096], [8192, 128, 64]], float).T


def test_a_single_block_takes_a_whole_round():
    assert wave_count(1.0, 100.0, 1.0) == 1.0
    assert wave_count(101.0, 100.0, 1.0) == 2.0  # 100 + 1 blocks on 100 processors
    assert wave_count(101.0, 100.0, 0.0) == pytest.approx(1.01)


def test_soft_maximum_lies_between_the_maximum_and_the_sum():
    assert soft_maximum(1.0, 3.0, 4.0) == pytest.approx(7.0)
    assert soft_maximum(2.0, 3.0, 4.0) == pytest.approx(5.0)
    assert soft_maximum(30.0, 3e-6, 4e-6) == pytest.approx(4e-6, rel=1e-4)


def test_small_data_stays_in_cache_and_large_does_not():
    assert miss_share(0.0, 1.0) == 0.0
    assert miss_share(10.0, 1.0) == pytest.approx(1.0)


def test_large_square_product_runs_near_the_matrix_rate():
    time = gemm_time(8192, 8192, 8192, BF16, GPU, GemmCorrections(tail=0.02))
    bound = 2 * 8192**3 / 100e12
    assert bound < time.seconds < 1.35 * bound
    assert time.waves >= 8192 * 8192 / (256 * 128) / 100 * 0.9  # at most 256 x 128 elements a block


def test_skinny_product_reads_its_weights_once():
    time = gemm_time(1, 16384, 16384, BF16, GPU)
    assert time.memory >= 16384 * 16384 * 2 / 1e12  # the weights alone, 2 B each, at 1 TB/s


def test_tiny_product_costs_the_launch_and_one_step():
    time = gemm_time(1, 64, 32, BF16, GPU, GemmCorrections(launch=1.0))
    assert time.launch == pytest.approx(0.75e-6 + 1350 / 1e9)  # clocks at 1 GHz
    assert 2.1e-6 < time.seconds < 3.1e-6


def test_partial_sums_are_joined_by_a_kernel_of_its_own():
    """1.7 and 1.8 starts of a kernel, each 0.75 us and 1350 clocks of 1 GHz."""
    short, long = (gemm_time(1, 64, 65536, BF16, GPU, GemmCorrections(split=one)) for one in (1.7, 1.8))
    assert short.split == long.split > 1.0
    assert float(long.seconds - short.seconds) == pytest.approx(0.1 * 2.1e-6, rel=1e-6)


def test_power_limit_follows_the_datasheet():
    """Twice the matrix rate on the same board power: long products run below the rate, short ones do not."""
    cool, hot = (dataclasses.replace(GPU, power=watt) for watt in (200.0, 50.0))
    assert power_strength(facts_column(cool))[0] == pytest.approx(0.65 * (0.5 / 1.41) ** 1.5)
    assert power_strength(facts_column(GPU))[0] == 0.3  # not stated
    long = [float(gemm_time(16384, 16384, 16384, BF16, gpu).seconds) for gpu in (cool, hot)]
    short = [float(gemm_time(64, 64, 64, BF16, gpu).seconds) for gpu in (cool, hot)]
    assert long[1] > 1.05 * long[0]
    assert short[1] == pytest.approx(short[0], rel=1e-3)


def test_never_below_a_bound():
    m, n, k = SIZES
    time = gemm_time(m, n, k, BF16, GPU, GemmCorrections(compute=1.0))
    assert np.all(time.seconds >= 2 * m * n * k / 100e12)
    assert np.all(time.seconds >= time.launch)
    assert np.all(time.seconds >= np.maximum(time.compute, time.memory))


@pytest.mark.parametrize("field", ["dram", "l2", "clock"])
def test_faster_hardware_is_never_slower(field):
    fast = dataclasses.replace(GPU, **{field: getattr(GPU, field) * 1.7})
    assert np.all(gemm_time(*SIZES, BF16, fast).seconds <= gemm_time(*SIZES, BF16, GPU).seconds * (1 + 1e-9))


def test_arrays_equal_single_calls_and_hardware_may_be_an_axis():
    together = gemm_time(*SIZES, BF16, GPU).seconds
    assert together == pytest.approx([float(gemm_time(m, n, k, BF16, GPU).seconds) for m, n, k in SIZES.T])
    sweep = dataclasses.replace(GPU, dram=np.array([[1e12], [2e12]]))
    assert gemm_time(*SIZES, BF16, sweep).seconds.shape == (2, 4)
    assert gemm_time(*SIZES, BF16, sweep).seconds[0] == pytest.approx(together)


def test_candidates_lie_on_one_axis():
    assert TILE_M.shape == SPLIT.shape == (14 * 8,)


def test_corrections_are_bounded_and_start_inside():
    for low, high, start in bounds(GemmCorrections).values():
        assert 0 < low <= start <= high


def test_narrower_numbers_are_never_slower():
    ready = GemmCorrections(quantise=0.001, row=0.004)  # A comes in eight bits
    assert np.all(gemm_time(*SIZES, Storage(1, 1, 2, "fp8"), GPU, ready).seconds
                  <= gemm_time(*SIZES, BF16, GPU).seconds * (1 + 1e-3))


def test_quantisation_takes_bytes_through_l2_or_clocks_of_a_row():
    """Passes over 16-bit values, at half of 5 TB/s; 1000 clocks of 100 processors at 1 GHz for a short row."""
    none, one = (GemmCorrections(quantise=q, row=0.01) for q in (0.001, 1.0))
    short = (GemmCorrections(quantise=q, row=1.0) for q in (0.001, 1.0))
    narrow = Storage(1, 1, 2, "fp8")

    def passes(k, pair):
        ready, quantised = (gemm_time(256, 64, k, narrow, GPU, c).seconds for c in pair)
        return float(quantised - ready)

    assert passes(8192, (none, one)) == pytest.approx(3 * 256 * 8192 / 2.5e12, rel=0.02)
    assert passes(128, short) == pytest.approx(256 * 1000 / 1e11, rel=0.02)


def test_walking_warps_cost_each_row_the_same():
    """64 warps take 1024 rows in turn, four accesses of 0.35 us each: 22.4 us."""
    gddr = dataclasses.replace(GPU, peak={"bf16": 100e12, "fp4": 800e12})
    walk = row_walk("trtllm", "fp8_block", gddr)
    assert 1024 * walk == pytest.approx(22.4e-6)
    assert row_walk("trtllm", "fp8_block", GPU) == row_walk("vllm", "fp8_block", gddr) == 0.0
    pair = [gemm_time(1024, 64, 128, Storage(1, 1, 2, "fp8"), gddr, walk=w).seconds for w in (0.0, walk)]
    assert float(pair[1] - pair[0]) == pytest.approx(22.4e-6, rel=1e-3)
