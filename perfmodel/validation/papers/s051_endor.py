"""S051: Joo et al., Endor: Hardware-Friendly Sparse Format for Offloaded LLM Inference, arXiv:2406.11674."""

from __future__ import annotations

from perfmodel.scenario.offload import bitmap_compression, hop_time
from perfmodel.validation.cases import predicts

#: lanes of one generation of PCIe: solid-state disk and GPU [recalled, PCIe card specifications]
DISK_LANES, GPU_LANES = 4.0, 16.0


@predicts(["S051-HEAD-01", "S051-HEAD-02"], fidelity="count")
def over_the_host() -> float:
    """Speed-up of transfer-bound inference with half of the 16-bit weights zero."""
    return float(bitmap_compression(16.0, 0.5))


@predicts(["S051-HEAD-03", "S051-HEAD-04"], fidelity="count")
def direct() -> float:
    """The same, streamed from disk to GPU in place of disk, host, GPU."""
    hops = (DISK_LANES, GPU_LANES)
    return float(bitmap_compression(16.0, 0.5) * hop_time(1.0, hops) / hop_time(1.0, hops, overlapped=True))
