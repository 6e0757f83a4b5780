"""S061: Ignatov et al., Real-Time Quantized Image Super-Resolution on Mobile NPUs.

One network of the challenge at the highest rate that the vendor of the NPU measured (SyNAP manual, reference
models: 64 convolutions 5x5 over 128 channels at above 7.9 TOP/s on the VS680).  Bandwidth of the chip and
what its runtime keeps on chip are not published.
"""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts

#: INT8 operations per second of the vendor's best case
RATE = 7.9e12


@predicts(("S061-HEAD-01", "S061-HEAD-02", "S061-AIM22-01"), fidelity="roofline",
          reason="layers of 28 channels fill a part of an array that reaches its rate at 128, and maps of "
                 "640 x 360 x 28 pass through a memory whose bandwidth is not published")
def runtime() -> float:
    """Time of a full-HD image when nothing but operations counts [ms]."""
    return 1e3 * float(pm.workload("abpn-x3").flops(batch=1.0)) / RATE
