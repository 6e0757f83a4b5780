"""S107: T-MAN: Enabling End-to-End Low-Bit LLM Inference on NPUs via Unified Table Lookup, 2025."""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts


@predicts("S107-HEAD-04")
def decode() -> float:
    """Decode rate of 2.4 G ternary weights in 2 bits that the memory of the phone allows [token/s]."""
    return float(pm.device("snapdragon-8-gen3").main_memory.bandwidth) / (2.4e9 * 2.0 / 8.0)
