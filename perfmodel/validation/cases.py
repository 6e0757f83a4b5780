"""Cases: a published number, its tolerance, and the public-API call that predicts it.

``published.csv`` holds the numbers with source, evidence class and gate.  A module of
``perfmodel.validation.papers`` is one reference paper; in it a function marked with ``@predicts`` returns
the prediction for one or several rows.
"""

from __future__ import annotations

import csv
import importlib
import math
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfmodel.arguments import choice
from perfmodel.engine.fidelity import FIDELITIES
from perfmodel.errors import ArgumentError, PerfmodelError, UnknownNameError

if TYPE_CHECKING:
    from perfmodel.validation.report import Validation

#: what a gate asks of a prediction
GATES = ("exact", "tolerance", "ordering", "bound", "band", "report")


@dataclass(frozen=True)
class Published:
    """A published number.

    gate       exact, tolerance, ordering, bound, band (these can fail) or report (printed, never fails)
    evidence   P paper, R authors' repository, S other first-hand source, D derived, T third party, A abstract
    rel_tol    fraction of the value; abs_tol: in the unit of the value
    """

    case: str
    group: str
    paper: str
    title: str
    reference: str
    gate: str
    quantity: str
    workload: str
    hardware: str
    config: str
    value: float
    unit: str
    source: str
    evidence: str
    rel_tol: float | None
    abs_tol: float | None
    tolerance: str
    note: str

    def allows(self, predicted: float) -> bool:
        """Whether the prediction lies within the tolerance."""
        limits = [t for t in (self.abs_tol, None if self.rel_tol is None else self.rel_tol * abs(self.value))
                  if t is not None]
        if not limits:
            return True
        return abs(predicted - self.value) <= max(limits) * (1.0 + 1e-9)


@dataclass(frozen=True)
class Prediction:
    """How a case is predicted.

    fidelity  roofline, dataflow, calibrated or count (no time model involved)
    reason    why a gated case may miss; a miss with a reason is listed, one without fails the tests
    side      of a bound: ``least``, the prediction must not lie below it, or ``most``
    """

    function: Callable[..., float]
    arguments: tuple[Any, ...]
    fidelity: str
    reason: str
    side: str = ""


@dataclass(frozen=True)
class Outcome:
    """Prediction beside publication."""

    published: Published
    predicted: float
    fidelity: str
    reason: str
    problem: str = ""
    side: str = ""
    ordered: bool = True

    @property
    def error(self) -> float:
        """Relative error; absolute where the published value is 0."""
        value = self.published.value
        return (self.predicted - value) / abs(value) if value else self.predicted

    @property
    def within(self) -> bool:
        """What the gate asks: the tolerance, the side of a bound, or the order inside the group."""
        if self.problem or not math.isfinite(self.predicted):
            return False
        if self.published.gate == "ordering":
            return self.ordered
        if self.side:
            low, high = sorted((self.predicted, self.published.value))
            right = self.predicted == (high if self.side == "least" else low)
            return right or (self.limited and self.published.allows(self.predicted))
        return self.published.allows(self.predicted)

    @property
    def limited(self) -> bool:
        """The published number comes with a numeric tolerance."""
        return self.published.rel_tol is not None or self.published.abs_tol is not None

    @property
    def measured(self) -> bool:
        """The distance from the published number is an error: not where only a side of it is published."""
        return math.isfinite(self.predicted) and (self.limited or not self.side)

    @property
    def status(self) -> str:
        """``pass``, ``FAIL``, ``miss`` (outside, with its reason written down) or ``report``."""
        if self.problem:
            return "FAIL"
        if self.published.gate == "report" and not self.limited:
            return "report"
        if self.within:
            return "pass"
        if self.published.gate == "report":
            return "report"
        return "miss" if self.reason else "FAIL"


_PREDICTIONS: dict[str, Prediction] = {}


def predicts(
    cases: str | Mapping[str, Any] | Sequence[str], *, fidelity: str = "roofline",
    reason: str | Mapping[str, str] = "", side: str = "",
) -> Callable[[Callable[..., float]], Callable[..., float]]:
    """Mark a function as the prediction of one case, of several equal ones, or of a table case -> arguments.

    A tuple of arguments is unpacked, any other value is passed as the only argument.  `reason` of a miss may
    be given for all or by case; `side` of a bound is ``least`` or ``most``.
    """
    if isinstance(cases, str):
        table: dict[str, tuple[Any, ...]] = {cases: ()}
    elif isinstance(cases, Mapping):
        table = {name: args if isinstance(args, tuple) else (args,) for name, args in cases.items()}
    else:
        table = dict.fromkeys(cases, ())

    def mark(function: Callable[..., float]) -> Callable[..., float]:
        for name, arguments in table.items():
            if name not in published():
                raise UnknownNameError("case", name, published())
            if name in _PREDICTIONS:
                raise ArgumentError("case", name, "a case that is predicted once")
            why = reason if isinstance(reason, str) else reason.get(name, "")
            _PREDICTIONS[name] = Prediction(function, arguments, fidelity, why, side)
        return function

    return mark


@cache
def published() -> Mapping[str, Published]:
    """All published numbers by case name."""
    with Path(__file__).with_name("published.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {row["case_id"]: _read(row) for row in rows}


def starting(name: str) -> dict[str, str]:
    """Cases whose names start so, each as its own argument: for predictions by case."""
    return {case: case for case in published() if case.startswith(name)}


def _read(row: Mapping[str, str]) -> Published:
    def optional(text: str) -> float | None:
        return float(text) if text else None

    return Published(
        row["case_id"], row["group"], row["paper_id"], row["paper_title"], row["arxiv_or_doi"], row["gate"],
        row["quantity"], row["workload"], row["hardware"], row["config"], float(row["value"]), row["unit"],
        row["source"], row["evidence"], optional(row["rel_tol"]), optional(row["abs_tol"]), row["tolerance"],
        row["note"],
    )


@cache
def _predictions() -> Mapping[str, Prediction]:
    from perfmodel.validation import papers

    for module in pkgutil.iter_modules(papers.__path__):
        importlib.import_module(f"{papers.__name__}.{module.name}")
    return _PREDICTIONS


def case_names() -> tuple[str, ...]:
    """Names of all cases with a prediction."""
    return tuple(name for name in published() if name in _predictions())


def select(names: str | Iterable[str] | None) -> tuple[str, ...]:
    """Cases by name, group or paper (``S110-T1-01``, ``S110-T1``, ``S110``); None: all."""
    known = case_names()
    if names is None:
        return known
    wanted = [names] if isinstance(names, str) else list(names) if isinstance(names, Iterable) else [names]
    if not all(isinstance(want, str) for want in wanted):
        raise ArgumentError("names", names, "a case, a group or a paper such as S110, or a list of these")
    found: dict[str, None] = {}
    for want in wanted:
        hits = [n for n in known if want in (n, published()[n].group, published()[n].paper)]
        if not hits:
            groups = {published()[n].group for n in known} | {published()[n].paper for n in known}
            raise UnknownNameError("case", want, [*known, *sorted(groups)])
        found.update(dict.fromkeys(hits))
    return tuple(found)


def run(name: str) -> Outcome:
    """Predict one case.  A prediction that raises is an Outcome with a problem."""
    row, how = published()[name], _predictions()[name]
    try:
        predicted = _value(name)
        ordered = row.gate != "ordering" or _in_order(row)
    except PerfmodelError as error:
        return Outcome(row, math.nan, how.fidelity, how.reason, str(error))
    return Outcome(row, predicted, how.fidelity, how.reason, side=how.side, ordered=ordered)


@cache
def _value(name: str) -> float:
    how = _predictions()[name]
    return float(how.function(*how.arguments))


def _in_order(row: Published) -> bool:
    """The row lies on the right side of every other row of its group that is gated by order."""
    others = [published()[n] for n in case_names() if published()[n].group == row.group]
    return all(
        (_value(row.case) - _value(other.case)) * (row.value - other.value) >= 0.0
        for other in others if other.unit == row.unit and other.gate == "ordering"
    )


def validate(
    names: str | Iterable[str] | None = None, *, data: str | Path | None = None, fidelity: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> Validation:
    """Predictions beside published numbers, or the score on a file of measurements.

    names     cases, groups or papers; None: all
    data      a CSV file with the columns of a known data set, scored by group
    fidelity  score this fidelity only (None: all that apply)
    """
    from perfmodel.validation.report import Validation

    if data is not None:
        if names is not None:
            raise ArgumentError("names, data", "both", "one of the two: published cases, or a file")
        from perfmodel.validation.measured import score

        return Validation(scores=score(Path(data), fidelity))
    if fidelity is not None:
        choice("fidelity", fidelity, FIDELITIES)
    chosen = select(names)
    outcomes = []
    for done, name in enumerate(chosen, start=1):
        outcomes.append(run(name))
        if progress is not None:
            progress(done / len(chosen))
    return Validation(outcomes=tuple(outcomes))
