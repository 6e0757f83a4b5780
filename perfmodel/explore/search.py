"""Search: the best point of a space under constraints, by evaluating all of it.

The whole space is one sweep: numbers are array axes, names are run one after the other.  Ten million points
take seconds, so nothing has to be guessed and the answer is exact.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError, InfeasibleError, UnknownNameError
from perfmodel.explore.pareto import direction, points, possible
from perfmodel.explore.sweep import sweep
from perfmodel.result import Result
from perfmodel.table import Table, show
from perfmodel.units import parse

_RULE = re.compile(r"\s*(?P<metric>[a-z_][a-z0-9_]*)\s*(?P<sign><=|>=|<|>)\s*(?P<value>.+?)\s*\Z")


@dataclass(frozen=True)
class Constraint:
    """``metric <= limit`` or ``metric >= limit``, in SI units."""

    metric: str
    upper: bool
    limit: float
    text: str

    def holds(self, result: Result) -> Any:
        """Mask of the points that keep it; a point without a value does not."""
        values = np.asarray(getattr(result, self.metric), dtype=np.float64)
        return values <= self.limit if self.upper else values >= self.limit


@dataclass(frozen=True, repr=False)
class Best:
    """Answer of pm.search.

    result     all points of the space
    objective  metric that is best here
    order      flat positions of the points that keep every constraint, best first
    """

    result: Result
    objective: str
    constraints: tuple[Constraint, ...]
    order: Any

    @property
    def point(self) -> dict[str, Any]:
        """Axes of the best point."""
        where = np.unravel_index(int(self.order[0]), self.result.shape)
        return {
            name: values[i] if isinstance(values[i], str) else float(values[i])
            for i, (name, values) in zip(where, self.result.axes.items(), strict=True)
        }

    @property
    def value(self) -> float:
        """The objective at the best point."""
        return float(np.asarray(getattr(self.result, self.objective)).reshape(-1)[self.order[0]])

    def table(self, top: int = 10) -> Table:
        """The best points: axes, objective, constrained metrics."""
        metrics = tuple(dict.fromkeys([self.objective, *(c.metric for c in self.constraints)]))
        size = int(np.prod(self.result.shape))
        title = f"best {self.objective} of {len(self.order):,} points that keep the constraints, of {size:,}"
        return points(self.result, self.order[:top], metrics, title)

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table().to_html()


def search(
    scenario: str | Callable[..., Result],
    workload: Any,
    system: Any,
    objective: str = "throughput",
    where: str | Iterable[str] = (),
    **space: Any,
) -> Best:
    """Best point of a space under constraints; every combination is evaluated.

    objective  metric; throughputs and utilisations are maximised, all others minimised; ``+name`` and
               ``-name`` say it explicitly
    where      constraints such as ``"ttft <= 200 ms"`` or ``"throughput >= 1 ktoken/s"``
    space      as in pm.sweep: names, numbers, lists of either

    Raises InfeasibleError if no point keeps the constraints, and says which one leaves how many.
    """
    grid = sweep(scenario, workload, system, **space)
    if not isinstance(objective, str):
        raise ArgumentError("objective", objective, "one metric; pm.pareto(result, metrics) weighs several")
    metric = objective.lstrip("+-")
    _known(grid, metric)
    rules = tuple(read(text, grid) for text in ([where] if isinstance(where, str) else where))
    if not grid.axes:
        raise ArgumentError("space", "one point", "at least one list to choose from")
    upward = direction(metric) > 0 if objective[:1] not in ("+", "-") else objective[0] == "+"
    values = np.asarray(getattr(grid, metric), dtype=np.float64)
    feasible = np.isfinite(values) & possible(grid)
    kept = feasible
    for rule in rules:
        kept = kept & rule.holds(grid)
    if not np.any(kept):
        raise InfeasibleError(_why(grid, rules, feasible))
    score = np.where(kept, -values if upward else values, np.inf).reshape(-1)
    order = np.argsort(score, kind="stable")[: int(kept.sum())]
    return Best(grid, metric, rules, order)


def read(text: str, result: Result) -> Constraint:
    """A constraint from text.  Raises ArgumentError, UnknownNameError or UnitError."""
    match = _RULE.match(text) if isinstance(text, str) else None
    if match is None:
        raise ArgumentError("where", text, "metric <= value or metric >= value, such as ttft <= 200 ms")
    _known(result, match["metric"])
    limit = parse(match["value"], result.unit(match["metric"]))
    return Constraint(match["metric"], match["sign"].startswith("<"), limit, text.strip())


def _known(result: Result, metric: str) -> None:
    if metric not in result.metrics or metric in result.labels:
        raise UnknownNameError("metric", metric, [m for m in result.metrics if m not in result.labels])


def _why(result: Result, rules: Iterable[Constraint], feasible: Any) -> str:
    """How many points each constraint leaves, and the best value that there is."""
    words = [f"no point keeps the constraints; {int(feasible.sum()):,} of {feasible.size:,} can be computed"]
    for rule in rules:
        values = np.asarray(getattr(result, rule.metric), dtype=np.float64)[feasible]
        if values.size:
            best = values.min() if rule.upper else values.max()
            kept = int(np.sum(rule.holds(result) & feasible))
            words.append(f"{rule.text}: kept by {kept:,}, best is {show(best, result.unit(rule.metric))}")
    return "; ".join(words)
