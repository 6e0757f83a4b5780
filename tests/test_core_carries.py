"""Op, Demand and Device describe more than GPUs: four small worlds counted by hand, no concept added."""

from __future__ import annotations

import pytest

from perfmodel.engine import collective, roofline
from perfmodel.formats import precision
from perfmodel.hardware.device import System
from perfmodel.ops.attention import attention
from perfmodel.ops.conv import conv2d
from perfmodel.ops.core import Exchange, Op, Tensor, Work
from perfmodel.spec import loads

from perfmodel.hardware.device import Device  # isort: skip


def device(text: str) -> System:
    spec = loads(Device, text)
    return System(system=spec.device, device=spec, count=1.0)


GPU = """
device: tiny-gpu
sources: {made-up: numbers chosen to be easy to count}
source: made-up
compute:
  matrix: {peak: {bf16: 100 TFLOP/s}}
  special: {peak: {fp32: 1 TOP/s}}
memory:
  hbm: {capacity: 16 GiB, bandwidth: 1 TB/s}
launch: {overhead: 5 us}
"""


def test_fused_attention_on_a_gpu() -> None:
    op = attention(batch=2, query=4, context=4, heads=8, kv_heads=2, head_dim=16)
    cost = roofline.cost(op, device(GPU), precision("bf16"))
    pairs = 2 * 8 * (1 + 2 + 3 + 4)  # two sequences, eight heads, causal triangle of four
    assert op.flops == pairs * 2 * (16 + 16)  # scores and values, one MAC each per element
    q = o = 2 * 8 * 4 * 16
    k = v = 2 * 2 * 4 * 16  # two key-value heads only
    assert cost.demand["memory.hbm"] == 2 * (q + k + v + o)
    assert cost.demand["compute.special.fp32"] == pairs  # one exponential each
    slowest = max(pairs * 64 / 100e12, pairs / 1e12, 2 * (q + k + v + o) / 1e12)
    assert cost.time == pytest.approx(5e-6 + slowest, rel=1e-14)


ARRAY = """
device: tiny-array
kind: array
sources: {made-up: numbers chosen to be easy to count}
source: made-up
compute:
  matrix: {peak: {int8: 336 GFLOP/s}, rows: 12, columns: 14, energy: {int8: 0.1 pJ/FLOP}}
memory:
  dram: {bandwidth: 8 GB/s, read_energy: 100 pJ/B}
  buffer: {capacity: 108 KiB, bandwidth: 32 GB/s, read_energy: 6 pJ/B}
"""


def test_convolution_tiled_by_hand_on_a_two_level_array() -> None:
    """8x8 input, 3x3 window, 4 -> 14 channels; the output is cut into two halves of three rows each."""
    op = conv2d(1, 4, 14, 8, 8, 3, padding=0)
    assert op.flops == 2 * (6 * 6 * 14) * (3 * 3 * 4)
    inputs, weights, outputs = op.tensors[:3]
    half = {**op.loops, "p": 3.0}  # three output rows at a time
    # three output rows need five input rows: the two halves re-read 2 x 5 - 8 = 2 rows of the halo
    assert inputs.footprint(half) == 5 * 8 * 4
    tiled = 2 * inputs.footprint(half) + weights.footprint(op.loops) + outputs.footprint(op.loops)
    assert tiled == 2 * (5 * 8 * 4) + 14 * 4 * 9 + 14 * 36
    compulsory = roofline.moved_bytes(op, precision("int8"))
    assert tiled - compulsory == 2 * 8 * 4
    demand = roofline.demand(op, device(ARRAY), precision("int8"))
    assert demand["memory.dram"] == compulsory
    assert demand["compute.matrix.int8"] / 336e9 == pytest.approx(
        3 * 14 * 36 * 4 * 9 * 2 / 3 / (12 * 14 * 2) / 1e9
    )


def test_ring_all_reduce_on_a_network() -> None:
    """Four nodes, 1 MB, 10 GB/s and 2 us a hop: 2 x 3 steps of a quarter each."""
    network = device("""
device: ring-node
kind: network
sources: {made-up: numbers chosen to be easy to count}
source: made-up
compute: {}
memory:
  buffer: {bandwidth: 100 GB/s}
links:
  ring: {bandwidth: 10 GB/s, latency: 2 us, topology: ring}
""")
    op = Op("collective", {}, (), exchange=Exchange("all_reduce", 1e6, 4, kind="index"))
    cost = roofline.cost(op, network, precision({"index": "int8"}))
    assert cost.demand["links.ring"] == 6 * 1e6 / 4
    assert cost.demand["steps.ring"] == 6
    assert cost.time == pytest.approx(6 * (2e-6 + 0.25e6 / 10e9), rel=1e-14)
    assert collective.collective_time("all_reduce", 1e6, 4, 10e9, 2e-6, "ring") == pytest.approx(cost.time)


def test_stage_of_an_fpga_streaming_pipeline() -> None:
    """A filter that takes one 8-byte record per clock at 200 MHz from a 1.6 GB/s port, 16 MAC per record."""
    fpga = device("""
device: tiny-fpga
kind: fpga
sources: {made-up: numbers chosen to be easy to count}
source: made-up
compute:
  vector: {peak: {int32: 6.4 GFLOP/s}, energy: {int32: 2 pJ/FLOP}}
memory:
  stream: {bandwidth: 1.6 GB/s, read_energy: 10 pJ/B}
power: {idle: 1 W}
""")
    from perfmodel.engine.power import energy_of

    records = 1000
    stage = Op(
        "filter",
        {"r": records},
        (
            Tensor("record", ("r",), kind="index"),
            Tensor("kept", ("r",), kind="index", output=True, touched=0.25),
        ),
        (Work("vector", 2 * 16 * records),),
    )
    cost = roofline.cost(stage, fpga, precision({"index": "fp64", "activation": "int32"}))
    cycles_in, cycles_work = records, 2 * 16 * records / 32  # 32 operations per clock
    moved = 8 * records * 1.25
    assert cost.parts["compute.vector.int32"] == pytest.approx(cycles_work / 200e6)
    assert cost.parts["memory.stream"] == pytest.approx(moved / 1.6e9)
    assert cost.time == pytest.approx(max(cycles_in * 1.25, cycles_work) / 200e6)
    energy = 2e-12 * 32 * records + 10e-12 * moved + 1.0 * cost.time
    assert energy_of([cost], fpga, cost.time) == pytest.approx(energy, rel=1e-12)
