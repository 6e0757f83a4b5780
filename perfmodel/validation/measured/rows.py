"""Scores of tables whose rows are predicted one by one: errors by group, and what was left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from perfmodel.errors import PerfmodelError
from perfmodel.validation.measured.statistics import errors


def each(count: int, predict: Callable[[int], float]) -> Any:
    """Prediction of each row [N]; nan where the row names what is not described or does not fit."""
    found = np.full(count, np.nan)
    for i in range(count):
        try:
            found[i] = float(predict(i))
        except PerfmodelError:
            continue
    return found


def scored(
    metrics: Mapping[str, tuple[Any, Any]],
    labels: Mapping[str, Sequence[str]],
    fidelity: str,
    split: str = "nothing fitted",
) -> dict[str, Any]:
    """Scores of a table.

    metrics  name -> predicted [N] and measured [N], nan where there is none
    labels   name -> what a row belongs to [N]; rows with the same labels are a group
    split    which rows the constants of a prediction come from
    """
    keys = np.array([" | ".join(parts) for parts in zip(*labels.values(), strict=True)])
    groups, summary, left = [], {}, {}
    for metric, (predicted, measured) in metrics.items():
        guess, real = np.asarray(predicted, dtype=np.float64), np.asarray(measured, dtype=np.float64)
        stated = np.isfinite(real) & (real > 0)
        usable = stated & np.isfinite(guess)
        left[metric] = int(np.sum(stated & ~usable))
        if not usable.any():
            continue
        summary[metric] = errors(guess[usable], real[usable])
        for key in dict.fromkeys(keys[usable]):
            mine = usable & (keys == key)
            names = dict(zip(labels, str(key).split(" | "), strict=True))
            groups.append({"metric": metric, **names, **errors(guess[mine], real[mine])})
    return {
        "fidelity": fidelity, "split": split, "summary": summary, "groups": groups,
        "skipped": {f"{metric}: no prediction for the row": count for metric, count in left.items() if count},
    }
