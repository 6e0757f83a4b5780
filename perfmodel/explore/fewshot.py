"""Latency of many networks on a new device from a handful of measurements.

The time of a network is a sum of physical features (MACs by kind, bytes, kernels) times device constants,
``t = X w``.  What is known of other devices is a Gaussian prior over the constants, so ten samples suffice
where least squares would need hundreds; the samples are chosen to say most about what the prior leaves open.

References
[1] Lee et al., HELP: hardware-adaptive efficient latency prediction for NAS, arXiv:2106.08630 (the protocol).
[2] Chaloner, Verdinelli, Bayesian experimental design: a review, Statistical Science 10(3), 1995,
    doi:10.1214/ss/1177009939 (D-optimal choice under a Gaussian prior).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError

#: Relative noise of a measurement when no other device tells it.
NOISE = 0.05


@dataclass(frozen=True)
class Prior:
    """Device constants of the devices seen so far, each scaled to a median time of 1.

    mean [F], covariance [F, F], noise: relative residual (standard deviation) of the linear form
    devices: how many it was learned from
    """

    mean: Any
    covariance: Any
    noise: float
    devices: int


@dataclass(frozen=True)
class FewShot:
    """Fitted device constants.

    weights [F]; covariance [F, F] of the weights; noise relative to the time; samples used
    """

    weights: Any
    covariance: Any
    noise: float
    samples: int

    def predict(self, features: Any) -> Any:
        """Time of each network, features [N, F] -> [N]; never below 0."""
        return np.maximum(np.asarray(features) @ self.weights, 0.0)

    def interval(self, features: Any, width: float = 1.2816) -> tuple[Any, Any]:
        """Low and high time of each network; the default width covers 80 % under a normal law."""
        x = np.asarray(features)
        middle = self.predict(x)
        spread = np.sqrt(np.einsum("nf,fg,ng->n", x, self.covariance, x) + (self.noise * middle) ** 2)
        return np.maximum(middle - width * spread, 0.0), middle + width * spread


def learn_prior(features: Any, times: Any, ridge: float = 1e-3) -> Prior:
    """Prior from devices measured on many networks: features [N, F], times [D, N]."""
    x = _features(features)
    y = np.asarray(times, dtype=np.float64)
    y = y / np.median(y, axis=1, keepdims=True)
    weights, residuals = [], []
    for row in y:
        root = 1.0 / np.maximum(row, 0.2)  # relative errors count, tiny times do not rule
        solved = np.linalg.lstsq(x * root[:, None], row * root, rcond=None)[0]
        weights.append(solved)
        residuals.append(np.std((x @ solved - row) * root))
    spread = np.cov(np.array(weights).T, bias=len(weights) == 1).reshape(x.shape[1], x.shape[1])
    scale = np.mean(np.diag(spread)) + np.mean(np.square(weights)) * ridge
    return Prior(np.mean(weights, axis=0), spread + ridge * scale * np.eye(x.shape[1]),
                 float(np.median(residuals)), len(weights))


def flat_prior(features: Any) -> Prior:
    """Prior for a first device: each feature alone could explain the median time."""
    x = _features(features)
    size = 1.0 / np.maximum(np.median(np.abs(x), axis=0), 1e-12 + 0.1 * np.max(np.abs(x), axis=0))
    return Prior(size / x.shape[1], np.diag(size**2), NOISE, 0)


def fit(features: Any, times: Any, prior: Prior | None = None) -> FewShot:
    """Device constants from k measured networks: features [k, F], times [k].

    The posterior of a linear model with Gaussian prior and relative noise; the scale of the device (its
    median time) is estimated first.  Raises ArgumentError for fewer than two samples or times that are not
    positive.
    """
    x, y = _features(features), np.asarray(times, dtype=np.float64)
    if y.ndim != 1 or len(y) < 2 or len(y) != len(x):
        raise ArgumentError("times", f"{y.shape}", f"at least two times, one per row of features ({len(x)})")
    if not np.all(np.isfinite(y)) or np.any(y <= 0):
        raise ArgumentError("times", float(np.min(y)), "finite times above 0")
    known = flat_prior(x) if prior is None else prior
    expected = x @ known.mean
    floor = 1e-9 + 0.1 * np.median(expected)  # a network that should take no time says nothing of the scale
    scale = float(np.median(y) if prior is None else np.median(y / np.maximum(expected, floor)))
    target = y / scale
    noise = (known.noise * np.maximum(target, 0.2)) ** 2
    gain = np.linalg.solve(x @ known.covariance @ x.T + np.diag(noise), x @ known.covariance).T
    weights = known.mean + gain @ (target - expected)
    covariance = known.covariance - gain @ x @ known.covariance
    return FewShot(weights * scale, covariance * scale**2, known.noise, len(y))


def choose(features: Any, count: int, prior: Prior | None = None) -> Sequence[int]:
    """Rows of the networks to measure next: greedy D-optimal under the prior [2].

    Each pick is the network whose predicted time is most uncertain relative to its size, given those before.
    """
    x = _features(features)
    if not 1 <= count <= len(x):
        raise ArgumentError("count", count, f"a whole number from 1 to {len(x)}")
    known = flat_prior(x) if prior is None else prior
    covariance = np.array(known.covariance)
    size = np.maximum(x @ known.mean, 0.2 * np.median(x @ known.mean))
    picked: list[int] = []
    for _ in range(count):
        along = x @ covariance
        variance = np.einsum("nf,nf->n", along, x) / size**2
        variance[picked] = -1.0
        best = int(np.argmax(variance))
        picked.append(best)
        noise = (known.noise * size[best]) ** 2
        covariance -= np.outer(along[best], along[best]) / (along[best] @ x[best] + noise)
    return picked


def _features(features: Any) -> Any:
    x = np.asarray(features, dtype=np.float64)
    if x.ndim != 2 or not np.all(np.isfinite(x)):
        raise ArgumentError("features", f"shape {x.shape}", "a finite table, one row per network")
    return x
