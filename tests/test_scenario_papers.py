"""Scenario rules that single papers ask for: each counted by hand on a tiny example."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.engine import lowbit, normalise
from perfmodel.scenario import composition, requirements, scheduling, unconventional
from perfmodel.scenario.layer_assignment import Member, assign, window_time


def test_requirement_of_a_use_case():
    case = requirements.UseCase(prompt=100.0, answer=10.0, beams=2.0, ttft=0.5, tpot=0.1)
    assert requirements.cached_tokens(case) == 100 + 2 * 10
    assert requirements.cached_tokens(case, shared=False) == 2 * (100 + 10)
    net = pm.workload("llama-2-7b")
    found = requirements.required(net, case, "int8")
    # two key-value vectors of 4096 bytes in 32 layers
    cache = 2 * 4096 * 32 * 120
    weights = float(net.parameters)
    table = 32000 * 4096  # not read
    assert found.capacity == pytest.approx(weights + cache, rel=1e-4)
    assert found.bandwidth == pytest.approx((weights - table + cache) / 0.1, rel=1e-4)
    step = net.flops(batch=2, query=1, context=110, logits="last")
    assert found.decode == pytest.approx(step / 0.1)
    assert found.prefill == pytest.approx(net.flops(query=100, logits="last") / 0.5)


def test_layers_of_two_members():
    # 4 layers of 1 B: the fast member takes 3, the other must take one: 3 x 1 + 1 x 2
    fast, slow = Member("fast", 1.0, 10e9, 1e9), Member("slow", 2.0, 10e9, 1e9)
    found = assign([fast, slow], 4, 1.0)
    assert (found.rounds, found.windows, found.time) == (1, (3, 1), 5.0)
    # room for two layers: a third would be read again at 0.5 GB/s with all that lies in memory
    small = Member("small", 1.0, 2e9, 0.5e9)
    found = assign([small, slow], 4, 1e9)
    assert found.windows == (2, 2)
    assert found.time == pytest.approx(2 * 1 + 2 * 2)
    assert window_time(small, 3, 1, 1e9, 0.0)[0] == pytest.approx(3 * 1 + 3e9 / 0.5e9)


def test_layers_on_a_gpu():
    # two of three layers fit in video memory; with unified memory all three go to the GPU
    member = Member("laptop", 4.0, 10.0, 1e9, gpu=1.0, vram=2.0)
    assert window_time(member, 3, 1, 1.0, 0.0) == (2 * 1 + 4, 2)
    assert window_time(replace(member, unified=True), 3, 1, 1.0, 0.0) == (3 * 1, 3)
    # short memory under unified addressing: weights alone are read again
    short = replace(member, unified=True, ram=2e9)
    assert window_time(short, 3, 1, 1e9, 0.5e9)[0] == pytest.approx(3 * 1 + 3e9 / 1e9)
    with pytest.raises(pm.PerfmodelError):
        assign([], 4, 1.0)


def test_spiking_and_sampling():
    assert unconventional.spiking_energy(10.0, 2.0, 3.0, 4.0, 5.0) == 10 * 2 + 3 * 4 * 5
    assert unconventional.spiking_time(10.0, 1e-3) == pytest.approx(0.01)
    cell = unconventional.cell_energy(1.0, 2.0, 3.0, 4.0)
    assert unconventional.sampler_energy(2.0, 3.0, 5.0, cell) == 2 * 3 * 5 * 10


def test_quantum_beside_its_emulation():
    # exponent 1: the weight beyond the fourth of the values is about 1/9
    assert unconventional.truncated_weight(4.0, 1.0) == pytest.approx(1 / 9)
    tail = sum(i**-2.0 for i in range(5, 200_000)) / sum(i**-2.0 for i in range(1, 200_000))
    assert unconventional.truncated_weight(4.0, 1.0) == pytest.approx(tail, rel=0.2)
    assert unconventional.bond_dimension(1 / 9, 1.0) == pytest.approx(4.0)
    assert unconventional.quantum_energy(25e3, 1e-3, 100.0) == pytest.approx(2500.0)
    assert unconventional.emulation_energy(2.0, 3.0, 0.5) == pytest.approx(27.0)


def test_who_runs_next():
    # started at 1 s, 2 s to the first token and three tokens of 0.5 s: due at 4.5 s
    assert scheduling.headroom(1.0, 2.0, 0.5, 3.0, 4.0) == pytest.approx(0.5)
    assert scheduling.completion_time(8.0, 4.0, 6.0, 3.0, availability=0.5) == pytest.approx(2 + 4)
    assert scheduling.workers(0.25, 10.0) == 3.0


def test_federated_round():
    local = [1.0, 3.0]
    assert scheduling.round_time(local, 10.0, 5.0) == pytest.approx(3 + 2 * 2 * 10 / 5)
    assert scheduling.round_time(local, 10.0, 5.0, "ring", 0.5) == pytest.approx(3 + 2 * 1 / 2 * 10 / 5 + 2 * 0.5)
    assert scheduling.round_time(local, 10.0, 5.0, "gossip") == pytest.approx(3 + 2)
    with pytest.raises(pm.PerfmodelError):
        scheduling.round_time(local, 1.0, 1.0, "star of stars")


def test_padded_sequences():
    lengths = [1, 4, 2, 4]
    assert scheduling.padded_steps(lengths, 2) == 4 + 4
    assert scheduling.padded_steps(lengths, 2, ordered=True) == 4 + 2
    assert scheduling.packed_steps(lengths, 2) == 11 / 2


def test_relaxed_block_and_nodes():
    assert composition.expected_latency([(0.25, 4.0), (0.75, 8.0)]) == pytest.approx(7.0)
    assert normalise.scaled_frequency(1e9, 28e-9, 14e-9) == pytest.approx(2e9)
    assert normalise.scaled_power(10.0, 28e-9, 14e-9, 1.0, 0.8) == pytest.approx(6.4)


def test_shuffles_and_logarithms():
    # 32 bytes looked up by five instructions
    assert lowbit.shuffle_rate(256.0, 5.0) == pytest.approx(6.4)
    assert lowbit.table_prefill_time(1.0, 3.0, 2.0) == 3.0
    # four bits: sign, zero and seven magnitudes, six steps apart
    step = lowbit.logarithmic_step(0.0, 6.0, 4.0)
    assert step == pytest.approx(1.0)
    assert lowbit.logarithmic_value(1.0, 0.0, step) == pytest.approx(1.0)
    assert lowbit.logarithmic_value(7.0, 0.0, step) == pytest.approx(np.exp(6.0))
