"""pm.calibrate: few dimensionless corrections of a device from measured times.

    t_i = sum over ops of count x ( max_r a_ir / (rate_r f_r) + l launch_i )      f_r, l: bounded, start at 1

Bounded least squares on the logarithm of the time with a robust loss.  From 5 to 20 rows the logarithm of
each correction has a normal law around 0 besides, so that few rows do not say more than they know [1].  A
fit that the rows cannot determine is refused, with the reason.  Nominal numbers are never touched.

Reference
[1] Kaipio, Somersalo, Statistical and Computational Inverse Problems, Springer 2005, doi:10.1007/b138659.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from perfmodel.arguments import number
from perfmodel.engine.achieved import LAUNCH
from perfmodel.errors import ArgumentError
from perfmodel.explore.fewshot import greedy
from perfmodel.explore.measurements import Measured, check_times, columns_of, measured, only
from perfmodel.hardware.catalog import device as device_of
from perfmodel.hardware.device import Device

#: bounds of a fraction of a nominal rate, and of the multiple of the launch overhead
FRACTION, MULTIPLE = (0.01, 1.3), (0.05, 1000.0)
#: up to this many rows the prior on the corrections counts; its standard deviation (of the logarithm)
FEW, PRIOR = 20, 0.7
#: a correction whose change by 1 % changes no row by 0.02 % is not seen by the rows
SEEN = 0.02
#: worst ratio of singular values of the sensitivities
CONDITION = 200.0
LEAST_ROWS, FOLDS = 3, 5

Columns = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Fit:
    """Corrections and how well they do: values by resource, held-out predictions [N]."""

    values: Mapping[str, float]
    held_out: Any


def calibrate(
    device: str | Path | Device,
    measurements: str | Path | Columns,
    *,
    family: str | None = None,
    fixed: Mapping[str, float] | None = None,
    name: str | None = None,
) -> Device:
    """Device with `achieved` corrections fitted to measured times.

    measurements  CSV file, columns, data frame or rows that are mappings: sizes of operators or workloads,
                  and ``latency_us`` (or _ms, _s)
    family        kernel family of the table (``gemm``, ``attention_decode`` ...): fits the corrections of
                  that kernel model; ``roofline``: fractions of the nominal rates; None: the kernel model
                  where the device is a GPU and the columns are those of its table with enough rows, else
                  ``roofline``
    fixed         correction -> value that is not fitted, e.g. ``{"launch": 1.0}``
    name          name of the new device; None: that of the old one

    Raises ArgumentError where the rows cannot determine the corrections: too few rows, a correction that no
    row is sensitive to, or corrections that cannot be told apart.
    """
    from perfmodel.explore.calibrate_kernels import kernel_families, known_family

    target = device_of(device)
    columns = columns_of(measurements)
    check_times(columns)
    data = _data(measurements)
    if family is None and not fixed:
        family = known_family(target, columns)
    if family not in (None, "roofline"):
        achieved = kernel_families(target, columns, family)
    else:
        achieved = _roofline(measured(target, columns), dict(fixed or {}))
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return replace(target, device=name or target.device, achieved={"data": data, "date": today, **achieved})


def calibration_plan(
    device: str | Path | Device, candidates: str | Path | Columns, count: int = 10
) -> Sequence[int]:
    """Rows of `candidates` (a table without times) to measure first: they tell most about the corrections."""
    target = device_of(device)
    columns = columns_of(candidates)
    found = measured(target, columns, timed=False)
    picks = int(number("count", count, low=1.0, above=False, high=len(found.group), whole=True))
    slope = sensitivities(found, dict.fromkeys(found.parameters, 1.0), found.parameters)
    # a launch overhead is the least known number of a datasheet: kernels may take several times as long
    spread = np.diag([(2.0 if p == LAUNCH else PRIOR) ** 2 for p in found.parameters])
    return greedy(slope, spread, np.full(len(slope), 0.05), picks, "mean")


def document(device: Device, base: str = "") -> str:
    """YAML text of a calibrated device: its nominal numbers by name, and `achieved`.

    base  shipped device that holds the nominal numbers; empty: they are written out
    """
    from perfmodel.spec import dump
    from perfmodel.spec.writing import flow, scalar

    if not base:
        return dump(device)
    head = [f"device: {scalar(device.device)}", f"base: {scalar(base)}", "achieved:"]
    return "\n".join(head + [f"  {key}: {flow(value)}" for key, value in device.achieved.items()]) + "\n"


def _data(measurements: str | Path | Columns) -> str:
    if not isinstance(measurements, (str, Path)):
        return "columns given in the call"
    content = Path(measurements).read_bytes()
    return f"{Path(measurements).name} (sha256 {hashlib.sha256(content).hexdigest()[:12]})"


def _roofline(table: Measured, fixed: Mapping[str, float]) -> dict[str, Any]:
    unknown = sorted(set(fixed) - set(table.parameters))
    if unknown:
        raise ArgumentError("fixed", unknown[0], ", ".join(table.parameters))
    fitted = fit(table, fixed)
    own = table.predict(fitted.values)
    ratio = table.times / fitted.held_out
    groups = {
        str(g): {
            "rows": int(np.sum(table.group == g)),
            "in_sample": _errors(own[table.group == g], table.times[table.group == g]),
            "held_out": _errors(fitted.held_out[table.group == g], table.times[table.group == g]),
        }
        for g in np.unique(table.group)
    }
    return {
        "rows": len(table.times),
        "parameters": len(table.parameters) - len(fixed),
        "in_sample": _errors(own, table.times),
        "held_out": _errors(fitted.held_out, table.times),
        "split": "one row at a time" if len(table.times) <= FEW else f"{FOLDS} folds of whole shape families",
        "groups": groups,
        "spread": _spread(ratio),
        "corrections": {k: float(f"{v:.4g}") for k, v in fitted.values.items()},
        **at_bounds({k: (v, *_limits(k)) for k, v in fitted.values.items() if k not in fixed}),
    }


def at_bounds(values: Mapping[str, tuple[float, float, float]]) -> dict[str, list[str]]:
    """Entry ``at_bounds`` of corrections (value, low, high) that ended where the fit has to stop; else none.

    Such a correction stands for something that the model does not have, or that the rows do not tell.
    """
    ends = []
    for name, (value, low, high) in values.items():
        if value < 1.02 * low:
            ends.append(f"{name} at its least, {low:g}")
        elif value > 0.98 * high:
            ends.append(f"{name} at its greatest, {high:g}")
    return {"at_bounds": ends} if ends else {}


def _limits(name: str) -> tuple[float, float]:
    return MULTIPLE if name == LAUNCH else FRACTION


def fit(table: Measured, fixed: Mapping[str, float] | None = None) -> Fit:
    """Corrections of the rows, and predictions of each row from the others; refuses what is unclear."""
    kept = dict(fixed or {})
    free = tuple(p for p in table.parameters if p not in kept)
    _refuse_few(table, free)
    values = {**_solve(table, free, kept), **kept}
    _refuse_unseen(table, values, free)
    held = np.full(len(table.times), np.nan)
    for out in _folds(table):
        rest = np.setdiff1d(np.arange(len(table.times)), out)
        held[out] = only(table, out).predict({**_solve(only(table, rest), free, kept, values), **kept})
    return Fit(values, held)


def _solve(
    table: Measured, free: Sequence[str], fixed: Mapping[str, float], start: Mapping[str, float] | None = None
) -> dict[str, float]:
    from scipy.optimize import least_squares

    if not free:
        return {}
    limits = np.log([_limits(p) for p in free])
    target = np.log(table.times)
    prior = np.array([1.5 if p == LAUNCH else PRIOR for p in free])
    weight = 0.1 if len(table.times) <= FEW else 0.001

    def residual(x: Any) -> Any:
        values = {**fixed, **dict(zip(free, np.exp(x), strict=True))}
        return np.concatenate([np.log(table.predict(values)) - target, weight * x / prior])

    def search(x0: Any) -> Any:
        return least_squares(
            residual,
            np.clip(x0, limits[:, 0] + 1e-9, limits[:, 1] - 1e-9),
            bounds=(limits[:, 0], limits[:, 1]),
            loss="soft_l1",
            f_scale=0.1,
            diff_step=0.01,
            max_nfev=60,
        )

    starts = (
        [np.zeros(len(free)), np.full(len(free), -0.7)]
        if start is None
        else [np.log([start[p] for p in free])]
    )
    best = min((search(x0) for x0 in starts), key=lambda found: float(found.cost))
    return dict(zip(free, map(float, np.exp(best.x)), strict=True))


def sensitivities(table: Measured, values: Mapping[str, float], names: Sequence[str]) -> Any:
    """d log time / d log correction [N, P], by central differences of 5 %."""
    columns = []
    for name in names:
        up, down = ({**values, name: values[name] * factor} for factor in (1.05, 1 / 1.05))
        columns.append(np.log(table.predict(up) / table.predict(down)) / (2 * np.log(1.05)))
    return np.stack(columns, axis=1) if columns else np.zeros((len(table.group), 0))


def _refuse_few(table: Measured, free: Sequence[str]) -> None:
    least = max(LEAST_ROWS, len(free) + 1)
    if len(table.times) < least:
        why = f"at least {least} rows for {len(free)} corrections ({', '.join(free)}); `fixed` keeps some"
        raise ArgumentError("measurements", f"{len(table.times)} rows", why)


def _refuse_unseen(table: Measured, values: Mapping[str, float], free: Sequence[str]) -> None:
    """Corrections that no row depends on, or that only occur together."""
    slope = sensitivities(table, values, free)
    seen = np.max(np.abs(slope), axis=0)
    unseen = [name for name, most in zip(free, seen, strict=True) if most < SEEN]
    if unseen:
        keep = ", ".join(f"{name!r}: 1.0" for name in unseen)
        allowed = f"rows that depend on {', '.join(unseen)}, or fixed={{{keep}}}: no row is bound by it"
        raise ArgumentError("measurements", f"{len(table.times)} rows", allowed)
    if len(free) < 2 or len(table.times) <= FEW:
        return
    _, size, directions = np.linalg.svd(slope / np.linalg.norm(slope, axis=0), full_matrices=False)
    if size[-1] * CONDITION < size[0]:
        mixed = [free[i] for i in np.argsort(-np.abs(directions[-1]))[:2]]
        worse = size[0] / max(size[-1], 1e-12)
        allowed = f"rows that tell {mixed[0]} from {mixed[1]} (condition {worse:.2g}), or one fixed"
        raise ArgumentError("measurements", f"{len(table.times)} rows", allowed)


def _folds(table: Measured) -> list[Any]:
    """Rows left out together: each on its own where they are few, else whole shape families."""
    rows = np.arange(len(table.times))
    if len(rows) <= FEW:
        return [np.array([i]) for i in rows]
    labels = np.unique(table.shape)
    if len(labels) < 3:  # one shape: ranges of the time, so that each fold extrapolates
        return list(np.array_split(np.argsort(table.times, kind="stable"), FOLDS))
    folds = min(FOLDS, len(labels))
    return [rows[np.isin(table.shape, labels[i::folds])] for i in range(folds)]


def _errors(predicted: Any, real: Any) -> dict[str, float]:
    apart = np.abs(predicted / real - 1.0)
    found = {
        "mape": np.mean(apart),
        "median": np.median(apart),
        "p90": np.quantile(apart, 0.9),
        "bias": np.expm1(np.mean(np.log(predicted / real))),
        **ranks(predicted, real),
    }
    return {key: float(f"{value:.3g}") for key, value in found.items()}


def ranks(predicted: Any, real: Any) -> dict[str, float]:
    """Rank correlations of Spearman and Kendall; nothing where there is no order to compare."""
    if len(real) < 3 or np.ptp(predicted) == 0.0 or np.ptp(real) == 0.0:
        return {}
    from scipy.stats import kendalltau, spearmanr

    return {
        "spearman": float(spearmanr(predicted, real)[0]),
        "kendall": float(kendalltau(predicted, real)[0]),
    }


def _spread(ratio: Any) -> list[float]:
    """10 % and 90 % of measured over predicted, of few rows from their standard deviation."""
    logs = np.log(ratio)
    if len(logs) <= FEW:
        half = 1.2816 * float(np.std(logs, ddof=1)) * np.sqrt(1 + 1 / len(logs))
        low, high = np.exp(np.mean(logs) - half), np.exp(np.mean(logs) + half)
    else:
        low, high = np.exp(np.quantile(logs, (0.1, 0.9)))
    return [float(f"{low:.4g}"), float(f"{high:.4g}")]
