"""S083: Huerta et al., Analyzing Modern NVIDIA GPU cores, MICRO 2025, arXiv:2503.20481.

A yardstick: error of a cycle-level simulator of one GPU, beside that of the kernel models here.
"""

from __future__ import annotations

import numpy as np

from perfmodel.engine.kernels.calibration import calibrations
from perfmodel.validation.cases import predicts


@predicts("S083-HEAD-01", fidelity="calibrated",
          reason="closed forms of many kernel families and libraries, beside a simulator of one GPU")
def unseen() -> float:
    """Mean error of the kernel models on shapes that their fit has not seen [%], mean over all groups."""
    scores = [
        group["held_out"]["mape"] for found in calibrations() for groups in found.families.values()
        for group in groups.values() if "held_out" in group
    ]
    return float(np.mean(scores))
