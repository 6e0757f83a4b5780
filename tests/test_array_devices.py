"""Shipped devices with an array: mappings that fill it, by hand, and energies that are estimates of the node."""

from __future__ import annotations

import math

import pytest

import perfmodel as pm
from perfmodel.engine.dataflow.adapter import accelerator
from perfmodel.engine.energy import mac_energy, sram_energy
from perfmodel.hardware.technology import technology

#: device -> multiply-accumulates a cycle of the whole array, by format
ARRAYS = {
    "eyeriss-v2": {"int8": 16 * 3 * 4 * 2},  # clusters, rows, columns, two MACs
    "tpu-v4i": {"int8": 4 * 128 * 128, "bf16": 4 * 128 * 128},
    "edge-tpu": {"int8": 64 * 64},
    "gap9": {"int8": 9 * 9 * 16 / 8},  # pixels, taps, channels; a weight bit a cycle
    "marsellus": {"int8": 9 * 9 * 32 / (8 * 2), "int4": 9 * 9 * 32 / 4},  # inputs of 8 bits pass twice
    "gemmini": {"int8": 16 * 16}, "vta": {"int8": 16 * 16}, "simba": {"int8": 16 * 8 * 8},
    "nvdla": {"int8": 64 * 32}, "tpu-v1": {"int8": 256 * 256}, "eyeriss-v1": {"int16": 12 * 14},
}
#: device -> node [nm], and memories whose energies are estimates
ESTIMATED = {
    "gemmini": (22, ("scratchpad", "accumulator")), "vta": (28, ("inp", "wgt", "acc")),
    "simba": (16, ("global", "weights", "inputs", "sums")), "nvdla": (16, ("cbuf", "accumulators")),
    "tpu-v1": (28, ("unified", "fifo", "accumulators")), "gap9": (22, ("l2", "l1", "window", "sums")),
    "marsellus": (22, ("l2", "l1")),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_positions_of_the_array_make_its_peak(name):
    for number_format, per_cycle in ARRAYS[name].items():
        seen = accelerator(pm.device(name), number_format)
        assert math.prod(float(axis.size) for axis in seen.axes) * seen.rate == per_cycle
        peak = pm.device(name).compute["matrix"].peak[number_format]
        assert peak == pytest.approx(2 * per_cycle * float(seen.clock), rel=0.02)


def test_a_tile_of_the_bit_serial_engine_by_hand():
    """3 x 3 pixels, 32 inputs, 32 filters: 9 taps and 32 filters one after another, 16 of 9 positions a tap."""
    nest = """dram [I:800 W:9216 O:288]
l2 [I:800 W:9216 O:288]
l1 [I:800 W:9216 O:288]
window [I:800]
sums [O:288]
for k in 32
  for r in 3
    for s in 3
      parallel p in 3 on pixels
      parallel q in 3 on pixels
      parallel c in 32 on channels"""
    op = pm.op.conv2d(1, 32, 32, 5, 5, 3, padding="valid")
    wide, narrow = (pm.map(op, "marsellus", mapping=nest, precision=p).price for p in ("int8", "int4"))
    assert wide.bottlenecks["compute"] == pytest.approx(32 * 9 * 16 / 9)  # 16 cycles for the nine taps of a filter
    assert narrow.bottlenecks["compute"] == pytest.approx(32 * 9 * 4 / 9)


@pytest.mark.parametrize("name", ["gemmini", "vta", "simba", "nvdla", "tpu-v1", "tpu-v4i"])
def test_energy_is_known(name):
    assert float(pm.map(pm.op.matmul(m=32, n=32, k=32), name, "latency", precision="int8", effort=0).energy) > 0


@pytest.mark.parametrize("name", ESTIMATED)
def test_estimates_are_those_of_the_node(name):
    feature, levels = ESTIMATED[name]
    described, facts = pm.device(name), technology()
    for level in levels:
        memory = described.memory[level]
        for value, write in ((memory.read_energy, False), (memory.write_energy, True)):
            assert value == pytest.approx(sram_energy(memory.capacity, feature * 1e-9, facts, write=write), rel=0.01)
    if described.array.mac_energy:
        expected = mac_energy("int8", feature * 1e-9, facts)
        assert described.array.mac_energy["int8"] == pytest.approx(expected, rel=0.01)


def test_eyeriss_v2_alexnet():
    """102 images a second on dense AlexNet (JETCAS 2019, Table VI, recalled; its ratios are in the text)."""
    layers = [
        pm.op.conv2d(1, 3, 96, 227, 227, 11, stride=4, padding="valid"),
        pm.op.conv2d(1, 96, 256, 27, 27, 5, groups=2),
        pm.op.conv2d(1, 256, 384, 13, 13, 3), pm.op.conv2d(1, 384, 384, 13, 13, 3, groups=2),
        pm.op.conv2d(1, 384, 256, 13, 13, 3, groups=2),
        *(pm.op.matmul(1, n, k) for n, k in ((4096, 9216), (4096, 4096), (1000, 4096))),
    ]
    cycles = sum(float(pm.map(op, "eyeriss-v2", "latency").cycles) for op in layers)
    assert 200e6 / cycles == pytest.approx(102.2, rel=0.15)


@pytest.mark.parametrize("name", ARRAYS)
def test_a_mapping_is_never_faster_than_the_roofline(name):
    for op in (pm.op.matmul(m=48, n=96, k=64), pm.op.conv2d(1, 32, 32, 12, 12, 3)):
        number_format = next(iter(ARRAYS[name]))
        mapped = pm.kernel(op, name, precision=number_format, fidelity="dataflow")
        bound = pm.kernel(op, name, precision=number_format)
        assert float(mapped.latency) >= float(bound.latency) * (1 - 1e-9)
