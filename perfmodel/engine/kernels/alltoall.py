"""Dispatch and combine of an expert-parallel layer: tokens to the ranks of their experts and back.

    copies = dedup x distinct ranks + (1 - dedup) x topk      distinct ranks = n (1 - (1 - 1/n)^topk)
    time   = fixed + per expert + |copies x bytes / rate, work per token, growth with log2 tokens|_p + local

The rate is that of the links and of the processors given to the kernel, one after the other.

References
[1] DeepSeek-AI, DeepEP: expert-parallel communication library (normal and low-latency kernels).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfmodel.algebra import Value
from perfmodel.engine.kernels.facts import GpuFacts, KernelTime, correction, soft_maximum


@dataclass(frozen=True)
class AllToAllCorrections:
    """Dimensionless corrections of an expert all-to-all; 1 is the documented reference."""

    launch: Value = correction(0.2, 60.0, 3.0)  # fixed time over 10 us
    bandwidth: Value = correction(0.02, 1.3, 0.7)  # link rate over 0.8 of nominal
    processor: Value = correction(0.05, 20.0)  # rate of one processor over 20 GB/s
    copy: Value = correction(0.001, 50.0)  # passes over tokens in local memory
    token: Value = correction(0.0001, 10.0, 0.01)  # work per token and expert over 100 ns
    overlap: Value = correction(0.3, 5.0)  # p of the soft maximum over 3
    dedup: Value = correction(0.01, 1.0, 0.5)  # 1: a token goes once to a rank, 0: once for each expert
    expert: Value = correction(0.0001, 20.0, 0.1)  # fixed time per 64 experts over 1 us
    ramp: Value = correction(0.001, 50.0)  # growth with log2(1 + tokens) over 1 us


def all_to_all_time(
    tokens: Value, hidden: Value, topk: Value, experts: Value, ranks: Value, processors: Value,
    element: float, gpu: GpuFacts, c: AllToAllCorrections | None = None,
) -> KernelTime:
    """Time of one dispatch or combine [s].

    tokens      of one rank; hidden: values of a token; element: bytes of a value on the wire
    processors  given to the kernel; 0: not limited
    """
    c = c or AllToAllCorrections()
    tokens, hidden, topk, experts, ranks, processors = (
        np.asarray(v, dtype=float) for v in (tokens, hidden, topk, experts, ranks, processors)
    )
    distinct = ranks * (1.0 - (1.0 - 1.0 / ranks) ** topk)
    copies = c.dedup * distinct + (1.0 - c.dedup) * topk
    link = 0.8 * c.bandwidth * gpu.link
    some = np.maximum(processors, 1.0)
    rate = np.where(processors > 0.0, 1.0 / (1.0 / link + 1.0 / (some * 20e9 * c.processor)), link)
    wire = tokens * hidden * element * copies * (ranks - 1.0) / ranks / rate
    work = c.token * tokens * topk * 1e-7 / np.where(processors > 0.0, some / 20.0, 1.0)
    ramp = 1e-6 * c.ramp * np.log2(1.0 + tokens)
    local = c.copy * tokens * hidden * (element * copies + 2.0) / gpu.dram
    fixed = 10e-6 * c.launch + 1e-6 * c.expert * experts / 64.0
    seconds = fixed + soft_maximum(3.0 * c.overlap, wire, work, ramp) + local
    return KernelTime(seconds, fixed, work, wire + local)
