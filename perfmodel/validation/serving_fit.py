"""Fit of the serving corrections and runtime profiles, and its errors on models and devices left out.

Bounded least squares on the logarithm of the error, robust (pseudo-Huber); a prior holds every parameter near
its start: a correction that the data does not need stays where physics put it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from perfmodel.scenario.corrections import Corrections, calibration, corrections
from perfmodel.scenario.runtime import Runtime, profiles
from perfmodel.validation.serving_data import Points
from perfmodel.validation.serving_predict import Profiles, predict

#: width of the quadratic core of the loss, relative error
CORE = 0.06

#: correction -> (start, lowest, highest, standard deviation of the prior of the logarithm)
STARTS: Mapping[str, tuple[float, float, float, float]] = {
    "bandwidth": (0.88, 0.6, 1.0, 0.1), "compute": (1.0, 0.6, 1.3, 0.15), "sharpness": (1.3, 1.0, 4.0, 0.25),
    "elementwise": (1.5, 0.5, 6.0, 0.4), "attention_prefill": (0.65, 0.3, 1.0, 0.1),
    "link": (0.75, 0.4, 1.0, 0.1),
    "latency": (2.0, 0.5, 10.0, 0.5), "grouped": (0.5, 0.1, 1.2, 0.3), "fused_experts": (0.8, 0.3, 1.0, 0.3),
}

#: corrections that only mixtures of experts with independent prompts tell
EXPERTS = ("fused_experts", "grouped")

#: runtime field -> the same.  All engines start kernels from one framework: `eager` stays near what a single
#: value for all of them comes to
RUNTIME_STARTS: Mapping[str, tuple[float, float, float, float]] = {
    "kernel": (4e-6, 5e-7, 2e-5, 0.5), "eager": (4.4e-5, 1e-6, 3e-4, 0.25),
    "eager_experts": (8e-5, 1e-6, 6e-4, 0.7), "step": (1e-3, 5e-5, 2e-2, 1.0),
    "request": (15e-6, 1e-6, 2e-4, 1.0),
    "decode_attention": (0.25, 0.004, 1.0, 0.7), "serial_attention": (3e-9, 1e-11, 3e-8, 1.0),
    "first_token": (0.05, 1e-3, 0.4, 1.0), "first_steps": (3.0, 0.3, 12.0, 0.7),
    "burst": (0.03, 0.001, 1.0, 0.7),
    "reserve": (3e9, 5e8, 8e9, 0.4), "compute": (0.6, 0.15, 3.0, 0.7), "collective": (1.0, 0.25, 2.0, 0.7),
}
FIRST_FIELDS = ("eager", "eager_experts", "first_token", "first_steps", "burst")
SERVING_FIELDS = ("kernel", "step", "request", *FIRST_FIELDS)
BATCH_FIELDS = ("kernel", "step", "request", "decode_attention", "serial_attention")
#: what engines on other devices than the corrections come from have too
OTHER_FIELDS = ("compute", "collective")


@dataclass(frozen=True)
class Fit:
    """Fitted values: corrections, one profile per runtime, probability that a drafted token is kept."""

    fix: Corrections
    profiles: Profiles
    acceptance: float = 0.6

    def predict(self, points: Points) -> dict[str, np.ndarray]:
        """Predicted metrics of points."""
        return predict(points, self.profiles, self.fix, self.acceptance)


def shipped(name: str, fidelity: str = "calibrated") -> Fit:
    """Shipped corrections and profiles; for ``dataflow`` the starts of the fit, for ``roofline`` neither."""
    if fidelity != "calibrated":
        bare = {key: Runtime(memory_fraction=p.memory_fraction) for key, p in profiles().items()}
        starts: dict[str, Any] = {key: start[0] for key, start in STARTS.items()}
        documented = replace(corrections(name), **starts)
        return Fit(documented if fidelity == "dataflow" else corrections("ideal"), bare)
    acceptance = float(((calibration().fit or {}).get(name) or {}).get("acceptance", 0.6))
    return Fit(corrections(name), profiles(), acceptance)


def measured(points: Points) -> dict[str, np.ndarray]:
    """Measured metrics of points [s]."""
    if points.kind == "batch":
        return {"latency": points.column("latency_s")}
    return {"ttft": points.column("ttft_ms") / 1e3, "tpot": points.column("tpot_ms") / 1e3}


def unqueued(points: Points) -> np.ndarray:
    """Points whose first token is not dominated by queueing: concurrency x prompt within 32,768 tokens."""
    return np.asarray(points.load * points.column("isl_tokens") <= 32768.0)


def soft(errors: np.ndarray) -> np.ndarray:
    """Residual whose square is the pseudo-Huber loss."""
    return np.asarray(np.sign(errors) * np.sqrt(2.0 * (np.sqrt(1.0 + errors**2) - 1.0)))


def fit_serving(data: Points, base: Fit, rounds: int = 15) -> Fit:
    """Corrections and profiles of aggregated serving points, fitted to both metrics at once."""
    names = sorted(set(data.runtimes.tolist()))
    slots = [("fix", k, s) for k, s in STARTS.items()]
    slots += [(name, k, RUNTIME_STARTS[k]) for name in names for k in SERVING_FIELDS]
    slots.append(("acceptance", "", (0.6, 0.3, 0.95, 0.1)))
    real, early = measured(data), unqueued(data)

    def residuals(fit: Fit) -> np.ndarray:
        guess = fit.predict(data)
        token = soft(np.log(guess["tpot"] / real["tpot"]) / CORE)
        first = 0.35 * soft((guess["ttft"] / real["ttft"] - 1.0)[early] / CORE)
        return np.concatenate([token, first])

    return _solve(slots, base, residuals, rounds, weight=2.0)


def fit_batch(data: Points, base: Fit, rounds: int = 60) -> Fit:
    """Corrections and profiles of static batches."""
    names = sorted(set(data.runtimes.tolist()))
    slots = [("fix", k, s) for k, s in STARTS.items() if k not in EXPERTS]
    slots += [(name, k, RUNTIME_STARTS[k]) for name in names for k in BATCH_FIELDS]
    real = measured(data)["latency"]
    return _solve(
        slots, base, lambda fit: soft(np.log(fit.predict(data)["latency"] / real) / CORE), rounds, weight=1.0
    )


def fit_profile(data: Points, base: Fit, rounds: int = 60) -> Fit:
    """The profile of the one runtime of `data`, with the corrections kept."""
    name = str(data.runtimes[0])
    starts = {k: RUNTIME_STARTS[k] for k in (*BATCH_FIELDS, *OTHER_FIELDS)}
    slots = [(name, k, (s[0], s[1] / 5.0, s[2] * 20.0, s[3])) for k, s in starts.items()]
    real = measured(data)["latency"]
    return _solve(
        slots, base, lambda fit: soft(np.log(fit.predict(data)["latency"] / real) / CORE), rounds, weight=1.0
    )


Slot = tuple[str, str, tuple[float, float, float, float]]


def _solve(
    slots: Sequence[Slot], base: Fit, residuals: Callable[[Fit], np.ndarray], rounds: int, weight: float
) -> Fit:
    from scipy.optimize import least_squares

    starts = np.log([s[2][0] for s in slots])
    low, high = np.log([s[2][1] for s in slots]), np.log([s[2][2] for s in slots])
    spread = np.array([s[2][3] for s in slots])

    def objective(x: np.ndarray) -> np.ndarray:
        return np.concatenate([residuals(_applied(slots, x, base)), weight * (x - starts) / spread])

    best = least_squares(objective, starts, bounds=(low, high), max_nfev=rounds, x_scale=spread)
    return _applied(slots, best.x, base)


def _applied(slots: Sequence[Slot], x: np.ndarray, base: Fit) -> Fit:
    fix: dict[str, Any] = {}
    profiles: dict[str, dict[str, Any]] = {}
    acceptance = base.acceptance
    for (where, name, _), value in zip(slots, np.exp(x), strict=True):
        if where == "fix":
            fix[name] = float(value)
        elif where == "acceptance":
            acceptance = float(value)
        else:
            profiles.setdefault(where, {})[name] = float(value)
    changed: dict[str, Runtime] = dict(base.profiles)
    for name, values in profiles.items():
        changed[name] = replace(changed[name], **values)
    return Fit(replace(base.fix, **fix), changed, acceptance)


def left_out(
    data: Points, groups: np.ndarray, fitter: Callable[[Points, Fit], Fit], base: Fit
) -> dict[str, np.ndarray]:
    """Predictions of each group by a fit that has not seen it."""
    guess: dict[str, np.ndarray] = {}
    for group in np.unique(groups):
        hidden = groups == group
        found = fitter(data.take(~hidden), base).predict(data.take(hidden))
        for name, values in found.items():
            guess.setdefault(name, np.full(len(data), np.nan))[hidden] = values
    return guess
