"""GPUs of several chiplets: an L2 each, dealt blocks in turn, before a cache that all share."""

from dataclasses import replace

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.engine.kernels.attention_decode import attention_decode_time
from perfmodel.engine.kernels.attention_prefill import attention_prefill_time
from perfmodel.engine.kernels.facts import GpuFacts, facts_column, gpu_facts, tile_fetches
from perfmodel.engine.kernels.gemm import GemmCorrections, Storage, gemm_time, power_strength
from perfmodel.engine.kernels.mla import mla_decode_time
from perfmodel.engine.kernels.stream import stream_time

ONE = GpuFacts(processors=64.0, clock=1e9, dram=1e12, l2_bytes=32e6, l2=8e12, peak={"bf16": 100e12}, special=1e12)
EIGHT = replace(ONE, chiplets=8.0, llc_bytes=256e6, llc=4e12)
BF16 = Storage(2, 2, 2, "bf16")
KERNELS = {
    "gemm": lambda gpu: gemm_time(np.array([64.0, 4096.0]), 4096.0, 4096.0, BF16, gpu),
    "decode": lambda gpu: attention_decode_time(np.array([4.0, 64.0]), 4096.0, 32.0, 8.0, 128.0, 0.0, 2.0, gpu),
    "prefill": lambda gpu: attention_prefill_time(
        np.array([1.0, 8.0]), 2048.0, 0.0, 32.0, 8.0, 128.0, 0.0, 2.0, 2.0, "bf16", gpu),
    "mla": lambda gpu: mla_decode_time(np.array([4.0, 64.0]), 1.0, 4096.0, 128.0, 2.0, gpu),
    "stream": lambda gpu: stream_time(np.array([16.0, 4096.0]), 4096.0, 4.0, gpu),
}


def test_blocks_dealt_in_turn_fetch_each_row_once_per_chiplet():
    """64 blocks lie as 8 x 8: every row has a block on each of 4 chiplets, every column is one chiplet's."""
    assert tile_fetches(100.0, 100.0, 64.0, 4.0) == (8 * 4, 8)
    assert tile_fetches(100.0, 100.0, 64.0, 1.0) == (8, 8)  # one L2: each row and column once
    assert tile_fetches(2.0, 100.0, 64.0, 4.0) == (2 * 4, 32)  # only two rows of tiles
    assert tile_fetches(64.0, 1.0, 64.0, 4.0) == (64, 1)  # one column: no row is shared


def test_the_shared_cache_bounds_what_the_chiplets_fetch():
    """64 blocks of 128 x 256 lie as 16 x 4: each row of A goes to 4 chiplets, 4096 values of 2 B deep."""
    slow = replace(EIGHT, llc=1e11)
    time = gemm_time(2048.0, 1024.0, 4096.0, BF16, slow)
    assert (time.rows, time.columns, time.split) == (128, 256, 1)
    fetched = (16 * 4 * 128 + 4 * 256) * 4096 * 2
    assert time.seconds == pytest.approx(fetched / 1e11, rel=0.05)
    assert gemm_time(2048.0, 1024.0, 4096.0, BF16, ONE).seconds < 0.4 * time.seconds


@pytest.mark.parametrize("kernel", KERNELS)
def test_one_chiplet_without_a_cache_behind_it_is_as_before(kernel):
    same = replace(ONE, llc_bytes=ONE.l2_bytes, llc=np.inf)  # a cache that adds nothing
    assert np.array_equal(KERNELS[kernel](ONE).seconds, KERNELS[kernel](same).seconds)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_better_shared_cache_is_never_slower_and_hardware_may_be_an_array(kernel):
    rates = np.array([1e11, 1e12, 1e13])[:, None]
    seconds = KERNELS[kernel](replace(EIGHT, llc=rates)).seconds
    assert seconds.shape == (3, 2)
    assert np.all(np.diff(seconds, axis=0) <= 0.0)
    for rate, row in zip(rates[:, 0], seconds, strict=True):
        assert KERNELS[kernel](replace(EIGHT, llc=rate)).seconds == pytest.approx(row, rel=1e-12)
    larger = KERNELS[kernel](replace(EIGHT, llc_bytes=np.array([1e6, 1e8, 1e10])[:, None])).seconds
    assert np.all(np.diff(larger, axis=0) <= 0.0)


def test_what_one_kernel_leaves_the_next_takes_from_the_shared_cache():
    assert ONE.kept_bytes == 32e6
    assert EIGHT.kept_bytes == 256e6
    assert replace(ONE, chiplets=8.0).kept_bytes == 4e6  # an L2 serves the blocks of its own chiplet
    near, far = (stream_time(500.0, 2000.0, 4.0, gpu) for gpu in (ONE, replace(EIGHT, llc=1e12)))
    # 4 MB: 1 us from 8 TB/s at half rate, 4 us at 1 TB/s
    assert near.seconds - near.launch < 2e-6
    assert far.seconds - far.launch > 4e-6


def test_facts_of_a_device_of_chiplets():
    facts = gpu_facts(pm.device("mi300x"))
    assert facts.chiplets == 8
    assert facts.l2_bytes == 8 * 4 * 2**20
    assert facts.kept_bytes == 256 * 2**20
    assert facts.crossing(11.9e6) == pytest.approx(1e-6, rel=1e-3)  # 11.9 TB/s measured of 17.2
    whole = gpu_facts(pm.device("h100-sxm5"))
    assert (whole.chiplets, whole.kept_bytes, whole.crossing(1e9)) == (1.0, whole.l2_bytes, 0.0)


def test_sustained_shares_set_the_start_and_not_the_bound():
    device = pm.device("mi300x")
    facts, bound = gpu_facts(device), gpu_facts(device, nominal=True)
    assert 0.9 * facts.dram == pytest.approx(3.91e12, rel=1e-3)  # 0.9 is the share of the start
    assert 0.9 * facts.matrix("bf16") == pytest.approx(708e12, rel=1e-3)
    assert (bound.dram, bound.matrix("bf16")) == (5.3e12, 1307.4e12)
    assert power_strength(facts_column(facts)) == 0.0  # the power limit is in the sustained rate
    assert power_strength(facts_column(bound)) > 0.0
    assert gpu_facts(device).peak["int8"] == pytest.approx(2614.9e12 * (0.5415 + 0.5002 + 0.4868) / 3 / 0.9)
    # corrections of another chip do not lift a product above the best one of this chip
    best = gemm_time(8192.0, 8192.0, 8192.0, BF16, facts, GemmCorrections(compute=1.3)).seconds
    assert 2 * 8192**3 / best < 708e12
    assert gemm_time(8192.0, 8192.0, 8192.0, BF16, bound, GemmCorrections(compute=1.3)).seconds < 0.9 * best
    op = pm.op.elementwise(1e9)
    assert pm.kernel(op, device, precision="bf16").latency < pm.kernel(op, device, precision="bf16",
                                                                       fidelity="dataflow").latency


def test_levels_of_chiplets_vary_as_axes():
    device = pm.device("mi355x").vary({"memory.llc.bandwidth": ["2 TB/s", "20 TB/s"], "memory.l2.instances": [1, 8]})
    time = pm.kernel(pm.op.matmul(m=4096, n=4096, k=4096), device, precision="bf16", fidelity="dataflow").latency
    values = np.asarray(time.values if hasattr(time, "values") else time)
    assert values.shape == (2, 2)
    assert values[0, 1] > values[1, 1]  # less bandwidth
    assert values[0, 1] > values[0, 0]  # more chiplets
