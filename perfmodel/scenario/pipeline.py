"""Streaming pipelines: stages that work at the same time on different items.

    throughput = 1/slowest stage    latency of one item = sum of stages    n items = sum + (n - 1) slowest

References
[1] Hennessy, Patterson, Computer Architecture: A Quantitative Approach, appendix C (pipelining).
[2] Chen et al., TVM, arXiv:1802.04799, section 4.4 (load, compute and store hidden behind each other).
[3] Narayanan et al., Efficient Large-Scale Language Model Training, arXiv:2104.04473 (bubble of a pipeline).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from perfmodel.algebra import Value, maximum, total


@dataclass(frozen=True)
class Pipeline:
    """Stages by name with the time that each spends on one item [s]."""

    stages: Mapping[str, Value]

    @property
    def interval(self) -> Value:
        """Time between two finished items: the slowest stage [s]."""
        return maximum(*self.stages.values())

    @property
    def throughput(self) -> Value:
        """Items per second."""
        return 1.0 / self.interval

    @property
    def latency(self) -> Value:
        """Time of one item alone: the sum of the stages [s]."""
        return total(self.stages.values())

    @property
    def bottleneck(self) -> str:
        """Name of the slowest stage (of single numbers)."""
        return max(self.stages, key=lambda name: float(self.stages[name]))

    def makespan(self, items: Value) -> Value:
        """Time of `items` items one after the other: fill, then one per interval [s]."""
        return self.latency + (items - 1.0) * self.interval


def decoupled(load: Value, compute: Value, store: Value, hidden: bool = True) -> Value:
    """Time of a step whose load, compute and store run in turn or behind each other [2]: max or sum [s]."""
    return maximum(load, compute, store) if hidden else load + compute + store


def bubble(stages: Value, micro_batches: Value) -> Value:
    """Idle share of a training pipeline over its busy time [3]: ``(p - 1)/m``."""
    return (stages - 1.0) / micro_batches


def slowest_of(members: Value, median: Value, high: Value, quantile: float, level: float = 0.95) -> Value:
    """Quantile of the slowest of equal independent members [s]: time of a request that waits for all.

    members          boards, servers or workers that all get the request
    median, high     median and `level` quantile of one member, log-normal between them [s]
    quantile         of the result, e.g. 0.5 for the median

    ``F_max = F^n``, so the quantile q of the slowest is the quantile ``q^(1/n)`` of one.
    """
    spread = np.log(high / median) / _normal_quantile(level)
    return median * np.exp(spread * _normal_quantile(quantile ** (1.0 / members)))


def _normal_quantile(p: Value) -> Value:
    """Inverse of the normal distribution; p a float or array within (0, 1)."""
    return np.vectorize(NormalDist().inv_cdf)(p)[()]
