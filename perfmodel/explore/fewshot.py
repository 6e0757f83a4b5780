"""Latency of many networks on a new device from a handful of measurements.

What a device needs for a network is linear in its constants: ``t = X w`` with physical features X (operations
by kind, bytes, kernels) and the constants w of the device; over a wide range of times ``log t = X w`` with
features that are logarithms.  What is known of other devices is a Gaussian prior over the constants, so ten
samples do where least squares would need hundreds, and they are chosen to say most about what the prior
leaves open.  How far the new device strays from the known ones, and how noisy it is, is not known before:
these are averaged over, weighted by how well they explain the samples [3].

References
[1] Lee et al., HELP: hardware-adaptive efficient latency prediction for NAS, arXiv:2106.08630 (the protocol).
[2] Chaloner, Verdinelli, Bayesian experimental design: a review, Statistical Science 10(3), 1995,
    doi:10.1214/ss/1177009939 (D-optimal choice under a Gaussian prior, and choice for the mean variance).
[3] Hoeting et al., Bayesian model averaging: a tutorial, Statistical Science 14(4), 1999,
    doi:10.1214/ss/1009212519.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perfmodel.arguments import choice
from perfmodel.errors import ArgumentError

#: Relative noise of a measurement when no other device tells it.
NOISE = 0.05
#: 80 % of a normal law lie within this many standard deviations.
WIDTH = 1.2816
#: Variance of the overall speed of a device that remains after its scale was read off the samples.
SPEED = 0.04

# multiples of the noise, of the spread between devices, and size of the free deviation, that are averaged
_NOISES, _SPREADS, _DEVIATIONS = (0.5, 1.0, 2.0, 4.0, 8.0), (0.5, 1.0, 2.0, 4.0), (0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class Prior:
    """Device constants of the devices seen so far, each scaled to a typical time of 1.

    mean [F], covariance [F, F]: of the constants, between devices
    deviation    [F, F] directions in which a new device may differ from all of them, unit mean variance
    noise        relative residual (standard deviation) of the linear form
    devices      how many it was learned from
    floor        networks faster than this fraction of the median count with that error, not a relative one
    logarithmic  the features give the logarithm of the time
    """

    mean: Any
    covariance: Any
    deviation: Any
    noise: float
    devices: int
    floor: float = 0.2
    logarithmic: bool = False

    @property
    def free(self) -> float:
        """Likely mean variance of a deviation that no other device shows."""
        return 0.005 if self.logarithmic else 0.001

    def size(self, features: Any) -> Any:
        """Size against which an error at each network counts [N]."""
        if self.logarithmic:
            return np.ones(len(features))
        return np.maximum(features @ self.mean, self.floor)

    def spread(self, deviation: float = 1.0, between: float = 1.0) -> Any:
        """Covariance of the constants of a new device [F, F]."""
        total = between * self.covariance + deviation * self.free * self.deviation
        if self.logarithmic:
            total[0, 0] += 1.0  # the first feature is 1: a factor between devices
            return total
        return total + SPEED * np.outer(self.mean, self.mean)


@dataclass(frozen=True)
class FewShot:
    """Fitted device constants: a mixture of normal laws.

    shares [K]; weights [K, F]; covariance [K, F, F] of the weights; noise [K] relative; samples used
    """

    shares: Any
    weights: Any
    covariance: Any
    noise: Any
    samples: int
    scale: float = 1.0
    logarithmic: bool = False

    def _moments(self, features: Any) -> tuple[Any, Any]:
        x = _features(features)
        means = np.stack([x @ w for w in self.weights])
        if not self.logarithmic:
            means = np.maximum(means, 0.0)
        size = 1.0 if self.logarithmic else means
        spread = np.stack([np.sum((x @ c) * x, axis=1) for c in self.covariance])
        second = self.shares @ (spread + (self.noise[:, None] * size) ** 2 + means**2)
        mean = self.shares @ means
        return mean, np.sqrt(np.maximum(second - mean**2, 0.0))

    def predict(self, features: Any) -> Any:
        """Time of each network, features [N, F] -> [N]; never below 0."""
        mean = self._moments(features)[0]
        return np.exp(mean) * self.scale if self.logarithmic else mean * self.scale

    def interval(self, features: Any, width: float = WIDTH) -> tuple[Any, Any]:
        """Low and high time of each network; the default width covers 80 % under a normal law."""
        mean, spread = self._moments(features)
        if self.logarithmic:
            return np.exp(mean - width * spread) * self.scale, np.exp(mean + width * spread) * self.scale
        return np.maximum(mean - width * spread, 0.0) * self.scale, (mean + width * spread) * self.scale


def constants(
    features: Any, times: Any, *, floor: float = 0.2, logarithmic: bool = False, ridge: float = 1e-4
) -> tuple[Any, float]:
    """Constants of one device measured on many networks, and the relative residual they leave.

    features [N, F], times [N] -> [F], for times scaled to a median of 1 (logarithmic: to a mean log of 0).
    Relative errors count; the ridge keeps features that tell the same apart.
    """
    x, y = _features(features), np.asarray(times, dtype=np.float64)
    y = np.log(y) - np.mean(np.log(y)) if logarithmic else y / np.median(y)
    root = np.ones(len(y)) if logarithmic else 1.0 / np.maximum(y, floor)
    rows = x * root[:, None]
    normal = rows.T @ rows / len(x)
    keep = 1.0 if logarithmic else float(np.mean(np.diag(normal)))
    solved = np.linalg.solve(normal + ridge * keep * np.eye(len(normal)), rows.T @ (y * root) / len(x))
    return solved, float(np.std((x @ solved - y) * root))


def prior_of(
    weights: Any,
    noises: Any,
    features: Any,
    families: Sequence[str] | None = None,
    *,
    deviation: Any = None,
    floor: float = 0.2,
    logarithmic: bool = False,
) -> Prior:
    """Prior from the constants of several devices.

    weights [D, F] and noises [D] from ``constants``; features [N, F] of the networks
    families    devices of one family (the same GPU at several batch sizes) count as little more than one
    deviation   [F, F] directions in which a new device may differ; None: every constant on its own
    """
    x, table = _features(features), np.asarray(weights, dtype=np.float64)
    names = list(families) if families is not None else [str(i) for i in range(len(table))]
    share = np.array([1.0 / np.sqrt(names.count(name)) for name in names])
    share = share / share.sum()
    mean = share @ table
    apart = table - mean
    distinct = len(set(names))
    covariance = (apart * share[:, None]).T @ apart * distinct / max(distinct - 1, 1)
    free = np.eye(x.shape[1]) if deviation is None else np.asarray(deviation, dtype=np.float64)
    free = free / np.mean(np.sum((x @ free) * x, axis=1))
    noise = float(np.exp(share @ np.log(np.maximum(noises, 1e-6))))
    return Prior(mean, covariance, free, noise, len(table), floor, logarithmic)


def learn_prior(
    features: Any,
    times: Any,
    families: Sequence[str] | None = None,
    *,
    deviation: Any = None,
    floor: float = 0.2,
    logarithmic: bool = False,
    ridge: float = 1e-4,
) -> Prior:
    """Prior from devices measured on many networks: features [N, F], times [D, N]."""
    found = [
        constants(features, row, floor=floor, logarithmic=logarithmic, ridge=ridge)
        for row in np.asarray(times, dtype=np.float64)
    ]
    return prior_of(
        [w for w, _ in found],
        [n for _, n in found],
        features,
        families,
        deviation=deviation,
        floor=floor,
        logarithmic=logarithmic,
    )


def flat_prior(features: Any) -> Prior:
    """Prior for a first device: each feature alone could explain the median time."""
    x = _features(features)
    size = 1.0 / np.maximum(np.median(np.abs(x), axis=0), 1e-12 + 0.1 * np.max(np.abs(x), axis=0))
    spread = np.diag(size**2)
    return Prior(size / x.shape[1], spread, spread / np.mean(np.sum((x @ spread) * x, axis=1)), NOISE, 0)


def fit(features: Any, times: Any, prior: Prior | None = None) -> FewShot:
    """Device constants from k measured networks: features [k, F], times [k].

    Raises ArgumentError for fewer than two samples or times that are not positive.
    """
    x, y = _features(features), np.asarray(times, dtype=np.float64)
    if y.ndim != 1 or len(y) < 2 or len(y) != len(x):
        raise ArgumentError("times", f"{y.shape}", f"at least two times, one per row of features ({len(x)})")
    if not np.all(np.isfinite(y)) or np.any(y <= 0):
        raise ArgumentError("times", float(np.min(y)), "finite times above 0")
    known = flat_prior(x) if prior is None else prior
    expected = x @ known.mean
    scale = _scale(expected, y, known, alone=prior is None)
    target = np.log(y / scale) if known.logarithmic else y / scale
    size = np.ones(len(y)) if known.logarithmic else np.maximum(target, known.floor)
    spreads = (1.0,) if prior is None else _SPREADS
    tried = [
        _posterior(x, target, size, known, *setting)
        for setting in itertools.product(_NOISES, spreads, _DEVIATIONS)
    ]
    likely = np.array([t[0] for t in tried])
    best = np.argsort(-likely)[:8]
    shares = np.exp(likely[best] - likely[best[0]])
    return FewShot(
        shares / shares.sum(),
        np.stack([tried[i][1] for i in best]),
        np.stack([tried[i][2] for i in best]),
        np.array([tried[i][3] for i in best]),
        len(y),
        scale,
        known.logarithmic,
    )


def _scale(expected: Any, times: Any, known: Prior, *, alone: bool) -> float:
    """Speed of the device, so that the constants are those of a device of typical time 1."""
    if known.logarithmic:
        return float(np.exp(np.mean(np.log(times) - expected)))
    if alone:
        return float(np.median(times))
    floor = 1e-9 + 0.1 * np.median(expected)  # a network that should take no time says nothing of the scale
    return float(np.exp(np.median(np.log(times / np.maximum(expected, floor)))))


def _posterior(
    x: Any, target: Any, size: Any, known: Prior, noises: float, spreads: float, deviation: float
) -> tuple[float, Any, Any, float]:
    """Log of the evidence, mean and covariance of the constants, noise [3]."""
    before = known.spread(deviation, spreads)
    noise = noises * known.noise
    inner = x @ before @ x.T + np.diag((noise * size) ** 2)
    lower = np.linalg.cholesky(inner + 1e-12 * np.trace(inner) * np.eye(len(inner)))
    apart = target - x @ known.mean
    white = np.linalg.solve(lower, apart)
    believed = (
        (np.log(noises / 1.3) / 0.8) ** 2 + (np.log(spreads) / 0.7) ** 2 + (np.log(deviation) / 1.5) ** 2
    )
    evidence = -0.5 * float(white @ white) - float(np.sum(np.log(np.diag(lower)))) - 0.5 * believed
    gain = np.linalg.solve(inner, x @ before).T
    return evidence, known.mean + gain @ apart, before - gain @ x @ before, noise


def choose(
    features: Any, count: int, prior: Prior | None = None, criterion: str = "largest"
) -> Sequence[int]:
    """Rows of the networks to measure next, greedy under the prior [2].

    criterion  ``largest``: the network whose relative time is most uncertain given those before (D-optimal);
               ``mean``: the one that lowers the mean uncertainty of all networks most
    """
    x = _features(features)
    choice("criterion", criterion, ("largest", "mean"))
    if not 1 <= count <= len(x):
        raise ArgumentError("count", count, f"a whole number from 1 to {len(x)}")
    known = flat_prior(x) if prior is None else prior
    size = known.size(x)
    return greedy(x / size[:, None], known.spread(), np.full(len(x), known.noise), count, criterion)


def greedy(x: Any, covariance: Any, noise: Any, count: int, criterion: str) -> Sequence[int]:
    """Greedy choice of rows of x [N, F] under a covariance [F, F] and a noise per row [N]."""
    spread = np.array(covariance)
    some = x[:: max(1, len(x) // 400)]  # the mean over a regular part is the mean
    picked: list[int] = []
    for _ in range(count):
        along = x @ spread
        variance = np.sum(along * x, axis=1)
        told = variance + noise**2
        gain = variance.copy() if criterion == "largest" else np.mean((along @ some.T) ** 2, axis=1) / told
        gain[picked] = -1.0
        best = int(np.argmax(gain))
        picked.append(best)
        spread = spread - np.outer(along[best], along[best]) / told[best]
    return picked


def _features(features: Any) -> Any:
    x = np.asarray(features, dtype=np.float64)
    if x.ndim != 2 or not np.all(np.isfinite(x)):
        raise ArgumentError("features", f"shape {x.shape}", "a finite table, one row per network")
    return x
