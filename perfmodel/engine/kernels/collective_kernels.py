"""Collectives among the GPUs of one node: algorithms and protocols as candidates.

    ring, simple protocol   |steps x latency, (volume + ramp x steps) / rate|_p
    ring, low latency       the same with a shorter latency and a lower rate
    tree, low latency       2 log2(n) steps and twice the volume
    direct                  one step in which every member reads what it needs from all others
    time = |fixed time + least of them, host floor|_4

References
[1] Thakur, Rabenseifner, Gropp, Optimization of Collective Communication Operations in MPICH,
    IJHPCA 19(1), 2005, doi:10.1177/1094342005051521.
[2] NVIDIA NCCL: ring and tree algorithms, simple and LL128 protocols.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfmodel.algebra import Value
from perfmodel.engine.collective import RING_STEPS, VOLUME
from perfmodel.engine.kernels.facts import GpuFacts, KernelTime, correction, soft_maximum

#: names that tables use for a pattern
PATTERNS = {"alltoall": "all_to_all", "allreduce": "all_reduce", "allgather": "all_gather",
            "reducescatter": "reduce_scatter", "send_recv": "point_to_point"}


@dataclass(frozen=True)
class CollectiveCorrections:
    """Dimensionless corrections of a collective library on a node; 1 is the documented reference."""

    launch: Value = correction(0.1, 60.0)  # fixed time over 3 us
    latency: Value = correction(0.02, 20.0)  # one step of the simple protocol over 1 us
    bandwidth: Value = correction(0.01, 1.3)  # link rate over 0.8 of nominal
    low_latency: Value = correction(0.02, 1.0, 0.4)  # step of the low-latency protocol over the simple one's
    low_rate: Value = correction(0.01, 1.0, 0.3)  # its rate over that of the simple protocol
    direct: Value = correction(0.02, 20.0)  # latency of the direct algorithm over one step
    overlap: Value = correction(0.3, 5.0)  # p of the soft maximum over 3
    ramp: Value = correction(0.001, 20.0)  # bytes of a step that do not overlap over 100 kB
    crowd: Value = correction(0.001, 1.0, 0.05)  # loss of rate with the members, (2 / n)^crowd
    host: Value = correction(0.01, 60.0, 0.1)  # floor set by the caller over 3 us


def collective_kernel_time(pattern: str, members: Value, size: Value, gpu: GpuFacts,
                           c: CollectiveCorrections | None = None) -> KernelTime:
    """Time of one collective in one node [s].

    pattern  all_reduce, all_gather, reduce_scatter, all_to_all, broadcast, point_to_point
    members  GPUs; size: full tensor [B]
    """
    c = c or CollectiveCorrections()
    pattern = PATTERNS.get(pattern, pattern)
    members, size = np.asarray(members, dtype=float), np.asarray(size, dtype=float)
    volume, steps = VOLUME[pattern](members), RING_STEPS[pattern](members)
    if pattern == "all_to_all":
        steps = np.minimum(steps, 1.0)  # all pairs at once
    power = 3.0 * c.overlap
    rate = 0.8 * c.bandwidth * gpu.link * (2.0 / np.maximum(members, 2.0)) ** c.crowd
    step = 1e-6 * c.latency
    simple = soft_maximum(power, steps * step, (volume * size + 1e5 * c.ramp * steps) / rate)
    short, slow = step * c.low_latency, rate * c.low_rate
    low = soft_maximum(power, steps * short, volume * size / slow)
    tree = soft_maximum(power, 2.0 * np.log2(members) * short, 2.0 * volume * size / slow)
    whole = (members - 1.0) * size if pattern == "all_reduce" else volume * size
    direct = soft_maximum(power, step * c.direct, whole / rate)
    work = np.minimum(np.minimum(simple, low), np.minimum(tree, direct))
    seconds = ((3e-6 * c.launch + work) ** 4 + (3e-6 * c.host) ** 4) ** 0.25
    return KernelTime(seconds, 3e-6 * c.launch, 0.0 * work, volume * size / rate)
