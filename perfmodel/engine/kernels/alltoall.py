"""Dispatch and combine of an expert-parallel layer: tokens to the ranks of their experts and back.

    normal       copies = distinct ranks = n (1 - (1 - 1/n)^topk); processors move the tokens one by one:
                 work = (copies x bytes / rate + time per token) tokens / processors
    low latency  copies = topk; a group of warps serves the rows of an expert one after the other:
                 work = tokens topk / experts x bytes x time per byte
    time         = fixed + 12 steps of the link + per expert + |copies x bytes / link rate, work|_3

Twelve steps are what two devices show whose links differ by 1.6 in latency (counts, barrier, data, flags).

References
[1] DeepSeek-AI, DeepEP: expert-parallel communication library (normal kernels: a token goes once to a rank,
    20 processors by default; low-latency kernels: once for each expert).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfmodel.algebra import Value
from perfmodel.engine.kernels.facts import GpuFacts, KernelTime, correction, soft_maximum
from perfmodel.ops.moe import destinations

#: processors of a normal kernel where the caller does not say [1]
PROCESSORS = 20.0
#: link steps of one dispatch or combine
STEPS = 12.0


@dataclass(frozen=True)
class AllToAllCorrections:
    """Dimensionless corrections of an expert all-to-all; 1 is the documented reference."""

    launch: Value = correction(0.005, 60.0, 2.0)  # fixed time over 10 us
    expert: Value = correction(0.001, 30.0, 0.3)  # fixed time per 64 experts over one step of the link
    bandwidth: Value = correction(0.05, 1.6)  # link rate over 0.8 of nominal
    processor: Value = correction(0.05, 40.0, 2.0)  # rate of one processor over 20 GB/s (normal)
    token: Value = correction(0.001, 30.0, 3.0)  # work of a processor per token over 100 ns (normal)
    serial: Value = correction(0.01, 50.0)  # time of a byte of the rows of an expert over 0.15 ns


def all_to_all_time(
    tokens: Value, hidden: Value, topk: Value, experts: Value, ranks: Value, processors: Value,
    element: float, gpu: GpuFacts, c: AllToAllCorrections | None = None, low_latency: bool = False,
) -> KernelTime:
    """Time of one dispatch or combine [s] [1].

    tokens       of one rank; hidden: values of a token; element: bytes of a value on the wire
    processors   given to a normal kernel; 0: its default
    low_latency  kernel for few tokens: a token goes once to each expert
    """
    c = c or AllToAllCorrections()
    tokens, hidden, topk, experts, ranks, processors = (
        np.asarray(v, dtype=float) for v in (tokens, hidden, topk, experts, ranks, processors)
    )
    sent = tokens * hidden * element * (topk if low_latency else destinations(ranks, topk))
    wire = sent * (ranks - 1.0) / ranks / (0.8 * c.bandwidth * gpu.link)
    if low_latency:
        work = tokens * topk / experts * hidden * element * 0.15e-9 * c.serial
    else:
        some = np.where(processors > 0.0, processors, PROCESSORS)
        work = (sent / (20e9 * c.processor) + tokens * 1e-7 * c.token) / some
    fixed = 10e-6 * c.launch + gpu.link_latency * (STEPS + c.expert * experts / 64.0)
    seconds = fixed + soft_maximum(3.0, wire, work)
    return KernelTime(seconds, fixed, work, wire)
