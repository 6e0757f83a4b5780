"""Sweep: one question over lists of names (models, systems, precisions ...) and lists of numbers.

Numbers are array axes of one call; names are run one after the other, or by any concurrent.futures.Executor.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from perfmodel.arguments import number
from perfmodel.axes import Axis
from perfmodel.errors import (
    ArgumentError,
    ImpossibleError,
    InfeasibleError,
    PerfmodelError,
    PrecisionError,
    UnknownNameError,
)
from perfmodel.explore.again import label_of, scenario_function
from perfmodel.result import Result

#: arguments of a scenario that name things; a list of them becomes an axis of texts
NAMES = ("workload", "system", "precision", "fidelity", "logits", "attention", "recompute", "runtime")


@dataclass(frozen=True)
class Cell:
    """Answer of one combination of names, as plain arrays that travel between processes."""

    axes: Mapping[str, Any]
    data: Mapping[str, Any]
    labels: Mapping[str, Sequence[str]]
    problem: str = ""


def sweep(
    scenario: str | Callable[..., Result],
    workload: Any,
    system: Any,
    *,
    executor: Executor | None = None,
    progress: Callable[[float], None] | None = None,
    metrics: Sequence[str] | None = None,
    **arguments: Any,
) -> Result:
    """Ask a scenario (``inference``, ``forward`` ...) over lists of names and numbers.

    workload, system, precision, fidelity ...  a name or object, or a list of them: an axis of texts
    any other argument                         a number, or a list of them: an axis of numbers
    executor  runs the combinations of names, and parts of the longest list of numbers, elsewhere
    metrics   what to keep (None: everything)

    Axes of names come first, in the order given.  A combination that cannot be computed (a precision that the
    device lacks, a model that does not fit) is nan, and `reason` says why.
    """
    function = scenario_function(scenario)
    if metrics is not None and not (isinstance(metrics, (list, tuple)) and all(map(_is_text, metrics))):
        raise ArgumentError("metrics", metrics, "a list of names of metrics")
    question = {"workload": workload, "system": system, **arguments}
    _known(function, question)
    named = {name: list(value) for name, value in question.items() if name in NAMES and _is_list(value)}
    for name, values in named.items():
        if not values:
            raise ArgumentError(name, values, "at least one name")
    fixed = {name: value for name, value in question.items() if name not in named}
    parts = _parts(fixed, executor)
    jobs = [
        {**fixed, **dict(zip(named, choice, strict=True)), **part}
        for choice in itertools.product(*named.values())
        for part in parts
    ]
    cells = _run(function, jobs, metrics, executor, progress)
    joined = [_join(cells[i : i + len(parts)], parts) for i in range(0, len(cells), len(parts))]
    name = scenario if isinstance(scenario, str) else getattr(scenario, "__name__", "sweep")
    return _stack(name, question, named, joined)


def _known(function: Callable[..., Result], question: Mapping[str, Any]) -> None:
    """Refuses an argument that the scenario does not have, before anything is computed."""
    parameters = inspect.signature(function).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    for name in question:
        if name not in parameters:
            raise UnknownNameError("argument", name, parameters)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _parts(fixed: Mapping[str, Any], executor: Executor | None) -> list[dict[str, Any]]:
    """Pieces of the longest list of numbers, one per worker; a single empty piece without an executor."""
    lists = {
        name: value for name, value in fixed.items() if name not in NAMES and np.ndim(_values(value)) == 1
    }
    if executor is None or not lists:
        return [{}]
    name = max(lists, key=lambda key: len(_values(lists[key])))
    values = number(name, lists[name], low=-np.inf, above=False)
    workers = int(getattr(executor, "_max_workers", 0) or 4)
    pieces = np.array_split(values.values, min(workers, len(values.values)))
    return [{name: Axis(values.name, piece)} for piece in pieces]


def _values(value: Any) -> Any:
    if isinstance(value, Axis):
        return value.values
    return value if isinstance(value, (list, tuple, range, np.ndarray)) else 0.0


def _run(
    function: Callable[..., Result],
    jobs: Sequence[Mapping[str, Any]],
    metrics: Sequence[str] | None,
    executor: Executor | None,
    progress: Callable[[float], None] | None,
) -> list[Cell]:
    if executor is None:
        found: Any = (solve(function, job, metrics) for job in jobs)
    else:  # submit, not map: Dask and Ray executors share only this much of the interface
        found = (
            future.result() for future in [executor.submit(solve, function, job, metrics) for job in jobs]
        )
    cells = []
    for cell in found:
        cells.append(cell)
        if progress is not None:
            progress(len(cells) / len(jobs))
    return cells


def solve(function: Callable[..., Result], job: Mapping[str, Any], metrics: Sequence[str] | None) -> Cell:
    """One combination; what cannot be computed gives a Cell with a problem."""
    try:
        result = function(**job)
    except (InfeasibleError, PrecisionError, ImpossibleError) as error:
        return Cell({}, {}, {}, str(error))
    for metric in metrics or ():
        if metric not in result.metrics:
            raise UnknownNameError("metric", metric, result.metrics)
    wanted = result.metrics if metrics is None else [m for m in result.metrics if m in (*metrics, "reason")]
    for metric in wanted:
        getattr(result, metric)  # metrics that are computed on demand
    data = {metric: np.asarray(result.data[metric]) for metric in wanted}
    labels = {name: tuple(result.labels[name]) for name in result.labels if name in data}
    return Cell(dict(result.axes), data, labels)


def _join(cells: Sequence[Cell], parts: Sequence[Mapping[str, Any]]) -> Cell:
    """The pieces of one list of numbers as one Cell again."""
    good = [cell for cell in cells if not cell.problem]
    if len(cells) == 1 or not good:
        return cells[0]
    axis = next(iter(parts[0].values())).name
    place = list(good[0].axes).index(axis)
    axes = {**good[0].axes, axis: np.concatenate([cell.axes[axis] for cell in good])}
    data = {
        metric: np.concatenate([_full(cell.data[metric], cell.axes) for cell in good], axis=place)
        for metric in good[0].data
    }
    return Cell(axes, data, good[0].labels)


def _full(value: Any, axes: Mapping[str, Any]) -> Any:
    return np.broadcast_to(value, tuple(len(values) for values in axes.values()))


def _stack(name: str, question: Mapping[str, Any], named: Mapping[str, Any], cells: Sequence[Cell]) -> Result:
    """Cells as one Result whose first axes are the names."""
    good = [cell for cell in cells if not cell.problem]
    if not good:
        raise PerfmodelError(
            "no combination can be computed: " + "; ".join(sorted({c.problem for c in cells}))
        )
    inner = _common_axes(good)
    outer = {key: np.asarray([label_of(v) for v in values], dtype=object) for key, values in named.items()}
    shape = tuple(len(v) for v in outer.values())
    inner_shape = tuple(len(v) for v in inner.values())
    labels, reasons = _labels(cells)
    data: dict[str, Any] = {}
    for metric in dict.fromkeys(m for cell in good for m in cell.data):
        blocks = [_block(cell, metric, inner_shape, labels, reasons) for cell in cells]
        data[metric] = np.stack(blocks).reshape(shape + inner_shape)
    if any(cell.problem for cell in cells) and "reason" not in data:
        blocks = [np.full(inner_shape, reasons.index(cell.problem)) for cell in cells]
        data["reason"] = np.stack(blocks).reshape(shape + inner_shape)
    axes = {**outer, **inner}
    texts = {metric: labels[metric] for metric in labels if metric in data}
    if "reason" in data:
        texts["reason"] = tuple(reasons)
    if not axes:
        data = {metric: value.reshape(()) for metric, value in data.items()}
    fidelity = question.get("fidelity", "roofline")
    shown = fidelity if isinstance(fidelity, str) else ", ".join(fidelity)
    return Result(name, shown, axes, data, dict(question), labels=texts)


def _common_axes(cells: Sequence[Cell]) -> Mapping[str, Any]:
    inner = cells[0].axes
    for cell in cells[1:]:
        same = list(cell.axes) == list(inner) and all(len(cell.axes[k]) == len(inner[k]) for k in inner)
        if not same:
            raise ArgumentError("system", "systems with different axes", "the same varied fields in each")
    return inner


def _labels(cells: Sequence[Cell]) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Texts of the labelled metrics, and all reasons with those of whole cells behind them."""
    labels: dict[str, tuple[str, ...]] = {}
    reasons: dict[str, None] = {"": None}
    for cell in cells:
        for metric, texts in cell.labels.items():
            if metric == "reason":
                reasons.update(dict.fromkeys(texts))
            else:
                labels.setdefault(metric, (*texts, ""))
    reasons.update(dict.fromkeys(cell.problem for cell in cells if cell.problem))
    return labels, list(reasons)


def _block(
    cell: Cell,
    metric: str,
    shape: tuple[int, ...],
    labels: Mapping[str, Sequence[str]],
    reasons: Sequence[str],
) -> Any:
    """Values of one metric in one cell; a cell with a problem is nan, infeasible, and says why."""
    if metric == "reason":
        if cell.problem:
            return np.full(shape, reasons.index(cell.problem))
        codes = np.array([reasons.index(text) for text in cell.labels["reason"]])
        return np.broadcast_to(codes[np.asarray(cell.data["reason"], dtype=np.int64)], shape)
    if cell.problem or metric not in cell.data:
        if metric in labels:
            return np.full(shape, len(labels[metric]) - 1)
        return np.full(shape, 0.0 if metric == "feasible" else np.nan)
    return np.broadcast_to(cell.data[metric], shape)
