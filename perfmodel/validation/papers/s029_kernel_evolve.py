"""S029: Liao et al., KernelEvolve: Scaling Agentic Kernel Coding, arXiv:2512.23236.

Most of its gains are those of one program over another.  One follows from traffic: a convolution that the
library surrounds with changes of layout.
"""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts

BATCH, CHANNELS, LENGTH = 2048.0, 96.0, 200.0
#: width of the kernel: not in what could be read; both sides move the same bytes whatever it is
WIDTH = 3.0
_DEVICES = ("h100-sxm5", "a100-sxm-80gb", "mi300x", "mi350x")


@predicts({f"S029-CONV1D-{i:02}": name for i, name in enumerate(_DEVICES, start=1)},
          reason="every conversion is charged to memory, and the generated product itself is slower than the "
                 "library's")
def gain(device: str) -> float:
    """Conversion of inputs and of outputs, product and bias as kernels, over the product alone."""
    passed = pm.op.elementwise(BATCH * CHANNELS * LENGTH)
    fused = pm.op.conv2d(BATCH, CHANNELS, CHANNELS, 1.0, LENGTH, (1.0, WIDTH))
    one, copy = (float(pm.kernel(op, device, precision="fp16").latency) for op in (fused, passed))
    return (one + 3.0 * copy) / one
