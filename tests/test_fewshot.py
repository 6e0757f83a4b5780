"""Few-shot latency: what ten samples and a prior must recover, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from perfmodel.errors import ArgumentError
from perfmodel.explore import fewshot, positive
from perfmodel.validation.measured import spaces
from perfmodel.validation.measured.protocol import family


@pytest.fixture
def devices():
    """Six devices whose constants differ by factors, 400 networks, 2 % noise: features [N, F], times [D, N]."""
    rng = np.random.default_rng(3)
    features = np.column_stack([np.ones(400), rng.uniform(0.2, 1, (400, 4))])
    weights = np.array([0.1, 1.0, 0.5, 0.3, 0.2]) * np.exp(0.5 * rng.standard_normal((6, 5)))
    times = weights @ features.T * np.exp(0.02 * rng.standard_normal((6, 400)))
    return features, times * np.exp(rng.standard_normal((6, 1)))


@pytest.mark.parametrize("logarithmic", [False, True])
def test_ten_samples_find_a_new_device(devices, logarithmic):
    features, times = devices
    x = np.column_stack([np.ones(400), np.log(features[:, 1:])]) if logarithmic else features
    prior = fewshot.learn_prior(x, times[1:], logarithmic=logarithmic)
    picked = fewshot.choose(x, 10, prior, "mean" if logarithmic else "largest")
    assert len(set(picked)) == 10
    model = fewshot.fit(x[picked], times[0, picked], prior)
    error = np.abs(model.predict(x) / times[0] - 1)
    assert np.mean(error) < (0.06 if logarithmic else 0.03)
    low, high = model.interval(x)
    assert np.all(low <= model.predict(x)) and np.all(model.predict(x) <= high)
    assert 0.6 < np.mean((low <= times[0]) & (times[0] <= high)) <= 1


def test_positive_constants_are_found_and_survive_slow_moments(devices):
    features, times = devices
    theta = [positive.learn_rates(features, row)[0] for row in times[1:]]
    centre = np.mean(theta, axis=0)
    picked = positive.choose_rates(features, 12, centre, 0.05)
    samples = times[0, picked].copy()
    samples[3] *= 3  # one sample caught a slow moment
    model = positive.fit_rates(features[picked], samples, centre, 0.03)
    assert np.mean(np.abs(model.predict(features) / times[0] - 1)) < 0.06
    low, high = model.interval(features)
    assert np.mean((low <= times[0]) & (times[0] <= high)) > 0.7


def test_exact_recovery_without_noise():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (50, 3))
    model = fewshot.fit(x[:20], x[:20] @ [1.0, 2.0, 3.0])
    assert np.allclose(model.predict(x), x @ [1.0, 2.0, 3.0], rtol=0.05)


def test_scale_of_the_device_does_not_matter(devices):
    features, times = devices
    prior = fewshot.learn_prior(features, times[1:])
    slow, fast = (fewshot.fit(features[:10], times[0, :10] * s, prior).predict(features) for s in (1e3, 1e-3))
    assert np.allclose(slow, fast * 1e6)


@pytest.mark.parametrize("times", [[1.0], [1.0, -1.0], [1.0, float("nan")], [[1.0, 2.0]]])
def test_bad_samples_are_refused(times):
    with pytest.raises(ArgumentError, match="times"):
        fewshot.fit(np.ones((2, 2)), times)


def test_bad_choices_are_refused():
    with pytest.raises(ArgumentError, match="count"):
        fewshot.choose(np.ones((3, 2)), 4)
    with pytest.raises(ArgumentError, match="criterion"):
        fewshot.choose(np.ones((3, 2)), 1, criterion="best")
    with pytest.raises(ArgumentError, match="features"):
        fewshot.choose(np.array([[np.nan]]), 1)


def test_families_share_a_gpu_not_a_processor():
    assert family("1080ti_32") == family("1080ti_1") == "1080ti"
    assert family("gold_6240") == "gold_6240" and family("gold_6226") != family("gold_6240")


def test_edges_that_an_engine_folds():
    cells = np.array([
        [3, 3, 1, 0, 3, 0],  # nothing reads node 2, a sum
        [3, 3, 0, 0, 3, 0],  # nothing reads node 2, one convolution: it stays, with weights of zero
        [4, 0, 0, 1, 0, 0],  # nothing reads node 1, a pool
        [0, 0, 4, 0, 3, 1],  # the output does not depend on the input
    ])
    runs, share = spaces.folded(cells)
    assert runs.astype(int).tolist() == [[1, 0, 0, 0, 1, 0], [1, 1, 0, 0, 1, 0], [0, 0, 0, 1, 0, 0],
                                         [0, 0, 1, 0, 1, 1]]
    assert share == pytest.approx([1, 1, 1, 1 / 15])


def test_counts_of_a_cell_by_hand():
    found = spaces.nasbench201(np.array([[3, 3, 1, 0, 3, 0], [2, 0, 0, 0, 2, 0], [0] * 6]))
    assert found["conv 3x3"].tolist() == [[3, 0, 0], [2, 0, 0]]  # all edges, those that an engine computes
    assert found["conv 1x1"].tolist() == [[0, 2, 0], [0, 2, 0]]


def test_features_of_a_device_that_waits_for_its_host():
    found = {"constant": np.ones(4), "operations": np.array([1e-3, 1.0, 1e3, 1.0]),
             "elements": np.array([1e-3, 1.0, 1e3, 1.0]), "kernels": np.array([2.0, 1.0, 1.0, 1.0])}
    made = spaces.overlapped(found)
    middle = 1 + spaces.BALANCES.index(1.0)
    assert made["starts"][0].tolist() == [2, 1, 1] and made["operations"][0].tolist() == [1e-3, 1, 1e3]  # both add
    time = made["starts"][middle] + made["operations"][middle]
    assert time == pytest.approx([2.0, 2 ** (1 / spaces.POWER), 1e3], rel=1e-3)  # the longer of both


def test_samples_tell_which_count_a_device_follows(devices):
    features, times = devices
    rng = np.random.default_rng(1)
    other = features * np.column_stack([np.ones(400), rng.integers(0, 2, (400, 4))])  # leaves some things out
    views = np.stack([features, other])
    prior = fewshot.learn_prior(views, times[1:])
    new = other @ np.array([0.1, 0.7, 0.6, 0.4, 0.1])
    picked = fewshot.choose(views, 10, prior)
    model = fewshot.fit(views[:, picked], new[picked], prior)
    assert model.shares[model.views == 1].sum() > 0.99
    assert np.median(np.abs(model.predict(views) / new - 1)) < 0.03


def test_two_slow_moments_among_ten_samples_do_no_harm(devices):
    features, times = devices
    prior = fewshot.learn_prior(features, times[1:])
    picked = fewshot.choose(features, 10, prior)
    samples = times[0, picked].copy()
    samples[[2, 6]] *= [1.7, 2.1]
    error = np.abs(fewshot.fit(features[picked], samples, prior).predict(features) / times[0] - 1)
    assert np.median(error) < 0.08


def test_a_device_like_no_other_is_still_learned(devices):
    features, times = devices
    prior = fewshot.learn_prior(features, times[1:])
    strange = features @ np.array([0.1, 0.02, 0.05, 3.0, 0.3])
    picked = fewshot.choose(features, 10, prior)
    model = fewshot.fit(features[picked], strange[picked], prior)
    assert np.corrcoef(model.predict(features), strange)[0, 1] > 0.99
