"""What a kernel model knows of a GPU, the form of its corrections and of its answer.

References
[1] Williams, Waterman, Patterson, Roofline, CACM 52(4), 2009, doi:10.1145/1498765.1498785.
[2] NVIDIA, Matrix Multiplication Background User's Guide: tiles, waves, wave quantisation.
[3] AMD, Introducing AMD CDNA 3 Architecture, white paper, 2023: one L2 for each chiplet, coherent within it,
    behind a memory-side cache that all share.
[4] RRZE-HPC, gpu-benches, gpu-small-kernels, 2025: a kernel that reads what the one before wrote runs at 1.6
    and 1.3 times the DRAM rate on A100 and H200, never above it on MI210.
[5] Hu et al., HipKittens, arXiv:2511.08083: blocks go to the chiplets in turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from perfmodel.algebra import Value, maximum, where
from perfmodel.errors import PrecisionError
from perfmodel.hardware.device import ComputeUnit, Device, MemoryLevel, System

#: bytes that one multiprocessor reads from L2 in one clock, and the share that streams reach [2, recalled]
L2_BYTES_PER_CLOCK = 64.0
L2_SHARE = 0.6
#: time of an access to DRAM [s]: 324 ns on GH200, 372 ns on A100 (gpu-latency of the benches of [4])
ACCESS = 0.35e-6
#: shares of the nominal rates that the documented starts of the corrections stand for
DRAM_SHARE = MATRIX_SHARE = 0.9
#: special functions (exp2) of one multiprocessor in one clock [recalled, CUDA C++ Programming Guide]
SPECIAL_PER_CLOCK = 16.0
#: general lanes for each of them, where the vector rate is not stated [recalled, the same]
LANES = 8.0
#: shared memory of a processor where it is not stated: A100's [B]
SHARED = 168e3


@dataclass(frozen=True)
class GpuFacts:
    """Datasheet facts of one GPU; any of them may be an array that broadcasts with the sizes."""

    processors: Value  #: streaming multiprocessors (Xe-cores, compute units)
    clock: Value  #: [Hz]
    dram: Value  #: DRAM bandwidth [B/s]
    l2_bytes: Value  #: capacity of all L2 [B]
    l2: Value  #: bandwidth of all L2 [B/s]
    peak: Mapping[str, Value]  #: matrix peak by number format [FLOP/s]
    special: Value  #: special functions per second, whole device
    link: Value = 0.0  #: scale-up bandwidth, one direction [B/s]
    link_latency: Value = 1e-6  #: time of one message step [s]
    link_shared: Value = 0.0  #: 1 where the peers share the host's PCI Express
    power: Value = 0.0  #: board power limit [W]; 0: not stated; infinite: the matrix peak is what it leaves
    chiplets: Value = 1.0  #: L2 caches, each of as many processors
    llc_bytes: Value | None = None  #: capacity of a cache behind all L2 [B]; None: there is none
    llc: Value | None = None  #: its bandwidth [B/s]
    shared: Value = SHARED  #: shared memory of a processor [B]
    vector: Value | None = None  #: multiply-adds of 32 bits per second, whole device; None: 8 x special
    vendor: str = ""  #: maker, where programs of one name differ by it
    instruction: str = ""  #: of the matrix unit: mma, wgmma, tcgen05; empty: not stated

    @property
    def kept_bytes(self) -> Value:
        """Bytes of the last kernel that the next one finds on the chip [B] [3, 4].

        A line in an L2 serves the blocks of one chiplet in `chiplets`, in a cache behind all L2 every block.
        """
        return self.l2_bytes / self.chiplets if self.llc_bytes is None else self.llc_bytes

    def crossing(self, moved: Value) -> Value:
        """Time of bytes between the L2 and the cache behind them [s]; 0 where there is none."""
        return 0.0 if self.llc is None else moved / self.llc

    def held(self, flop: Value, key: str) -> Value:
        """Least time of matrix work at the rate that the power limit leaves [s]; 0 where none is stated."""
        return np.where(np.isinf(self.power), flop / (MATRIX_SHARE * self.matrix(key)), 0.0)

    @property
    def lanes(self) -> Value:
        """Instructions of the general lanes per second, one for each multiply-add of 32 bits."""
        return LANES * self.special if self.vector is None else self.vector

    def matrix(self, key: str) -> Value:
        """Matrix peak of a number format [FLOP/s]; a format without a unit runs at the next wider one."""
        narrower = {"fp4": ("fp4", "fp8"), "fp8": ("fp8",)}.get(key, (key,))
        for name in (*narrower, "bf16", "fp16", "fp32"):
            if name in self.peak:
                return self.peak[name]
        raise PrecisionError(key, "this GPU", tuple(self.peak))


def gpu_facts(target: Device | System, *, nominal: bool = False) -> GpuFacts:
    """Facts of a device or of a system of them, from its specification.

    Where the specification states the share of a rate that is `sustained`, the rates are such that the share
    which a documented start stands for makes it.

    nominal  the rates of the datasheet, for a bound
    """
    device = target.device if isinstance(target, System) else target
    matrix, main = device.compute["matrix"], device.main_memory
    if nominal:
        matrix, main = replace(matrix, sustained={}), replace(main, sustained=None)
    clock = next((value for value in (matrix.clock, device.clock) if value is not None), 1.5e9)
    processors = 100.0 if matrix.count is None else matrix.count
    near, behind = device.memory.get("l2"), device.memory.get("llc")
    behind = None if behind is None or behind.capacity is None or behind.bandwidth is None else behind
    streamed = L2_BYTES_PER_CLOCK * L2_SHARE * clock * processors
    links = {**device.links, **(target.links if isinstance(target, System) else {})}
    name, link = next(iter(links.items()), ("", None))
    power = 0.0 if device.power is None or device.power.peak is None else device.power.peak
    lanes, shared = device.compute.get("vector"), device.memory.get("shared")
    vector = None if lanes is None else lanes.peak.get("fp32")
    return GpuFacts(
        processors=processors,
        clock=clock,
        dram=main.bandwidth if main.sustained is None else main.bandwidth * main.sustained / DRAM_SHARE,
        l2_bytes=32e6 if near is None or near.capacity is None else near.capacity * near.instances,
        l2=streamed if near is None or near.bandwidth is None else _reached(near, 1.0),
        peak=_held(matrix),
        special=_special(device, clock, processors),
        link=0.0 if link is None else link.bandwidth,
        link_latency=1e-6 if link is None else link.latency,
        link_shared=float(name.startswith("pcie")),
        power=np.inf if matrix.sustained else power,
        chiplets=1.0 if near is None else near.instances,
        llc_bytes=None if behind is None else behind.capacity * behind.instances,
        llc=None if behind is None else _reached(behind, L2_SHARE),
        vendor=device.vendor,
        instruction=matrix.instruction,
        shared=SHARED if shared is None or shared.capacity is None else shared.capacity,
        vector=None if vector is None else vector / 2.0,
    )


def _special(device: Device, clock: Value, processors: Value) -> Any:
    """Special functions per second at the clock of the matrix unit, which long kernels run at."""
    unit = device.compute.get("special")
    if unit is None or not unit.peak:
        return SPECIAL_PER_CLOCK * clock * processors
    return maximum(*unit.peak.values()) * clock / (clock if device.clock is None else device.clock)


def _reached(level: MemoryLevel, share: Value) -> Any:
    """Bandwidth that streams reach [B/s]: the share that the specification states, else the one given."""
    return level.bandwidth * (share if level.sustained is None else level.sustained)


def _held(matrix: ComputeUnit) -> dict[str, Value]:
    """Matrix peaks at the clock that the power limit leaves [FLOP/s]; nominal where no share is stated.

    A number format that was not measured has the mean share of those that were.
    """
    known = matrix.sustained
    if not known:
        return dict(matrix.peak)
    mean = sum(known.values()) / len(known)
    return {name: peak * known.get(name, mean) / MATRIX_SHARE for name, peak in matrix.peak.items()}


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


def either(first: Value, one: KernelTime, other: KernelTime) -> KernelTime:
    """The one kernel where the mask holds, the other elsewhere."""
    times = (where(first, getattr(one, f.name), getattr(other, f.name)) for f in fields(KernelTime))
    return KernelTime(*times)


def column(value: Value) -> Any:
    """The value with a last axis of length one, on which candidates lie."""
    return np.asarray(value, dtype=float)[..., None]


#: facts that are no number
FACTS_IN_WORDS = ("peak", "vendor", "instruction")


def facts_column(gpu: GpuFacts) -> GpuFacts:
    """The facts with a candidate axis, so that arrays of hardware broadcast with candidates."""
    numbers = {f.name: getattr(gpu, f.name) for f in fields(gpu) if f.name not in FACTS_IN_WORDS}
    return GpuFacts(
        peak={key: column(value) for key, value in gpu.peak.items()},
        vendor=gpu.vendor,
        instruction=gpu.instruction,
        **{name: None if value is None else column(value) for name, value in numbers.items()},
    )


def kernel_start(clock: Value) -> Value:
    """Reference time from one short kernel to the next [s]: half at the clock of the processors [Hz].

    The emptiest products of cuBLAS take 3.0, 2.7, 2.2 and 2.2 us on chips of 1.41, 1.83, 1.86 and 2.43 GHz.
    """
    return 0.75e-6 + 1350.0 / clock


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


def tile_fetches(tiles_m: Value, tiles_n: Value, running: Value, chiplets: Value) -> tuple[Value, Value]:
    """Tile rows of A and tile columns of B that all L2 fetch for `running` blocks of a product [count] [5].

    The blocks fill R rows of C tiles, near a square, and go to the chiplets in turn along the rows: a row has
    blocks on every chiplet, a column on one.

        R = sqrt(running) within running / tiles_n ... tiles_m,  C = running / R
        A: R min(chiplets, C),  B: C
    """
    rows = np.minimum(np.maximum(np.sqrt(running), running / tiles_n), tiles_m)
    columns = running / rows
    return rows * np.minimum(chiplets, columns), columns


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
