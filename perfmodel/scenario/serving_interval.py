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


def factors(which: str) -> dict[str, float]:
    """Times at the ``low`` or ``high`` end over those in the middle, by metric."""
    known, end = quantiles(), 0 if which == "low" else 1
    return {metric: known[source][end] for metric, source in TIMES.items()}


def _end(result: Result, which: str) -> Result:
    """One end of the interval."""
    times = factors(which)
    data = {name: value * times.get(name, 1.0) for name, value in result.data.items()}
    for metric, source in RATES.items():
        data[metric] = data[metric] / times[source]
    return replace(result, data=data, band=None)
