"""S064: Chen et al., Visual Dexterity, arXiv:2211.11744: cost of training, deadline of the control loop."""

from __future__ import annotations

from math import ceil

import perfmodel as pm
from perfmodel.validation.cases import predicts

HOURS, TARIFF, WORKSTATION = 400.0, 0.1564, 1e3
#: side of a voxel and of the longest object [m]
VOXEL, SIDE = 0.005, 0.165
#: channels into and out of the three residual blocks; each halves the resolution of the next
BLOCKS = ((3.0, 64.0), (64.0, 128.0), (128.0, 256.0))


@predicts("S064-COST-01", fidelity="count")
def energy() -> float:
    """Energy of a GPU at its limit [kWh]."""
    return float(pm.device("v100-pcie-16gb").power.peak) * HOURS / 1e3


@predicts("S064-COST-02", fidelity="count")
def price() -> float:
    """Price of that energy [USD]."""
    return energy() * TARIFF


@predicts("S064-COST-03", fidelity="count")
def workstation() -> float:
    """Price of the energy of the workstation [USD]."""
    return WORKSTATION / 1e3 * HOURS * TARIFF


@predicts("S064-RATE-01", side="least")
def rate() -> float:
    """Passes of the vision network per second, all voxels of the box of the longest object taken [Hz]."""
    time = 0.0
    for level, (inputs, outputs) in enumerate(BLOCKS):
        voxels = float(ceil(round(SIDE / VOXEL) / 2**level)) ** 3
        for channels in (inputs, outputs):  # two convolutions of 3 x 3 x 3
            op = pm.op.matmul(voxels, outputs, 27.0 * channels)
            time += float(pm.kernel(op, "rtx-2080ti", precision="fp32").latency)
    return 1.0 / time
