"""Positive device constants from few samples: ``t = sum_k x_k exp(theta_k)``.

Where features are amounts (operations by kind, bytes, kernels) and the times span decades, each constant is a
time per unit and cannot be negative; its logarithm has a normal law around the constants of other devices.
Residuals are logarithms of ratios with a Student-t law, since shared machines have slow moments [1].

Reference
[1] Lange, Little, Taylor, Robust statistical modeling using the t distribution, JASA 84(408), 1989,
    doi:10.1080/01621459.1989.10478852.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError
from perfmodel.explore.fewshot import WIDTH, greedy

#: degrees of freedom of the law of the residuals: heavy tails, since a tenth of the rows of public tables
#: lies in moments when the machine was a fifth slower
FREEDOM = 2.0
#: how far a constant of a new device strays from those of known devices: standard deviation of its logarithm
STRAY = 0.8
#: the same for the speed of the whole device
SPEED = 2.0
_NOISES = (0.5, 1.0, 1.5, 2.0, 3.0)


@dataclass(frozen=True)
class Rates:
    """Fitted constants: a mixture over how noisy the device is.

    shares [K]; theta [K, F]; covariance [K, F, F]; noise [K]: standard deviation of log ratios
    """

    shares: Any
    theta: Any
    covariance: Any
    noise: Any

    def _moments(self, features: Any) -> tuple[Any, Any]:
        x = np.asarray(features, dtype=np.float64)
        logs, spreads = [], []
        for theta, covariance, noise in zip(self.theta, self.covariance, self.noise, strict=True):
            times = x @ np.exp(theta)
            slope = x * np.exp(theta) / times[:, None]
            logs.append(np.log(times))
            spreads.append(np.sum((slope @ covariance) * slope, axis=1) + noise**2)
        mean = self.shares @ np.stack(logs)
        second = self.shares @ (np.stack(spreads) + np.stack(logs) ** 2)
        return mean, np.sqrt(np.maximum(second - mean**2, 0.0))

    def predict(self, features: Any) -> Any:
        """Time of each network, features [N, F] -> [N]."""
        return np.exp(self._moments(features)[0])

    def interval(self, features: Any, width: float = WIDTH) -> tuple[Any, Any]:
        """Low and high time; the default width covers 80 % under a normal law."""
        mean, spread = self._moments(features)
        return np.exp(mean - width * spread), np.exp(mean + width * spread)


def learn_rates(features: Any, times: Any, noise: float = 0.1) -> tuple[Any, float]:
    """Log constants of a device measured on many networks, for a median time of 1; their residual."""
    x, y = _table(features, times)
    y = y / np.median(y)
    start = np.full(x.shape[1], -np.log(np.sum(np.mean(x, axis=0))))
    loose = np.linalg.inv(9.0 * np.eye(x.shape[1]) + 100.0)
    theta = _solve(x, y, start, loose, noise)[0]
    return theta, float(np.std(np.log(y / (x @ np.exp(theta)))))


def fit_rates(
    features: Any, times: Any, centre: Any, noise: float, *, stray: Any = STRAY, speed: float = SPEED
) -> Rates:
    """Constants from few samples: features [k, F], times [k].

    centre  log constants of known devices (their mean) [F]; only their proportions matter
    noise   standard deviation of log ratios on known devices
    """
    x, y = _table(features, times)
    start = np.asarray(centre) + np.log(np.median(y / (x @ np.exp(centre))))
    precision = np.linalg.inv(covariance_of(len(start), stray, speed))
    evidence, thetas, spreads = [], [], []
    for factor in _NOISES:
        sigma = factor * noise
        theta, hessian, cost = _solve(x, y, start, precision, sigma)
        sign, volume = np.linalg.slogdet(hessian)
        evidence.append(
            -cost - len(y) * np.log(sigma) - 0.5 * sign * volume - 0.5 * (np.log(factor) / 0.5) ** 2
        )
        thetas.append(theta)
        spreads.append(np.linalg.inv(hessian))
    shares = np.exp(np.array(evidence) - max(evidence))
    return Rates(shares / shares.sum(), np.stack(thetas), np.stack(spreads), noise * np.array(_NOISES))


def choose_rates(
    features: Any,
    count: int,
    centre: Any,
    noise: float,
    *,
    criterion: str = "largest",
    stray: Any = STRAY,
    speed: float = SPEED,
) -> Sequence[int]:
    """Rows of the networks to measure next, under constants near `centre`; see ``fewshot.choose``."""
    x = np.asarray(features, dtype=np.float64)
    parts = x * np.exp(centre)
    slope = parts / np.sum(parts, axis=1, keepdims=True)
    return greedy(slope, covariance_of(x.shape[1], stray, speed), np.full(len(x), noise), count, criterion)


def covariance_of(size: int, stray: Any, speed: float) -> Any:
    """Covariance of log constants: each on its own (`stray`, one number or [F]), and all together [F, F]."""
    return np.diag(np.broadcast_to(np.square(stray), (size,))) + speed**2


def _solve(x: Any, y: Any, start: Any, precision: Any, sigma: float) -> tuple[Any, Any, float]:
    """Most likely log constants by damped Gauss-Newton with reweighting [1]: theta, hessian, cost."""
    theta, damping, target = np.array(start), 1e-3, np.log(y)

    def state(at: Any) -> tuple[Any, Any, float]:
        parts = x * np.exp(at)
        times = np.sum(parts, axis=1)
        miss = (target - np.log(times)) / sigma
        away = at - start
        cost = float(np.sum((FREEDOM + 1) / 2 * np.log1p(miss**2 / FREEDOM)) + 0.5 * away @ precision @ away)
        return miss, parts / times[:, None], cost

    def model(miss: Any, slope: Any, at: Any) -> tuple[Any, Any]:
        trust = (FREEDOM + 1) / (FREEDOM + miss**2) / (1 + 1 / FREEDOM) / sigma**2
        hessian = (slope * trust[:, None]).T @ slope + precision
        return hessian, slope.T @ (trust * sigma * miss) - precision @ (at - start)

    miss, slope, cost = state(theta)
    for _ in range(60):
        hessian, gradient = model(miss, slope, theta)
        step = np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), gradient)
        found = state(theta + step)
        if found[2] > cost and damping < 1e8:
            damping *= 10.0
            continue
        small = cost - found[2] < 1e-9
        theta, damping = theta + step, max(damping / 10.0, 1e-9)
        miss, slope, cost = found
        if small:
            break
    return theta, model(miss, slope, theta)[0], cost


def _table(features: Any, times: Any) -> tuple[Any, Any]:
    x, y = np.asarray(features, dtype=np.float64), np.asarray(times, dtype=np.float64)
    if x.ndim != 2 or y.shape != (len(x),) or len(y) < 2:
        raise ArgumentError("times", f"{y.shape}", f"at least two times, one per row of features {x.shape}")
    if not np.all(np.isfinite(y)) or np.any(y <= 0) or np.any(x < 0) or not np.all(np.isfinite(x)):
        raise ArgumentError("times", "a value", "finite times above 0 and amounts of 0 or more")
    return x, y
