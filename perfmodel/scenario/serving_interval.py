"""Interval of a calibrated serving result, from the residuals on models that the fit had not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from perfmodel.result import Result
from perfmodel.scenario.corrections import calibration

#: metric of a result -> measured metric whose residuals scale it; rates fall where times grow
MEANS = {"ttft": "ttft", "tpot": "tpot", "latency": "tpot"}
TIMES = {**MEANS, **{f"{name}_p{p}": source for name, source in MEANS.items() for p in (50, 90, 99)}}
RATES = {"throughput": "tpot", "request_rate": "tpot"}


def quantiles(name: str = "serving") -> Mapping[str, tuple[float, float]]:
    """10 % and 90 % quantile of measured over predicted, by metric, of whole models left out of the fit."""
    found = ((calibration().fit or {}).get(name) or {}).get("interval", {})
    return {metric: (float(low), float(high)) for metric, (low, high) in found.items()}


def with_interval(result: Result) -> Result:
    """The result with its 80 % interval: `low` has the short times, `high` the long ones."""
    known = quantiles()
    return replace(result, band=partial(_end, result)) if {"ttft", "tpot"} <= set(known) else result


def _end(result: Result, which: str) -> Result:
    """One end of the interval."""
    known, end = quantiles(), 0 if which == "low" else 1
    data = dict(result.data)
    for metric, source in TIMES.items():
        if metric not in data:
            continue
        data[metric] = data[metric] * known[source][end]
    for metric, source in RATES.items():
        data[metric] = data[metric] / known[source][end]
    return replace(result, data=data, band=None)
