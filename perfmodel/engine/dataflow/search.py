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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from perfmodel.engine.dataflow.accelerator import Accelerator, Widths
from perfmodel.engine.dataflow.arena import Arena, Best
from perfmodel.engine.dataflow.conventions import Conventions
from perfmodel.engine.dataflow.kernel import Mask
from perfmodel.engine.dataflow.mapping import LoopNest
from perfmodel.engine.dataflow.options import Chains, Floats, Ints, Rows, build_rows
from perfmodel.engine.dataflow.plans import Plan, plans
from perfmodel.engine.dataflow.problem import Problem
from perfmodel.engine.dataflow.sheet import Task
from perfmodel.errors import ArgumentError, InfeasibleError

#: Rows of one polishing step.
_POLISH = 8192

OBJECTIVES = ("latency", "energy", "edp")


@dataclass(frozen=True)
class _Level:
    """One effort level: rows per plan, plans, relative gain not worth a look, loops polished at once."""

    rows: int
    plans: int
    slack: float
    joint: int


_LEVELS = (
    _Level(256, 1 << 30, 1e-3, 0), _Level(16384, 8, 5e-4, 2), _Level(1 << 17, 2, 1e-4, 2),
    _Level(1 << 20, 8, 0.0, 2), _Level(1 << 22, 64, 0.0, 2), _Level(1 << 24, 1 << 30, 0.0, 1),
)


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
    for name, value in (("ports", "fluid"), ("words", "packed"), ("halo", "refetch")):
        if getattr(conventions, name) != value:
            raise ArgumentError(f"conventions.{name}", getattr(conventions, name), f"{value!r} in a search")
    task = Task(problem, accelerator, objective, width, conventions)
    made, every = plans(problem, accelerator, objective, width, conventions)
    run = _Run(task, made, Best(start_value, start))
    for level in range(effort + 1):
        if level == 1:
            run.level(_LEVELS[0], narrow=True)
        run.level(_LEVELS[level], narrow=level > 0)
    if run.best.nest is None:
        raise InfeasibleError(_why(task))
    done = every and all(run.complete[i] or made[i].bound >= run.best.value for i in range(len(made)))
    return Found(run.best.value, run.best.nest, run.rows, run.mappings, done)


class _Run:
    """State of one search."""

    def __init__(self, task: Task, made: list[Plan], best: Best) -> None:
        self.task, self.plans, self.best = task, made, best
        self.complete = [False] * len(made)
        self.least = [plan.bound for plan in made]
        self.winner, self.value = -1, float("inf")
        self.chains: dict[str, Floats] = {}
        self.rows, self.mappings = 0, 0.0

    def level(self, level: _Level, narrow: bool) -> None:
        """Search the most promising plans, a few first so that their result rules out others."""
        numbers = [i for i in range(len(self.plans)) if narrow or not self.plans[i].narrow]
        if level is _LEVELS[0] and narrow:
            numbers = [i for i in numbers if self.plans[i].narrow]
        ranked = sorted(numbers, key=lambda i: (self.least[i], self.plans[i].bound))
        order = ranked[:level.plans]
        if level.plans < len(self.plans) and self.winner >= 0 and self.winner not in order:
            order[-1] = self.winner
        for start, stop in ((0, 1), (1, 12), (12, len(order))):
            margin = self.best.value * (1 - level.slack)
            live = [i for i in order[start:stop] if not self.complete[i] and self.plans[i].bound < margin]
            for _, same in itertools.groupby(sorted(live, key=self._config), key=self._config):
                self._search(list(same), level)

    def _config(self, number: int) -> int:
        return id(self.plans[number].config)

    def _search(self, numbers: list[int], level: _Level) -> None:
        made = [self.plans[i] for i in numbers]
        # a row with many structures costs more, so it gets a smaller share of the budget
        widest = max(len(block) for block in made[0].config.structures)
        arena = Arena(self.task, made, level.rows * 16 // max(16, widest))
        self._count(arena)
        arena.improve(self.best, level.slack)
        for at, number in enumerate(numbers):
            self.complete[number] = arena.complete[at] and level.slack == 0
            self.least[number] = arena.least[at]
        self._note(numbers, arena)
        done = self.winner not in numbers or arena.complete[numbers.index(self.winner)]
        if level.joint and not done and self.value > self.plans[self.winner].bound * (1 + level.slack):
            self._polish(level)

    def _note(self, numbers: list[int], arena: Arena) -> bool:
        """Remember the best row; True if it is better than before."""
        value, row = arena.top
        if value >= self.value * (1 - 1e-9):
            return False
        self.value, self.winner = value, numbers[arena.origin[row]]
        self.chains = {d: arena.rows.chains[d].factors[i[row]] for d, i in arena.rows.index.items()}
        return True

    def _count(self, arena: Arena) -> None:
        self.rows += len(arena.rows)
        self.mappings += arena.mappings

    def _polish(self, level: _Level) -> None:
        """All sizes of one or two loops at a time around the best row, until nothing improves."""
        bounds = self.task.problem.bounds
        joint = min(level.joint, len(bounds)) if len(bounds) <= 4 or level.slack < 1e-3 else 1
        groups = list(itertools.combinations(bounds, joint))
        left = len(groups)
        for group in itertools.cycle(groups):
            if left <= 0:
                break
            around = self._around(group)
            self._count(around)
            around.improve(self.best, level.slack)
            left = len(groups) - 1 if self._note([self.winner], around) else left - 1

    def _around(self, group: tuple[str, ...]) -> Arena:
        """Rows with the chains of some loops, the others as they are."""
        problem, plan = self.task.problem, self.plans[self.winner]
        whole = Arena(self.task, [plan], 0, _one_row(self.chains, plan, problem))
        fixed = {loop: chain for loop, chain in whole.rows.chains.items() if loop not in group}

        def fits(stage: int, tiles: Mapping[str, Floats], _: Ints) -> Mask:
            others = {loop: chain.inside(stage - 1) for loop, chain in fixed.items()}
            return whole.fits(stage, {**others, **tiles}, whole.room)

        forced = [frozenset(group) & block for block in whole.forced]
        lanes = {loop: plan.lanes[loop] for loop in group}
        free = build_rows({loop: int(problem.bounds[loop]) for loop in group}, [lanes], forced, fits, _POLISH)
        index = {loop: np.zeros(len(free), dtype=np.intp) for loop in fixed} | dict(free.index)
        return Arena(self.task, [plan], 0, Rows({**fixed, **free.chains}, index, free.plan, (False,)))


def _one_row(factors: Mapping[str, Floats], plan: Plan, problem: Problem) -> Rows:
    chains = {
        loop: Chains(float(problem.bounds[loop]), np.array([plan.lanes[loop]], float), row[None, :])
        for loop, row in factors.items()
    }
    only = np.zeros(1, dtype=np.intp)
    return Rows(chains, dict.fromkeys(chains, only), only, (False,))


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
            self.arenas.append(Arena(first, [plan for plan, _ in listed], self.ROWS, keep=True, rooms=rooms))

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
