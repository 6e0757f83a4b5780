"""Scores of tables whose rows are predicted one by one: errors by group, and what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from perfmodel.errors import InfeasibleError, PerfmodelError
from perfmodel.validation.measured.statistics import errors


@dataclass(frozen=True)
class Predicted:
    """Predictions of rows [N], nan where there is none, and the reason of those by row."""

    values: Any
    why: Mapping[int, str] = field(default_factory=dict)


def each(count: int, predict: Callable[[int], float]) -> Predicted:
    """Prediction of each row [N]; nan where the row names what is not described or does not fit."""
    found, why = np.full(count, np.nan), {}
    for i in range(count):
        try:
            found[i] = float(predict(i))
        except InfeasibleError as error:
            why[i] = str(error).partition(":")[0]
        except PerfmodelError as error:
            why[i] = str(error)
    return Predicted(found, why)


def counted(reason: str, names: Sequence[str]) -> dict[str, int]:
    """Reason -> rows that it left out, given what each of them names; nothing where there are none."""
    return {f"{reason}: {name}": count for name, count in Counter(map(str, names)).items()}


def scored(
    metrics: Mapping[str, tuple[Any, Any]],
    labels: Mapping[str, Sequence[str]],
    fidelity: str,
    split: str = "nothing fitted",
    otherwise: str = "no prediction for the row",
) -> dict[str, Any]:
    """Scores of a table.

    metrics    name -> predicted [N] and measured [N], nan where there is none
    labels     name -> what a row belongs to [N]; rows with the same labels are a group
    split      which rows the constants of a prediction come from
    otherwise  why a row has no prediction, where that row does not say
    """
    keys = np.array([" | ".join(parts) for parts in zip(*labels.values(), strict=True)])
    groups, summary, left = [], {}, Counter[str]()
    for metric, (predicted, measured) in metrics.items():
        given = predicted if isinstance(predicted, Predicted) else Predicted(predicted)
        guess, real = np.asarray(given.values, dtype=np.float64), np.asarray(measured, dtype=np.float64)
        stated = np.isfinite(real) & (real > 0)
        usable = stated & np.isfinite(guess)
        left.update(f"{metric}: {given.why.get(int(i), otherwise)}" for i in np.flatnonzero(stated & ~usable))
        if not usable.any():
            continue
        summary[metric] = errors(guess[usable], real[usable])
        for key in dict.fromkeys(keys[usable]):
            mine = usable & (keys == key)
            names = dict(zip(labels, str(key).split(" | "), strict=True))
            groups.append({"metric": metric, **names, **errors(guess[mine], real[mine])})
    return {
        "fidelity": fidelity, "split": split, "summary": summary, "groups": groups, "skipped": dict(left),
    }
