"""S114: Mubarik et al., Hardware Acceleration of Neural Graphics, ISCA 2023, arXiv:2303.05735."""

from __future__ import annotations

import perfmodel as pm
from perfmodel.scenario.composition import accelerated
from perfmodel.validation.cases import predicts, published

#: share of encoding and network in the time with a hash grid, and the gain of fusing the rest
SHARE, REST = 0.7237, 9.94
_SCALES = {"S114-HEAD-01": 8.0, "S114-HEAD-02": 16.0, "S114-HEAD-03": 32.0, "S114-HEAD-04": 64.0}


#: row -> the row at the nearest other scale, from which the rate of one engine is taken
_ANCHOR = {
    "S114-HEAD-01": "S114-HEAD-02", "S114-HEAD-02": "S114-HEAD-01", "S114-HEAD-03": "S114-HEAD-02",
    "S114-HEAD-04": "S114-HEAD-03",
}


def _per_engine(name: str) -> float:
    """Speed-up of one engine that the application speed-up of a row implies."""
    return SHARE / (1.0 / published()[name].value - (1.0 - SHARE) / REST) / _SCALES[name]


@predicts({name: name for name in _SCALES}, fidelity="calibrated",
          reason="the share is a mean over four applications: those with a larger share scale further")
def application(case: str) -> float:
    """Speed-up of an application with a number of engines."""
    return float(accelerated(SHARE, _per_engine(_ANCHOR[case]) * _SCALES[case], REST))


@predicts("S114-HEAD-05", reason="the bound, entries of the grid read once; which application is not said")
def gap() -> float:
    """Time of a 4K frame of the smallest application, one point per pixel, over that at 60 frames/s."""
    image = pm.workload("instant-ngp-image").vary({"height": 2160.0, "width": 3840.0})
    return 60.0 * float(pm.forward(image, "rtx-3090", batch=1, precision="fp16").latency)
