"""A whole pass on an array: what stays on the chip, schedules over cores, and what the engine may never do."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest

import perfmodel as pm
from perfmodel.cli import main
from perfmodel.engine.dataflow.accelerator import Accelerator, Axis, Level, Widths
from perfmodel.engine.dataflow.mapper import map_op
from perfmodel.engine.dataflow.network import plan, shared_level
from perfmodel.errors import ArgumentError, InfeasibleError, UnknownNameError
from perfmodel.ops.core import Op

WIDE = Widths(8.0, 8.0, 8.0, 32.0)


def array(buffer: float, bandwidth: float = 4.0) -> Accelerator:
    """Four lanes below one buffer; an access outside costs 100 pJ/B, inside 1."""
    far = Level(name="dram", bandwidth=bandwidth, shared_ports=True, read_energy=1e-10, write_energy=1e-10)
    near = Level(name="sram", capacity=buffer, bandwidth=64.0, read_energy=1e-12, write_energy=1e-12)
    return Accelerator(name="toy", levels=(far, near), axes=(Axis(name="lanes", size=4.0, under="sram"),),
                       mac_energy=1e-13)


def chain(*widths: int, rows: int = 16) -> list[Op]:
    """Products one after the other, of rows x widths[i] and widths[i] x widths[i + 1]."""
    return [pm.op.matmul(rows, n, k, name=f"layer{i}")
            for i, (k, n) in enumerate(pairwise(widths))]


def planned(ops: list[Op], on: Accelerator, objective: str = "energy", *, keep: bool = True):
    return plan(ops, on, WIDE, objective, lambda op, a: map_op(op, a, objective, precision=WIDE), keep=keep)


def test_a_chain_that_fits_moves_its_ends_and_its_weights():
    ops = chain(32, 64, 32)
    apart, kept = planned(ops, array(1e6), keep=False), planned(ops, array(1e6))
    assert apart.total("read") + apart.total("written") == 16 * (32 + 64 + 64 + 32)
    assert kept.total("read") + kept.total("written") == 16 * (32 + 32)  # the 64 wide tensor stays
    assert kept.total("weights") == apart.total("weights") == 32 * 64 + 64 * 32
    assert len(kept.held) == 1
    saved = 2 * 16 * 64 * 1e-10  # written once, read once
    assert apart.total("energy") - kept.total("energy") == pytest.approx(saved)


def test_nothing_stays_where_there_is_no_room():
    ops = chain(32, 64, 32)
    small = planned(ops, array(600.0))  # the tensor of 1024 B does not fit
    assert not small.held
    assert small.total("energy") == planned(ops, array(600.0), keep=False).total("energy")


@pytest.mark.parametrize("objective", ["latency", "energy", "edp"])
def test_keeping_is_never_worse_and_more_room_never_hurts(objective):
    ops = chain(24, 48, 96, 48, 24)
    scores = []
    for room in (2e3, 4e3, 8e3, 3e4, 1e6):
        kept = planned(ops, array(room), objective)
        assert kept.score(objective) <= planned(ops, array(room), objective, keep=False).score(objective)
        scores.append(kept.score(objective))
    assert scores == sorted(scores, reverse=True)


def test_every_byte_that_is_not_an_end_or_a_weight_can_be_saved():
    kept = planned(chain(24, 48, 96, 48, 24), array(1e7))
    assert kept.total("read") == kept.total("written") == 16 * 24


def test_a_tensor_with_two_readers_waits_for_the_last():
    first, second = chain(32, 32, 32)
    join = pm.op.elementwise(16 * 32, inputs=2, name="add")
    ops = [replace(first, after=()), replace(second, after=("layer0",)),
           replace(join, after=("layer1", "layer0"))]
    kept = planned(ops, array(1e6))
    ends = {held.first: held.last for held in kept.held}
    assert ends == {0: 2, 1: 2}
    assert kept.total("read") == 16 * 32 and kept.total("written") == 16 * 32


def test_attention_moves_no_scores_and_more_room_fewer_keys():
    op = pm.op.attention(1, 128, 512, 4, head_dim=16, causal=False, name="attention")
    small, large = (planned([op], array(room), keep=False) for room in (1e4, 1e6))
    qo, kv, scores = 4 * 128 * 32, 4 * 512 * 32, 4 * 128 * 512
    assert large.total("weights") == kv and large.total("read") + large.total("written") == qo
    assert kv < small.total("weights") < scores
    assert large.stages[0].busy >= 2 * scores * 16 / 4  # two products on four lanes


def test_shared_level():
    assert shared_level(array(1e3)).name == "sram"
    inner = replace(array(1e3), axes=(Axis(name="lanes", size=4.0, under="dram"),))
    assert shared_level(inner) is None and not planned(chain(8, 8, 8), inner).held


def test_networks_of_devices():
    apart = pm.map_network("resnet-18", "array-128x128", keep=False)
    kept = pm.map_network("resnet-18", "array-128x128")
    assert kept.traffic < apart.traffic and kept.cycles <= apart.cycles
    assert 0 < kept.utilisation < 1
    layers = {row["op"]: row for row in kept.table()}
    alone = pm.map(pm.workload("resnet-18").graph(batch=1).ops[0], "array-128x128")
    assert layers["stem"]["cycles"] <= float(alone.cycles) * (1 + 1e-12)
    assert "tensors stay on the chip" in kept.explain()


def test_schedules_over_cores():
    one = pm.map_network("resnet-18", "array-128x128")
    four = pm.map_network("resnet-18", "array-128x128", cores=4)
    piped = pm.map_network("resnet-18", "array-128x128", cores=4, schedule="pipelined", resident=True)
    assert one.cycles >= four.cycles >= one.cycles / 4
    assert piped.throughput > four.throughput and piped.latency > 1 / piped.throughput
    assert piped.traffic < one.traffic / 10  # image in, scores out
    assert one.plan.score("latency") == one.cycles


def test_bad_input():
    with pytest.raises(UnknownNameError, match="resnet-18"):
        pm.map_network("resnet-19", "array-128x128")
    for wrong in ({"cores": 0}, {"cores": [1, 2]}, {"batch": 0.5}, {"schedule": "pipeline"}, {"objective": "time"}):
        with pytest.raises(ArgumentError):
            pm.map_network("resnet-18", "array-128x128", **wrong)
    with pytest.raises(InfeasibleError):
        planned(chain(8, 8), array(2.0))


def test_command(capsys: pytest.CaptureFixture[str]):
    assert main(["map", "resnet-18", "--on", "array-128x128", "--cores", "2", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["cores"] == 2 and answer["energy"] > 0 and len(answer["ops"]) > 20
    assert main(["map", "resnet-18", "--on", "array-128x128"]) == 0
    assert "stem" in capsys.readouterr().out
    assert main(["map", "resnet-18", "--on", "h100-sxm5"]) == 2
