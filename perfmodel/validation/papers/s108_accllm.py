"""S108: Liang et al., AccLLM: Long-Context LLM Inference Via Algorithm-Hardware Co-Design, arXiv:2505.03745.

Decode reads the kept half of the weights with their places.  The share of the bandwidth that a design on this
board reaches is that of FlightLLM (arXiv:2401.03868, as a reading note of its sources gives it); the short
cache of Lambda attention is left out.
"""

from __future__ import annotations

import perfmodel as pm
from perfmodel.formats import Sparsity
from perfmodel.validation.cases import predicts

SUSTAINED = 0.659
#: power of the design and of FlightLLM [W], rate of FlightLLM on this board [token/s] (Table VII)
POWER, OTHER_POWER, OTHER_RATE = 33.0, 45.0, 55.0


@predicts("S108-T7-01", fidelity="calibrated")
def rate() -> float:
    """Decode rate [token/s]: 2-bit weights, two of four kept."""
    bits = Sparsity("n:m", 0.5, 4.0, 256.0).bits_per_element(2.0)
    moved = float(pm.workload("llama-2-7b").active_parameters) * float(bits) / 8.0
    return float(pm.device("alveo-u280").main_memory.bandwidth) * SUSTAINED / moved


@predicts("S108-T7-02", fidelity="calibrated")
def efficiency() -> float:
    """Tokens per energy at the measured power [token/J]."""
    return rate() / POWER


@predicts("S108-HEAD-01", fidelity="calibrated")
def gain() -> float:
    """Predicted rate over the measured one of FlightLLM."""
    return rate() / OTHER_RATE


@predicts("S108-HEAD-02", fidelity="calibrated")
def efficiency_gain() -> float:
    """Predicted tokens per energy over the measured ones of FlightLLM."""
    return efficiency() / (OTHER_RATE / OTHER_POWER)
