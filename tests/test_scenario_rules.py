"""Scenario rules: each counted by hand on a tiny example."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.engine import capacity, host_reduce, lowbit, rematerialise
from perfmodel.ops.moe import destinations
from perfmodel.scenario import (
    cluster,
    composition,
    control,
    expert_parallel,
    flowgraph,
    mining,
    offload,
    pipeline,
    speculative,
    vector_search,
)
from perfmodel.validation.measured.hat_models import layers_attended, sub_transformer


def test_chain_of_two_drafts():
    # one token always, a second with 0.5, a third with 0.25
    assert speculative.chain_tokens(0.5, 2.0) == pytest.approx(1 + 0.5 + 0.25)
    # 1.75 tokens in 2 drafts of 1 s and a check of 3 s, beside 3 s per token
    assert speculative.chain_speedup(1.75, 2.0, 1.0, 3.0, 3.0) == pytest.approx(1.75 * 3 / (2 + 3))
    assert speculative.multi_token_gain(0.8, 0.2) == pytest.approx(1.8 / 1.2)


def test_trees_of_three_nodes():
    table = speculative.tree_tokens([0.6, 0.3], 3, 3)
    assert table[1, 1] == 1.0
    # two levels: root with both children; three levels: a chain 1 + 0.6 + 0.36 beats 1 + 0.6 + 0.3
    assert table[3, 2] == pytest.approx(1 + 0.6 + 0.3)
    assert table[3, 3] == pytest.approx(1 + 0.6 + 0.6 * 0.6)
    assert table[2, 1] == -np.inf
    with pytest.raises(pm.PerfmodelError):
        speculative.tree_tokens([0.6], 0, 1)


def test_best_tree_pays_for_every_level():
    # three nodes cost 10 as one does: 3 levels of 1 s draft give 1.96 tokens in 13 s, 2 levels 1.9 in 12 s
    best = speculative.best_tree([0.6, 0.3], {1: 10.0, 3: 10.0}, 1.0, (1, 2, 3))
    assert (best.nodes, best.levels) == (3, 2)
    assert best.speedup == pytest.approx(10 / (12 / 1.9))


def test_bitmap_and_hops():
    # 16 bits, half of them zero: 8 bits and one of the bitmap
    assert offload.bitmap_compression(16.0, 0.5) == pytest.approx(16 / 9)
    assert offload.hop_time(12.0, (4.0, 6.0)) == pytest.approx(3 + 2)
    assert offload.hop_time(12.0, (4.0, 6.0), overlapped=True) == pytest.approx(3)


def test_page_cache_cliff():
    times = offload.cached_read_time(np.array([8.0, 9.0]), 8.0, disk=1.0, memory=4.0)
    assert times == pytest.approx([8 / 4, 9 / 1])
    # 3 of 10 bytes on the accelerator, 7 from memory
    assert offload.placed_read_time(10.0, 3.0, 8.0, 6.0, 2.0, 1.0) == pytest.approx(3 / 6 + 7 / 2)


def test_streamed_weights():
    assert offload.streamed_weights(10.0, 10.0, 5.0, 8.0, 1.0) == pytest.approx(1.0)
    assert offload.streamed_weights(10.0, 10.0, 12.0, 8.0, 1.0) == pytest.approx(4.0)


def test_ring_fills_the_fastest_memory_first():
    tiers = [cluster.Tier("slow", 4.0, 1.0, hop=0.5), cluster.Tier("fast", 3.0, 3.0)]
    placed = cluster.assignment(8.0, tiers)
    assert {k: float(v) for k, v in placed.items()} == {"fast": 3.0, "slow": 4.0, "disk": 1.0}
    assert float(cluster.ring_time(8.0, tiers, 0.5)) == pytest.approx(3 / 3 + 4 / 1 + 0.5 + 1 / 0.5)
    assert float(cluster.ring_time(2.0, tiers, 0.5)) == pytest.approx(2 / 3)


def test_pipeline_of_three_stages():
    line = pipeline.Pipeline({"a": 1.0, "b": 3.0, "c": 2.0})
    assert line.bottleneck == "b"
    assert line.throughput == pytest.approx(1 / 3)
    assert line.latency == pytest.approx(6)
    assert line.makespan(4) == pytest.approx(6 + 3 * 3)
    assert pipeline.decoupled(1.0, 3.0, 2.0) == 3.0
    assert pipeline.decoupled(1.0, 3.0, 2.0, hidden=False) == 6.0
    assert pipeline.bubble(4.0, 12.0) == pytest.approx(3 / 12)


def test_slowest_of_members():
    assert pipeline.slowest_of(1.0, 2.0, 3.0, 0.5) == pytest.approx(2.0)
    assert pipeline.slowest_of(1.0, 2.0, 3.0, 0.95) == pytest.approx(3.0)
    draws = np.random.default_rng(0).lognormal(np.log(2.0), np.log(1.5) / 1.6448536, (200_000, 4)).max(axis=1)
    assert pipeline.slowest_of(4.0, 2.0, 3.0, 0.5) == pytest.approx(np.median(draws), rel=0.01)


def test_flow_of_two_sources():
    stages = [
        flowgraph.Stage("a", size=10.0, rate=100.0, link=1e-3),
        flowgraph.Stage("b", size=20.0, rate=100.0),
        flowgraph.Stage("filter", ("a", "b"), size=5.0, ratio=10.0, energy=lambda s: 2.0 * s, link=1e-3),
    ]
    state = flowgraph.flow(stages)
    assert state["filter"].size == 35.0
    assert state["filter"].leaving == pytest.approx(10.0)
    # link of a: 80 bit x 1 mJ x 100/s; filter: 70 J x 100/s; its link: 280 bit x 1 mJ x 10/s
    assert flowgraph.flow_power(state) == pytest.approx(8 + 7000 + 2.8)
    assert flowgraph.productivity(0.5, 10.0, 5.0) == pytest.approx(1.0)
    assert flowgraph.technology_gain(np.log(2) / 0.18717361) == pytest.approx(2.0)
    with pytest.raises(pm.PerfmodelError):
        flowgraph.flow([flowgraph.Stage("late", ("early",))])


def test_expert_exchange():
    # 2 tokens x 3 destinations x 10 wide x (1 + 2) B over 90 B/s
    assert expert_parallel.exchange_time(2.0, 10.0, 3.0, 90.0) == pytest.approx(2.0)
    assert expert_parallel.decode_bound(2.0, 5.0) == pytest.approx(20.0)
    assert destinations(2.0, 2.0) == pytest.approx(1.5)
    route = expert_parallel.node_limited(2.0, 2.0, 4.0, 4.0)
    assert (route.copies, route.network, route.local) == (2.0, 1.0, pytest.approx(2.0))
    assert expert_parallel.dispatch_bandwidth(route, 1.0, 8.0) == pytest.approx(2.0)


def test_busiest_group_of_two_experts():
    # 2 of 4 experts in 2 groups of 2: both in one group with probability 1/3
    assert expert_parallel.busiest(2, 4, 2) == pytest.approx(2 / 3 * 1 + 1 / 3 * 2)
    assert expert_parallel.busiest(2, 4, 1) == pytest.approx(2.0)
    with pytest.raises(pm.PerfmodelError):
        expert_parallel.busiest(2, 5, 2)


def test_composed_systems():
    assert composition.accelerated(0.5, 2.0) == pytest.approx(1 / 0.75)
    assert composition.accelerated(0.5, 2.0, rest=2.0) == pytest.approx(2.0)
    assert composition.skipped(4.0) == pytest.approx(4.0)
    assert composition.skipping_saves(0.8, 4.0) == pytest.approx(0.6)
    assert composition.pixel_budget(6.0, 2.0, 3.0, 1.0) == pytest.approx(1.0)
    branches = {"camera": (2.0, 3.0), "radar": (1.0, 4.0)}
    energy = composition.gated_energy(branches, [(0.5, ("camera",)), (0.5, ("camera", "radar"))])
    assert energy == pytest.approx(0.5 * 6 + 0.5 * (6 + 4))


def test_vector_search_cycles_of_a_tiny_index():
    index = vector_search.Index(vectors=4096.0, cells=1024.0, probed=2.0, results=1.0)
    cycles = vector_search.search_cycles(index, vector_search.Units(cell=4.0, table=2.0, scan=2.0))
    assert cycles["rotation"] == 128 + 21 + 128 * 128 / 4 + 128
    assert cycles["cells"] == 128 + 10 + 2 * 2048
    assert cycles["selection"] == 3 + (5 + 2 * 1024) + (2 + 2)
    assert cycles["tables"] == 128 + 1 * (132 + 36 + 4096)
    # floor(1.1025 x 4 / 2) + 1 = 3 steps per cell
    assert cycles["scan"] == 2 * ((2 + 256 + 1) + (63 + 3))
    assert cycles["results"] == 2 * 3  # more units than results: sorting groups
    line = vector_search.search_pipeline(index, vector_search.Units(4.0, 2.0, 2.0), 1e6)
    assert line.throughput == pytest.approx(1e6 / max(float(v) for v in cycles.values()))


def test_shared_designs_of_the_search_accelerator(shared):
    with (shared / "data" / "fanns" / "designs.csv").open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["opq_enable"] == "True" and row["dataset"]]
    assert len(rows) > 20
    names = ("rotation", "cells", "selection", "tables", "scan")
    for row in rows:
        # beyond 100 M vectors the data set is spread over boards of 125 M
        vectors = 100e6 if row["vectors_million"] == "100" else 125e6
        index = vector_search.Index(
            vectors, float(row["nlist"]), float(row["nprobe"]), float(row["topk"])
        )
        units = vector_search.Units(
            float(row["pe_num_center_dist_comp"]), float(row["pe_num_table_construction"]),
            float(row["stage5_comp_pe_num"]),
            float(row["stage_3_priority_queue_l1_num"]) if row["stage_3_priority_queue_level"] == "2" else 1.0,
            int(row["opq_unroll_factor"]),
        )
        cycles = vector_search.search_cycles(index, units)
        for number, name in enumerate(names, start=1):
            assert float(cycles[name]) == float(row[f"stage{number}_cycles"]), (row["design"], name)


def test_low_bit_units():
    # 2 bit planes of 8 weights in groups of 4
    assert lowbit.lookups(8.0, 2.0) == 4.0
    assert lowbit.table_entries(8.0) == 2 * 16
    assert lowbit.lookup_time(8.0, 2.0, rate=2.0, bandwidth=1.0) == pytest.approx(2.0)
    assert lowbit.lookup_time(8.0, 2.0, rate=2.0, bandwidth=0.5) == pytest.approx(4.0)
    assert lowbit.bit_products(81.0, 4.0, 32.0) == 10368
    assert lowbit.bit_serial_rate(10368.0, 2.0, 2.0) == 10368 / 4 / 2
    assert lowbit.bit_serial_rate(10368.0, 2.0, 8.0) == 10368 / 4 / 2 / 2
    assert lowbit.packed_rate(32.0, 2.0) == 16
    # 4 pairs of planes of 128 bits, three instructions each
    assert lowbit.popcount_rate(128.0, 2.0, 2.0) == pytest.approx(128 / 12)


def test_input_cache():
    assert rematerialise.stored_bits(4.0, 128.0, 16.0, 4.0) == pytest.approx(4 + 20 / 128)
    assert rematerialise.input_cache_saving(16.0) == pytest.approx(2.0)
    # keys and values a quarter as wide as the model: the input is larger than both
    assert rematerialise.input_cache_saving(16.0, width=4.0, kv_width=1.0) == pytest.approx(0.5)
    assert rematerialise.rematerialised_flops(2.0, 3.0, 5.0) == 2 * 2 * (3 * 5) * 2


def test_host_reduction():
    assert host_reduce.host_reduce_bandwidth(240.0) == pytest.approx(10.0)
    assert host_reduce.root_port_bandwidth(40.0, 2.0) == pytest.approx(10.0)
    assert host_reduce.host_reduce(240.0, 20.0, 2.0) == pytest.approx(5.0)
    assert host_reduce.host_reduce(240.0, 20.0, 2.0, bridge=2.0) == pytest.approx(10.0)
    assert host_reduce.host_ring_bandwidth(7.0, 4.0) == pytest.approx(4.0)


def test_chunked_peak():
    assert capacity.chunked_peak(10.0, 8.0, 4.0, 1.0) == pytest.approx(10 + 2 + 1)


def test_encoder_decoder_of_one_layer():
    net = sub_transformer(
        "tiny", encoder_width=2.0, decoder_width=4.0, inner=6.0, encoder_ffn=(8.0,), decoder_ffn=(10.0,),
        encoder_heads=(1.0,), decoder_heads=(1.0,), cross_heads=(1.0,), span=layers_attended((1.0,)),
    )
    tokens = 3.0
    encoder = tokens * (4 * 2 * 6 + 2 * 2 * 8) + 2 * tokens**2 * 6
    decoder = tokens * (4 * 4 * 6) + 2 * tokens**2 * 6  # own tokens
    decoder += tokens * (2 * 4 * 6) + 2 * tokens * (2 * 2 * 6) + 2 * tokens * (2 * tokens) * 6  # two layers
    decoder += tokens * 2 * 4 * 10
    assert net.flops(query=tokens, context=tokens, causal=False) == pytest.approx(2 * (encoder + decoder))
    weights = 4 * 2 * 6 + 3 * 6 + 2 + 2 * 2 * 8 + 8 + 2 + 4 * 2
    weights += (4 * 4 * 6 + 3 * 6 + 4) + (2 * 4 * 6 + 6 + 4 + 2 * (2 * 6 + 6)) + 2 * 4 * 10 + 10 + 4 + 6 * 4
    assert net.parameters == pytest.approx(weights)


def test_mining_pays_after_three_days():
    # one block a day at this difficulty: 2^32 / 86400 hashes per second
    coins = mining.coins_per_day(2.0**32 / 86400.0, 1.0, 3.0, fees=144.0)
    assert coins == pytest.approx(4.0)
    # 4 coins of 10 USD less 24 kWh of 0.5 USD
    assert mining.daily_profit(4.0, 10.0, 1000.0, 0.5) == pytest.approx(40 - 12)
    assert mining.return_on_investment([28.0] * 4, 56.0) == pytest.approx(2.0)
    assert mining.break_even_day([28.0] * 4, 70.0) == 3
    assert mining.break_even_day([28.0] * 4, 700.0) == 4
    with pytest.raises(pm.PerfmodelError):
        mining.break_even_day([], 1.0)


def test_control_loop():
    assert control.chunk_latency(20.0, 10.0, 4.0) == 60.0
    # 0.1 + 0.2 + 0.05 s at 10 Hz: four actions are over
    assert control.dropped_actions(0.1, 0.2, 0.05, 0.1) == 4.0
    assert control.control_rate(16.0, 4.0, 0.2) == pytest.approx(60.0)
    assert control.control_rate(2.0, 4.0, 0.2) == 0.0
    assert control.plan_time(2.0, 3.0, 4.0, 1.0, 2.0, 0.5) == pytest.approx(24 * 3.5)
