"""Which structures share a cost: worked out once per Config, used for every row of tile sizes."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from perfmodel.engine.dataflow.options import Ints
from perfmodel.engine.dataflow.problem import Operand
from perfmodel.engine.dataflow.space import LoopClass, Structure

if TYPE_CHECKING:
    from perfmodel.engine.dataflow.kernel import Config

Classes = frozenset[LoopClass]
#: Unrelated classes at the inner end of the one and two blocks further out.
Trails = tuple[Classes, Classes]
#: Loops along which a tile keeps its halo: of its own block, and where nothing runs around it there, of the
#: one and two blocks further out; empty: none.
Slides = tuple[str, str, str]
_NONE: Classes = frozenset()


@dataclass(frozen=True)
class Moves:
    """Distinct costs of moving one tensor into a stage.

    keys   classes that force no new tile, the trails outside, and the loops along which halos are kept
    where  (far, near, own) -> number of the key; an axis that makes no difference has length 1
    """

    operand: Operand
    keys: tuple[tuple[Classes, Trails, Slides], ...]
    where: Ints


@dataclass(frozen=True)
class Tiles:
    """Distinct tiles of a tensor in a stage: classes of the block inside, and the key per structure."""

    operand: Operand
    keys: tuple[Classes, ...]
    where: Ints


@dataclass(frozen=True)
class StageLayout:
    """Costs into one stage over the structures of its block and the trails of the blocks outside.

    shape       trails two blocks out, trails one block out, structures of the block
    far, near   per structure of these blocks, the number of its trail
    segments    structures of the block that share a trail
    """

    shape: tuple[int, int, int]
    far: Ints
    near: Ints
    segments: tuple[slice, ...]
    moves: tuple[Moves, ...]
    tiles: tuple[Tiles, ...]


def by_trail(structures: Iterable[Structure]) -> tuple[Structure, ...]:
    """Structures with the same trail next to each other."""
    found: dict[Hashable, list[Structure]] = {}
    for structure in structures:
        found.setdefault(structure.end, []).append(structure)
    return tuple(itertools.chain(*found.values()))


def _trails(structures: Sequence[Structure]) -> tuple[list[Structure], Ints]:
    """One structure per trail, and the number of the trail of each structure."""
    numbers: dict[Hashable, int] = {}
    first = []
    which = []
    for structure in structures:
        if structure.end not in numbers:
            first.append(structure)
        which.append(numbers.setdefault(structure.end, len(numbers)))
    return first, np.array(which, dtype=np.intp)


def stage_layout(config: Config, stage: int) -> StageLayout:
    """Layout of a stage (1: the first one inside)."""
    own = config.structures[stage - 1]
    only = np.zeros(1, dtype=np.intp)
    near, near_of = _trails(config.structures[stage - 2]) if stage >= 2 else ([], only)
    far, far_of = _trails(config.structures[stage - 3]) if stage >= 3 else ([], only)
    _, trail = _trails(own)
    last = stage == config.blocks
    cuts = [0, *([] if last else np.flatnonzero(np.diff(trail)) + 1), len(own)]
    segments = tuple(slice(int(a), int(b)) for a, b in itertools.pairwise(cuts))
    moves = tuple(_moves(operand, own, near, far, config.tiled) for operand in config.moved(stage))
    held = [operand for operand in config.operands if operand.name in config.holders[stage]]
    tiles = tuple(_tiles(operand, own) for operand in held)
    return StageLayout((len(far) or 1, len(near) or 1, len(own)), far_of, near_of, segments, moves, tiles)


def _moves(
    operand: Operand, own: Sequence[Structure], near: Sequence[Structure], far: Sequence[Structure],
    tiled: bool,
) -> Moves:
    name = operand.name
    nears, fars = [(s.trail[name], s.front) for s in near], [(s.trail[name], s.front) for s in far]
    nears, fars = nears or [(_NONE, "")], fars or [(_NONE, "")]
    numbers: dict[Hashable, int] = {}
    keys: list[tuple[Classes, Trails, Slides]] = []
    where = np.empty((len(fars), len(nears), len(own)), dtype=np.intp)
    for (i, a), (j, b), (k, s) in itertools.product(enumerate(fars), enumerate(nears), enumerate(own)):
        made = s.still[name], (b[0], a[0]), _slides(operand, s, b[1], a[1])
        key = _counts(operand, *made, tiled)
        if key not in numbers:
            keys.append(made)
        where[i, j, k] = numbers.setdefault(key, len(numbers))
    for axis in range(3):
        if np.all(where == where.take([0], axis)):
            where = where.take([0], axis)
    return Moves(operand, tuple(keys), where)


def _slides(operand: Operand, own: Structure, near: str, far: str) -> Slides:
    loop = own.slides.get(operand.name, "")
    if loop is not None:
        return loop, "", ""
    windows = {loop for w in operand.windows for loop in (w.out, w.kernel)}
    return "", near if near in windows else "", far if far in windows else ""


def _counts(operand: Operand, still: Classes, trails: Trails, slides: Slides, tiled: bool) -> Hashable:
    """What the traffic depends on; plain loops of the tensor move each of its elements once anyhow.

    tiled  in tiles of some number, on which all its loops tell
    """
    sliding = operand.loops if tiled else {loop for w in operand.windows for loop in (w.out, w.kernel)}
    unrelated = frozenset(group for group in still if not operand.loops & set(group))
    near = unrelated & trails[0]
    windows = frozenset(group for group in still if sliding & set(group))
    return windows, slides, unrelated, near, near & trails[1], still - unrelated if near else None


def _tiles(operand: Operand, own: Sequence[Structure]) -> Tiles:
    keys: dict[Classes, int] = {}
    where = [
        keys.setdefault(
            frozenset(group for group in s.still[operand.name] if operand.loops & set(group)), len(keys)
        )
        for s in own
    ]
    return Tiles(operand, tuple(keys), np.array(where, dtype=np.intp))
