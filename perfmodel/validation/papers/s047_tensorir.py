"""S047: Feng et al., TensorIR: An Abstraction for Automatic Tensorized Program Optimization."""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts


@predicts("S047-GPU-01", reason="the ratio of the units; schedules of the other compiler are in the number")
def gain() -> float:
    """Rate of the tensor units over that of the ordinary lanes, both adding in 16 bits."""
    compute = pm.device("rtx-3080").compute
    # the description holds 32-bit sums, which GeForce runs at half the rate of 16-bit ones
    return 2.0 * float(compute["matrix"].peak["fp16"]) / float(compute["vector"].peak["fp16"])
