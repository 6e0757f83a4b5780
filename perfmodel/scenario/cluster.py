"""Heterogeneous clusters in a ring: where the layers go when a token passes one device after the other.

A token reads every weight once, and the devices work in turn, so its time is the sum over all bytes of
1/bandwidth of the memory they lie in.  The best assignment fills the fastest memory first: a fractional
knapsack, exact up to one layer per memory.

References
[1] Li et al., PRIMA.CPP: Speeding Up 70B-Scale LLM Inference on Low-Resource Everyday Home Clusters,
    arXiv:2504.08791 (its integer program also weighs FLOP rates and operating systems).
[2] Dantzig, Discrete-Variable Extremum Problems, Operations Research 5(2), 1957, doi:10.1287/opre.5.2.266.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perfmodel.algebra import Value


@dataclass(frozen=True)
class Tier:
    """Memory that may hold weights: room [B], bandwidth [B/s], time of a hop to its device [s]."""

    name: str
    room: float
    bandwidth: float
    hop: float = 0.0


def assignment(size: Value, tiers: Sequence[Tier]) -> dict[str, Value]:
    """Bytes in each tier and in ``disk`` for what no tier holds; size [B] a float or an array."""
    left: Value = np.asarray(size, dtype=np.float64)
    placed: dict[str, Value] = {}
    for tier in sorted(tiers, key=lambda t: -t.bandwidth):
        taken = np.minimum(left, tier.room)
        placed[tier.name] = taken
        left = left - taken
    return {**placed, "disk": left}


def ring_time(size: Value, tiers: Sequence[Tier], disk: Value) -> Value:
    """Time of a token through `size` bytes of weights [s].

    disk  rate at which what fits nowhere is read again for each token [B/s]: one disk, or the sum of all
          where the devices read ahead of the token
    """
    placed = assignment(size, tiers)
    used = {tier.name: np.where(placed[tier.name] > 0.0, tier.hop, 0.0) for tier in tiers}
    return sum(placed[tier.name] / tier.bandwidth + used[tier.name] for tier in tiers) + placed["disk"] / disk
