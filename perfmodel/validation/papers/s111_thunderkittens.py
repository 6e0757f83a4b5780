"""S111: Spector et al., ThunderKittens, arXiv:2410.20399; figures of the repository."""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts


@predicts({"S111-PEAKFRAC-01": ("h100-sxm5", 8192.0), "S111-PEAKFRAC-02": ("b200-sxm", 4096.0)},
          fidelity="calibrated", reason="calibrated on the vendor's library, which this kernel beats here")
def product_rate(device: str, size: float) -> float:
    """Rate of a square bf16 product [TFLOPS]."""
    op = pm.op.matmul(m=size, n=size, k=size)
    result = pm.kernel(op, device, precision="bf16", fidelity="calibrated")
    return 2.0 * size**3 / float(result.latency) / 1e12
