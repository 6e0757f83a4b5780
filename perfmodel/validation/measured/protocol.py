"""Few-shot protocol: ten chosen samples of a device, constants of other devices as prior, the rest scored.

A device of the data that the prior was learned from is scored with its whole family (the same GPU at other
batch sizes) left out of the prior; an unknown device uses all of it.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError
from perfmodel.explore import fewshot, positive
from perfmodel.shipped import folder
from perfmodel.validation.measured.statistics import errors

SAMPLES = 10


@dataclass(frozen=True)
class Task:
    """Networks to be predicted.

    name       file of constants: ``hardware_specs/calibrations/fewshot_<name>.yaml``
    features   feature -> [N], or [V, N] where devices follow different counts of it
    form       additive, logarithmic or positive: how features make a time
    criterion  how samples are chosen, see ``fewshot.choose``
    deviation  [F, F] directions in which a new device may differ (additive and logarithmic)
    stray      spread of the log constants of a new device (positive)
    """

    name: str
    features: Mapping[str, Any]
    form: str = "additive"
    criterion: str = "largest"
    deviation: Any = None
    floor: float = 0.2
    ridge: float = 1e-4
    stray: float = positive.STRAY

    def table(self, scale: Sequence[float] | None = None) -> Any:
        """Features [N, F] or [V, N, F], each divided by its scale."""
        columns = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in self.features.values()))
        return np.stack(columns, axis=-1) / np.asarray(self.scale if scale is None else scale)

    @property
    def scale(self) -> list[float]:
        """Largest (positive form: mean) magnitude of each feature, to four digits."""
        size = np.mean if self.form == "positive" else np.max
        return [float(f"{max(float(size(np.abs(v))), 1e-300):.4g}") for v in self.features.values()]


def family(device: str) -> str:
    """Device without the batch size behind it: ``1080ti_32`` is ``1080ti``; ``gold_6240`` stays."""
    found = re.fullmatch(r"(.+)_(\d+)", device)
    if found and int(found[2]) <= 1024 and int(found[2]) & (int(found[2]) - 1) == 0:
        return found[1]
    return device


def learn(task: Task, times: Any) -> tuple[Any, float]:
    """Constants of one device from all its measurements [N], and the residual."""
    if task.form == "positive":
        return positive.learn_rates(task.table(), times)
    return fewshot.constants(
        task.table(), times, floor=task.floor, logarithmic=task.form == "logarithmic", ridge=task.ridge
    )


@cache
def constants_file(name: str) -> Mapping[str, Any]:
    """Shipped constants of a task."""
    import yaml

    place = folder("hardware_specs") / "calibrations" / f"fewshot_{name}.yaml"
    if not place.is_file():
        raise ArgumentError("few-shot constants", str(place), "a shipped file")
    found: Mapping[str, Any] = yaml.safe_load(place.read_text(encoding="utf-8"))
    return found


def few_shot(
    task: Task,
    device: str,
    times: Any,
    samples: int = SAMPLES,
    *,
    known: Container[str] | None = None,
    among: int | None = None,
) -> tuple[dict[str, Any], Any]:
    """Errors on a device, and (rows, predicted, low, high) of the rows that were not samples.

    times [N]; rows without a time (nan) are left out
    known  devices that the prior may be learned from (None: all); among: samples are of the first rows only
    """
    values = np.asarray(times, dtype=np.float64)
    rows = np.flatnonzero(np.isfinite(values) & (values > 0))
    if len(rows) <= samples:
        raise ArgumentError("rows", f"{len(rows)} of {device}", f"more than {samples} rows with a time")
    shipped = constants_file(task.name)
    _same_features(task, shipped)
    others = {
        n: d
        for n, d in shipped["devices"].items()
        if family(d.get("device", n)) != family(device) and (known is None or n in known)
    }
    if not others:
        raise ArgumentError("prior", device, "constants of at least one other device")
    x = task.table(shipped["scale"])[..., rows, :]
    fitted = _positive if task.form == "positive" else _linear
    picked, model = fitted(
        task,
        x,
        values[rows],
        others,
        samples,
        len(rows) if among is None else int(np.searchsorted(rows, among)),
    )
    rest = np.setdiff1d(np.arange(len(rows)), picked)
    predicted = model.predict(x[..., rest, :])
    low, high = model.interval(x[..., rest, :])
    scored = errors(predicted, values[rows][rest], low, high)
    return {"samples": len(picked), "prior": len(others), **scored}, (rows[rest], predicted, low, high)


def _linear(
    task: Task,
    x: Any,
    times: Any,
    others: Mapping[str, Mapping[str, Any]],
    samples: int,
    among: int,
) -> tuple[Sequence[int], Any]:
    prior = fewshot.prior_of(
        [d["constants"] for d in others.values()],
        [d["noise"] for d in others.values()],
        x,
        deviation=task.deviation,
        floor=task.floor,
        logarithmic=task.form == "logarithmic",
    )
    picked = fewshot.choose(x[..., :among, :], samples, prior, task.criterion)
    return picked, fewshot.fit(x[..., picked, :], times[picked], prior)


def _positive(
    task: Task,
    x: Any,
    times: Any,
    others: Mapping[str, Mapping[str, Any]],
    samples: int,
    among: int,
) -> tuple[Sequence[int], Any]:
    families: dict[str, list[Any]] = {}
    for name, device in others.items():
        families.setdefault(family(device.get("device", name)), []).append(device["constants"])
    known = np.array([np.mean(rows, axis=0) for rows in families.values()])
    centre = np.mean(known, axis=0)
    # constants in which known devices differ are open for a new one as well
    stray = np.sqrt(task.stray**2 + np.var(known, axis=0))
    noise = float(np.median([d["noise"] for d in others.values()]))
    picked = positive.choose_rates(x[:among], samples, centre, noise, criterion=task.criterion, stray=stray)
    return picked, positive.fit_rates(x[picked], times[picked], centre, noise, stray=stray)


def _same_features(task: Task, shipped: Mapping[str, Any]) -> None:
    if list(shipped["features"]) != list(task.features):
        raise ArgumentError("features", list(task.features), f"those of the shipped constants of {task.name}")
