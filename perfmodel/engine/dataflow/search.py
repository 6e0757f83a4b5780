"""Search of the mapping space: vectorised, deterministic, exact over the tile sizes tried.

Every unrolling of the array is a plan; all tile sizes that fit become rows of it.  A lower bound of every row
orders them, and all combinations of structures are priced, row after row, until no bound is below the best
price found.  Effort level 0 tries few tile sizes on every plan; each level above tries more rows on the plans
that looked best, and then all sizes of one or two loops at a time around the best row.  A higher effort
continues where a lower one stopped, so it is never worse; nothing is sampled, so the same call gives the same
mapping.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from perfmodel.engine.dataflow.accelerator import Accelerator, Widths
from perfmodel.engine.dataflow.arena import Arena, Best, forced
from perfmodel.engine.dataflow.conventions import Conventions
from perfmodel.engine.dataflow.lending import rows_lent
from perfmodel.engine.dataflow.mapping import LoopNest
from perfmodel.engine.dataflow.options import (
    Fits,
    Lanes,
    Near,
    Rows,
    build_rows,
    merge,
    number_of_chains,
    rows_near,
)
from perfmodel.engine.dataflow.plans import Plan, plans
from perfmodel.engine.dataflow.problem import Problem
from perfmodel.engine.dataflow.sheet import Task
from perfmodel.errors import ArgumentError, InfeasibleError

OBJECTIVES = ("latency", "energy", "edp")


class _Move(NamedTuple):
    """How the best rows are polished: some loops at a time get other tile sizes.

    states        plans whose best rows are polished together (donors: and all plans without one)
    joint         loops changed at once
    radius        sizes next to those of the row, so many to either side (of few factors, two loops: one more)
    rows          of sizes over the whole range besides: as many of each loop as about so many rows allow
    rounds        over all groups of loops; fewer where nothing improves any more
    donors        best states whose tile sizes the others try, instead
    most          rows of a round, after which fewer states are polished
    """

    states: int
    joint: int
    radius: int
    rows: int
    rounds: int
    donors: int = 0
    most: int = 0


@dataclass(frozen=True)
class _Phase:
    """Tile sizes per plan, plans that try them, relative gain not worth a look, and moves after that.

    narrow  plans that leave positions idle: False: left out, True: nothing but these, None: all plans
    """

    rows: int
    plans: int
    slack: float
    moves: tuple[_Move, ...] = ()
    narrow: bool | None = None


#: Conventions of which a search knows some choices only.
_SEARCHED = {
    "words": ("packed", "whole"), "fractions": ("kept",), "spatial_halo": ("shared", "separate"),
}
_ALL = 1 << 30
_LONG = (
    _Move(96, 1, 3, 0, 9), _Move(32, 2, 1, 0, 9), _Move(8, 1, 1, 1 << 16, 9), _Move(8, 2, 2, 4000, 9),
    # a buffer shared by three tensors may need other tiles of all loops at once
    _Move(24, 3, 0, 4000, 1), _Move(_ALL, 1, 0, 0, 1, 12), _Move(24, 1, 3, 0, 2), _Move(8, 2, 2, 4000, 9),
)
#: Numbers of sizes of a loop that a move chooses from.
_SIZES = (2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64, 1000)
#: Per effort level, what it adds to the level before.
_LEVELS = (
    (_Phase(256, _ALL, 1e-3, narrow=False),),
    (
        _Phase(0, _ALL, 5e-4, (
            _Move(32, 1, 3, 0, 1), _Move(_ALL, 1, 0, 0, 1, 12), _Move(24, 1, 3, 0, 1),
            _Move(32, 2, 0, 400, 1, most=3000), _Move(_ALL, 1, 0, 0, 1, 12), _Move(24, 1, 3, 0, 1),
            _Move(48, 3, 1, 0, 1, most=5000), _Move(4, 2, 0, 4000, 2, most=3000),
        )),
    ),
    (_Phase(1 << 17, 2, 1e-4, _LONG),),
    (_Phase(1 << 20, 8, 0.0, _LONG),),
    (_Phase(1 << 22, 64, 0.0, _LONG),),
    (_Phase(1 << 24, _ALL, 0.0),),
)


@dataclass
class _State:
    """Best row of a plan so far, and its bound of the objective.

    chains  loop -> factors, outermost block first
    tiles   loop -> elements that lie inside each block's outer end
    tried   moves that found nothing better
    """

    plan: int
    chains: Mapping[str, tuple[int, ...]]
    tiles: Mapping[str, tuple[int, ...]]
    value: float
    tried: set[_Move] = field(default_factory=set)


@dataclass(frozen=True)
class Found:
    """Best mapping of a search.

    value     objective [cycle], [J] or [J cycle]
    nest      the loop nest
    rows      tile-size vectors considered
    mappings  loop nests that they stand for
    complete  the space was searched to its end: the value is the least there is
    """

    value: float
    nest: LoopNest
    rows: int
    mappings: float
    complete: bool


def search(
    problem: Problem, accelerator: Accelerator, objective: str, width: Widths, conventions: Conventions,
    effort: int = 1, start: LoopNest | None = None, start_value: float = float("inf"),
) -> Found:
    """Best mapping of a problem with plain numbers.  Raises InfeasibleError if nothing fits.

    start, start_value  a mapping known to be feasible, and its objective
    """
    if objective not in OBJECTIVES:
        raise ArgumentError("objective", objective, " | ".join(OBJECTIVES))
    if effort not in range(len(_LEVELS)):
        raise ArgumentError("effort", effort, f"0 to {len(_LEVELS) - 1}")
    for name, allowed in _SEARCHED.items():
        if getattr(conventions, name) not in allowed:
            given = getattr(conventions, name)
            raise ArgumentError(f"conventions.{name}", given, f"{' | '.join(allowed)} in a search")
    task = Task(problem, accelerator, objective, width, conventions)
    made, every = plans(problem, accelerator, objective, width, conventions)
    run = _Run(task, made, Best(start_value, start))
    for phase in itertools.chain(*_LEVELS[:effort + 1]):
        run.phase(phase)
        if not run.states:  # nothing fits where all positions are in use
            run.phase(_Phase(64, _ALL, phase.slack, narrow=True))
    if run.best.nest is None:
        raise InfeasibleError(_why(task))
    done = every and all(run.complete[i] or made[i].bound >= run.best.value for i in range(len(made)))
    return Found(run.best.value, run.best.nest, run.rows, run.mappings, done)


class _Run:
    """State of one search."""

    def __init__(self, task: Task, made: list[Plan], best: Best) -> None:
        self.task, self.plans, self.best = task, made, best
        self.configs = {key: at for at, key in enumerate(dict.fromkeys(id(plan.config) for plan in made))}
        self.complete = [False] * len(made)
        self.states: dict[int, _State] = {}
        self.rows, self.mappings = 0, 0.0

    def phase(self, level: _Phase) -> None:
        """Search the most promising plans, a few first so that their result rules out others."""
        numbers = [i for i, plan in enumerate(self.plans) if level.narrow in (None, plan.narrow)]
        order = sorted(numbers, key=lambda i: (self._value(i), self.plans[i].bound))[:level.plans]
        for start, stop in ((0, 12), (12, len(order))) if level.rows else ():
            margin = self.best.value * (1 - level.slack)
            live = [i for i in order[start:stop] if not self.complete[i] and self.plans[i].bound < margin]
            for _, same in itertools.groupby(sorted(live, key=self._config), key=self._config):
                self._search(list(same), level)
        for move in level.moves:
            self._polish(move, level.slack)

    def _value(self, number: int) -> float:
        """Best value of a plan so far, its bound where it was not tried."""
        known = self.states.get(number)
        return known.value if known else self.plans[number].bound

    def _config(self, number: int) -> int:
        return self.configs[id(self.plans[number].config)]

    def _search(self, numbers: list[int], level: _Phase) -> None:
        made = [self.plans[i] for i in numbers]
        # a row with many structures costs more, so it gets a smaller share of the budget
        widest = max(len(block) for block in made[0].config.structures)
        arena = Arena(self.task, made, partial(build_rows, budget=level.rows * 16 // max(16, widest)))
        self._count(arena)
        arena.improve(self.best, level.slack)
        for at, number in enumerate(numbers):
            self.complete[number] = arena.complete[at] and level.slack == 0
        self._move(numbers, arena)

    def _move(self, numbers: Sequence[int], arena: Arena) -> list[int]:
        """Take the first row of each plan that is better than its state; these plans."""
        better = []
        for at, number in enumerate(numbers):
            known = self.states.get(number)
            least = arena.least[at]
            if math.isfinite(least) and (known is None or least < known.value * (1 - 1e-9)):
                better.append((at, number))
        rows = arena.factors([arena.first[at] for at, _ in better])
        for row, (at, number) in enumerate(better):
            chains = {loop: tuple(factors[row]) for loop, (factors, _) in rows.items()}
            tiles = {loop: tuple(own[row]) for loop, (_, own) in rows.items()}
            self.states[number] = _State(number, chains, tiles, arena.least[at])
        return [number for _, number in better]

    def _count(self, arena: Arena) -> None:
        self.rows += len(arena.rows)
        self.mappings += arena.mappings

    def _polish(self, move: _Move, slack: float) -> None:
        """Change a few loops at a time in the best rows of some plans, until nothing improves."""
        ranked = sorted(self.states.values(), key=lambda state: (state.value, state.plan))
        margin, donors = self.best.value * (1 - slack), ranked[:move.donors]
        numbers = [state.plan for state in ranked[:move.states]]
        if donors:  # their tile sizes may be the first that a plan tries
            numbers += [n for n in range(len(self.plans)) if n not in self.states]
        left = [n for n in numbers if not self.complete[n] and self.plans[n].bound < margin]
        alike = move._replace(states=0, rounds=0)
        for _ in range(move.rounds):
            if not donors:  # the neighbours of a row that stayed where it was are known
                left = [n for n in left if alike not in self.states[n].tried]
            moved: list[int] = []
            for _, same in itertools.groupby(sorted(left, key=self._config), key=self._config):
                moved += self._sweep(list(same), move, donors, slack)
            left = moved

    def _sweep(self, numbers: list[int], move: _Move, donors: list[_State], slack: float) -> list[int]:
        """Take the best neighbour of each state over all groups of loops; plans that moved."""
        if donors:
            own = [state.chains if (state := self.states.get(number)) else None for number in numbers]
            rows = partial(rows_lent, own=own, tiles=[donor.tiles for donor in donors])
        else:
            rows = partial(self._near, numbers, move)
        arena = Arena(self.task, [self.plans[number] for number in numbers], rows)
        self._count(arena)
        arena.improve(self.best, slack)
        moved = self._move(numbers, arena)
        if not donors:
            seen = {numbers[at] for at in np.flatnonzero(np.bincount(arena.origin)).tolist()}
            for number in seen.difference(moved):
                self.states[number].tried.add(move._replace(states=0, rounds=0))
        return moved

    def _near(
        self, numbers: list[int], move: _Move, bounds: Mapping[str, int], plans: Sequence[Lanes],
        forced: Sequence[frozenset[str]], fits: Fits,
    ) -> Rows:
        """Neighbours of the states of all plans, or of the first ones: as many as about `most` rows allow."""
        def near(start: int, stop: int) -> Rows:
            around = [
                (at, each) for at, number in enumerate(numbers[start:stop], start)
                for each in self._neighbours(number, move)
            ]
            return rows_near(bounds, plans, forced, fits, around)

        if not move.most:
            return near(0, len(numbers))
        made = near(0, 2)
        further = int((move.most - len(made)) * 2 / max(len(made), 1))
        if further < 2 or len(numbers) <= 2:
            return made
        return merge([made, near(2, 2 + further)], made.complete)

    def _neighbours(self, plan: int, move: _Move) -> list[dict[str, Near]]:
        """Tile sizes around the state of a plan, one set per group of loops."""
        bounds = self.task.problem.bounds
        own = self.states[plan].chains
        still = {loop: Near(chain, 0, 0) for loop, chain in own.items()}
        few = move.joint < 3 and len(bounds) * self.plans[plan].config.blocks <= 12
        groups = list(itertools.combinations(bounds, min(move.joint, len(bounds))))
        near = []
        for group in groups:
            many = self._many(plan, group, move.rows // len(groups)) if move.rows else 0
            near.append({**still, **{loop: Near(own[loop], move.radius + few, many) for loop in group}})
        return near

    def _many(self, plan: int, group: Sequence[str], rows: int) -> int:
        """Sizes of each loop of a group over the whole range that give at most so many rows."""
        made, bounds = self.plans[plan], self.task.problem.bounds
        still = forced(self.task, made.config)[1:]
        return _sizes_for(rows, tuple(
            (-(-int(bounds[loop]) // math.prod(made.lanes[loop])), sum(loop not in block for block in still))
            for loop in group
        ))


@lru_cache(maxsize=4096)
def _sizes_for(rows: int, loops: tuple[tuple[int, int], ...]) -> int:
    """Sizes of each loop (what is left of its bound, free factors) that give at most so many rows."""
    many = 1
    for more in _SIZES:
        if math.prod(number_of_chains(rest, free, more) for rest, free in loops) > rows:
            break
        many = more
    return many


class Shared:
    """Searches of one problem on accelerators that differ in capacities alone.

    tasks  the problem on a few of them, from small to large; their tile sizes serve all
    """

    #: Rows per plan and task.
    ROWS = 224

    def __init__(self, tasks: Sequence[Task]) -> None:
        first = tasks[0]
        made, _ = plans(first.problem, first.accelerator, first.objective, first.width, first.conventions)
        wide = sorted([plan for plan in made if not plan.narrow][:8], key=lambda p: id(p.config))
        self.arenas = []
        for _, same in itertools.groupby(wide, key=lambda p: id(p.config)):
            listed = [(plan, _rooms(task.accelerator)) for plan in same for task in tasks]
            rooms = [room for _, room in listed]
            rows = partial(build_rows, budget=self.ROWS)
            self.arenas.append(Arena(first, [plan for plan, _ in listed], rows, keep=True, rooms=rooms))

    def best(self, accelerators: Sequence[Accelerator]) -> list[LoopNest | None]:
        """Best mapping on each accelerator, None where nothing fits."""
        found = []
        for accelerator in accelerators:
            best = Best()
            for arena in self.arenas:
                arena.room = _rooms(accelerator)
                arena.improve(best, 1e-3)
            found.append(best.nest)
        return found


def _rooms(accelerator: Accelerator) -> dict[str, float]:
    return {level.name: float(level.room) for level in accelerator.levels}


def _why(task: Task) -> str:
    """Message when not even single elements fit."""
    texts = []
    for level in task.accelerator.levels[1:]:
        need = sum(float(task.width.of(role)) / 8 for role in level.holds if role not in level.optional)
        if need > float(np.min(level.room)):
            texts.append(f"{level.name} by {need - float(np.min(level.room)):.12g} B")
    return f"no mapping of {task.problem.name} fits: " + ("; ".join(texts) or "tiles overflow at every size")
