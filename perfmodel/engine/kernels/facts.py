"""What a kernel model knows of a GPU, the form of its corrections and of its answer.

References
[1] Williams, Waterman, Patterson, Roofline, CACM 52(4), 2009, doi:10.1145/1498765.1498785.
[2] NVIDIA, Matrix Multiplication Background User's Guide: tiles, waves, wave quantisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from perfmodel.algebra import Value
from perfmodel.errors import PrecisionError
from perfmodel.hardware.device import Device, System

#: bytes that one multiprocessor reads from L2 in one clock, and the share that streams reach [2, recalled]
L2_BYTES_PER_CLOCK = 64.0
L2_SHARE = 0.6
#: special functions (exp2) of one multiprocessor in one clock [recalled, CUDA C++ Programming Guide]
SPECIAL_PER_CLOCK = 16.0


@dataclass(frozen=True)
class GpuFacts:
    """Datasheet facts of one GPU; any of them may be an array that broadcasts with the sizes."""

    processors: Value  #: streaming multiprocessors (Xe-cores, compute units)
    clock: Value  #: [Hz]
    dram: Value  #: DRAM bandwidth [B/s]
    l2_bytes: Value  #: L2 capacity [B]
    l2: Value  #: L2 bandwidth [B/s]
    peak: Mapping[str, Value]  #: matrix peak by number format [FLOP/s]
    special: Value  #: special functions per second, whole device
    link: Value = 0.0  #: scale-up bandwidth, one direction [B/s]
    link_latency: Value = 1e-6  #: time of one message step [s]
    link_shared: Value = 0.0  #: 1 where the peers share the host's PCI Express
    power: Value = 0.0  #: board power limit [W]; 0: not stated

    def matrix(self, key: str) -> Value:
        """Matrix peak of a number format [FLOP/s]; a format without a unit runs at the next wider one."""
        narrower = {"fp4": ("fp4", "fp8"), "fp8": ("fp8",)}.get(key, (key,))
        for name in (*narrower, "bf16", "fp16", "fp32"):
            if name in self.peak:
                return self.peak[name]
        raise PrecisionError(key, "this GPU", tuple(self.peak))


def gpu_facts(target: Device | System) -> GpuFacts:
    """Facts of a device or of a system of them, from its specification."""
    device = target.device if isinstance(target, System) else target
    matrix = device.compute["matrix"]
    clock = next((value for value in (matrix.clock, device.clock) if value is not None), 1.5e9)
    processors = 100.0 if matrix.count is None else matrix.count
    cache = device.memory.get("l2")
    streamed = L2_BYTES_PER_CLOCK * L2_SHARE * clock * processors
    links = {**device.links, **(target.links if isinstance(target, System) else {})}
    name, link = next(iter(links.items()), ("", None))
    return GpuFacts(
        processors=processors,
        clock=clock,
        dram=device.main_memory.bandwidth,
        l2_bytes=cache.capacity if cache is not None and cache.capacity is not None else 32e6,
        l2=cache.bandwidth if cache is not None and cache.bandwidth is not None else streamed,
        peak=dict(matrix.peak),
        special=SPECIAL_PER_CLOCK * clock * processors,
        link=0.0 if link is None else link.bandwidth,
        link_latency=1e-6 if link is None else link.latency,
        link_shared=float(name.startswith("pcie")),
        power=0.0 if device.power is None or device.power.peak is None else device.power.peak,
    )


def correction(low: float, high: float, start: float = 1.0) -> Any:
    """Field of a corrections class: bounds of the fit, warm start and value where nothing is fitted."""
    return field(default=start, metadata={"low": low, "high": high})


def bounds(family: type[Any]) -> dict[str, tuple[float, float, float]]:
    """Name -> (low, high, start) of the corrections of a family."""
    return {f.name: (f.metadata["low"], f.metadata["high"], f.default) for f in fields(family)}  # type: ignore[misc]


@dataclass(frozen=True)
class KernelTime:
    """Time of a kernel and its parts, all [s].  Parts overlap and need not add up.

    waves          rounds of thread blocks over the processors
    rows, columns  of the output that a block computes; 0: not a matter of tiles
    split          blocks that share the reduction (k, or the cached tokens)
    """

    seconds: Value
    launch: Value = 0.0
    compute: Value = 0.0
    memory: Value = 0.0
    waves: Value = 0.0
    rows: Value = 0.0
    columns: Value = 0.0
    split: Value = 1.0


def column(value: Value) -> Any:
    """The value with a last axis of length one, on which candidates lie."""
    return np.asarray(value, dtype=float)[..., None]


def facts_column(gpu: GpuFacts) -> GpuFacts:
    """The facts with a candidate axis, so that arrays of hardware broadcast with candidates."""
    return GpuFacts(
        processors=column(gpu.processors), clock=column(gpu.clock), dram=column(gpu.dram),
        l2_bytes=column(gpu.l2_bytes), l2=column(gpu.l2), special=column(gpu.special), link=column(gpu.link),
        link_latency=column(gpu.link_latency), link_shared=column(gpu.link_shared), power=column(gpu.power),
        peak={key: column(value) for key, value in gpu.peak.items()},
    )


def soft_maximum(power: Value, *parts: Value) -> Value:
    """(sum x^p)^(1/p): the sum for p = 1, where nothing overlaps, to the maximum for large p [1]."""
    total: Value = 0.0
    for part in parts:  # microseconds keep the powers near one
        total = total + (1e6 * part) ** power
    return 1e-6 * total ** (1.0 / power)


def wave_count(blocks: Value, processors: Value, tail: Value) -> Value:
    """Rounds of thread blocks over the processors; `tail` 1: whole rounds only [2], 0: the tail is filled.

    At least one: a single block takes as long as a full round.
    """
    rounds = blocks / processors
    return np.where(rounds <= 1.0, 1.0, (1.0 - tail) * rounds + tail * np.ceil(rounds - 1e-9))


def miss_share(footprint: Value, capacity: Value, sharpness: float = 2.0) -> Value:
    """Share of the bytes that a repeated kernel reads from DRAM because they do not stay in cache.

    1 - exp(-(footprint / capacity)^sharpness)
    """
    return -np.expm1(-((footprint / capacity) ** sharpness))


def under_power_limit(seconds: Value, flop: Value, peak: Value, strength: Value) -> Value:
    """Time at the clock that the power limit leaves: long kernels at high utilisation run slower.

    t (1 + 0.2 strength u^2 min(t / 200 us, 1)), u = flop / (peak t)
    """
    used = np.minimum(flop / (peak * np.maximum(seconds, 1e-12)), 1.0)
    return seconds * (1.0 + 0.2 * strength * used**2 * np.minimum(seconds / 200e-6, 1.0))


def fastest(ranking: Value, **parts: Value) -> dict[str, Any]:
    """Every part at the candidate (last axis) with the least ranking."""
    best = np.argmin(ranking, axis=-1)[..., None]
    shape = np.shape(ranking)

    def chosen(value: Value) -> Any:
        return np.take_along_axis(np.broadcast_to(value, shape), best, -1)[..., 0]

    return {name: chosen(value) for name, value in parts.items()}
