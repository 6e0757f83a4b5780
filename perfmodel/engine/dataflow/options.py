"""Tile sizes of all stages as rows: per loop a table of factor chains, per row one chain of each loop.

A chain holds the temporal factors of a loop, block 1 (outermost) first; the spatial factors between the
blocks are fixed.  Rows are built from the innermost stage outwards and dropped as soon as a stage overflows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfmodel.engine.dataflow.space import tile_sizes

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Chains:
    """Factor chains of one loop.

    bound    size N
    lanes    spatial factor in front of each block's stage, block 1 first
    factors  temporal factors, shape (chains, blocks)
    """

    bound: float
    lanes: tuple[int, ...]
    factors: Floats

    def inside(self, block: int) -> Floats:
        """Tile of one instance of the stage below a block [elements, may exceed the bound]."""
        size = np.ones(len(self.factors))
        for later in range(block + 1, len(self.lanes)):
            size = size * self.factors[:, later] * self.lanes[later]
        return size


@dataclass
class _Prefix:
    """Chains known from the innermost block up to some block: factors so far, and what is left to cover."""

    factors: list[tuple[int, ...]]
    size: list[int]
    left: list[int]


def _extend(prefix: _Prefix, sizes: Callable[[int], tuple[int, ...]]) -> tuple[_Prefix, Ints, Ints]:
    """Prefixes with one more factor; first child and number of children of each old prefix."""
    made = _Prefix([], [], [])
    first, count = [], []
    for chain, size, rest in zip(prefix.factors, prefix.size, prefix.left, strict=True):
        first.append(len(made.factors))
        own = sizes(rest)
        count.append(len(own))
        for factor in own:
            made.factors.append((factor, *chain))
            made.size.append(size * factor)
            made.left.append(-(-rest // factor))
    return made, np.array(first, dtype=np.intp), np.array(count, dtype=np.intp)


#: Keeps rows that fit: (block, loop -> tile of one instance of the stage below it) -> mask.
Fits = Callable[[int, Mapping[str, Floats]], NDArray[np.bool_]]


@dataclass(frozen=True)
class Rows:
    """Candidates: chains of each loop, and per row the index of its chain."""

    chains: Mapping[str, Chains]
    index: Mapping[str, Ints]
    complete: bool

    def __len__(self) -> int:
        return len(next(iter(self.index.values()))) if self.index else 1


def build_rows(
    bounds: Mapping[str, int], lanes: Mapping[str, tuple[int, ...]], forced: Sequence[frozenset[str]],
    fits: Fits, budget: int,
) -> Rows:
    """Rows of all chains that fit, with as many tile sizes per loop as `budget` rows allow.

    bounds  loop -> N
    lanes   loop -> spatial factor in front of each stage, block 1 first
    forced  per block, loops whose factor there is one
    """
    rows = None
    for limit in (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 22, 27, 34, 44, 60, 90, None):
        more = _build(bounds, lanes, forced, fits, budget if limit != 2 else 1 << 40, limit)
        if more is None:
            break
        # a limit that cut nothing off has reached all sizes
        if rows is not None and limit is not None and len(more) == len(rows) and _uncut(bounds, lanes, limit):
            return Rows(more.chains, more.index, True)
        rows = more
    if rows is None:  # pragma: no cover - the first attempt has no limit
        raise RuntimeError("unreachable")
    return rows


def _uncut(bounds: Mapping[str, int], lanes: Mapping[str, tuple[int, ...]], limit: int) -> bool:
    """True if no loop has more tile sizes than the limit."""
    return all(len(tile_sizes(-(-b // int(np.prod(lanes[d]))))) <= limit for d, b in bounds.items())


def _build(
    bounds: Mapping[str, int], lanes: Mapping[str, tuple[int, ...]], forced: Sequence[frozenset[str]],
    fits: Fits, budget: int, limit: int | None,
) -> Rows | None:
    """Rows with at most `limit` sizes per split, or None if there are more than the budget."""
    blocks = len(forced)
    prefix, index = {}, {loop: np.zeros(1, dtype=np.intp) for loop in bounds}
    for loop, bound in bounds.items():
        prefix[loop] = _Prefix([()], [1], [-(-bound // int(np.prod(lanes[loop])))])
    rows = 1
    for block in range(blocks - 1, 0, -1):
        for loop in bounds:
            one = loop in forced[block]
            first, count = _grow(prefix, loop, one, limit)
            repeats = count[index[loop]]
            total = int(repeats.sum())
            if total > 8 * budget:
                return None
            at = np.repeat(np.arange(rows), repeats)
            step = np.arange(total) - np.repeat(np.cumsum(repeats) - repeats, repeats)
            index = {other: values[at] for other, values in index.items()}
            start = first[index[loop]] if total else np.zeros(0, dtype=np.intp)
            index[loop] = start + step
            tiles = {other: _tile(prefix[other], lanes[other], index[other], block) for other in bounds}
            good = fits(block, tiles)
            index = {other: values[good] for other, values in index.items()}
            rows = int(good.sum())
            if rows > budget:
                return None
    chains = {}
    for loop, bound in bounds.items():
        full = [(rest, *chain) for chain, rest in zip(prefix[loop].factors, prefix[loop].left, strict=True)]
        chains[loop] = Chains(float(bound), lanes[loop], np.array(full, dtype=float))
    return Rows(chains, index, limit is None)


def _grow(prefix: dict[str, _Prefix], loop: str, one: bool, limit: int | None) -> tuple[Ints, Ints]:
    prefix[loop], first, count = _extend(
        prefix[loop], (lambda rest: (1,)) if one else (lambda rest: tile_sizes(rest, limit))
    )
    return first, count


def _tile(prefix: _Prefix, lanes: tuple[int, ...], index: Ints, block: int) -> Floats:
    """Tile of the stage above a block (its loops and lanes included), as far as the factors are known."""
    return np.array(prefix.size, dtype=float)[index] * int(np.prod(lanes[block:]))
