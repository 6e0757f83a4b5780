"""Tile sizes of all stages as rows: per loop a table of factor chains, per row one chain of each loop.

A chain holds the temporal factors of a loop, block 1 (outermost) first; the spatial factors between the
blocks are fixed.  Rows are built from the innermost stage outwards and dropped as soon as a stage overflows.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

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


def iterations_of_chains(bound: Floats, steps: Floats, inside: Floats, flags: Mask) -> Floats:
    """count_iterations of many chains (columns, outermost factor first) for several sets of flags.

    bound (chains);  steps (factors, chains);  inside (factors + 1, chains): product of a factor and those
    inside it;  flags (sets, factors, chains): True where a factor multiplies
    """
    full = np.ones((len(flags), *inside.shape))
    np.multiply.accumulate(np.where(flags, steps, 1.0)[:, ::-1], axis=1, out=full[:, -2::-1])
    found = full[:, 0].copy()
    cut = np.flatnonzero(np.abs(inside[0] - bound) > 1e-9 * bound)
    if cut.size:
        flags, full, inside = flags[:, :, cut], full[:, :, cut], inside[:, cut]
        rest, ragged = np.broadcast_to(bound[cut], found[:, cut].shape), np.zeros((len(flags), cut.size))
        for step in range(len(steps)):
            tile, flag = inside[step + 1], flags[:, step]
            blocks = np.floor(rest / tile)
            ragged += flag * blocks * full[:, step + 1]
            rest = np.where(flag, rest - blocks * tile, np.minimum(rest, tile))
        found[:, cut] = ragged + (rest > 0)
    return found


@dataclass(frozen=True)
class _Tree:
    """Chains of one loop grown from the innermost block outwards, one step a block.

    count    per step: number of children of each partial chain
    size     per step: product of the factors so far
    factors  complete chains, outermost factor first
    """

    count: tuple[Ints, ...]
    size: tuple[Floats, ...]
    factors: Floats


class Near(NamedTuple):
    """Tile sizes next to those of a chain, `radius` to either side per block, and `many` over the range."""

    chain: tuple[int, ...]
    radius: int
    many: int


#: Which tile sizes a chain may have: so many, all (None), or those near a chain.
Limit = int | Near | None


def _sizes(bound: int, limit: Limit, block: int) -> tuple[int, ...]:
    if not isinstance(limit, Near):
        return tile_sizes(bound, limit)
    sizes = tile_sizes(bound)
    at = bisect.bisect_left(sizes, limit.chain[block])
    near = sizes[max(0, at - limit.radius):at + limit.radius + 1] or sizes[-1:]
    return tuple(sorted({*near, *tile_sizes(bound, limit.many)})) if limit.many else near


@lru_cache(maxsize=4096)
def _tree(rest: int, forced: tuple[bool, ...], limit: Limit) -> _Tree:
    """All chains that cover `rest`; `forced`: per block (outermost first), the factor is one."""
    chains: list[tuple[int, ...]] = [()]
    left, sizes = [rest], [1]
    count, size = [], []
    for block in range(len(forced) - 1, 0, -1):
        grown: list[tuple[int, ...]] = []
        grown_left, grown_size, counts = [], [], []
        for chain, open_, done in zip(chains, left, sizes, strict=True):
            own = (1,) if forced[block] else _sizes(open_, limit, block)
            counts.append(len(own))
            grown += [(factor, *chain) for factor in own]
            grown_left += [-(-open_ // factor) for factor in own]
            grown_size += [done * factor for factor in own]
        chains, left, sizes = grown, grown_left, grown_size
        count.append(np.array(counts, dtype=np.intp))
        size.append(np.array(sizes, dtype=float))
    factors = np.array([(open_, *chain) for chain, open_ in zip(chains, left, strict=True)], dtype=float)
    return _Tree(tuple(count), tuple(size), factors)


#: Keeps rows that fit: (stage, loop -> tile of one instance of the stage, number of the plan) -> mask.
Fits = Callable[[int, Mapping[str, Floats], Ints], Mask]


@dataclass(frozen=True)
class Rows:
    """Candidates: chains of each loop, per row the index of its chain, and the number of its plan.

    complete  per plan, every tile size is there
    """

    chains: Mapping[str, Chains]
    index: Mapping[str, Ints]
    plan: Ints
    complete: tuple[bool, ...]

    def __len__(self) -> int:
        return len(self.plan)


#: Loop -> spatial factor in front of each block, outermost first.
Lanes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class _Forest:
    """Trees of one loop for several plans behind each other.

    root   per plan, its tree
    lanes  per plan, spatial factors in front of each block
    """

    root: Ints
    lanes: Floats
    first: tuple[Ints, ...]
    count: tuple[Ints, ...]
    size: tuple[Floats, ...]
    chains: Chains


def _forest(
    bound: int, plans: Sequence[tuple[int, ...]], forced: tuple[bool, ...], limits: Sequence[Limit]
) -> _Forest:
    numbers: dict[tuple[tuple[int, ...], Limit], int] = {}
    keys = zip(plans, limits, strict=True)
    root = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.intp)
    trees = [_tree(-(-bound // math.prod(lanes)), forced, limit) for lanes, limit in numbers]
    steps = range(len(trees[0].count))
    first, count = [], []
    for step in steps:
        # children of one tree come behind those of the trees before
        count.append(np.concatenate([tree.count[step] for tree in trees]))
        first.append(np.cumsum(count[-1]) - count[-1])
    own = np.repeat(np.array([lanes for lanes, _ in numbers], float), [len(t.factors) for t in trees], axis=0)
    return _Forest(
        root, np.array(plans, float), tuple(first),
        tuple(count), tuple(np.concatenate([tree.size[step] for tree in trees]) for step in steps),
        Chains(float(bound), own, np.concatenate([tree.factors for tree in trees])),
    )


@lru_cache(maxsize=65536)
def number_of_chains(rest: int, free: int, limit: int | None) -> int:
    """Number of chains that cover `rest` with some free factors inside the outermost one."""
    if free == 0:
        return 1
    if free == 1:  # one for each size, whichever these are
        return min(len(tile_sizes(rest)), limit or rest)
    return sum(number_of_chains(-(-rest // size), free - 1, limit) for size in tile_sizes(rest, limit))


def build_rows(
    bounds: Mapping[str, int], plans: Sequence[Lanes], forced: Sequence[frozenset[str]], fits: Fits,
    budget: int,
) -> Rows:
    """Rows of all chains that fit, with as many tile sizes per loop as `budget` rows per plan allow.

    bounds  loop -> N
    plans   lanes of each plan
    forced  per block, loops whose factor there is one
    """
    made = _Growth(bounds, plans, forced, budget)
    parts: list[Rows] = []
    source = np.full(len(plans), -1)
    while made.active:
        numbers = list(made.active)
        trees = made.trees(numbers)
        # the shortest list of sizes is taken whole
        most = np.array([budget if made.best[n] >= 0 else 1 << 40 for n in numbers], float)
        which = np.array(numbers, dtype=np.intp)
        plan, index, failed = _build(trees, which, fits, most)
        counts = np.bincount(plan, minlength=len(numbers))
        for at, number in enumerate(numbers):
            if made.note(number, None if failed[at] else int(counts[at])):
                source[number] = len(parts)
        chains = {loop: tree.chains for loop, tree in trees.items()}
        parts.append(Rows(chains, index, which[plan], ()))
    kept = [_only(part, source[part.plan] == at) for at, part in enumerate(parts)]
    return merge(kept, tuple(made.full(number) for number in range(len(plans))))


def rows_near(
    bounds: Mapping[str, int], plans: Sequence[Lanes], forced: Sequence[frozenset[str]], fits: Fits,
    around: Sequence[tuple[int, Mapping[str, Near]]],
) -> Rows:
    """Rows near given ones, see build_rows; around: number of the plan, and loop -> its tile sizes."""
    ones = {loop: tuple(loop in block for block in forced) for loop in bounds}
    trees = {}
    for loop, bound in bounds.items():
        lanes, limits = [plans[number][loop] for number, _ in around], [near[loop] for _, near in around]
        trees[loop] = _forest(bound, lanes, ones[loop], limits)
    owner = np.array([number for number, _ in around], dtype=np.intp)
    entry, index, _ = _build(trees, owner, fits, None)
    return compact({loop: tree.chains for loop, tree in trees.items()}, index, owner[entry], len(plans))


def compact(chains: Mapping[str, Chains], index: Mapping[str, Ints], plan: Ints, plans: int) -> Rows:
    """Rows with the chains that they use: most chains of tiles that do not fit are in no row."""
    kept, moved = {}, {}
    for loop, table in chains.items():
        used = np.zeros(len(table.factors), dtype=bool)
        used[index[loop]] = True
        kept[loop] = Chains(table.bound, table.lanes[used], table.factors[used])
        moved[loop] = (np.cumsum(used) - 1)[index[loop]]
    return Rows(kept, moved, plan, (False,) * plans)


class _Growth:
    """How many tile sizes each plan tries: as many as the budget allows, guessed from what fitted before."""

    def __init__(
        self, bounds: Mapping[str, int], plans: Sequence[Lanes], forced: Sequence[frozenset[str]], budget: int
    ) -> None:
        self.bounds, self.plans, self.budget = bounds, plans, budget
        self.ones = {loop: tuple(loop in block for block in forced) for loop in bounds}
        self.rests = [{d: -(-n // math.prod(lanes[d])) for d, n in bounds.items()} for lanes in plans]
        self.best = [-1] * len(plans)
        self.failed = [len(_LIMITS)] * len(plans)
        self.active = {number: self._start(number) for number in range(len(plans))}

    def chains(self, number: int, position: int) -> int:
        """Combinations of chains of a plan."""
        return math.prod(
            number_of_chains(rest, sum(not one for one in self.ones[loop][1:]), _LIMITS[position])
            for loop, rest in self.rests[number].items()
        )

    def full(self, number: int) -> bool:
        """True if the sizes tried last are all there are."""
        return self._full(number, self.best[number])

    def _full(self, number: int, position: int) -> bool:
        limit = _LIMITS[position] if position >= 0 else 0
        return limit is None or all(len(tile_sizes(rest)) <= limit for rest in self.rests[number].values())

    def _start(self, number: int) -> int:
        position = 0
        while position + 1 < len(_LIMITS) and not self._full(number, position) and (
            self.chains(number, position + 1) <= self.budget
        ):
            position += 1
        return position

    def trees(self, numbers: Sequence[int]) -> dict[str, _Forest]:
        """Trees of the plans that are tried next."""
        limits = [_LIMITS[self.active[number]] for number in numbers]
        return {
            loop: _forest(bound, [self.plans[number][loop] for number in numbers], self.ones[loop], limits)
            for loop, bound in self.bounds.items()
        }

    def note(self, number: int, rows: int | None) -> bool:
        """Take down the rows that fitted (None: too many) and choose what is next; True if they count."""
        position = self.active.pop(number)
        if rows is None:
            self.failed[number] = position
            following = (self.best[number] + position) // 2
            if following > self.best[number]:
                self.active[number] = following
            return False
        self.best[number] = position
        if not self._full(number, position) and position + 1 < self.failed[number]:
            # longer lists of sizes fit about as often
            rate = max(rows, 1) / self.chains(number, position)
            following = position + 1
            if self.chains(number, following) * rate <= 3 * self.budget:
                while following + 1 < self.failed[number] and (
                    self.chains(number, following + 1) * rate <= self.budget
                ):
                    following += 1
                self.active[number] = following
        return True


def _only(rows: Rows, kept: Mask) -> Rows:
    index = {loop: values[kept] for loop, values in rows.index.items()}
    return Rows(rows.chains, index, rows.plan[kept], ())


def merge(parts: Sequence[Rows], complete: tuple[bool, ...]) -> Rows:
    """One table of rows from several."""
    parts = [part for part in parts if len(part)] or list(parts[:1])
    chains: dict[str, Chains] = {}
    index: dict[str, Ints] = {}
    for loop, first in parts[0].chains.items():
        tables = [part.chains[loop] for part in parts]
        offsets = np.cumsum([0, *(len(table.factors) for table in tables[:-1])])
        lanes = np.concatenate([table.lanes for table in tables])
        chains[loop] = Chains(first.bound, lanes, np.concatenate([table.factors for table in tables]))
        index[loop] = np.concatenate([part.index[loop] + o for part, o in zip(parts, offsets, strict=True)])
    return Rows(chains, index, np.concatenate([part.plan for part in parts]), complete)


def _build(
    trees: Mapping[str, _Forest], which: Ints, fits: Fits, most: Floats | None
) -> tuple[Ints, dict[str, Ints], Mask]:
    """Place in `which` and chains of all rows that fit; plans with more than `most` rows have failed.

    most  None: any number is fine, and so few that a stage is checked once, with the sizes of all loops
    """
    plans = len(which)
    plan, failed = np.arange(plans), np.zeros(plans, dtype=bool)
    index = {loop: tree.root for loop, tree in trees.items()}
    steps = len(next(iter(trees.values())).first)
    last = list(trees)[-1]
    for step in range(steps):
        stage = steps - step
        inner = {loop: np.prod(tree.lanes[:, stage:], axis=1) for loop, tree in trees.items()}
        tiles = {
            loop: inner[loop][plan] * (tree.size[step - 1][index[loop]] if step else 1.0)
            for loop, tree in trees.items()
        }
        for loop, tree in trees.items():
            repeats = tree.count[step][index[loop]]
            if most is not None:
                more = np.bincount(plan, weights=repeats, minlength=plans) > 8 * most
                if more.any():
                    failed |= more
                    repeats = np.where(more[plan], 0, repeats)
            at = np.repeat(np.arange(len(plan)), repeats)
            child = np.arange(len(at)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
            child += tree.first[step][index[loop]][at]
            plan = plan[at]
            index = {d: child if d == loop else values[at] for d, values in index.items()}
            size = tree.size[step][child] * inner[loop][plan]
            tiles = {d: size if d == loop else t[at] for d, t in tiles.items()}
            if most is None and loop != last:
                continue
            good = fits(stage, tiles, which[plan])
            if most is not None:
                full = np.bincount(plan[good], minlength=plans) > most
                if full.any():
                    failed |= full
                    good &= ~full[plan]
            plan = plan[good]
            index = {d: values[good] for d, values in index.items()}
            tiles = {d: t[good] for d, t in tiles.items()}
    return plan, index, failed
