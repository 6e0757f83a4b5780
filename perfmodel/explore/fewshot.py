"""Latency of many networks on a new device from a handful of measurements.

What a device needs for a network is linear in its constants: ``t = X w`` with physical features X (operations
by kind, bytes, kernels) and the constants w of the device; over a wide range of times ``log t = X w`` with
features that are logarithms.  A new device resembles a known one, or is another draw from where those came
from, or differs in its own way: each is a Gaussian prior over the constants, so ten samples do where least
squares would need hundreds, and they are chosen to say most about what the prior leaves open.  Which prior
holds, how far the device strays from it and how noisy it is, is not known before: these are averaged over,
weighted by how well they explain the samples [3].  Samples err by a Student-t law, since phones and shared
machines have slow moments [4].

Features are a table [N, F], or [V, N, F] where it is unknown which of V counts of the same things a device
follows (an inference engine leaves out what does not reach the output, an eager framework computes it).

References
[1] Lee et al., HELP: hardware-adaptive efficient latency prediction for NAS, arXiv:2106.08630 (the protocol).
[2] Chaloner, Verdinelli, Bayesian experimental design: a review, Statistical Science 10(3), 1995,
    doi:10.1214/ss/1177009939 (D-optimal choice under a Gaussian prior, and choice for the mean variance).
[3] Hoeting et al., Bayesian model averaging: a tutorial, Statistical Science 14(4), 1999,
    doi:10.1214/ss/1009212519.
[4] Tipping, Lawrence, Variational inference for Student-t models, Neurocomputing 69, 2005,
    doi:10.1016/j.neucom.2005.02.016 (the bound on the evidence, and the weight of each sample).
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
#: Degrees of freedom of the law of the samples; how far 80 % of it reach, beside a normal law as wide.
FREEDOM, TAIL = 4.0, 0.846
#: Variance of the overall speed of a device that remains after its scale was read off the samples.
SPEED = 1.0

# what is averaged over: multiples of the noise, of the spread between devices, and of the free deviation;
# each with its most likely value and the standard deviation of its logarithm
_TRIED = ((0.5, 1.0, 2.0, 4.0, 8.0, 16.0), (0.03, 0.1, 0.3, 1.0, 3.0), (0.3, 3.0, 30.0, 300.0, 3000.0))
_SETTINGS = np.array(list(itertools.product(*_TRIED)))
_BELIEF = -0.5 * np.sum((np.log(_SETTINGS / [1.3, 1.0, 1.0]) / [1.0, 1.5, 4.0]) ** 2, axis=1)
#: explanations of the samples that are kept
_KEPT = 16


@dataclass(frozen=True)
class Prior:
    """Device constants of the devices seen so far, each scaled to a typical time of 1.

    mean [F], covariance [F, F]: of the constants, between devices
    deviation    [F, F] directions in which a new device may differ from all of them, unit mean variance
    noise        relative residual (standard deviation) of the linear form
    known        [D, F] constants of each device: a new one may resemble it
    floor        networks faster than this fraction of the median count with that error, not a relative one
    logarithmic  the features give the logarithm of the time; the first is 1
    """

    mean: Any
    covariance: Any
    deviation: Any
    noise: float
    known: Any
    floor: float = 0.2
    logarithmic: bool = False

    @property
    def free(self) -> float:
        """Likely mean variance of a deviation that no other device shows."""
        return 0.005 if self.logarithmic else 0.001

    @property
    def centres(self) -> Any:
        """Constants that those of a new device may be near, and how likely: [1 + D, F], [1 + D]."""
        count = len(self.known)
        like = np.full(count, 0.5 / max(count, 1))
        return np.vstack([self.mean, self.known]), np.append(1.0 - like.sum(), like)

    def size(self, features: Any) -> Any:
        """Size against which an error at each network counts [N]."""
        if self.logarithmic:
            return np.ones(len(features))
        return np.maximum(features @ self.mean, self.floor)

    def spread(self, deviation: float = 1.0, between: float = 1.0, centre: Any = None) -> Any:
        """Covariance of the constants of a new device around a centre (None: the mean) [F, F]."""
        total = between * self.covariance + deviation * self.free * self.deviation
        if self.logarithmic:
            total[0, 0] += SPEED
            return total
        middle = self.mean if centre is None else centre
        return total + SPEED * np.outer(middle, middle)


@dataclass(frozen=True)
class FewShot:
    """Fitted device constants: a mixture of normal laws.

    shares [K]; weights [K, F]; covariance [K, F, F] of the weights; noise [K] relative; views [K]: which
    count of the features each follows; samples used
    """

    shares: Any
    weights: Any
    covariance: Any
    noise: Any
    views: Any
    samples: int
    logarithmic: bool = False

    def _moments(self, features: Any) -> tuple[Any, Any]:
        x = _features(features)
        mean, second = np.zeros(x.shape[1]), np.zeros(x.shape[1])
        for share, w, covariance, noise, view in zip(
            self.shares, self.weights, self.covariance, self.noise, self.views, strict=True
        ):
            one = x[view] @ w
            if not self.logarithmic:
                one = np.maximum(one, 0.0)
            error = noise * TAIL * (1.0 if self.logarithmic else one)
            mean += share * one
            second += share * (np.sum((x[view] @ covariance) * x[view], axis=1) + error**2 + one**2)
        return mean, np.sqrt(np.maximum(second - mean**2, 0.0))

    def predict(self, features: Any) -> Any:
        """Time of each network, features [N, F] or [V, N, F] -> [N]; never below 0."""
        mean = self._moments(features)[0]
        return np.exp(mean) if self.logarithmic else mean

    def interval(self, features: Any, width: float = WIDTH) -> tuple[Any, Any]:
        """Low and high time of each network; the default width covers 80 % under a normal law."""
        mean, spread = self._moments(features)
        if self.logarithmic:
            return np.exp(mean - width * spread), np.exp(mean + width * spread)
        return np.maximum(mean - width * spread, 0.0), mean + width * spread


def constants(
    features: Any, times: Any, *, floor: float = 0.2, logarithmic: bool = False, ridge: float = 1e-4
) -> tuple[Any, float]:
    """Constants of one device measured on many networks, and the relative residual they leave.

    features [N, F] or [V, N, F], times [N] -> [F], for times scaled to a median of 1 (logarithmic: to a mean
    log of 0).  Relative errors count; the ridge keeps features that tell the same apart.
    """
    y = np.asarray(times, dtype=np.float64)
    y = np.log(y) - np.mean(np.log(y)) if logarithmic else y / np.median(y)
    root = np.ones(len(y)) if logarithmic else 1.0 / np.maximum(y, floor)

    def solved(x: Any) -> tuple[Any, float]:
        rows = x * root[:, None]
        normal = rows.T @ rows / len(x)
        keep = 1.0 if logarithmic else float(np.mean(np.diag(normal)))
        found = np.linalg.solve(normal + ridge * keep * np.eye(len(normal)), rows.T @ (y * root) / len(x))
        return found, float(np.std((x @ found - y) * root))

    return min((solved(x) for x in _features(features)), key=lambda found: found[1])


def prior_of(
    weights: Any,
    noises: Any,
    features: Any,
    *,
    deviation: Any = None,
    floor: float = 0.2,
    logarithmic: bool = False,
) -> Prior:
    """Prior from the constants of several devices.

    weights [D, F] and noises [D] from ``constants``; features [N, F] or [V, N, F] of the networks
    deviation   [F, F] directions in which a new device may differ; None: every constant on its own
    """
    x, table = np.concatenate(_features(features)), np.asarray(weights, dtype=np.float64)
    mean = np.mean(table, axis=0)
    covariance = (table - mean).T @ (table - mean) / max(len(table) - 1, 1)
    free = np.eye(x.shape[1]) if deviation is None else np.asarray(deviation, dtype=np.float64)
    free = free / np.mean(np.sum((x @ free) * x, axis=1))
    noise = float(np.exp(np.mean(np.log(np.maximum(noises, 1e-6)))))
    return Prior(mean, covariance, free, noise, table, floor, logarithmic)


def learn_prior(
    features: Any,
    times: Any,
    *,
    deviation: Any = None,
    floor: float = 0.2,
    logarithmic: bool = False,
    ridge: float = 1e-4,
) -> Prior:
    """Prior from devices measured on many networks: features [N, F] or [V, N, F], times [D, N]."""
    found = [
        constants(features, row, floor=floor, logarithmic=logarithmic, ridge=ridge)
        for row in np.asarray(times, dtype=np.float64)
    ]
    return prior_of(
        [w for w, _ in found],
        [n for _, n in found],
        features,
        deviation=deviation,
        floor=floor,
        logarithmic=logarithmic,
    )


def flat_prior(features: Any) -> Prior:
    """Prior for a first device: each feature alone could explain the median time."""
    x = np.concatenate(_features(features))
    size = 1.0 / np.maximum(np.median(np.abs(x), axis=0), 1e-12 + 0.1 * np.max(np.abs(x), axis=0))
    spread = np.diag(size**2)
    free = spread / np.mean(np.sum((x @ spread) * x, axis=1))
    return Prior(size / x.shape[1], spread, free, NOISE, np.empty((0, x.shape[1])))


def fit(features: Any, times: Any, prior: Prior | None = None) -> FewShot:
    """Device constants from k measured networks: features [k, F] or [V, k, F], times [k].

    Raises ArgumentError for fewer than two samples or times that are not positive.
    """
    x, y = _features(features), np.asarray(times, dtype=np.float64)
    if y.ndim != 1 or len(y) < 2 or len(y) != x.shape[1]:
        needed = f"at least two times, one per row of features ({x.shape[1]})"
        raise ArgumentError("times", f"{y.shape}", needed)
    if not np.all(np.isfinite(y)) or np.any(y <= 0):
        raise ArgumentError("times", float(np.min(y)), "finite times above 0")
    known = flat_prior(x) if prior is None else prior
    tried = [
        one
        for view, rows in enumerate(x)
        for centre, share in zip(*known.centres, strict=True)
        for one in _explanations(rows, y, known, centre, np.log(share), view)
    ]
    best = sorted(tried, key=lambda one: -one[0])[:_KEPT]
    shares = np.exp(np.array([one[0] for one in best]) - best[0][0])
    weights, covariance, noise, views = zip(*(_posterior(x, known, *one[1:]) for one in best), strict=True)
    return FewShot(
        shares / shares.sum(),
        np.stack(weights),
        np.stack(covariance),
        np.array(noise),
        np.array(views),
        len(y),
        known.logarithmic,
    )


def _scale(expected: Any, times: Any, known: Prior) -> float:
    """Speed of the device, so that the constants are those of a device of typical time 1."""
    if known.logarithmic:
        return float(np.exp(np.mean(np.log(times) - expected)))
    if not len(known.known):
        return float(np.median(times))
    return float(np.sum(times) / max(np.sum(expected), 1e-9))


def _explanations(
    x: Any, times: Any, known: Prior, centre: Any, share: float, view: int
) -> list[tuple[Any, ...]]:
    """Every setting of noise, spread and deviation around one centre, the most likely [3, 4].

    Each: log evidence, then what ``_posterior`` takes.
    """
    expected = x @ centre
    scale = _scale(expected, times, known)
    if known.logarithmic:
        apart, size, speed = np.log(times / scale) - expected, np.ones(len(x)), np.ones((len(x), len(x)))
    else:
        apart, size = times / scale - expected, np.maximum(times / scale, known.floor)
        speed = np.outer(expected, expected)
    noises, spreads, deviations = _SETTINGS.T[:, :, None, None]
    inner = spreads * (x @ known.covariance @ x.T) + SPEED * speed
    inner = inner + deviations * known.free * (x @ known.deviation @ x.T)
    inner = inner + 1e-10 * np.trace(inner, axis1=1, axis2=2)[:, None, None] * np.eye(len(x))
    variance = (noises[:, :, 0] * known.noise * size) ** 2 * (FREEDOM - 2) / FREEDOM
    trust = np.ones_like(variance)
    for _ in range(4):  # more turns change no rank
        shown = variance / trust
        inverse = np.linalg.inv(inner + shown[:, :, None] * np.eye(len(x)))
        pull = inverse @ apart
        left = (shown * pull) ** 2 + shown - shown**2 * np.diagonal(inverse, axis1=1, axis2=2)
        rate = (FREEDOM + left / variance) / 2
        trust = (FREEDOM + 1) / 2 / rate
    evidence = _BELIEF + share + 0.5 * (np.linalg.slogdet(inverse)[1] - pull @ apart)
    evidence = evidence - FREEDOM / 2 * np.sum(np.log(rate) + trust, axis=1)
    if not known.logarithmic:
        evidence = evidence - len(x) * np.log(scale)
    return [
        (evidence[i], view, centre, scale, _SETTINGS[i], inverse[i], pull[i])
        for i in np.argsort(-evidence)[:_KEPT]
    ]


def _posterior(
    x: Any, known: Prior, view: int, centre: Any, scale: float, setting: Any, inverse: Any, pull: Any
) -> tuple[Any, Any, float, int]:
    """Mean and covariance of the constants in units of the times, noise, view."""
    noise, spread, deviation = setting
    before = known.spread(deviation, spread, centre)
    gain = before @ x[view].T
    mean, covariance = centre + gain @ pull, before - gain @ inverse @ gain.T
    if known.logarithmic:
        mean[0] += np.log(scale)
        return mean, covariance, noise * known.noise, view
    return mean * scale, covariance * scale**2, noise * known.noise, view


def choose(
    features: Any, count: int, prior: Prior | None = None, criterion: str = "largest"
) -> Sequence[int]:
    """Rows of the networks to measure next, greedy under the prior [2].

    criterion  ``largest``: the network whose relative time is most uncertain given those before (D-optimal);
               ``mean``: the one that lowers the mean uncertainty of all networks most
    """
    x = _features(features)
    views, rows = x.shape[:2]
    choice("criterion", criterion, ("largest", "mean"))
    if not 1 <= count <= rows:
        raise ArgumentError("count", count, f"a whole number from 1 to {rows}")
    known = flat_prior(x) if prior is None else prior
    size = np.mean([known.size(one) for one in x], axis=0)
    beside = np.concatenate(x, axis=1) / size[:, None] / np.sqrt(views)  # any count may hold
    spread = np.kron(np.eye(views), known.spread())
    return greedy(beside, spread, np.full(rows, known.noise), count, criterion)


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
    if x.ndim not in (2, 3) or not np.all(np.isfinite(x)):
        raise ArgumentError("features", f"shape {x.shape}", "a finite table, one row per network")
    return x if x.ndim == 3 else x[None]
