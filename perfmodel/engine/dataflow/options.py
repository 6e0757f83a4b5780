"""Tile sizes of all stages as rows: per loop a table of factor chains, per row one chain of each loop.

A chain holds the temporal factors of a loop, block 1 (outermost) first; the spatial factors between the
blocks are fixed.  Rows are built from the innermost stage outwards and dropped as soon as a stage overflows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from perfmodel.engine.dataflow.space import tile_sizes

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]

#: Numbers of tile sizes per split that are tried, until the rows exceed their budget.
_LIMITS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 22, 27, 34, 44, 60, 90, None)


@dataclass(frozen=True)
class Chains:
    """Factor chains of one loop.

    bound    size N
    lanes    spatial factors in front of each block, outermost first, shape (chains, blocks)
    factors  temporal factors, shape (chains, blocks)
    """

    bound: float
    lanes: Floats
    factors: Floats

    def inside(self, block: int) -> Floats:
        """Tile of one instance of the stage below a block [elements, may exceed the bound]."""
        return np.asarray(np.prod(self.factors[:, block + 1:] * self.lanes[:, block + 1:], axis=1))


@dataclass(frozen=True)
class _Tree:
    """Chains of one loop grown from the innermost block outwards, one step a block.

    first, count  per step: children of each partial chain
    size          per step: product of the factors so far
    factors       complete chains, outermost factor first
    """

    first: tuple[Ints, ...]
    count: tuple[Ints, ...]
    size: tuple[Floats, ...]
    factors: Floats


@lru_cache(maxsize=4096)
def _tree(rest: int, forced: tuple[bool, ...], limit: int | None) -> _Tree:
    """All chains that cover `rest`; `forced`: per block (outermost first), the factor is one."""
    chains: list[tuple[int, ...]] = [()]
    left, sizes = [rest], [1]
    first, count, size = [], [], []
    for one in reversed(forced[1:]):
        grown: list[tuple[int, ...]] = []
        grown_left, grown_size, starts, counts = [], [], [], []
        for chain, open_, done in zip(chains, left, sizes, strict=True):
            starts.append(len(grown))
            own = (1,) if one else tile_sizes(open_, limit)
            counts.append(len(own))
            grown += [(factor, *chain) for factor in own]
            grown_left += [-(-open_ // factor) for factor in own]
            grown_size += [done * factor for factor in own]
        chains, left, sizes = grown, grown_left, grown_size
        first.append(np.array(starts, dtype=np.intp))
        count.append(np.array(counts, dtype=np.intp))
        size.append(np.array(sizes, dtype=float))
    factors = np.array([(open_, *chain) for chain, open_ in zip(chains, left, strict=True)], dtype=float)
    return _Tree(tuple(first), tuple(count), tuple(size), factors)


#: Keeps rows that fit: (stage, loop -> tile of one instance of the stage) -> mask.
Fits = Callable[[int, Mapping[str, Floats]], Mask]


@dataclass(frozen=True)
class Rows:
    """Candidates: chains of each loop, and per row the index of its chain."""

    chains: Mapping[str, Chains]
    index: Mapping[str, Ints]
    complete: bool

    def __len__(self) -> int:
        return len(next(iter(self.index.values()))) if self.index else 1


def merge_rows(parts: Sequence[Rows]) -> tuple[Rows, Ints]:
    """One table of rows from several, and the number of the part that each row comes from."""
    origin = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    if len(parts) == 1:
        return parts[0], origin
    chains: dict[str, Chains] = {}
    index: dict[str, Ints] = {}
    for loop, first in parts[0].chains.items():
        tables = [part.chains[loop] for part in parts]
        offsets = np.cumsum([0, *(len(table.factors) for table in tables[:-1])])
        lanes = np.concatenate([table.lanes for table in tables])
        chains[loop] = Chains(first.bound, lanes, np.concatenate([table.factors for table in tables]))
        index[loop] = np.concatenate([part.index[loop] + o for part, o in zip(parts, offsets, strict=True)])
    return Rows(chains, index, all(part.complete for part in parts)), origin


def build_rows(
    bounds: Mapping[str, int], lanes: Mapping[str, tuple[int, ...]], forced: Sequence[frozenset[str]],
    fits: Fits, budget: int,
) -> Rows:
    """Rows of all chains that fit, with as many tile sizes per loop as `budget` rows allow.

    bounds  loop -> N
    lanes   loop -> spatial factor in front of each block, outermost first
    forced  per block, loops whose factor there is one
    """
    rests = {loop: -(-bound // math.prod(lanes[loop])) for loop, bound in bounds.items()}
    ones = {loop: tuple(loop in block for block in forced) for loop in bounds}
    rows, size = None, 0
    for limit, following in zip(_LIMITS, (*_LIMITS[1:], None), strict=True):
        trees = {loop: _tree(rests[loop], ones[loop], limit) for loop in bounds}
        chains = math.prod(len(tree.factors) for tree in trees.values())
        if rows is not None and size and len(rows) * chains / size > 3 * budget:
            break
        ahead = {loop: _tree(rests[loop], ones[loop], following) for loop in bounds} if following else trees
        if limit and math.prod(len(tree.factors) for tree in ahead.values()) <= budget and not _all(
            rests, following
        ):
            continue  # the next step fits for certain
        made = _build(bounds, lanes, trees, fits, budget if rows is not None else 1 << 40)
        if made is None:
            break
        rows, size = Rows(*made, _all(rests, limit)), chains
        if rows.complete:
            break
    return rows if rows is not None else Rows({}, {}, False)


def _all(rests: Mapping[str, int], limit: int | None) -> bool:
    """True if the limit cuts off no tile size of any loop."""
    return limit is None or all(len(tile_sizes(rest)) <= limit for rest in rests.values())


def _build(
    bounds: Mapping[str, int], lanes: Mapping[str, tuple[int, ...]], trees: Mapping[str, _Tree], fits: Fits,
    budget: int,
) -> tuple[dict[str, Chains], dict[str, Ints]] | None:
    """Rows of all combinations of chains that fit, or None if there are more than the budget."""
    index = {loop: np.zeros(1, dtype=np.intp) for loop in bounds}
    rows, steps = 1, len(next(iter(trees.values())).first)
    blocks = steps + 1
    for step in range(steps):
        stage = blocks - 1 - step
        tiles = {}
        for loop, lane in lanes.items():
            done = trees[loop].size[step - 1][index[loop]] if step else np.ones(rows)
            tiles[loop] = done * math.prod(lane[stage:])
        for loop, tree in trees.items():
            repeats = tree.count[step][index[loop]]
            total = int(repeats.sum())
            if total > 8 * budget:
                return None
            at = np.repeat(np.arange(rows), repeats)
            child = np.arange(total) - np.repeat(np.cumsum(repeats) - repeats, repeats)
            child += tree.first[step][index[loop]][at]
            index = {other: values[at] for other, values in index.items()}
            tiles = {other: values[at] for other, values in tiles.items()}
            index[loop] = child
            tiles[loop] = tree.size[step][child] * math.prod(lanes[loop][stage:])
            good = fits(stage, tiles)
            if not good.all():
                index = {other: values[good] for other, values in index.items()}
                tiles = {other: values[good] for other, values in tiles.items()}
            rows = len(index[loop])
            if rows > budget:
                return None
    chains = {
        loop: Chains(
            float(bound), np.broadcast_to(np.array(lanes[loop], float), trees[loop].factors.shape),
            trees[loop].factors,
        )
        for loop, bound in bounds.items()
    }
    return chains, index
