"""Fused groups and multi-core schedules, counted by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from perfmodel.engine.dataflow.fused import (
    ConvLayer,
    best_flash_attention,
    best_mlp_pair,
    conv_chain,
    flash_attention,
    layer_by_layer_chain,
    mlp_pair,
    unfused_attention,
)
from perfmodel.engine.dataflow.multicore import LayerCost, balanced_cuts, layer_by_layer, pipelined
from perfmodel.errors import ArgumentError, InfeasibleError


def test_flash_attention_by_hand():
    run = flash_attention(8, 16, 4, 4, 8)
    assert run.traffic == 2 * 8 * 4 + 2 * (2 * 16 * 4)  # Q and O once, K and V twice
    assert run.room == 2 * 4 * 4 + 2 * 8 * 4 + 4 * 8 + 2 * 4
    assert unfused_attention(8, 16, 4).traffic == 2 * (8 + 16) * 4 + 4 * 8 * 16


def test_best_flash_attention_is_the_best_of_all_tiles():
    room = 600.0
    best = min(
        float(flash_attention(24, 40, 8, q, k).traffic) for q in range(1, 25) for k in range(1, 41)
        if flash_attention(24, 40, 8, q, k).room <= room
    )
    found = best_flash_attention(24, 40, 8, room)
    assert found.traffic == best and found.room <= room
    with pytest.raises(InfeasibleError, match="by 25 elements"):
        best_flash_attention(24, 40, 8, 10.0)


def test_more_room_never_moves_more():
    traffic = [best_flash_attention(512, 2048, 64, room).traffic for room in (2e3, 8e3, 3e4, 1e6)]
    assert traffic == sorted(traffic, reverse=True)
    assert traffic[-1] == 2 * 512 * 64 + 2 * 2048 * 64  # each tensor once
    traffic = [best_mlp_pair(256, 64, 256, 64, room).traffic for room in (500, 4e3, 1e5)]
    assert traffic == sorted(traffic, reverse=True)


def test_mlp_pair_by_hand():
    run = mlp_pair(8, 4, 16, 2, 4, 8)
    assert run.traffic == 8 * (4 + 2) + 2 * 16 * (4 + 2)  # X and Y once, both weights per row tile
    assert run.macs == 8 * 16 * (4 + 2)
    unfused = 8 * 4 + 4 * 16 + 2 * 8 * 16 + 16 * 2 + 8 * 2
    assert mlp_pair(8, 4, 16, 2, 8, 1).traffic == unfused - 2 * 8 * 16


def test_conv_chain_by_hand():
    layers = [ConvLayer(8, 3), ConvLayer(4, 3)]
    cached, again = conv_chain(2, 8, layers, 4), conv_chain(2, 8, layers, 4, cache_halo=False)
    weights = 2 * 8 * 9 + 8 * 4 * 9
    assert cached.traffic == 2 * 12 * 12 + weights + 4 * 8 * 8
    assert again.traffic == 2 * (2 * 2) * 8 * 8 + weights + 4 * 8 * 8  # each of 4 tiles reads 8 x 8
    assert cached.recomputed == 0
    assert again.recomputed == 2 * 8 * 9 * (4 * 6 * 6 - 10 * 10)  # layer 1: 4 tiles of 6 x 6 for 10 x 10
    plain = layer_by_layer_chain(2, 8, layers)
    assert plain.traffic == cached.traffic + 2 * 8 * 10 * 10  # the intermediate goes out and in
    assert plain.macs == cached.macs


def test_balanced_cuts_are_the_best_of_all():
    work = [5.0, 1.0, 4.0, 2.0, 8.0, 3.0, 3.0]
    for groups in (1, 2, 3, 7, 9):
        best = min(
            max(sum(work[a:b]) for a, b in itertools.pairwise((0, *cuts, len(work))))
            for number in range(min(groups, len(work))) for cuts in itertools.combinations(range(1, 7), number)
        )
        runs = balanced_cuts(work, groups)
        assert [i for run in runs for i in run] == list(range(7))
        assert len(runs) <= groups
        assert max(sum(work[i] for i in run) for run in runs) == best


def test_schedules_by_hand():
    layers = [LayerCost(100.0, 40.0, 10.0, 20.0), LayerCost(60.0, 20.0, 20.0, 5.0, split=2.0)]
    one = layer_by_layer(layers, 4, 1.0)
    assert one.interval == max(25, 70) + max(30, 45)
    assert one.traffic == 70 + 45
    assert layer_by_layer(layers, 4, 1.0, batch=10.0).traffic == 4 + 30 + 2 + 25
    pipe = pipelined(layers, 2, 1.0, resident=True)
    assert (pipe.interval, pipe.latency, pipe.traffic) == (100, 200, 15)
    assert pipelined(layers, 2, 1.0).interval == 100


def test_arrays_and_bad_input():
    many = layer_by_layer([LayerCost(100.0, 0.0, 1.0, 1.0)], np.array([1.0, 2.0]), 1e9)
    np.testing.assert_array_equal(many.interval, [100, 50])
    with pytest.raises(ArgumentError, match="cores"):
        layer_by_layer([LayerCost(1.0, 1.0, 1.0, 1.0)], 0, 1.0)
    with pytest.raises(ArgumentError, match="layers"):
        conv_chain(3, 8, [], 4)
