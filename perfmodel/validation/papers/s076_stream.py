"""S076: Heller et al., Closing the Performance Gap with Modern C++, ISC workshops 2016 [recalled]."""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts


@predicts("S076-HEAD-01", side="least")
def parity() -> float:
    """Bandwidth of STREAM in one programming model over another: both move the same bytes."""
    times = [pm.forward("stream", "epyc-7742", batch=1, precision="fp64").latency for _ in range(2)]
    return float(times[0] / times[1])
