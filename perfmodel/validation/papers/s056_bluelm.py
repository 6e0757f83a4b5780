"""S056: Lu et al., BlueLM-V-3B, arXiv:2411.10640."""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts

#: LPDDR5T of the phone, 64 bits at 9600 MT/s [B/s, recalled]
BANDWIDTH = 76.8e9


@predicts("S056-HEAD-01", reason="the bound of the memory; the runtime reaches 43 % of it")
def phone() -> float:
    """Decode rate of 2.7 G weights in 4 bits that the memory allows [token/s]."""
    return BANDWIDTH / (2.7e9 * 4.0 / 8.0)


@predicts("S056-T5-03", reason="the bound of the memory; the CPU cores reach a third of it")
def baseline() -> float:
    """Decode rate of an 8 G model in 4.5 bits on the CPU that the memory allows [token/s]."""
    return BANDWIDTH / (float(pm.workload("llama-3-8b").active_parameters) * 4.5 / 8.0)
