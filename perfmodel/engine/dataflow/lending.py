"""Rows of tile sizes that plans lend each other: the tiles of a good row under another unrolling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from perfmodel.engine.dataflow.options import Chains, Fits, Floats, Lanes, Rows, compact


def rows_lent(
    bounds: Mapping[str, int], plans: Sequence[Lanes], forced: Sequence[frozenset[str]], fits: Fits,
    own: Sequence[Mapping[str, tuple[int, ...]] | None], tiles: Sequence[Mapping[str, tuple[int, ...]]],
) -> Rows:
    """Rows whose tiles come near lent ones in all loops, or in one loop and are the plan's own in the others.

    own    per plan, loop -> factors of its best row; None: it has none
    tiles  per lender, loop -> tile at each block
    """
    lenders = len(tiles)
    chains: dict[str, Chains] = {}
    same = []  # per loop, (plans, lenders): the first of the own chain (0) and the lent ones that is equal
    for loop, bound in bounds.items():
        lanes = np.array([plan[loop] for plan in plans], float)
        lent = _fitted(lanes[:, None], np.array([tile[loop] for tile in tiles], float)[None])
        kept = [[row[loop] if row else (1,) * len(forced)] for row in own]
        every = np.concatenate([np.array(kept, float), lent], axis=1)
        every = _covering(bound, lanes[:, None], every, [loop in block for block in forced])
        # chains of one plan differ in the factors inside the outermost one, if at all
        inner = every[:, :, 1:].transpose(2, 0, 1)
        equal = np.logical_and.reduce(inner[:, :, :, None] == inner[:, :, None, 1:])
        same.append(np.argmax(equal, axis=1))
        chains[loop] = Chains(
            float(bound), np.repeat(lanes, lenders + 1, axis=0), every.reshape(-1, every.shape[2])
        )
    picks = np.zeros((len(plans), lenders, 1 + len(bounds), len(bounds)), dtype=np.intp)
    for at, first in enumerate(same):
        picks[:, :, 0, at] = picks[:, :, 1 + at, at] = first
    base = np.arange(len(plans)) * (lenders + 1)
    weights = (lenders + 1) ** np.arange(len(bounds) + 1)
    codes = picks @ weights[:-1] + (np.arange(len(plans)) * weights[-1])[:, None, None]
    alone = np.array([row is None for row in own])
    tried = np.where(alone[:, None, None], np.arange(1 + len(bounds)) == 0, picks.any(axis=3))
    places = np.flatnonzero(tried)
    _, first = np.unique(codes.reshape(-1)[places], return_index=True)
    places = places[np.sort(first)]
    plan = places // (lenders * (1 + len(bounds)))
    chosen = picks.reshape(-1, len(bounds))[places]
    index = {loop: base[plan] + chosen[:, at] for at, loop in enumerate(bounds)}
    good = np.ones(len(plan), dtype=bool)
    for stage in range(1, len(forced)):
        good &= fits(stage, {d: chains[d].inside(stage - 1)[index[d]] for d in bounds}, plan)
    return compact(chains, {d: i[good] for d, i in index.items()}, plan[good], len(plans))


def _fitted(lanes: Floats, tiles: Floats) -> Floats:
    """Factors of a plan with these lanes that come near the tiles of another one, last axis the blocks."""
    factors = np.zeros_like(lanes + tiles)
    tile: Floats = np.ones_like(factors[..., 0])
    for block in range(tiles.shape[-1] - 1, -1, -1):
        tile = tile * lanes[..., block]
        factors[..., block] = np.maximum(1.0, np.floor(tiles[..., block] / tile))
        tile = tile * factors[..., block]
    return factors


def _covering(bound: int, lanes: Floats, factors: Floats, ones: Sequence[bool]) -> Floats:
    """Chains that cover the bound, of the next tile sizes (see tile_sizes) not below the factors."""
    covering = np.ones(factors.shape)
    open_ = np.ceil(bound / np.prod(lanes, axis=-1)) * np.ones(factors.shape[:-1])
    for block in range(factors.shape[-1] - 1, 0, -1):
        if not ones[block]:
            tiles = np.ceil(open_ / factors[..., block])
            size = np.ceil(open_ / tiles)
            wider = np.ceil(open_ / np.maximum(tiles - 1.0, 1.0))
            covering[..., block] = np.where((size == factors[..., block]) | (tiles == 1.0), size, wider)
        open_ = np.ceil(open_ / covering[..., block])
    covering[..., 0] = open_
    return covering
