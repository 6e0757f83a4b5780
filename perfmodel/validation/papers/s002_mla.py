"""S002: Geens, Verhelst, Hardware-Centric Analysis of DeepSeek's Latent Attention, arXiv:2506.02523.

The letter prints pictures; what can be checked is its conclusion, on accelerators of the catalogue.
"""

from __future__ import annotations

import perfmodel as pm
from perfmodel.ops.mla_schemes import latent_query
from perfmodel.validation.cases import predicts

_DEVICES = ("h100-sxm5", "a100-sxm-80gb", "tpu-v4", "mi300x")


@predicts({f"S002-SCHEME-{i:02}": name for i, name in enumerate(_DEVICES, start=1)}, side="least")
def gain(device: str) -> float:
    """Time of reading the formed product of the two projections over that of forming it again, one token."""

    def time(scheme: str) -> float:
        ops = latent_query(scheme, 1.0, 128.0, 1536.0, 512.0, 128.0)
        return sum(float(pm.kernel(op, device, precision="bf16").latency) for op in ops)

    return time("reuse") / time("recompute")
