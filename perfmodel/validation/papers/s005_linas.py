"""S005: Cummings et al., A Hardware-Aware Framework for Neural Architecture Search, arXiv:2205.10358.

Both searches on 2000 random MobileNetV3 networks: modelled latency on a GPU against operations, which stand
for the accuracy that is not modelled.  Counted is what is measured until the whole front is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

import perfmodel as pm
from perfmodel.explore.active import hypervolume, iterative, one_shot
from perfmodel.validation.cases import predicts
from perfmodel.workload.nets.nas import sampled

NETWORKS, BATCH, SEEDS = 2000, 50, 5


@cache
def _space() -> Mapping[str, Any]:
    """Features and objectives of the networks, and the hypervolume of their front."""
    draw = np.random.default_rng(0)
    depths = draw.choice([2.0, 3.0, 4.0], (NETWORKS, 5))
    kernels = draw.choice([3.0, 5.0, 7.0], (NETWORKS, 20))
    expansions = draw.choice([3.0, 4.0, 6.0], (NETWORKS, 20))
    nets = sampled(pm.workload("ofa-mobilenet-v3"), depths=depths, kernels=kernels, expansions=expansions)
    result = pm.forward(nets, "titan-rtx", batch=64, precision="fp16", fidelity="dataflow")
    costs = np.column_stack([np.asarray(result.latency), -np.asarray(result.flops)])
    present = np.repeat(depths, 4, axis=1) > np.tile(np.arange(4.0), 5)
    parts = (kernels, expansions, kernels * expansions)
    features = np.column_stack([depths, *(present * part for part in parts)])
    corner = costs.max(axis=0)
    return {"features": features, "costs": costs, "corner": corner, "whole": hypervolume(costs, corner)}


def _found(values: Any) -> bool:
    """Whether the front of the measured networks is that of all."""
    space = _space()
    return bool(hypervolume(values, space["corner"]) >= space["whole"] * (1.0 - 1e-12))


@predicts("S005-HEAD-01", fidelity="dataflow",
          reason="modelled objectives are almost additive and without noise: one batch teaches all")
def fewer() -> float:
    """Measurements with predictors fitted once over those with predictors in the loop, medians of 5 draws."""
    features, costs = _space()["features"], _space()["costs"]
    looped, once = [], []
    for seed in range(SEEDS):
        steps = iterative(features, costs.__getitem__, BATCH, seed)
        looped.append(next(len(known) for known, values in steps if _found(values)))
        runs = (one_shot(features, costs.__getitem__, n, BATCH, seed) for n in range(BATCH, NETWORKS, BATCH))
        once.append(next((len(known) for known, values in runs if _found(values)), NETWORKS))
    return float(np.median(once) / np.median(looped))
