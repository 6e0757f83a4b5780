"""S084: Zhu et al., Mobile Machine Learning Hardware at ARM, arXiv:1801.06274; arXiv:1803.11232."""

from __future__ import annotations

from perfmodel.scenario.composition import pixel_budget, skipped
from perfmodel.validation.cases import predicts


@predicts("S084-ENERGYPX-02", fidelity="count")
def energy_per_pixel() -> float:
    """Energy per pixel that 3 W leave at 720p and 30 frames/s [nJ]."""
    return float(pixel_budget(3.0, 1280.0, 720.0, 30.0)) * 1e9


@predicts("S084-HEAD-02", fidelity="count")
def vision_work() -> float:
    """Inference saved in windows of four frames [recalled]; extrapolation takes 10 k of 2.7 G operations."""
    return float(skipped(4.0, 10e3 / 2.7e9))
