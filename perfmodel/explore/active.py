"""Search with predictors in the loop: measure a few candidates, learn, measure where the front is predicted.

All objectives are minimised.  Candidates are rows of a table, so a predictor is asked about all of them at
once and the predicted front is exact; what costs is the measurement.

References
[1] Cummings et al., A Hardware-Aware Framework for Accelerating Neural Architecture Search Across Modalities,
    arXiv:2205.10358 (LINAS: predictors refitted after each batch of measurements).
[2] Zitzler, Thiele, Multiobjective Evolutionary Algorithms, IEEE TEVC 1999, doi:10.1109/4235.797969
    (hypervolume).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError
from perfmodel.explore.pareto import non_dominated

#: objectives of some candidates: indices [k] -> values [k, M]
Measure = Callable[[Any], Any]


def hypervolume(points: Any, reference: Any) -> float:
    """Area between the front of points [N, 2] and a reference point that bounds them [2].

    Points beyond the reference add nothing.
    """
    costs, corner = np.asarray(points, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if costs.ndim != 2 or costs.shape[1] != 2 or corner.shape != (2,):
        raise ArgumentError("points", costs.shape, "[N, 2], and a reference of two values")
    costs = costs[np.all(costs < corner, axis=1)]
    if not len(costs):
        return 0.0
    costs = costs[np.lexsort(costs.T[::-1])]
    lowest = np.minimum.accumulate(np.concatenate([[corner[1]], costs[:, 1]]))
    return float(np.sum((corner[0] - costs[:, 0]) * (lowest[:-1] - lowest[1:])))


def predicted(features: Any, known: Any, values: Any, ridge: float = 1e-3) -> Any:
    """Objectives of all candidates [N, M] from those of the known ones, by ridge regression.

    features [N, F], known [k] row numbers, values [k, M]; a constant is added.
    """
    x = np.asarray(features, dtype=np.float64)
    spread = x.std(axis=0)
    x = np.column_stack([np.ones(len(x)), (x - x.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0)])
    inner = x[known].T @ x[known] + ridge * len(known) * np.eye(x.shape[1])
    return x @ np.linalg.solve(inner, x[known].T @ values)


def front_first(costs: Any, count: int, seen: Any) -> Any:
    """Candidates not seen yet, the predicted front first, then the front of the rest, and so on [count]."""
    left = np.setdiff1d(np.arange(len(costs)), seen)
    chosen: list[int] = []
    while len(chosen) < count and len(left):
        best = left[non_dominated(costs[left])]
        chosen += best.tolist()
        left = np.setdiff1d(left, best)
    return np.array(chosen[:count], dtype=np.int64)


def iterative(features: Any, measure: Measure, batch: int = 50, seed: int = 0) -> Iterator[tuple[Any, Any]]:
    """Measured candidates and objectives after each batch [1]: the first is drawn, the rest predicted."""
    known = np.random.default_rng(seed).choice(len(features), batch, replace=False)
    values = np.asarray(measure(known), dtype=np.float64)
    while True:
        yield known, values
        more = front_first(predicted(features, known, values), batch, known)
        if not len(more):
            return
        known, values = np.concatenate([known, more]), np.concatenate([values, measure(more)])


def one_shot(
    features: Any, measure: Measure, samples: int, batch: int = 50, seed: int = 0
) -> tuple[Any, Any]:
    """Measured candidates and objectives with predictors fitted once: `samples` drawn, then one batch."""
    known = np.random.default_rng(seed).choice(len(features), samples, replace=False)
    values = np.asarray(measure(known), dtype=np.float64)
    more = front_first(predicted(features, known, values), batch, known)
    return np.concatenate([known, more]), np.concatenate([values, measure(more)])
