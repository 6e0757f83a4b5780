"""Attention kernels: hand-counted keys, waves and bytes, and properties."""

import dataclasses

import numpy as np
import pytest

from perfmodel.engine.kernels.attention_decode import attention_decode_time
from perfmodel.engine.kernels.attention_prefill import attention_prefill_time, keys_beyond, visited_keys
from perfmodel.engine.kernels.facts import GpuFacts
from perfmodel.engine.kernels.mla import mla_decode_time
from perfmodel.engine.kernels.prefill_programs import Program, block_rows, prefill_program
from perfmodel.engine.kernels.splits import (
    at_warp_rate,
    even_splits,
    fill_splits,
    flash_splits,
    graph_splits,
    latent_rule,
    query_copies,
    resident_blocks,
    xqa_splits,
)

GPU = GpuFacts(processors=100.0, clock=1e9, dram=1e12, l2_bytes=40e6, l2=5e12, peak={"bf16": 100e12, "fp8": 200e12},
               special=1.6e12)


def decode(batch=8, context=4096, heads=32, kv=8, dim=128, window=0, kv_bytes=2.0, gpu=GPU, **more):
    return attention_decode_time(batch, context, heads, kv, dim, window, kv_bytes, gpu, **more)


def prefill(batch=2, query=2048, past=0, heads=32, kv=8, dim=128, window=0, gpu=GPU, **more):
    return attention_prefill_time(batch, query, past, heads, kv, dim, window, 2.0, 2.0, "bf16", gpu, **more)


def test_causal_blocks_read_up_to_their_last_row():
    mean, last = visited_keys(np.array(256.0), 0.0, 0.0, 128.0, True)
    assert (mean, last) == ((128 + 256) / 2, 256)  # two blocks: 128 keys, 256 keys
    mean, last = visited_keys(np.array(256.0), 512.0, 0.0, 128.0, True)
    assert (mean, last) == ((640 + 768) / 2, 768)
    mean, last = visited_keys(np.array(256.0), 0.0, 0.0, 128.0, False)
    assert (mean, last) == (256, 256)


def test_a_window_caps_the_keys():
    mean, last = visited_keys(np.array(1024.0), 0.0, 128.0, 128.0, True)
    assert last == 256  # 128 of the window and 128 rows of the block
    assert mean == (128 + 7 * 256) / 8  # the first block sees itself, seven see 256


def test_decode_reads_the_cache_once():
    cache = 64 * 8 * 16384 * 2 * 128 * 2
    time = decode(batch=64, context=16384)
    assert time.memory >= cache / 1e12
    assert time.seconds >= time.memory


def test_one_long_sequence_is_split_over_the_processors():
    split = decode(batch=1, context=131072, kv=1, heads=8)
    assert split.seconds < 131072 / 64 * 500e-9 / 10  # a single block would take 2048 steps of 500 clocks


def test_heads_that_share_a_cache_head_share_a_block():
    assert decode(batch=64, packed=True).seconds < decode(batch=64, packed=False).seconds


def test_a_window_reads_less():
    assert decode(batch=64, context=65536, window=1024).seconds < decode(batch=64, context=65536).seconds


@pytest.mark.parametrize("call", [decode, prefill])
def test_more_bandwidth_is_never_slower(call):
    assert call(gpu=dataclasses.replace(GPU, dram=2e12)).seconds <= call().seconds


def test_prefill_is_never_below_its_bound():
    query = np.array([128.0, 1024, 8192])
    flop = 4 * 2 * 32 * 128 * query * (query + 1) / 2
    assert np.all(prefill(query=query).seconds >= flop / 100e12)


def test_longer_is_slower():
    for call, name in ((decode, "context"), (prefill, "query")):
        times = call(**{name: np.array([128.0, 512, 2048, 8192])}).seconds
        assert np.all(np.diff(times) > 0)


def test_latent_cache_is_shared_by_all_heads():
    few, many = (mla_decode_time(64, 1, 8192, h, 2.0, GPU) for h in (16, 64))
    assert few.memory == pytest.approx(64 * (8192 * 576 * 2 + 16 * 1088 * 2) / (0.9 * 1e12), rel=1e-6)
    assert many.seconds < 4 * few.seconds


def test_scalar_equals_array():
    contexts = [1.0, 100.0, 5000.0]
    assert decode(context=np.array(contexts)).seconds == pytest.approx([float(decode(context=c).seconds) for c in contexts])
    assert prefill(query=np.array([1.0, 300.0])).seconds == pytest.approx([float(prefill(query=q).seconds) for q in (1, 300)])


def test_splits_follow_the_rules_of_the_libraries():
    assert xqa_splits(8.0, 16384.0, 132.0) == 32  # sqrt(8 x 128) of 128 parts
    assert xqa_splits(128.0, 4096.0, 132.0) == 8  # 16 wanted; 15.5 rounds are twice the eight allowed
    assert xqa_splits(1.0, 100.0, 132.0) == 1
    assert fill_splits(8.0, 16384.0, 148.0) == 18  # 18 x 8 of 148 processors; 32 parts of 512 tokens
    units, one = np.array([48.0]), np.array([1e5])
    assert flash_splits(units, one, np.array([108.0]), np.array([128.0])) == 4  # 192 of 216: within 85 %
    assert even_splits(4.0, 4096.0, 132.0) == 16  # 2 of 32 tiles for each block
    assert list(graph_splits(np.array([512.0, 1024.0]))) == [32, 1]


def test_a_cache_that_is_not_split_takes_as_long_as_one_block():
    alone = decode(batch=1, context=131072, kv=1, heads=8, rule="none")
    assert alone.waves == 1
    assert alone.seconds > 10 * decode(batch=1, context=131072, kv=1, heads=8).seconds


def test_copies_of_the_queries_are_kernels_of_their_own():
    assert decode(copies=2.0).seconds - decode().seconds == pytest.approx(2 * 2.5e-6, rel=1e-6)


def test_large_heads_leave_room_for_half_the_rows():
    warps = dataclasses.replace(GPU, peak={"bf16": 100e12})  # 1000 FLOP per clock and processor
    groups = dataclasses.replace(GPU, peak={"bf16": 400e12})
    assert prefill(dim=256, gpu=warps).waves == pytest.approx(2 * prefill(dim=128, gpu=warps).waves, rel=0.1)
    assert prefill(dim=256, gpu=groups).waves == prefill(dim=128, gpu=groups).waves
    # Q, K and V of two blocks with heads of 128 are 131 kB
    assert (block_rows(128.0, warps), block_rows(128.0, dataclasses.replace(warps, shared=102e3))) == (128, 64)


def test_a_block_of_latent_attention_computes_all_its_rows():
    few, full, more = (mla_decode_time(64, 1, 8192, h, 2.0, GPU, rule="none").compute for h in (1, 64, 65))
    assert few == full  # 64 rows whatever the heads
    assert more == pytest.approx(2 * full)  # two blocks for each of 64 sequences on 100 processors
    pairs = dataclasses.replace(GPU, peak={"bf16": 1000e12})
    assert mla_decode_time(64, 1, 8192, 128, 2.0, pairs, rule="none").waves == 1  # 128 rows in an instruction


def test_single_warps_wait_for_their_reads_of_shared_memory():
    tile = 4 * 64 * 1088 * 2 / 128 / 1e9  # four warps read 64 tokens, 1088 values of 2 B, 128 B in a clock
    alone, beside = (mla_decode_time(1, 1, 64000, 64, 2.0, GPU, rule=rule) for rule in ("none", "alone"))
    assert alone.compute > 1000 * tile
    assert alone.compute > beside.compute


def test_a_kernel_is_recognised_by_library_and_chip():
    warps = dataclasses.replace(GPU, peak={"bf16": 100e12, "fp8": 200e12, "fp4": 400e12})
    groups = dataclasses.replace(GPU, peak={"bf16": 400e12})
    assert latent_rule("default", "bfloat16", "wide", warps) == "none"
    assert latent_rule("default", "fp8", "wide", warps) == "alone"
    assert latent_rule("default", "fp8", "wide", groups) == latent_rule("TRITON_MLA", "fp8", "wide", warps) == "best"
    pairs = dataclasses.replace(GPU, peak={"bf16": 1000e12})
    heads, cached = np.array([8.0, 8.0]), np.array([8.0, 2.0])
    assert query_copies("torch_flow", "bfloat16", "gqa", 8.0, 2.0, 0.0, pairs) == 1
    assert query_copies("torch_flow", "bfloat16", "mha", 8.0, 8.0, 0.0, pairs) == 0
    assert query_copies("torch_flow", "bfloat16", "gqa", 8.0, 2.0, 0.0, groups) == 0
    assert query_copies("torch_flow", "fp8", "gqa", 8.0, 2.0, 0.0, groups) == -1  # rotates in the kernel itself
    assert list(query_copies("vllm_flash_attn_fa2", "bfloat16", "gqa", heads, cached, 0.0 * heads, warps)) == [0, 2]
    assert at_warp_rate(pairs).matrix("bf16") == 2048 * 100 * 1e9


def test_tokens_kept_by_a_sparse_layer():
    from perfmodel.engine.kernels.layers import kept_tokens

    assert kept_tokens(np.array(4096.0), 0.0) == pytest.approx((2048 * 2049 / 2 + 2048 * 2048) / 4096)
    assert kept_tokens(np.array(1.0), 99.0) == 100  # the token itself and all before it
    assert kept_tokens(np.array(16.0), 4096.0) == 2048


def test_blocks_read_whole_steps_of_keys():
    assert keys_beyond(128.0, 4096.0, 0.0, 256.0, True) == 64  # every second block ends in the middle of a step
    assert keys_beyond(64.0, 4096.0, 0.0, 32.0, True) == 0
    assert keys_beyond(128.0, 4096.0, 128.0, 256.0, True) == 128  # and the window starts there as often
    assert keys_beyond(128.0, 200.0, 0.0, 128.0, False) == 56


def test_programs_follow_their_sources():
    warps = dataclasses.replace(GPU, peak={"bf16": 100e12, "fp8": 200e12}, shared=102e3)
    groups = dataclasses.replace(GPU, peak={"bf16": 400e12, "fp8": 800e12})

    def tile(source, key, dim, gpu):
        program = prefill_program(source, key, key, 8.0, dim, gpu)
        return program.rows, program.keys

    assert tile("torch_flow", "bf16", 128.0, warps) == (64, 32)
    assert tile("torch_flow", "bf16", 128.0, dataclasses.replace(warps, shared=168e3)) == (64, 128)
    assert tile("torch_flow", "fp8", 64.0, groups) == (128, 256)
    assert tile("vllm_flash_attn_fa2", "bf16", 128.0, warps) == (64, 128)
    assert tile("another", "bf16", 64.0, groups) == (128, 128)


def test_registers_beyond_those_of_a_thread_are_spilled():
    warps = dataclasses.replace(GPU, peak={"bf16": 100e12, "fp8": 200e12}, shared=102e3)
    spilled = [float(prefill_program("torch_flow", "fp8", "fp8", 8.0, dim, warps).spilled) for dim in (64.0, 128.0, 256.0)]
    # 64: 128 of scores, 64 of outputs, 16 of Q, 64 of K, 64 of V, 32 of probabilities, 16 others; 256: 304 + 4 + 16
    assert spilled == [(384 - 255) * 4 * 128 * 2, 0, (324 - 255) * 4 * 128 * 2]
    slow = prefill(gpu=warps, program=Program(128.0, 128.0, spilled=131072.0))
    assert slow.seconds > prefill(gpu=warps, program=Program(128.0, 128.0)).seconds


def test_the_cache_of_vllm_is_written_block_by_block():
    program = prefill_program("vllm_flash_attn_fa3", "bf16", "bfloat16", 8.0, 128.0, GPU)
    assert program.write == pytest.approx(512 / 2048 / 100 * 2 * 0.35e-6)  # 512 of 2048 threads, two accesses in turn
    assert (program.turned, prefill_program("torch_flow", "bf16", "bfloat16", 8.0, 128.0, GPU).turned) == (0, 1)


def test_blocks_that_share_a_processor_start_beside_each_other():
    groups = dataclasses.replace(GPU, peak={"bf16": 400e12})
    small = dataclasses.replace(GPU, shared=102e3, vendor="NVIDIA")
    assert resident_blocks("torch_flow", "bfloat16", "gqa", 8.0, 128.0, groups) == 1
    assert list(resident_blocks("torch_flow", "fp8", "gqa", np.array([16.0, 17.0]), 128.0, groups)) == [3, 2]
    # 64 queries, 128 keys and values with heads of 128 are 82 kB
    assert resident_blocks("vllm_flash_attn_fa2", "bfloat16", "gqa", 8.0, 128.0, small) == 1
    assert resident_blocks("vllm_flash_attn_fa2", "bfloat16", "gqa", 8.0, 128.0, dataclasses.replace(small, shared=168e3)) == 2
    alone, shared = (decode(batch=4096, context=1, resident=r, rule="none").compute for r in (1.0, 2.0))
    assert alone > 1.5 * shared
