"""Pareto front: the points that no other point beats in every objective."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError, UnknownNameError
from perfmodel.result import Result
from perfmodel.table import Column, Table

#: metrics of which more is better; of all others less is better
MORE_IS_BETTER = ("throughput", "goodput", "mfu", "mbu", "request_rate", "inference_rate", "accuracy")


def direction(metric: str) -> int:
    """+1 if more of the metric is better, else -1."""
    return 1 if metric in MORE_IS_BETTER else -1


def points(result: Result, index: Any, metrics: Iterable[str], title: str) -> Table:
    """Axes and some metrics of the points at flat positions [k]."""
    columns, cells = [], []
    for places, (name, values) in zip(
        np.unravel_index(index, result.shape), result.axes.items(), strict=True
    ):
        columns.append(Column(name, "" if isinstance(values[0], str) else "1"))
        cells.append([values[i] if isinstance(values[0], str) else float(values[i]) for i in places])
    for metric in metrics:
        columns.append(Column(metric, result.unit(metric)))
        cells.append(np.asarray(getattr(result, metric)).reshape(-1)[index].tolist())
    return Table(tuple(columns), tuple(zip(*cells, strict=True)), title)


@dataclass(frozen=True)
class Front:
    """Non-dominated points of a result.

    index       flat positions in the result's points, best first objective first
    objectives  metrics, with their direction
    """

    result: Result
    objectives: tuple[str, ...]
    index: Any

    def __len__(self) -> int:
        return len(self.index)

    def table(self) -> Table:
        """Axes and objectives of the points on the front."""
        return points(self.result, self.index, self.objectives, "points that no other point beats")

    def to_pandas(self) -> Any:
        """pandas.DataFrame of the table (needs pandas)."""
        return self.table().to_pandas()

    def plot(self) -> Any:
        """All points and the front, for two objectives."""
        from perfmodel.report.plots import pareto as picture

        if len(self.objectives) != 2:
            raise ArgumentError("objectives", self.objectives, "two objectives for a picture")
        return picture(self.result, *self.objectives)

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table().to_html()


def possible(result: Result) -> Any:
    """Mask of the points that can be: all where a scenario refuses none."""
    return np.greater(result.feasible, 0.0) if "feasible" in result.metrics else np.ones(result.shape, bool)


def pareto(result: Result, objectives: Iterable[str] = ("tpot", "throughput")) -> Front:
    """Non-dominated feasible points of a sweep.

    objectives  metrics; ``-name`` minimises and ``+name`` maximises, a plain name takes its usual direction
                (throughput, goodput and utilisations up, all others down)

    Of points with equal objectives the first is kept.  Raises ArgumentError for a result without axes.
    """
    asked = [objectives] if isinstance(objectives, str) else list(objectives)
    if not result.axes:
        raise ArgumentError("result", result.scenario, "a sweep: a result with axes")
    if not asked:
        raise ArgumentError("objectives", asked, "at least one metric")
    names = [name.lstrip("+-") for name in asked]
    for name in names:
        if name not in result.metrics or name in result.labels:
            raise UnknownNameError("metric", name, [m for m in result.metrics if m not in result.labels])
    signs = [
        -direction(name) if text[0] not in "+-" else (1 if text[0] == "-" else -1)
        for text, name in zip(asked, names, strict=True)
    ]
    costs = np.stack(
        [
            sign * np.asarray(getattr(result, name), dtype=np.float64).reshape(-1)
            for sign, name in zip(signs, names, strict=True)
        ],
        axis=1,
    )
    costs[~possible(result).reshape(-1)] = np.nan  # some metrics tell by how much a point is too large
    return Front(result, tuple(names), non_dominated(costs))


def non_dominated(costs: Any) -> Any:
    """Rows of `costs` [points, objectives], all to be minimised, that no other row dominates.

    A row dominates another if it is nowhere larger and somewhere smaller.  Rows with nan never count.
    Rows are sorted lexicographically, so a row can only be dominated by an earlier one; each kept row then
    removes what it dominates [1].

    [1] Kung, Luccio, Preparata, On finding the maxima of a set of vectors, J. ACM 22(4), 1975,
        doi:10.1145/321906.321910.
    """
    points = np.asarray(costs, dtype=np.float64)
    alive = np.flatnonzero(np.all(np.isfinite(points), axis=1))
    order = alive[np.lexsort(points[alive].T[::-1])]
    if points.shape[1] <= 2:
        return order[_staircase(points[order])]
    rows, kept = points[order], []
    left = np.arange(len(order))
    while left.size:
        first = left[0]
        kept.append(first)
        better_somewhere = np.any(rows[left] < rows[first], axis=1)
        left = left[better_somewhere]
    return order[kept]


def _staircase(rows: Any) -> Any:
    """Mask of the non-dominated rows among sorted rows with one or two objectives."""
    if not len(rows):
        return np.zeros(0, dtype=bool)
    last = rows[:, -1] if rows.shape[1] == 2 else rows[:, 0]
    best_before = np.concatenate([[np.inf], np.minimum.accumulate(last)[:-1]])
    return last < best_before


__all__: Sequence[str] = ["Front", "direction", "non_dominated", "pareto"]
