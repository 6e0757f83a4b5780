"""S099: Ding et al., Tilus: A Virtual Machine for Low-Precision GPGPU Computation, arXiv:2504.12984."""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts


@predicts("S099-CUBLAS-01", fidelity="calibrated")
def library() -> float:
    """Rate of a large product on a B200 [TFLOPS]."""
    size = 8192.0
    op = pm.op.matmul(m=size, n=size, k=size)
    result = pm.kernel(op, "b200-sxm", precision="fp16", fidelity="calibrated")
    return 2.0 * size**3 / float(result.latency) / 1e12
