"""Kernels that only move data: norms, activations, elementwise operations, quantisation.

    time = |launch + |bytes from DRAM, bytes through L2, latency of a row block|_p, host floor|_4

Bytes that stay from kernel to kernel come from L2, on chiplets from the cache that all share.

References
[1] Williams, Waterman, Patterson, Roofline, CACM 52(4), 2009, doi:10.1145/1498765.1498785.
[2] Gray, Getting Started with CUDA Graphs, NVIDIA, 2019: 9.6 us for each kernel of 2.9 us [recalled].
[3] github.com/ahrefs/ocannl issue 488: 6.3 us for each empty kernel of a stream, 0.6 us in a graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfmodel.algebra import Value
from perfmodel.engine.kernels.facts import (
    GpuFacts,
    KernelTime,
    correction,
    miss_share,
    soft_maximum,
    wave_count,
)

#: elements that one block treats in one go
BLOCK = 4096.0


@dataclass(frozen=True)
class StreamCorrections:
    """Dimensionless corrections of a streaming kernel; 1 is the documented reference."""

    launch: Value = correction(0.1, 60.0, 2.1)  # fixed time over 3 us: 6.3 to 6.7 us launched alone [2, 3]
    dram: Value = correction(0.05, 1.3)  # DRAM rate over 0.9 of nominal
    l2: Value = correction(0.02, 5.0)  # L2 rate over half of the streaming rate
    start: Value = correction(0.001, 50.0)  # a round of blocks over 1 us
    overlap: Value = correction(0.3, 5.0)  # p of the soft maximum over 3
    resident: Value = correction(0.02, 5.0)  # data that stays in L2 over half of it
    passes: Value = correction(0.3, 5.0)  # reads and writes over the compulsory ones
    host: Value = correction(0.01, 60.0, 0.05)  # floor set by the caller over 3 us


def stream_time(rows: Value, width: Value, element: Value, gpu: GpuFacts,
                c: StreamCorrections | None = None) -> KernelTime:
    """Time of a kernel that moves `element` bytes, read and written, for each of rows x width values [s]."""
    c = c or StreamCorrections()
    rows, width = np.asarray(rows, dtype=float), np.asarray(width, dtype=float)
    moved = c.passes * rows * width * element
    cold = miss_share(moved, 0.5 * c.resident * gpu.kept_bytes)
    memory = np.maximum(moved * cold / (0.9 * c.dram * gpu.dram), gpu.crossing(moved))
    through = moved / (0.5 * c.l2 * gpu.l2)
    waves = wave_count(rows * width / BLOCK, gpu.processors * 8.0, 0.0)
    rounds = 1e-6 * c.start * waves
    launch = 3e-6 * c.launch
    work = soft_maximum(3.0 * c.overlap, memory, through, rounds)
    seconds = ((launch + work) ** 4 + (3e-6 * c.host) ** 4) ** 0.25
    return KernelTime(seconds, launch, rounds, memory, waves)
