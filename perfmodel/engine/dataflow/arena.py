"""An arena prices all rows of tile sizes of one plan: bounds first, then exactly where it is promising."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfmodel.engine.dataflow.accelerator import Accelerator, Level, Widths
from perfmodel.engine.dataflow.conventions import Conventions
from perfmodel.engine.dataflow.kernel import Kernel, View
from perfmodel.engine.dataflow.mapping import Keep, Loop, LoopNest
from perfmodel.engine.dataflow.options import Floats, Ints, Rows, build_rows, merge_rows
from perfmodel.engine.dataflow.plans import Plan, score
from perfmodel.engine.dataflow.pricing import first_words
from perfmodel.engine.dataflow.problem import Problem
from perfmodel.engine.dataflow.space import LoopClass, Structure, classes
from perfmodel.engine.dataflow.tables import Table, along, port

#: Rows looked at together; their arrays stay in the cache of one core.
_CHUNK = 4096
#: Largest grid of rows x structure combinations priced at once.
_GRID = 1 << 17

Mask = NDArray[np.bool_]


@dataclass
class Best:
    """Best mapping so far."""

    value: float = float("inf")
    nest: LoopNest | None = None


@dataclass(frozen=True)
class Task:
    """What is searched: a problem on an accelerator under an objective."""

    problem: Problem
    accelerator: Accelerator
    objective: str
    width: Widths
    conventions: Conventions

    @property
    def timed(self) -> bool:
        """True if the objective needs cycles."""
        return self.objective != "energy" or bool(np.any(self.accelerator.static_power))

    @cached_property
    def least_bits(self) -> dict[str, float]:
        """Tensor -> bits of an element at its narrowest."""
        return {
            o.name: min(float(self.width.of(o.role, False)), float(self.width.of(o.role, True)))
            for o in self.problem.operands
        }

    @cached_property
    def extra_bytes(self) -> float:
        """Bytes of tensors that are not mapped (bias)."""
        return float(sum(self.problem.extra.values(), 0.0)) * float(self.width.weight) / 8


class Arena:
    """All rows of some plans that share a Config, or the rows given (of one plan).

    room   level -> bytes that tiles may fill; may be changed between searches
    keep   keep what was computed about the rows for a next search with another `room`
    rooms  one `room` per plan, for which its rows are made
    """

    def __init__(
        self, task: Task, plans: Sequence[Plan], budget: int, rows: Rows | None = None, *, keep: bool = False,
        rooms: Sequence[Mapping[str, float]] = (),
    ) -> None:
        self.task, self.plans, self.config = task, plans, plans[0].config
        self.room = {level.name: float(level.room) for level in task.accelerator.levels}
        self.kept: dict[int, View] | None = {} if keep else None
        self.priced: dict[int, tuple[Floats, dict[str, Floats]]] = {}
        parts = [rows] if rows is not None else []
        for number, plan in enumerate(plans if rows is None else ()):
            self.room = dict(rooms[number]) if rooms else self.room
            parts.append(self._rows(plan, budget))
        self.complete = [part.complete for part in parts]
        self.rows, self.origin = merge_rows(parts)
        positions = {
            axis.name: np.array([plan.positions[axis.name] for plan in plans], float)[self.origin]
            for axis in task.accelerator.axes
        }
        self.kernel = Kernel(
            task.problem, task.accelerator, task.width, task.conventions, self.config, self.rows, positions,
            task.timed,
        )
        self.shape = tuple(len(block) for block in self.config.structures)
        self.edges = np.array([self._edges(plan) for plan in plans])[self.origin]
        self.top: tuple[float, int] = (float("inf"), -1)
        self.least = [float("inf")] * len(plans)

    @property
    def mappings(self) -> float:
        """Loop nests that the rows stand for."""
        return float(len(self.rows)) * float(np.prod(self.shape))

    @property
    def forced(self) -> list[frozenset[str]]:
        """Per block, loops that need no factor there: at the MAC those unrelated to what is kept last."""
        config, problem = self.config, self.task.problem
        forced = [frozenset[str]()] * config.blocks
        if self.task.conventions.retention == "unchanged" and config.blocks > 1:
            kept: frozenset[str] = frozenset()
            for tensor in config.holders[-2]:
                kept |= problem.operand(tensor).loops
            # such a loop may as well run just outside of that stage, where the tile stays
            forced[-1] = frozenset(problem.bounds) - kept
        return forced

    def _rows(self, plan: Plan, budget: int) -> Rows:
        bounds = {loop: int(bound) for loop, bound in self.task.problem.bounds.items()}
        return build_rows(bounds, plan.lanes, self.forced, self.fits, budget)

    def fits(self, stage: int, tiles: Mapping[str, Floats]) -> Mask:
        """Rows whose smallest tiles have room in a stage."""
        problem = self.task.problem
        good: Any = True
        sizes = {loop: np.minimum(size, problem.bounds[loop]) for loop, size in tiles.items()}
        for level in self.config.stages[stage].levels:
            if np.isinf(self.room[level.name]):
                continue
            used = sum(
                (problem.operand(t).footprint(sizes) * self.task.least_bits[t] / 8
                 for t, holder in self.config.holders[stage].items() if holder is level), 0.0,
            )
            good = good & (np.asarray(used) <= self.room[level.name])
        return np.broadcast_to(good, np.broadcast(*tiles.values()).shape)

    def _edges(self, plan: Plan) -> float:
        """Fill and drain cycles, the same for all rows of a plan."""
        task = self.task
        if task.conventions.edges == "free":
            return 0.0
        total = float(task.accelerator.skew)
        spread = [(axis, plan.unrolling[axis.name]) for axis in task.accelerator.axes]
        for kept in self.config.holders[:-1]:
            for tensor, level in kept.items():
                if level is not None:
                    words = first_words(task.problem, task.accelerator, tensor, level.name, spread)
                    bits = task.width.of(task.problem.operand(tensor).role)
                    total += float(words * bits / 8 / level.bandwidth)
        return total

    def _tensors(self, stage: int) -> list[str]:
        if stage == self.config.blocks:
            return [o.name for o in self.task.problem.operands]
        return list(self.config.holders[stage])

    # --- lower bounds -------------------------------------------------------------------------------

    def bounds(self, view: View, edges: Floats) -> Floats:
        """Lower bound of the objective per row, the least over the inner ends of all blocks.

        With the inner ends given, the energy of each stage is exact at its best structure and independent of
        the others, so the bound of the energy is tight; cycles take each port at its best.
        """
        groups = [
            list(dict.fromkeys(tuple(s.trail.items()) for s in block))
            for block in self.config.structures[:-1]
        ]
        cache: dict[tuple[object, ...], tuple[Floats, dict[str, Floats], Floats]] = {}
        least = np.full(view.size, np.inf)
        for ends in itertools.product(*groups):
            parts = []
            for stage in range(1, self.config.blocks + 1):
                key = (stage, *ends[max(stage - 3, 0):stage])
                if key not in cache:
                    cache[key] = self._stage_bound(view, stage, [dict(end) for end in ends])
                parts.append(cache[key])
            least = np.minimum(least, self._combine(view, parts, edges))
        return least

    def _combine(
        self, view: View, parts: Sequence[tuple[Floats, dict[str, Floats], Floats]], edges: Floats
    ) -> Floats:
        task = self.task
        energy: Any = float(task.problem.macs) * float(task.accelerator.mac_energy) + self._extra_energy()
        cycles: Any = view.compute()
        wait: Any = edges
        ports: dict[str, Any] = {}
        for spent, busy, held in parts:
            energy, wait = energy + spent, wait + held
            for name, time in busy.items():
                ports[name] = ports.get(name, 0.0) + time
        for time in ports.values():
            cycles = np.maximum(cycles, time)
        return score(task.objective, energy, cycles + wait, task.accelerator)

    def _stage_bound(
        self, view: View, stage: int, ends: Sequence[Mapping[str, frozenset[LoopClass]]]
    ) -> tuple[Floats, dict[str, Floats], Floats]:
        """Least energy, port cycles and waiting of a stage, for given inner ends of the blocks."""
        least, held = np.full(view.size, np.inf), np.full(view.size, np.inf)
        ports: dict[str, Floats] = {}
        for number, structure in enumerate(self.config.structures[stage - 1]):
            if stage <= len(ends) and dict(structure.trail) != ends[stage - 1]:
                continue
            key = (stage, number, *(tuple(end.items()) for end in ends[max(stage - 3, 0):stage - 1]))
            if key not in view.sums:
                view.sums[key] = self._sums(view, stage, structure, ends)
            energy, wait, busy = view.sums[key]
            over = np.where(self._room(view, stage, number), 0.0, np.inf)
            least = np.minimum(least, energy + over)
            held = np.minimum(held, wait + over)
            for name, time in busy.items():
                ports[name] = np.minimum(ports.get(name, np.inf), time + over)
        return least, ports, held

    def _sums(
        self, view: View, stage: int, structure: Structure, ends: Sequence[Mapping[str, frozenset[LoopClass]]]
    ) -> tuple[Any, Any, dict[str, Any]]:
        """Energy, waiting and port cycles of all tensors of a stage under one structure."""
        nothing: frozenset[LoopClass] = frozenset()
        energy: Any = 0.0
        wait: Any = 0.0
        busy: dict[str, Any] = {}
        for tensor in self._tensors(stage):
            near = ends[stage - 2][tensor] if stage >= 2 else nothing
            far = ends[stage - 3][tensor] if stage >= 3 else nothing
            cost = view.cost(tensor, stage, structure.still[tensor], (near, far))
            energy, wait = energy + cost.energy, wait + cost.wait
            for name, time in cost.ports.items():
                busy[name] = busy.get(name, 0.0) + time
        return energy, wait, busy

    def _extra_energy(self) -> float:
        return self.task.extra_bytes * float(self.task.accelerator.levels[0].read_energy)

    def _room(self, view: View, stage: int, number: int) -> Mask:
        """Rows whose tiles have room in a stage under one structure, outputs at their narrowest."""
        good = np.ones(view.size, dtype=bool)
        for level in self._limited(stage):
            key = ("bytes", stage, number, level.name)
            if key not in view.cache:
                still = self.config.structures[stage - 1][number].still
                view.cache[key] = np.asarray(sum(
                    view.usage(tensor, stage, still[tensor]) * self.task.least_bits[tensor] / 8
                    for tensor in self._held(stage, level)
                ))
            good = good & (view.cache[key] <= self.room[level.name])
        return good

    def _limited(self, stage: int) -> list[Level]:
        return [level for level in self.config.stages[stage].levels if not np.isinf(self.room[level.name])]

    def _held(self, stage: int, level: Level) -> list[str]:
        return [tensor for tensor, holder in self.config.holders[stage].items() if holder is level]

    # --- exact prices -------------------------------------------------------------------------------

    def improve(self, best: Best, slack: float = 0.0) -> None:
        """Price rows in the order of their bounds until none can beat the best by more than slack."""
        total = len(self.rows)
        bound = np.empty(total)
        self.top = (float("inf"), -1)
        for start in range(0, total, _CHUNK):
            picked = np.arange(start, min(start + _CHUNK, total))
            bound[picked] = self.bounds(self._view(picked), self.edges[picked])
        for number in range(len(self.plans)):
            self.least[number] = float(np.min(bound[self.origin == number], initial=np.inf))
        order = np.argsort(bound, kind="stable")
        position, step = 0, 2
        most = max(1, _GRID // int(np.prod(self.shape)))
        margin = 1 - max(slack, 1e-12)
        while position < total and bound[order[position]] < best.value * margin:
            batch = np.asarray(order[position:position + min(step, most)], dtype=np.intp)
            self._price(batch[bound[batch] < best.value], best)
            position += len(batch)
            step *= 2

    def _view(self, picked: Ints) -> View:
        """View of a run of rows, the one of last time if it was kept."""
        if self.kept is None:
            return self.kernel.view(picked)
        start = int(picked[0]) if len(picked) else 0
        if start not in self.kept:
            self.kept[start] = self.kernel.view(picked)
        return self.kept[start]

    def _price(self, picked: Ints, best: Best) -> None:
        values, used = self._grid(picked)
        for name, amount in used.items():
            values = np.where(amount <= self.room[name], values, np.inf)
        at = int(np.argmin(values))
        row, *choice = np.unravel_index(at, values.shape)
        value = float(values.flat[at])
        if value < self.top[0]:
            self.top = (value, int(picked[row]))
        if value < best.value:
            best.value, best.nest = value, self.nest(int(picked[row]), [int(c) for c in choice])

    def _grid(self, picked: Ints) -> tuple[Floats, dict[str, Floats]]:
        """Objective and bytes used, from last time where they were kept."""
        if self.kept is None:
            return self.grid(self.kernel.view(picked), self.edges[picked])
        new = np.array([row for row in picked if int(row) not in self.priced], dtype=np.intp)
        if len(new):
            values, used = self.grid(self.kernel.view(new), self.edges[new])
            for at, row in enumerate(new):
                self.priced[int(row)] = values[at], {name: amount[at] for name, amount in used.items()}
        rows = [self.priced[int(row)] for row in picked]
        return np.stack([row[0] for row in rows]), {
            name: np.stack([row[1][name] for row in rows]) for name in rows[0][1]
        }

    def grid(self, view: View, edges: Floats) -> tuple[Floats, dict[str, Floats]]:
        """Objective of every row and combination of structures, shape (rows, structures of each block).

        Also level -> bytes used by the tiles, of levels that are limited.
        """
        task = self.task
        shape = (view.size, *self.shape)
        energy = np.full(shape, float(task.problem.macs) * float(task.accelerator.mac_energy))
        energy += self._extra_energy()
        ports: dict[str, Floats] = {}
        wait = edges.reshape(-1, *[1] * len(self.shape)) * np.ones(shape)
        partial: dict[int, Floats] = {}
        for stage in range(1, self.config.blocks + 1):
            for tensor in self._tensors(stage):
                table = Table(self.config, view, tensor, stage)
                energy += table.spread(lambda cost: cost.energy)
                if task.conventions.weight_load == "exposed":
                    wait += table.spread(lambda cost: cost.wait * np.ones(view.size))
                for name in table.ports:
                    ports[name] = ports.get(name, np.zeros(shape)) + table.spread(port(name))
                if task.problem.operand(tensor).output:
                    outer = self.config.parent(tensor, stage)
                    partial[outer] = table.spread(lambda cost: np.asarray(cost.partial, float))
        cycles = view.compute().reshape(-1, *[1] * len(self.shape)) * np.ones(shape)
        first = task.accelerator.levels[0]
        for name, busy in ports.items():
            extra = task.extra_bytes / first.bandwidth if name in (first.name, f"{first.name}.read") else 0.0
            cycles = np.maximum(cycles, busy + extra)
        values = score(task.objective, energy, cycles + wait, task.accelerator)
        return values, self._bytes(view, partial, shape)

    def _bytes(self, view: View, partial: Mapping[int, Floats], shape: tuple[int, ...]) -> dict[str, Floats]:
        filled: dict[str, Floats] = {}
        for stage in range(1, self.config.blocks):
            for level in self._limited(stage):
                used = np.zeros(shape)
                for tensor in self._held(stage, level):
                    tiles = [
                        view.usage(tensor, stage, s.still[tensor]) for s in self.config.structures[stage - 1]
                    ]
                    elements = along(np.stack(tiles, axis=1), stage, len(self.shape))
                    role = self.task.problem.operand(tensor).role
                    unfinished = partial[stage] > 0 if role == "output" else False
                    used = used + elements * self.task.width.of(role, unfinished) / 8
                filled[level.name] = used
        return filled

    # --- the loop nest ------------------------------------------------------------------------------

    def nest(self, row: int, choice: Sequence[int]) -> LoopNest:
        """LoopNest of a row and a structure per block."""
        config, task = self.config, self.task
        _, common = classes(task.problem)
        everything = tuple(o.name for o in task.problem.operands)
        nodes: list[Loop | Keep] = [Keep(task.accelerator.levels[0].name, everything)]
        for block, number in enumerate(choice):
            structure, kept = config.structures[block][number], config.holders[block + 1]
            for axis in config.stages[block + 1].axes:
                for loop, factor in self.plans[self.origin[row]].unrolling[axis.name].items():
                    nodes.append(Loop(loop, float(factor), axis.name))
            nodes += [self._loop(loop, row, block) for loop in common]
            for place in range(len(structure.order) + 1):
                nodes += _keeps(kept, structure, place)
                if place < len(structure.order):
                    nodes += [self._loop(loop, row, block) for loop in structure.order[place]]
        live = [node for node in nodes if isinstance(node, Keep) or node.factor != 1]
        return LoopNest(tuple(live), task.accelerator.inner_levels)

    def _loop(self, loop: str, row: int, block: int) -> Loop:
        chain = self.rows.index[loop][row]
        return Loop(loop, float(self.rows.chains[loop].factors[chain, block]))


def _keeps(kept: Mapping[str, Level | None], structure: Structure, place: int) -> list[Keep]:
    """Keep nodes of a block at one place, one per level."""
    here: dict[str, list[str]] = {}
    for tensor, level in kept.items():
        if level is not None and structure.places[tensor] == place:
            here.setdefault(level.name, []).append(tensor)
    return [Keep(level, tuple(tensors)) for level, tensors in here.items()]
