"""pm.probe: measure the machine this runs on and describe it as a Device.

Only numpy and the facts of the operating system are used.  Bandwidth per level is that of a scaled copy
over a working set that fits the level, on all cores at once; peaks are the best of several large products
(matrix) and of an in-cache multiply (vector); the launch overhead is the time of a numpy call on one element.

Reference
[1] McCalpin, STREAM: sustainable memory bandwidth in high performance computers, the ``scale`` kernel.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from perfmodel.arguments import number
from perfmodel.hardware.device import Device
from perfmodel.spec import loads

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


@dataclass(frozen=True)
class Cache:
    """One level of cache: name, bytes of one instance, instances on the cores that may be used."""

    name: str
    size: float
    instances: int


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """Name of the processor as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def memory_size() -> float:
    """Installed main memory [B]."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        return 8.0 * 2**30


def caches() -> tuple[Cache, ...]:
    """Data caches from the outermost to the innermost, as the system describes them; empty if it does not."""
    found = []
    for entry in sorted(_CACHES.glob("index*"), reverse=True):
        facts = {
            k: (entry / k).read_text(encoding="utf-8").strip()
            for k in ("level", "type", "size", "shared_cpu_list")
            if (entry / k).is_file()
        }
        if facts.get("type") in ("Data", "Unified") and "size" in facts:
            size = _kibibytes(facts["size"])
            members = max(1, len(_members(facts.get("shared_cpu_list", "0"))))
            found.append(Cache(f"l{facts['level']}", size, max(1, cores() // members)))
    return tuple(found)


def _kibibytes(text: str) -> float:
    scale = {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1], 1)
    return float(text.rstrip("KMG")) * scale


def _members(listed: str) -> list[int]:
    members: list[int] = []
    for part in listed.split(","):
        first, _, last = part.partition("-")
        members += range(int(first), int(last or first) + 1)
    return members


def load() -> float:
    """Programs that run or wait to run, mean of the last minute; 0 where the system does not say."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return 0.0


@cache
def busy() -> bool:
    """Whether other programs keep more than the cores of this machine busy, when first asked.

    Later the load is that of the measurement itself.
    """
    return load() > 1.3 * cores() + 0.5


def best_time(
    function: Callable[[], Any], budget: float, least: int = 3, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Shortest time of one call within `budget` seconds; at least `least` calls, within thrice the budget.

    The shortest is what the hardware can do; longer ones are disturbed by others.
    clock  ``time.thread_time`` counts only when this thread runs
    """
    function()
    best, calls, start = float("inf"), 0, time.perf_counter()
    while True:
        spent = time.perf_counter() - start
        if calls and (spent > 3 * budget or (spent > budget and calls >= least)):
            return best
        before = clock()
        function()
        best = min(best, clock() - before)
        calls += 1


def call_overhead(budget: float) -> float:
    """Time of a numpy call that does nothing worth mentioning [s]."""
    one = np.ones(1)
    clock = time.thread_time if busy() else time.perf_counter
    return (
        best_time(lambda: [np.multiply(one, one, out=one) for _ in range(1000)], budget, clock=clock) / 1000
    )


def bandwidth(working_set: float, budget: float, overhead: float, private: bool = False) -> float | None:
    """Bytes per second over a working set of all cores together [B/s]: the better of a scaled copy (reads
    plus writes) and of a dot product (reads only).

    Each core works on its own arrays; small sets are passed over many times.  None where the call of numpy
    takes longer than the bytes, as in a first-level cache.
    private  each core has this level for itself
    """
    workers = cores()
    elements = max(256, int(working_set / workers / 2 / 4))
    passes = max(1, int(2e7 / (8 * elements)))
    pairs = [(np.ones(elements, np.float32), np.ones(elements, np.float32)) for _ in range(workers)]

    def scale(pair: tuple[Any, Any]) -> None:
        source, target = pair
        for _ in range(passes):
            np.multiply(source, np.float32(1), out=target)

    def read(pair: tuple[Any, Any]) -> None:
        source, target = pair
        for _ in range(passes):
            np.dot(source, target)

    seconds = min(_together(f, pairs, budget / 2) for f in (scale, read))
    moving = seconds - passes * overhead
    sharers = 1 if busy() and not private else workers
    return sharers * passes * elements * 8 / moving if moving > 0.5 * seconds else None


def _together(function: Callable[[Any], None], items: Sequence[Any], budget: float) -> float:
    """Shortest time of the function on all items at once, one a core [s].

    On a busy machine the cores are not there to be used: the time that one thread runs.
    """
    if busy():
        return best_time(lambda: function(items[0]), budget, clock=time.thread_time)
    with ThreadPoolExecutor(len(items)) as pool:
        return best_time(lambda: list(pool.map(function, items)), budget)


def matrix_peak(dtype: Any, budget: float) -> float:
    """FLOP per second of a square product through numpy's BLAS [FLOP/s]: the best of several sizes.

    Small ones end before another program takes the core away; the smallest runs on one core, and all cores
    together do as many times more.
    """
    least = np.ones((64, 64), dtype)
    target = np.empty_like(least)
    best = cores() * 2.0 * 64**3 / best_time(lambda: np.matmul(least, least, out=target), budget / 5)
    for size in (256, 512, 1024, 2048):
        a, b = np.ones((size, size), dtype), np.ones((size, size), dtype)
        out = np.empty_like(a)
        seconds = best_time(lambda a=a, b=b, out=out: np.matmul(a, b, out=out), budget / 5)  # type: ignore[misc]
        best = max(best, 2.0 * size**3 / seconds)
    return best


def vector_peak(function: Callable[..., Any], dtype: Any, budget: float, overhead: float) -> float:
    """Elements per second of a map over arrays that stay in the cache, all cores [operations/s]."""
    workers, elements, passes = cores(), 4096, 2000
    arrays = [np.ones(elements, dtype) for _ in range(workers)]

    def run(array: Any) -> None:
        out = np.empty_like(array)
        for _ in range(passes):
            function(array, out)

    seconds = _together(run, arrays, budget)
    return workers * elements * passes / max(seconds - passes * overhead, 0.2 * seconds)


def measure(budget: float = 20.0, progress: Callable[[float], None] | None = None) -> Mapping[str, Any]:
    """All measurements, in about `budget` seconds: overhead, bandwidth by level, peaks by format."""
    levels = caches()
    jobs = 7 + len(levels)
    share, done = budget / jobs, 0
    facts: dict[str, Any] = {"levels": levels}

    def take(name: str, value: float | None) -> None:
        nonlocal done
        facts[name] = value
        done += 1
        if progress is not None:
            progress(done / jobs)

    take("overhead", call_overhead(share))
    overhead = facts["overhead"]
    last = levels[0].size * levels[0].instances if levels else 64 * 2**20
    take("dram", bandwidth(max(4.0 * last, 2**28), share, overhead))
    for level in levels:
        private = level.instances >= cores()
        take(level.name, bandwidth(0.5 * level.size * level.instances, share, overhead, private))
    take("fp32", matrix_peak(np.float32, share))
    take("fp64", matrix_peak(np.float64, share))
    multiply = lambda a, out: np.multiply(a, a, out=out)  # noqa: E731
    take("vector_fp32", vector_peak(multiply, np.float32, share, overhead))
    take("vector_fp64", vector_peak(multiply, np.float64, share, overhead))
    take("special", vector_peak(lambda a, out: np.exp(a, out=out), np.float32, share, overhead))
    return facts


def probe(
    name: str = "this-machine", *, budget: float = 20.0, progress: Callable[[float], None] | None = None
) -> Device:
    """Device description of the machine this runs on.

    name    name of the device
    budget  seconds to spend on measuring
    The numbers are measurements, so their source says so; they are not a datasheet.
    """
    number("budget", budget, high=110.0)
    return loads(Device, describe(name, measure(budget, progress)), f"<probe {name}>")


def describe(name: str, facts: Mapping[str, Any]) -> str:
    """YAML text of the measurements."""
    levels: tuple[Cache, ...] = facts["levels"]
    fp32, fp64 = facts["fp32"], facts["fp64"]
    lines = [
        f"device: {name}",
        f'title: "{processor()}, {cores()} cores"',
        "kind: cpu",
        "sources:",
        f'  probe: "measured by perfmodel probe on {time.strftime("%Y-%m-%d")}, numpy {np.__version__}, '
        f'{platform.system()} {platform.machine()}"',
        '  system: "as the operating system states it"',
        "source: probe",
        "compute:",
        "  matrix:",
        # a processor without matrix units for narrow formats computes them as fp32
        f"    peak: {{fp32: {fp32:.4g} FLOP/s, fp64: {fp64:.4g} FLOP/s, tf32: {fp32:.4g} FLOP/s}}",
        "  vector:",
        f"    peak: {{fp32: {facts['vector_fp32']:.4g} FLOP/s, fp64: {facts['vector_fp64']:.4g} FLOP/s}}",
        "  special:",
        f"    peak: {{fp32: {facts['special']:.4g} FLOP/s}}",
        "memory:",
        f"  dram: {{capacity: {{value: {memory_size():.12g} B, source: system}}, "
        f"bandwidth: {facts['dram']:.4g} B/s}}",
    ]
    outer = facts["dram"]
    for level in levels:
        rate = facts[level.name]
        # a level slower than the one outside it shows the cost of the call, not of the level
        rate = rate if rate is not None and rate > outer else None
        outer = rate or outer
        known = f", bandwidth: {rate:.4g} B/s" if rate is not None else ""
        lines.append(
            f"  {level.name}: {{capacity: {{value: {level.size:.12g} B, source: system}}{known}, "
            f"instances: {{value: {level.instances}, source: system}}}}"
        )
    lines += ["launch:", f"  overhead: {facts['overhead']:.4g} s"]
    return "\n".join(lines) + "\n"
