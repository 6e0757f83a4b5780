"""Search with predictors in the loop, on fronts that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.explore.active import front_first, hypervolume, iterative, one_shot, predicted


def test_hypervolume_of_a_staircase():
    # below (4, 4): 3 wide and 1 high, then 1 wide and 2 high; (3, 3) is behind the front
    assert hypervolume([[1.0, 3.0], [3.0, 1.0], [3.0, 3.0]], [4.0, 4.0]) == pytest.approx(3 * 1 + 1 * 2)
    assert hypervolume([[5.0, 1.0]], [4.0, 4.0]) == 0.0
    with pytest.raises(pm.PerfmodelError):
        hypervolume([1.0, 2.0], [4.0, 4.0])


def test_predictions_of_a_straight_line():
    features = np.arange(6.0)[:, None]
    found = predicted(features, np.array([0, 5]), np.array([[1.0], [11.0]]), ridge=1e-12)
    assert found[:, 0] == pytest.approx(1.0 + 2.0 * np.arange(6.0))


def test_fronts_come_one_behind_the_other():
    costs = np.array([[1.0, 2.0], [2.0, 1.0], [3.0, 3.0], [2.0, 2.0]])
    assert set(front_first(costs, 2, [])) == {0, 1}
    assert front_first(costs, 4, [0])[:3].tolist() == [1, 3, 2]


def test_the_loop_finds_the_front_of_a_linear_space():
    draw = np.random.default_rng(1)
    features = draw.random((400, 5))
    costs = features @ draw.standard_normal((5, 2))
    corner = costs.max(axis=0)
    whole = hypervolume(costs, corner)
    known, values = next(
        found for found in iterative(features, costs.__getitem__, 20) if hypervolume(found[1], corner) >= whole
    )
    assert len(known) == len(set(known.tolist())) < 150
    assert values == pytest.approx(costs[known])
    again, _ = one_shot(features, costs.__getitem__, 40, 20)
    assert len(again) == 60
