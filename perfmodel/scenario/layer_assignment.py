"""Which layers of a model each device of a home cluster takes, and how many of them its GPU.

A token passes the devices in a ring, `rounds` times; in each round device m computes its window of ``w_m``
layers, ``n_m`` of them on its GPU.  Chosen are the windows of the shortest token,

    min  k sum_m (a_m w_m + b_m n_m),   k sum_m w_m = L,   1 <= w_m,   0 <= n_m <= w_m,

where a and b grow by the reading from disk on a device whose memory is short.  The program is separable, so
a dynamic program over the devices solves it exactly.

Reference
[1] Li et al., PRIMA.CPP, arXiv:2504.08791, and the authors' code (coefficients by operating system).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from perfmodel.errors import ArgumentError

#: disks slower than this are not read ahead of a token [B/s] [1]
SLOW_DISK = 0.1e9


@dataclass(frozen=True)
class Member:
    """Device of the ring.

    cpu, gpu   time of one layer on each [s]; gpu None: there is none
    ram, vram  memory for weights and caches [B]; disk: rate of reading [B/s]
    unified    GPU and CPU share the memory (macOS)
    """

    name: str
    cpu: float
    ram: float
    disk: float
    gpu: float | None = None
    vram: float = 0.0
    unified: bool = False


@dataclass(frozen=True)
class Assignment:
    """Rounds of a token, layers of each member's window, those of them on its GPU, time of a token [s]."""

    rounds: int
    windows: tuple[int, ...]
    on_gpu: tuple[int, ...]
    time: float


def window_time(member: Member, window: int, rounds: int, layer: float, cache: float) -> tuple[float, int]:
    """Time of a window [s] and its layers on the GPU, the best of all splits [1].

    layer, cache  weights and cache of one layer [B]
    """
    best = (inf, 0)
    most = window if member.gpu is not None else 0
    for count in range(most + 1):
        if not member.unified and rounds * count * (layer + cache) > member.vram:
            break
        kept = window if member.unified else window - count
        short = rounds * kept * (layer + cache) > member.ram and member.disk >= SLOW_DISK
        time = member.cpu * (window - count) + (member.gpu or 0.0) * count
        if short and member.unified and member.gpu is not None:
            time += window * layer / member.disk
        elif short:
            time += kept * (layer + cache) / member.disk
        best = min(best, (time, count))
    return best


def assign(members: Sequence[Member], layers: int, layer: float, cache: float = 0.0) -> Assignment:
    """Shortest token over all rounds k that divide the layers, k up to half of them [1].

    layer, cache  weights and cache of one layer [B]
    """
    if not members or layers < len(members):
        raise ArgumentError("members", len(members), f"1 to {layers}, the number of layers")
    found = Assignment(0, (), (), inf)
    for rounds in (k for k in range(1, max(layers // 2, 1) + 1) if layers % k == 0):
        total = layers // rounds
        if total < len(members):
            break
        # best[w]: time and windows of the members so far with w layers in all
        best: dict[int, tuple[float, tuple[tuple[int, int], ...]]] = {0: (0.0, ())}
        for member in members:
            costs = {w: window_time(member, w, rounds, layer, cache) for w in range(1, total + 1)}
            best = {
                size: min(
                    (time + costs[size - before][0], (*chosen, (size - before, costs[size - before][1])))
                    for before, (time, chosen) in best.items() if before < size
                )
                for size in range(1, total + 1) if any(before < size for before in best)
            }
        time, chosen = best[total]
        if rounds * time < found.time:
            windows, on_gpu = zip(*chosen, strict=True)
            found = Assignment(rounds, windows, on_gpu, rounds * time)
    return found
