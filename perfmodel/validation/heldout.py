"""Predictions of a measured row from the other rows of its group: few constants, never the row itself.

``t = sum of features x constants``, constants >= 0, fitted to relative errors.  It answers the question that
a user has who measured a few networks on a device: how far off is the model for the next one?

Reference
[1] Lawson, Hanson, Solving Least Squares Problems, SIAM 1995, doi:10.1137/1.9781611971217 (non-negative fit).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from perfmodel.engine.roofline import cost, moved_bytes
from perfmodel.errors import ArgumentError
from perfmodel.formats import precision as precision_of
from perfmodel.hardware.catalog import system
from perfmodel.validation.cases import predicts, published
from perfmodel.workload.workload import Workload


def constants(features: Any, values: Any) -> Any:
    """Non-negative constants of least squared relative error: features [N, F], values [N] -> [F]."""
    from scipy.optimize import nnls

    x, y = np.asarray(features, dtype=np.float64), np.asarray(values, dtype=np.float64)
    scale = np.maximum(np.abs(x).max(axis=0), 1e-300)
    found, _ = nnls(x / scale / y[:, None], np.ones(len(y)))
    return found / scale


def overlapping(features: Any, values: Any) -> Callable[[Any], Any]:
    """Times of a device that works while a host prepares the next kernels, least squared relative error.

    ``t = |host x first feature, device x the others|_4``, constants > 0; features [N, F], values [N].
    Returns features [M, F] -> times [M].  The power joins the two as in the kernel models.
    """
    from scipy.optimize import least_squares

    x, y = np.asarray(features, dtype=np.float64), np.asarray(values, dtype=np.float64)

    def times(logs: Any, given: Any) -> Any:
        parts = np.asarray(given, dtype=np.float64) * np.exp(logs)
        return (parts[:, 0] ** 4 + parts[:, 1:].sum(axis=1) ** 4) ** 0.25

    start = np.log(np.median(y) / np.median(x, axis=0))
    found = least_squares(lambda logs: np.log(times(logs, x) / y), start).x
    return lambda given: times(found, given)


def held_out(
    features: Mapping[str, Sequence[float]], values: Mapping[str, float], row: str, overlap: bool = False
) -> float:
    """Value of `row` from the constants that the other rows give.

    features  row -> numbers; values: row -> measured value of rows that may be used
    overlap   the first feature is of a host beside the device, see `overlapping`; else all add up
    """
    others = [name for name in features if name != row and name in values]
    if len(others) < len(features[row]):
        raise ArgumentError("rows", len(others), f"at least {len(features[row])} other rows")
    known, times = [features[name] for name in others], [values[name] for name in others]
    if overlap:
        return float(overlapping(known, times)([features[row]])[0])
    return float(np.dot(features[row], constants(known, times)))


def network_features(
    workload: Workload, device: str, batch: float = 1.0, precision: str = "fp16"
) -> tuple[float, float]:
    """What a network asks of a device: kernels, and the time of its roofline without any start [s].

    As features of `held_out` their constants are the time between kernels and the inverse of the efficiency.
    """
    graph = workload.graph(batch=batch)
    target, formats = system(device), precision_of(precision)
    costs = [cost(op, target, formats) for op in graph.ops]
    kernels = sum(float(op.launches * op.count) for op in graph.ops)
    return kernels, float(sum(c.busy_time for c in costs))


def network_work(
    workload: Workload, batch: float = 1.0, precision: str = "fp32"
) -> tuple[float, float, float]:
    """Dense FLOP, depthwise FLOP and moved bytes of a pass: what sets the time of a processor without starts.

    A depthwise convolution has one channel per group: no reuse of inputs over output channels.
    """
    graph, formats = workload.graph(batch=batch), precision_of(precision)
    dense, narrow, moved = 0.0, 0.0, 0.0
    for op in graph.ops:
        if op.family.startswith("conv") and op.loops["g"] > 1.0 and op.loops["c"] == 1.0:
            narrow += float(op.flops)
        else:
            dense += float(op.flops)
        moved += float(op.count * moved_bytes(op, formats))
    return dense, narrow, moved


def held_out_cases(
    features: Mapping[str, Callable[[], Sequence[float]]], *, items: float = 0.0, overlap: bool = False,
    reason: str | Mapping[str, str] = "",
) -> None:
    """Predict each case of one device from the others, by what each asks of the device.

    features  case -> function that returns the numbers whose constants are fitted
    items     above 0: the published values are rates, `items` per fitted time
    overlap   the first number is of a host that works beside the device
    """
    @cache
    def table() -> Mapping[str, Sequence[float]]:
        return {name: ask() for name, ask in features.items()}

    def time(case: str) -> float:
        value = published()[case].value
        return items / value if items else value

    @predicts({name: name for name in features}, fidelity="calibrated", reason=reason)
    def predicted(case: str) -> float:
        found = held_out(table(), {name: time(name) for name in features}, case, overlap)
        return items / found if items else found
