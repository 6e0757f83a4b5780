"""S012: Chen et al., Low-Bitwidth Floating Point Quantization for Diffusion Models, arXiv:2408.06995.

Its premise: at one width, floats are as fast as integers.
"""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts

_DEVICES = ("h100-sxm5", "l40s", "mi300x", "rtx-4090")


@predicts({f"S012-WIDTH-{i:02}": name for i, name in enumerate(_DEVICES, start=1)},
          reason={"S012-WIDTH-04": "GeForce runs floats with 32-bit sums at half the rate of integers"})
def ratio(device: str) -> float:
    """Time of a denoising step in 8-bit floats over that in 8-bit integers."""

    def time(precision: str) -> float:
        return float(pm.forward("sd-1.5-unet", device, batch=2, precision=precision).latency)

    return time("fp8") / time("int8")
