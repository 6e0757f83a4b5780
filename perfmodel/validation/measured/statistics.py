"""Statistics of predictions beside measurements.  Errors are fractions: 0.05 is 5 %."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

#: keys that hold a fraction
ERRORS = ("mape", "median", "p90", "bias")


def errors(
    predicted: Any, measured: Any, low: Any = None, high: Any = None, *, ranks: bool = True
) -> dict[str, Any]:
    """Error summary of equally long arrays.

    n; mape, median and p90 of |predicted / measured - 1|; bias: exp of the mean log ratio, less 1; spearman
    and kendall rank correlation (None below 3 rows); coverage: share of rows inside low..high, where given
    """
    guess, real = np.asarray(predicted, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    apart = np.abs(guess / real - 1.0)
    found: dict[str, Any] = {
        "n": int(real.size),
        "mape": float(np.mean(apart)),
        "median": float(np.median(apart)),
        "p90": float(np.quantile(apart, 0.9)),
        "bias": float(np.expm1(np.mean(np.log(np.maximum(guess, 1e-300) / real)))),
    }
    if ranks:
        found["spearman"], found["kendall"] = _ranks(guess, real)
    if low is not None and high is not None:
        found["coverage"] = float(np.mean((np.asarray(low) <= real) & (real <= np.asarray(high))))
    return found


def _ranks(guess: Any, real: Any) -> tuple[float | None, float | None]:
    if real.size < 3 or np.ptp(guess) == 0 or np.ptp(real) == 0:
        return None, None
    from scipy.stats import kendalltau, spearmanr

    return float(spearmanr(guess, real)[0]), float(kendalltau(guess, real)[0])


def averaged(groups: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Summary of groups that count alike (devices): the sum of rows, and the mean of each statistic.

    Ranks are compared within a device; pooled over devices they would only show which device is slow.
    """
    listed = list(groups)
    summary: dict[str, Any] = {"n": int(sum(g["n"] for g in listed))}
    for name in (*ERRORS, "spearman", "kendall", "coverage"):
        values = [g[name] for g in listed if g.get(name) is not None]
        if values:
            summary[name] = float(np.mean(values))
    return summary


def as_fractions(scores: Mapping[str, Any]) -> dict[str, Any]:
    """The scores with errors that were given in percent as fractions."""

    def inner(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                k: v / 100.0 if k in ERRORS and isinstance(v, float) else inner(v) for k, v in value.items()
            }
        return [inner(v) for v in value] if isinstance(value, list) else value

    return {key: inner(value) for key, value in scores.items()}
