"""Predictions of a measured row from the other rows of its device: positive constants, never the row itself.

It answers what a user asks who measured a few networks on a device: how far off is the model for the next
one?
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError
from perfmodel.explore.positive import fit_rates

#: spread of the constants around equal shares, and relative noise of a measurement, both before anything is
#: known
STRAY, NOISE = 1.5, 0.1


def one_left_out(features: Mapping[str, Any], times: Any) -> tuple[Any, Any, Any]:
    """Predicted, low and high time of each row from the others: features name -> [N], times [N]."""
    y = np.asarray(times, dtype=np.float64)
    if len(y) < 4:
        raise ArgumentError("rows", len(y), "at least 4 rows of a device")
    x = np.stack([np.asarray(v, dtype=np.float64) for v in features.values()], axis=1)
    x = x[:, np.max(np.abs(x), axis=0) > 0]
    x = x / np.mean(x, axis=0) + 1e-9
    centre = np.full(x.shape[1], -np.log(x.shape[1]))
    out = np.empty((3, len(y)))
    for i in range(len(y)):
        rest = np.arange(len(y)) != i
        model = fit_rates(x[rest], y[rest], centre, NOISE, stray=STRAY)
        out[0, i] = model.predict(x[i : i + 1])[0]
        out[1, i], out[2, i] = (float(v[0]) for v in model.interval(x[i : i + 1]))
    return out[0], out[1], out[2]
