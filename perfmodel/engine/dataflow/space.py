"""The mapping space: stages, loop orders with places of tiles, spatial unrollings, tile sizes.

Stages are memory levels that sit at the same depth (registers of three operands are one stage).  Between two
stages lie the array axes and then a block of temporal loops.  In a block, loops that concern the same tensors
move together (a class); each tensor may be kept further out than the others (an uneven mapping).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from perfmodel.engine.dataflow.accelerator import Accelerator, Axis, Level
from perfmodel.engine.dataflow.problem import Operand, Problem

Ints = NDArray[np.intp]
#: Loops that concern the same tensors, by name.
LoopClass = tuple[str, ...]


@dataclass(frozen=True)
class Stage:
    """Levels at one depth, and the axes between them and the stage outside."""

    levels: tuple[Level, ...]
    axes: tuple[Axis, ...]

    def level_of(self, role: str) -> Level | None:
        """Level of the stage that holds a role."""
        return next((level for level in self.levels if role in level.holds), None)


def stages(accelerator: Accelerator) -> tuple[Stage, ...]:
    """Stages from the outermost level inwards; the last one (no levels) is the MAC."""
    groups: list[list[Level]] = []
    axes: list[tuple[Axis, ...]] = []
    waiting: tuple[Axis, ...] = ()
    for level in accelerator.levels:
        held = {role for other in groups[-1] for role in other.holds} if groups else set()
        if len(groups) > 1 and not waiting and not held & set(level.holds):
            groups[-1].append(level)
        else:
            groups.append([level])
            axes.append(waiting)
        waiting = tuple(axis for axis in accelerator.axes if axis.under == level.name)
    made = [Stage(tuple(group), before) for group, before in zip(groups, axes, strict=True)]
    return (*made, Stage((), waiting))


@dataclass(frozen=True)
class Structure:
    """Order of the loop classes in a block, and where in it each tensor's tile is kept.

    order    classes, outermost first
    places   per kept tensor, how many classes of the order run outside its tile
    still    per kept tensor, classes that force no new tile (inside it, or directly around it and unrelated)
    trail    per tensor, unrelated classes at the inner end of the block
    slides   per kept tensor, loop along which it keeps its halo; None: the next block outside tells, as no
             loop of this one runs around the tile; not there: none
    last     loops that run innermost in their class; empty: any may
    front    innermost loop of the block, if it may be such a loop; else empty
    """

    order: tuple[LoopClass, ...]
    places: Mapping[str, int]
    still: Mapping[str, frozenset[LoopClass]]
    trail: Mapping[str, frozenset[LoopClass]]
    slides: Mapping[str, str | None] = field(default_factory=dict)
    last: frozenset[str] = frozenset()
    front: str = ""

    @property
    def end(self) -> Hashable:
        """What the stages further inside see of the block."""
        return tuple(self.trail.items()), self.front

    def loops(self, place: int) -> list[str]:
        """Loops of a class in order."""
        return sorted(self.order[place], key=self.last.__contains__)


def classes(problem: Problem) -> tuple[tuple[LoopClass, ...], LoopClass]:
    """Classes of loops by the tensors they concern, and the loops that concern all of them."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for loop in problem.bounds:
        groups.setdefault(tuple(o.name for o in problem.operands if loop in o.loops), []).append(loop)
    everyone = tuple(o.name for o in problem.operands)
    common = tuple(groups.pop(everyone, ()))
    return tuple(tuple(loops) for _, loops in sorted(groups.items())), common


def structures(
    problem: Problem, kept: Sequence[str], retention: bool = True, tiled: bool = False, sliding: bool = False
) -> tuple[Structure, ...]:
    """Structures of a block above a stage that keeps these tensors, without those another one dominates.

    tiled    the number of tile transfers counts, so a larger tile may pay
    sliding  tiles keep their halos along a window loop directly around them
    """
    ordered, _ = classes(problem)
    related = tuple((o.name, o.loops, tiled or bool(o.windows)) for o in problem.operands)
    windows = tuple(
        (o.name, frozenset(loop for w in o.windows for loop in (w.out, w.kernel)))
        for o in problem.operands if o.windows and sliding
    )
    return _structures(ordered, related, tuple(kept), retention, windows)


#: Name, loops, and whether a larger tile may be worth its room, of each tensor.
_Related = tuple[tuple[str, frozenset[str], bool], ...]


@lru_cache(maxsize=1024)
def _structures(
    ordered: tuple[LoopClass, ...], related: _Related, kept: tuple[str, ...], retention: bool,
    windows: tuple[tuple[str, frozenset[str]], ...],
) -> tuple[Structure, ...]:
    loops = {name: own for name, own, _ in related}
    found: dict[tuple[object, ...], Structure] = {}
    for order, last in _orders(ordered, frozenset().union(*(own for _, own in windows))):
        trail = {name: _unrelated_tail(order, own) for name, own in loops.items()}
        front = last[-1] if last else ""
        if not retention:
            trail = dict.fromkeys(trail, frozenset())
        ends, stops = (tuple(trail.items()), front), range(len(order) + 1)
        # per tensor and place: what stays there
        stays = [
            [frozenset(order[stop:]) | (_unrelated_tail(order[:stop], loops[t]) if retention else frozenset())
             for stop in stops] for t in kept
        ]
        for chosen in itertools.product(stops, repeat=len(kept)):
            places = dict(zip(kept, chosen, strict=True))
            still = tuple(own[stop] for own, stop in zip(stays, chosen, strict=True))
            slides = {
                tensor: last[places[tensor] - 1] if places[tensor] else None for tensor, own in windows
                if tensor in places and (not places[tensor] or last[places[tensor] - 1] in own)
            }
            key = (still, ends, tuple(slides.items()))
            if key not in found:
                stay = dict(zip(kept, still, strict=True))
                found[key] = Structure(order, places, stay, trail, slides, frozenset(last), front)
    return _undominated(related, list(found.values()))


def _orders(
    ordered: tuple[LoopClass, ...], sliding: frozenset[str]
) -> Iterator[tuple[tuple[LoopClass, ...], tuple[str, ...]]]:
    """Orders of the classes, and the innermost loop of each class where it is one of these."""
    for order in itertools.permutations(ordered):
        inner = [[loop for loop in group if loop in sliding] or [""] for group in order]
        for last in itertools.product(*inner) if sliding else [()]:
            yield order, last


def _unrelated_tail(order: Sequence[LoopClass], related: frozenset[str]) -> frozenset[LoopClass]:
    tail = itertools.takewhile(lambda group: not related & set(group), reversed(order))
    return frozenset(tail)


def _undominated(related: _Related, items: list[Structure]) -> tuple[Structure, ...]:
    """Drop a structure if another one moves no tile more often and needs no larger tile."""
    bit = {group: 1 << number for number, group in enumerate(items[0].order)}
    loops = [(name, own, larger) for name, own, larger in related if name in items[0].still]
    names = [name for name, _, _ in loops]
    related_to = np.array([sum(b for g, b in bit.items() if own & set(g)) for _, own, _ in loops], dtype=int)
    still = np.array([[sum(map(bit.__getitem__, i.still[t])) for t in names] for i in items], dtype=int)
    # (structures, tensors): classes inside the tile, unrelated ones that leave it in place, its sliding loop
    inside, free = still & related_to, still & ~related_to
    numbers: dict[Hashable, int] = {}
    slides = np.array([
        [1 + numbers.setdefault(i.slides[t], len(numbers)) if t in i.slides else 0 for t in names]
        for i in items
    ], dtype=int)
    ends = np.array([numbers.setdefault(item.end, len(numbers)) for item in items])

    def parts(values: Ints) -> tuple[Ints, Ints]:
        return values[:, None], values[None]

    (free_a, free_b), (inside_a, inside_b), (slides_a, slides_b) = map(parts, (free, inside, slides))
    valued = np.array([larger for _, _, larger in loops], dtype=bool)
    fits = np.where(valued, inside_a == inside_b, inside_a & ~inside_b == 0)
    good = fits & (free_b & ~free_a == 0) & ((slides_b == 0) | (slides_a == slides_b))
    differs = (free_a != free_b) | (inside_a != inside_b) | (slides_a != slides_b)
    beaten = (ends[:, None] == ends) & good.all(axis=2) & differs.any(axis=2)
    return tuple(item for item, worse in zip(items, beaten.any(axis=0).tolist(), strict=True) if not worse)


@lru_cache(maxsize=4096)
def tile_sizes(bound: int, limit: int | None = None) -> tuple[int, ...]:
    """Tile sizes worth trying for a bound: the smallest size for each number of tiles, ceil(bound / j).

    limit  keep that many: divisors first, spread evenly in the logarithm; a larger limit keeps them all
    """
    if limit is None:
        root = math.isqrt(bound)
        # up to the root, every size makes another number of tiles
        large = {-(-bound // tiles) for tiles in range(1, root + 1)}
        return tuple(sorted(large.union(range(1, -(-bound // (root + 1)) + 1))))
    sizes = tile_sizes(bound)
    if len(sizes) <= limit:
        return sizes
    divisors = [size for size in sizes if bound % size == 0]
    others = [size for size in sizes if bound % size]
    chosen = _spread(divisors, [], limit)
    return tuple(sorted(_spread(others, chosen, limit)))


def _spread(pool: list[int], chosen: list[int], limit: int) -> list[int]:
    """Add members of the pool, each time the one farthest (as a ratio) from those chosen, up to the limit."""
    if not pool or len(chosen) >= limit:
        return chosen
    chosen, logs = list(chosen), np.log(pool)
    if chosen:
        distance = np.min(np.abs(logs[:, None] - np.log(chosen)), axis=1)
    else:
        distance = np.full(len(pool), np.inf)
    while len(chosen) < limit:
        pick = int(np.argmax(distance))
        if distance[pick] == 0:
            break
        chosen.append(pool[pick])
        distance = np.minimum(distance, np.abs(logs - logs[pick]))
    return chosen


#: loop -> factor on each axis, by axis name.
Unrolling = Mapping[str, Mapping[str, int]]


def unrollings(
    problem: Problem, accelerator: Accelerator, *, fast: bool = True, most: int = 64
) -> tuple[list[Unrolling], bool]:
    """Spatial unrollings, fewest time steps first, and whether they are all of them.

    A loop may lie on several axes.  Where there are more than `most`, each axis keeps a few widths of each
    loop: as wide as the rounds need, the largest divisor, one round more; if not `fast` also narrower ones,
    which can save energy.
    """
    rules = tuple(
        _Rule(
            axis.name, int(np.max(axis.size)), axis.most, tuple(axis.allowed(problem.family)),
            tuple((loop, int(np.max(f))) for loop, f in axis.prescribed(problem.family).items()),
        )
        for axis in accelerator.axes
    )
    bounds = tuple((loop, int(bound)) for loop, bound in problem.bounds.items())
    made, every = _unrollings(bounds, rules, fast, most)
    return list(made), every


class _Rule(NamedTuple):
    """What may lie on an axis, for one family of operators; fixed: loop -> factor, empty: free."""

    name: str
    size: int
    most: int
    loops: tuple[str, ...]
    fixed: tuple[tuple[str, int], ...]


@lru_cache(maxsize=256)
def _unrollings(
    loops: tuple[tuple[str, int], ...], rules: tuple[_Rule, ...], fast: bool, most: int
) -> tuple[tuple[Unrolling, ...], bool]:
    """Unrollings by their rules: objectives and designs that share an array ask again."""
    bounds = dict(loops)
    for limit in (None, 3 if fast else 6):
        choices = [list(_axis_choices(bounds, rule, limit)) for rule in rules]
        if math.prod(len(c) for c in choices) <= most:
            break
    names = [rule.name for rule in rules]
    made = []
    for combined in itertools.product(*choices):
        shares: dict[str, int] = {}
        for factors in combined:
            for loop, factor in factors.items():
                shares[loop] = shares.get(loop, 1) * factor
        # no loop lies on more positions than it has iterations
        if all(share <= bounds[loop] for loop, share in shares.items()):
            steps = math.prod(-(-bound // shares.get(loop, 1)) for loop, bound in loops)
            made.append((steps, dict(zip(names, combined, strict=True))))
    return tuple(m for _, m in sorted(made, key=lambda m: (m[0], str(m[1])))), limit is None


def mirrors(problem: Problem) -> list[dict[str, str]]:
    """Renamings of loops that leave the problem as it is: rows for columns of a square convolution."""
    windows = [w for o in problem.operands for w in o.windows]
    found = []
    for a, b in itertools.combinations(problem.bounds, 2):
        renamed = {a: b, b: a}
        for v, w in itertools.combinations(windows, 2):
            if {v.out, w.out} == {a, b}:
                renamed |= {v.kernel: w.kernel, w.kernel: v.kernel}
        full = {loop: renamed.get(loop, loop) for loop in problem.bounds}
        if all(problem.bounds[loop] == problem.bounds[other] for loop, other in full.items()) and all(
            _same(operand, full) for operand in problem.operands
        ):
            found.append(full)
    return found


def _same(operand: Operand, renamed: Mapping[str, str]) -> bool:
    plain = {renamed[loop] for loop in operand.plain}
    windows = {replace(w, out=renamed[w.out], kernel=renamed[w.kernel]) for w in operand.windows}
    return plain == set(operand.plain) and windows == set(operand.windows)


def without_mirrors(problem: Problem, spread: Sequence[Unrolling]) -> list[Unrolling]:
    """Unrollings that are no mirror image of an earlier one."""
    # the unrollings share what lies on an axis, which is renamed once
    renamed: dict[int, list[frozenset[tuple[str, int]]]] = {}
    swaps: list[dict[str, str]] = [{}, *mirrors(problem)]
    seen: set[tuple[frozenset[tuple[str, int]], ...]] = set()
    kept = []
    for unrolling in spread:
        for own in unrolling.values():
            if id(own) not in renamed:
                live = [(loop, f) for loop, f in own.items() if f > 1]
                renamed[id(own)] = [frozenset((swap.get(d, d), f) for d, f in live) for swap in swaps]
        images = [renamed[id(own)] for own in unrolling.values()]
        first, *others = list(zip(*images, strict=True)) or [()]
        if first not in seen:
            kept.append(unrolling)
            seen.update(others)
    return kept


def across(unrolling: Unrolling, loop: str, axes: Sequence[Axis] | None = None) -> int:
    """Positions over which a loop is spread, on all axes or on some."""
    names = unrolling if axes is None else [axis.name for axis in axes]
    return math.prod(unrolling[name].get(loop, 1) for name in names)


def _axis_choices(bounds: Mapping[str, int], rule: _Rule, limit: int | None) -> Iterator[dict[str, int]]:
    if rule.fixed:
        yield {loop: min(f, bounds[loop]) for loop, f in rule.fixed if loop in bounds}
        return
    allowed = [loop for loop in bounds if not rule.loops or loop in rule.loops]
    seen = set()
    allowed.sort(key=lambda loop: bounds[loop])  # a short loop first leaves room for a long one
    for number in range(min(rule.most, len(allowed)) + 1):
        for loops in itertools.combinations(allowed, number):
            for factors in _lane_products([bounds[loop] for loop in loops], rule.size, limit):
                choice = {d: f for d, f in zip(loops, factors, strict=True) if f > 1}
                key = tuple(choice.items())
                if key not in seen:
                    seen.add(key)
                    yield choice


def _lane_products(bounds: Sequence[int], size: int, limit: int | None) -> Iterator[tuple[int, ...]]:
    """Widths of several loops that share an axis, each from what the ones before leave."""
    if not bounds:
        yield ()
        return
    for first in _lane_counts(bounds[0], size, limit):
        for rest in _lane_products(bounds[1:], size // first, limit):
            yield (first, *rest)


def _lane_counts(bound: int, size: int, limit: int | None) -> tuple[int, ...]:
    """Numbers of positions worth using for a loop: the smallest for each number of rounds."""
    if limit is None:
        return tuple(sorted({c for c in tile_sizes(bound) if c <= size} | {-(-bound // -(-bound // size))}))
    rounds = -(-bound // size)
    widest, next_ = -(-bound // rounds), -(-bound // (rounds + 1))
    divisor = max(d for d in range(1, min(size, bound) + 1) if bound % d == 0)
    narrow = tile_sizes(widest, limit - 1) if limit > 3 else ()
    return tuple(dict.fromkeys((widest, divisor, next_, *reversed(narrow))))[:limit + 1]
