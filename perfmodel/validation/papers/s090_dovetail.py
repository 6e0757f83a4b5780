"""S090: Zhang et al., Dovetail: A CPU/GPU Heterogeneous Speculative Decoding, arXiv:2412.18934.

Verification on the CPU bounds a step: its time falls with the weights that move to the GPU.  The accepted
length, the same in both rows, comes from the other row.
"""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts, published

#: row -> GPU memory used [B]; what goes beyond the smaller one holds layers of the target model
_MEMORY = {"S090-HEAD-01": 3e9, "S090-HEAD-03": 7e9}


@predicts({case: case for case in _MEMORY}, fidelity="calibrated")
def rate(case: str) -> float:
    """Decode rate with drafts [token/s] from that at another split of the target model."""
    other = next(name for name in _MEMORY if name != case)
    weights = 2.0 * float(pm.workload("llama-2-7b").active_parameters)
    left = {name: weights - (memory - min(_MEMORY.values())) for name, memory in _MEMORY.items()}
    return published()[other].value * left[other] / left[case]
