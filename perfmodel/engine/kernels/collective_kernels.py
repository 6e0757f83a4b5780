"""Collectives among the GPUs of one node: algorithms and protocols as candidates.

    ring, simple protocol   steps x latency + (volume + half of the own share) / rate
    ring, two low-latency   the same with shorter latencies and lower rates (flags travel with the data)
    tree, low latency       2 log2(n) steps and twice the message
    direct                  one or two steps in which every member reads what it needs from all others, for
                            messages up to a limit
    time = |fixed time + least of them, host floor|_4

Latencies count in steps of the link.  A member of a ring sends its own share before it receives another: half
of that time stays visible, so that two members reach less of the rate than eight.

References
[1] Thakur, Rabenseifner, Gropp, Optimization of Collective Communication Operations in MPICH,
    IJHPCA 19(1), 2005, doi:10.1177/1094342005051521.
[2] NVIDIA NCCL, src/graph/tuning.h (github.com/yinwaii/nccl): latencies of a ring step over NVLink 0.47 to
    0.6 us (LL), 1.9 us (LL128), 3.4 us (simple); a quarter (LL) and 0.92 (LL128) of the rate.
[3] vLLM, custom all-reduce: one step below 256 kB, two above, up to 8 MB; over PCI Express only for two GPUs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfmodel.algebra import Value
from perfmodel.engine.collective import RING_STEPS, VOLUME
from perfmodel.engine.kernels.facts import GpuFacts, KernelTime, correction, kernel_start

#: names that tables use for a pattern
PATTERNS = {"alltoall": "all_to_all", "allreduce": "all_reduce", "allgather": "all_gather",
            "reducescatter": "reduce_scatter", "send_recv": "point_to_point"}
#: steps of the link in which all members meet, a quarter of them over a host bus [one device measured]
STEPS = 5.0
#: loss of rate with the members that share a host bus, (2 / n)^SHARED [one device measured, RTX PRO 6000]
SHARED = 0.45


@dataclass(frozen=True)
class CollectiveCorrections:
    """Dimensionless corrections of a collective library on a node; 1 is the documented reference."""

    launch: Value = correction(0.02, 30.0, 0.7)  # fixed time over a kernel start and STEPS of the link
    host: Value = correction(0.01, 60.0, 0.1)  # floor set by the caller over 3 us
    latency: Value = correction(0.02, 6.0)  # one step of the simple protocol over 5.7 of the link [2]
    bandwidth: Value = correction(0.01, 1.6)  # link rate over 0.8 of nominal
    low_latency: Value = correction(0.2, 5.0)  # step of the LL protocol over 0.18 of the simple one's [2]
    low_rate: Value = correction(0.05, 4.0)  # its rate over a quarter of the simple protocol's [2]
    mid_latency: Value = correction(0.1, 1.8)  # step of the LL128 protocol over 0.56 of the simple one's [2]
    mid_rate: Value = correction(0.05, 1.1, 0.65)  # its rate over 0.92 of the simple protocol's [2]
    direct: Value = correction(0.004, 6.0, 0.8)  # step of the direct algorithm over one of the simple ring
    limit: Value = correction(0.001, 1e4)  # largest message of the direct algorithm over 8 MB [3]
    crowd: Value = correction(0.001, 4.0)  # strength of the loss of rate on a shared bus


def collective_kernel_time(pattern: str, members: Value, size: Value, gpu: GpuFacts,
                           c: CollectiveCorrections | None = None, direct: bool = True) -> KernelTime:
    """Time of one collective in one node [s].

    pattern  all_reduce, all_gather, reduce_scatter, all_to_all, broadcast, point_to_point
    members  GPUs; size: full tensor [B]
    direct   whether the library has a direct all-reduce
    """
    c = c or CollectiveCorrections()
    pattern = PATTERNS.get(pattern, pattern)
    members, size = np.asarray(members, dtype=float), np.asarray(size, dtype=float)
    volume, steps = VOLUME[pattern](members), RING_STEPS[pattern](members)
    if pattern == "all_to_all":
        steps = np.minimum(steps, 1.0)  # all pairs at once
    own = 0.0 if pattern == "point_to_point" else 0.5 / members
    crowd = (2.0 / np.maximum(members, 2.0)) ** (SHARED * c.crowd * gpu.link_shared)
    rate = 0.8 * c.bandwidth * gpu.link * crowd
    hop = np.maximum(gpu.link_latency, 5e-7)
    step = 5.7 * hop * c.latency
    low, low_rate = 0.18 * step * c.low_latency, 0.25 * rate * c.low_rate
    mid, mid_rate = 0.56 * step * c.mid_latency, 0.92 * rate * c.mid_rate
    sent = (volume + own) * size
    work = np.minimum(np.minimum(steps * step + sent / rate, steps * mid + sent / mid_rate),
                      steps * low + sent / low_rate)
    if pattern == "all_reduce":
        levels = 2.0 * np.log2(members)
        tree = np.minimum(levels * low + 2.0 * size / low_rate, levels * mid + 2.0 * size / mid_rate)
        work = np.minimum(work, tree)
        if direct:
            work = _direct(work, members, size, volume, step * c.direct, rate, c.limit, gpu)
    launch = (kernel_start(gpu.clock) + STEPS * hop * (1.0 - 0.75 * gpu.link_shared)) * c.launch
    seconds = ((launch + work) ** 4 + (3e-6 * c.host) ** 4) ** 0.25
    return KernelTime(seconds, launch, 0.0 * work, volume * size / rate)


def _direct(ring: Value, members: Value, size: Value, volume: Value, step: Value, rate: Value, limit: Value,
            gpu: GpuFacts) -> Value:
    """The direct algorithm in one or two steps where it is faster and the message is below the limit [3]."""
    fast = np.minimum(step + (members - 1.0) * size / rate, 2.0 * step + volume * size / rate)
    allowed = np.where((members > 2.0) & (np.asarray(gpu.link_shared) > 0.0), 0.0, 1.0)
    share = allowed / (1.0 + (size / (8e6 * limit)) ** 6)
    return ring ** (1.0 - share) * np.minimum(fast, ring) ** share
