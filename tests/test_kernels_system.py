"""Kernels beyond one product: collectives, expert exchange, scans, streams, whole layers, calibration files."""

import dataclasses

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.engine.kernels.alltoall import AllToAllCorrections, all_to_all_time
from perfmodel.engine.kernels.calibration import KernelCalibration, corrections_for, nearest
from perfmodel.engine.kernels.collective_kernels import CollectiveCorrections, collective_kernel_time
from perfmodel.engine.kernels.facts import GpuFacts
from perfmodel.engine.kernels.gemm import GemmCorrections, Storage
from perfmodel.engine.kernels.layers import latent_layer_time, sparse_layer_time
from perfmodel.engine.kernels.scan import scan_time
from perfmodel.engine.kernels.stream import StreamCorrections, stream_time

GPU = GpuFacts(processors=100.0, clock=1e9, dram=1e12, l2_bytes=40e6, l2=5e12, peak={"bf16": 100e12, "fp8": 200e12},
               special=1.6e12, link=100e9)
BF16 = Storage(2, 2, 2, "bf16")


def test_large_all_reduce_moves_twice_the_share_of_the_others():
    c = CollectiveCorrections(crowd=0.001)
    time = collective_kernel_time("all_reduce", 8, 1e9, GPU, c)
    wire = 2 * 7 / 8 * 1e9 / 80e9  # 2 (n - 1) / n of the message at 0.8 of 100 GB/s
    assert wire < time.seconds < 1.1 * wire


def test_small_messages_cost_latency_only():
    a, b = (float(collective_kernel_time("all_gather", 8, s, GPU).seconds) for s in (256, 1024))
    assert a == pytest.approx(b, rel=0.02)
    assert a > 3e-6


def test_more_members_are_never_faster():
    members = np.array([2.0, 4, 8, 16])
    for size in (1e3, 1e6, 1e9):
        assert np.all(np.diff(collective_kernel_time("all_reduce", members, size, GPU).seconds) >= 0)


def test_direct_all_reduce_stops_at_its_limit_and_on_a_shared_bus():
    def seconds(size, gpu=GPU, **more):
        c = CollectiveCorrections(direct=0.2)
        return float(collective_kernel_time("all_reduce", 8, size, gpu, c, **more).seconds)

    assert seconds(1e5) < 0.7 * seconds(1e5, direct=False)
    assert seconds(1e9) == pytest.approx(seconds(1e9, direct=False), rel=1e-3)
    bus = dataclasses.replace(GPU, link_shared=1.0)
    assert seconds(1e5, bus) == pytest.approx(seconds(1e5, bus, direct=False))


def test_dispatch_sends_each_token_once_to_a_rank_or_once_to_an_expert():
    size = 65536 * 7168 * 2
    c = AllToAllCorrections(launch=0.005, processor=40.0, token=0.001, serial=0.01)
    once = all_to_all_time(65536, 7168, 8, 256, 8, 132, 2.0, GPU, c)
    each = all_to_all_time(65536, 7168, 8, 256, 8, 0, 2.0, GPU, c, low_latency=True)
    distinct = 8 * (1 - (7 / 8) ** 8)
    assert once.seconds == pytest.approx(size * distinct * 7 / 8 / 80e9, rel=0.02)
    assert each.seconds == pytest.approx(size * 8 * 7 / 8 / 80e9, rel=0.02)


def test_few_processors_limit_a_dispatch_and_not_the_link():
    slow, fast = (dataclasses.replace(GPU, link=link) for link in (4e11, 8e11))
    eight = [float(all_to_all_time(65536, 7168, 8, 256, 8, 8, 2.0, gpu).seconds) for gpu in (slow, fast)]
    assert eight[1] > 0.9 * eight[0]


def test_recurrent_update_reads_and_writes_its_state():
    state = 1024 * 32 * 128 * 128 * 8  # fp32, read and written
    time = scan_time("recurrent", 1024, 1, 16, 128, 32, 128, 4, GPU)
    assert time.memory >= state / 1e12
    assert time.seconds >= time.memory


def test_a_convolution_is_bound_by_the_units_of_a_processor():
    def convolved(kind, gpu=GPU):
        return scan_time(kind, 64, 8192, 16, 128, 32, 128, 4, gpu)

    values = 64 * 8192 * 8192
    assert float(convolved("conv").compute) > 55 * values / (8 * 1.6e12)  # 128 lanes: 8 to each special unit
    half = dataclasses.replace(GPU, vector=4 * 1.6e12)
    assert convolved("conv", half).compute == pytest.approx(2 * convolved("conv").compute)
    assert convolved("row_conv").compute < convolved("row_conv", half).compute < 1.2 * convolved("row_conv").compute


def test_triton_multiplies_chunks_at_the_rate_of_single_warps():
    fast = dataclasses.replace(GPU, peak={"bf16": 1000e12})
    triton, other = (scan_time("chunk", 64, 8192, 16, 128, 32, 128, 4, fast, warp=w).compute for w in (True, False))
    assert triton == pytest.approx(1000 / 204.8 * other, rel=1e-6)


def test_chunks_run_one_after_the_other():
    short, long = (float(scan_time("chunk", 1, q, 4, 128, 4, 128, 4, GPU).seconds) for q in (64, 6400))
    assert long > 99 * 1e-6  # 100 chunks of at least 1 us
    assert short < long / 10


def test_stream_moves_its_bytes():
    time = stream_time(65536, 4096, 3.0, GPU, StreamCorrections(resident=0.02))
    assert time.seconds >= 65536 * 4096 * 3 / 1e12  # 2 B read, 1 B written


def test_layer_has_at_least_the_weights_and_grows_with_tokens():
    weights = (7168 * 2112 + 1536 * 16 * 192 + 16 * 128 * 7168) * 2
    decode = latent_layer_time(np.array([1.0, 64, 1024]), 1.0, 1024.0, 16.0, BF16, 2.0, GPU, absorbed=True)
    assert decode.seconds[0] > weights / 1e12
    assert np.all(np.diff(decode.seconds) > 0)
    prefill = latent_layer_time(1.0, np.array([128.0, 1024, 8192]), 0.0, 16.0, BF16, 2.0, GPU)
    assert np.all(np.diff(prefill.seconds) > 0)


def test_sparse_layer_attends_no_more_than_it_keeps():
    near, far = (sparse_layer_time(64.0, 1.0, past, 128.0, BF16, 2.0, GPU) for past in (4096.0, 65536.0))
    assert far.seconds < 6 * near.seconds  # 16 times the context, but only the scores grow
    skipped, run = (sparse_layer_time(64.0, 1.0, 1024.0, 128.0, BF16, 2.0, GPU, skips=skips)
                    for skips in (True, False))
    assert skipped.seconds < run.seconds  # nothing to choose among 1025 tokens


def test_layers_of_arrays_of_hardware_are_those_of_each():
    rates = np.array([1e12, 3e12])
    several = dataclasses.replace(GPU, dram=rates)
    for call in (lambda gpu: sparse_layer_time(4.0, 64.0, 4096.0, 128.0, BF16, 2.0, gpu).seconds,
                 lambda gpu: latent_layer_time(64.0, 1.0, 8192.0, 128.0, BF16, 2.0, gpu, absorbed=True).seconds):
        each = [float(call(dataclasses.replace(GPU, dram=rate))) for rate in rates]
        np.testing.assert_allclose(call(several), each)


@pytest.mark.parametrize("call", [
    lambda gpu: collective_kernel_time("all_reduce", 8, 1e8, gpu).seconds,
    lambda gpu: scan_time("recurrent", 64, 1, 16, 128, 32, 128, 4, gpu).seconds,
    lambda gpu: stream_time(4096, 4096, 3.0, gpu).seconds,
    lambda gpu: latent_layer_time(64.0, 1.0, 8192.0, 64.0, BF16, 2.0, gpu, absorbed=True).seconds,
])
def test_more_bandwidth_is_never_slower(call):
    assert call(dataclasses.replace(GPU, dram=2e12, link=200e9)) <= call(GPU)


FILES = (
    KernelCalibration(calibration="h100-sxm5", applies_to=("h100-*",), data="d", date="2026-01-01", families={
        "gemm": {"vllm/linear/bf16": {"values": {"compute": 0.9}, "spread": [0.9, 1.1]},
                 "trtllm/torch/fp8": {"values": {"compute": 0.8}}}}),
    KernelCalibration(calibration="a100-sxm-80gb", applies_to=("a100-*",), data="d", date="2026-01-01", families={
        "gemm": {"any/any/bf16": {"values": {"compute": 0.7}}}}),
)


def test_the_first_file_that_names_the_device_applies():
    exact = corrections_for("gemm", GemmCorrections, "h100-sxm5", "vllm/linear/bf16", FILES)
    assert (exact.calibration, exact.values.compute, exact.low) == ("h100-sxm5", 0.9, 0.9)
    assert corrections_for("moe", GemmCorrections, "h100-sxm5", "x", FILES).calibration == ""


def test_formats_count_more_than_the_backend():
    assert nearest("vllm/linear/fp8", FILES[0].families["gemm"]) == "trtllm/torch/fp8"
    assert nearest("any/any/bf16", FILES[0].families["gemm"]) == "vllm/linear/bf16"
    assert nearest("vllm/any/bfloat16/gqa", ("vllm/a/bfloat16/bfloat16/mha", "trt/b/bfloat16/fp8/gqa")) == "trt/b/bfloat16/fp8/gqa"


@pytest.mark.parametrize("name", ["h100-sxm5", "l4", "b60"])
def test_a_streaming_op_with_much_arithmetic_takes_its_arithmetic(name):
    op = pm.op.elementwise(1e6, operations=1e4)
    peak = max(pm.device(name).compute["vector"].peak.values())
    for fidelity in ("dataflow", "calibrated"):
        assert pm.kernel(op, name, fidelity=fidelity).latency > 0.99 * 1e6 * 1e4 / peak
