"""Predictions of a measured row from the other rows of its group: few constants, never the row itself.

``t = sum of features x constants``, constants >= 0, fitted to relative errors.  It answers the question that
a user has who measured a few networks on a device: how far off is the model for the next one?

Reference
[1] Lawson, Hanson, Solving Least Squares Problems, SIAM 1995, doi:10.1137/1.9781611971217 (non-negative fit).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError


def constants(features: Any, values: Any) -> Any:
    """Non-negative constants of least squared relative error: features [N, F], values [N] -> [F]."""
    from scipy.optimize import nnls

    x, y = np.asarray(features, dtype=np.float64), np.asarray(values, dtype=np.float64)
    scale = np.maximum(np.abs(x).max(axis=0), 1e-300)
    found, _ = nnls(x / scale / y[:, None], np.ones(len(y)))
    return found / scale


def held_out(features: Mapping[str, Sequence[float]], values: Mapping[str, float], row: str) -> float:
    """Value of `row` from the constants that the other rows give.

    features  row -> numbers; values: row -> measured value of rows that may be used
    """
    others = [name for name in features if name != row and name in values]
    if len(others) < len(features[row]):
        raise ArgumentError("rows", len(others), f"at least {len(features[row])} other rows")
    fitted = constants([features[name] for name in others], [values[name] for name in others])
    return float(np.dot(features[row], fitted))
