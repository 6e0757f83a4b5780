"""An arena prices all rows of tile sizes of one plan: bounds first, then exactly where it is promising."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perfmodel.engine.dataflow.accelerator import Level
from perfmodel.engine.dataflow.kernel import Config, Kernel
from perfmodel.engine.dataflow.mapping import Keep, Loop, LoopNest
from perfmodel.engine.dataflow.options import Floats, Ints, Mask, Rows
from perfmodel.engine.dataflow.plans import Plan
from perfmodel.engine.dataflow.pricing import first_words
from perfmodel.engine.dataflow.sheet import Sheet, Task
from perfmodel.engine.dataflow.space import Structure, classes

#: Rows looked at together; their arrays stay in the cache of one core.
_CHUNK = 4096
#: Largest grid of rows x structure combinations priced at once.
_GRID = 1 << 17
# The C library hands memory back to the system after every array of a megabyte, and each page costs more than
# the numbers on it, until it has once seen a larger block freed.
np.empty(3 << 20)

@dataclass
class Best:
    """Best mapping so far."""

    value: float = float("inf")
    nest: LoopNest | None = None


class Arena:
    """Rows of some plans that share a Config.

    least, first  per plan, the least bound of its rows and the row that has it

    room   level -> bytes that tiles may fill; may be changed between searches
    rows   makes the rows: build_rows, rows_near or rows_lent with all but their first arguments
    keep   keep what was computed about the rows for a next search with another `room`
    rooms  one `room` per plan, for which its rows are made
    """

    def __init__(
        self, task: Task, plans: Sequence[Plan], rows: Callable[..., Rows], *, keep: bool = False,
        rooms: Sequence[Mapping[str, float]] = (),
    ) -> None:
        self.task, self.plans, self.config = task, plans, plans[0].config
        self.room = {level.name: float(level.room) for level in task.accelerator.levels}
        self.keep = keep
        self.sheets: dict[int, Sheet] = {}
        self.rows = self._rows(rows, rooms)
        self.origin, self.complete = self.rows.plan, self.rows.complete
        positions = {
            axis.name: np.array([plan.positions[axis.name] for plan in plans], float)[self.origin]
            for axis in task.accelerator.axes
        }
        self.kernel = Kernel(
            task.problem, task.accelerator, task.width, task.conventions, self.config, self.rows, positions,
            task.timed, task.priced,
        )
        self.shape = tuple(len(block) for block in self.config.structures)
        self.edges = self._edges()[self.origin]
        self.least, self.first = [float("inf")] * len(plans), [-1] * len(plans)

    @property
    def mappings(self) -> float:
        """Loop nests that the rows stand for."""
        return float(len(self.rows)) * float(np.prod(self.shape))

    def _rows(self, make: Callable[..., Rows], rooms: Sequence[Mapping[str, float]]) -> Rows:
        bounds = {loop: int(bound) for loop, bound in self.task.problem.bounds.items()}
        room: Mapping[str, Any] = self.room
        if rooms:
            room = {name: np.array([given[name] for given in rooms]) for name in self.room}

        def fits(stage: int, tiles: Mapping[str, Floats], plan: Ints) -> Mask:
            return self.fits(stage, tiles, {n: v[plan] for n, v in room.items()} if rooms else room)

        lanes = [plan.lanes for plan in self.plans]
        return make(bounds, lanes, forced(self.task, self.config), fits)

    def fits(self, stage: int, tiles: Mapping[str, Floats], room: Mapping[str, Any]) -> Mask:
        """Rows whose smallest tiles have room in a stage."""
        problem = self.task.problem
        good: Any = np.ones(np.broadcast_shapes(*(np.shape(tile) for tile in tiles.values())), dtype=bool)
        sizes = {loop: np.minimum(size, problem.bounds[loop]) for loop, size in tiles.items()}
        for level in self.config.stages[stage].levels:
            held = [t for t, holder in self.config.holders[stage].items() if holder is level]
            if not held or np.isinf(level.room):
                continue
            used = sum(problem.operand(t).footprint(sizes) * (min(self.task.bits[t]) / 8) for t in held)
            good &= used <= room[level.name]
        return np.asarray(good)

    def _edges(self) -> Floats:
        """Fill and drain cycles per plan, the same for all its rows."""
        task = self.task
        total = np.zeros(len(self.plans))
        if task.conventions.edges == "free" or not task.timed:
            return total
        total += float(task.accelerator.skew)
        spread = [
            (axis, {loop: self._lanes(axis.name, loop) for loop in task.problem.bounds})
            for axis in task.accelerator.axes
        ]
        for kept in self.config.holders[:-1]:
            for tensor, level in kept.items():
                if level is not None:
                    words = first_words(task.problem, task.accelerator, tensor, level.name, spread)
                    bits = float(task.width.of(task.problem.operand(tensor).role))
                    total += words * (bits / 8 / float(level.bandwidth))
        return total

    def _lanes(self, axis: str, loop: str) -> Floats:
        return np.array([plan.unrolling[axis].get(loop, 1) for plan in self.plans], dtype=float)

    # --- search -------------------------------------------------------------------------------------

    def improve(self, best: Best, slack: float = 0.0) -> None:
        """Price rows in the order of their bounds until none can beat the best by more than slack."""
        total = len(self.rows)
        bound = np.empty(total)
        margin = 1 - max(slack, 1e-12)
        for start in range(0, total, _CHUNK):
            bound[start:start + _CHUNK] = self._sheet(start).bounds(self.room)
        self._lead(bound)
        order = np.flatnonzero(bound < best.value * margin)
        order = order[np.argsort(bound[order], kind="stable")]
        position, step = 0, 2
        while position < len(order) and bound[order[position]] < best.value * margin:
            batch = order[position:position + min(step, _CHUNK)]
            self._price(batch, bound[batch], best, margin)
            position += len(batch)
            step *= 4

    def _lead(self, bound: Floats) -> None:
        """Least bound of each plan, and its row."""
        order = np.argsort(self.origin, kind="stable")
        plans, ranked = self.origin[order], bound[order]
        starts = np.flatnonzero(np.diff(plans, prepend=-1))
        least = np.minimum.reduceat(ranked, starts) if len(starts) else ranked
        hits = np.flatnonzero(ranked == np.repeat(least, np.diff(starts, append=len(plans))))
        rows = order[hits[np.searchsorted(hits, starts)]]
        for number, row, value in zip(plans[starts].tolist(), rows.tolist(), least.tolist(), strict=True):
            self.first[number], self.least[number] = row, value

    def factors(self, rows: Sequence[int]) -> dict[str, tuple[list[list[int]], list[list[int]]]]:
        """Per loop and row, temporal factors and the tiles that they make, outermost block first."""
        found = {}
        for loop, index in self.rows.index.items():
            chains, picked = self.rows.chains[loop], index[rows]
            factors = chains.factors[picked]
            sizes = (chains.lanes[picked] * factors)[:, ::-1]
            tiles = np.multiply.accumulate(sizes, axis=1)[:, ::-1]
            found[loop] = factors.astype(int).tolist(), tiles.astype(int).tolist()
        return found

    def _sheet(self, start: int) -> Sheet:
        """Costs of a run of rows; kept if asked for, or if they are all."""
        if start in self.sheets:
            return self.sheets[start]
        picked = slice(start, start + _CHUNK)
        made = Sheet(self.task, self.config, self.kernel.view(picked), self.edges[picked])
        if self.keep or len(self.rows) <= _CHUNK:
            self.sheets[start] = made
        return made

    def _price(self, batch: Ints, bound: Floats, best: Best, margin: float) -> None:
        """Exact prices of some rows, least bound first."""
        if len(self.sheets) == 1 and not self.keep:
            sheet, at = self.sheets[0], batch
        else:
            at = np.arange(len(batch))
            sheet = Sheet(self.task, self.config, self.kernel.view(batch), self.edges[batch])
        most = max(1, _GRID // int(np.prod(self.shape)))
        for start in range(0, len(batch), most):
            part = slice(start, start + most)
            if bound[start] >= best.value * margin:
                break
            values = sheet.grid(at[part], self.room)
            flat = int(np.argmin(values))
            *choice, row = (int(i) for i in np.unravel_index(flat, values.shape))
            value = float(values.flat[flat])
            if value < best.value:
                best.value, best.nest = value, self.nest(int(batch[part][row]), choice)

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
                    nodes += [self._loop(loop, row, block) for loop in structure.loops(place)]
        live = [node for node in nodes if isinstance(node, Keep) or node.factor != 1]
        return LoopNest(tuple(live), task.accelerator.inner_levels)

    def _loop(self, loop: str, row: int, block: int) -> Loop:
        chain = self.rows.index[loop][row]
        return Loop(loop, float(self.rows.chains[loop].factors[chain, block]))


def forced(task: Task, config: Config) -> list[frozenset[str]]:
    """Per block, loops that need no factor there: at the MAC those unrelated to what is kept last."""
    found = [frozenset[str]()] * config.blocks
    if task.conventions.retention == "unchanged" and config.blocks > 1:
        kept: frozenset[str] = frozenset()
        for tensor in config.holders[-2]:
            operand = task.problem.operand(tensor)
            # a loop around its tile would part a tensor with windows from those along which it slides
            slides = task.conventions.sliding and operand.windows
            kept |= frozenset(task.problem.bounds) if slides else operand.loops
        # such a loop may as well run just outside of that stage, where the tile stays
        found[-1] = frozenset(task.problem.bounds) - kept
    return found


def _keeps(kept: Mapping[str, Level | None], structure: Structure, place: int) -> list[Keep]:
    """Keep nodes of a block at one place, one per level."""
    here: dict[str, list[str]] = {}
    for tensor, level in kept.items():
        if level is not None and structure.places[tensor] == place:
            here.setdefault(level.name, []).append(tensor)
    return [Keep(level, tuple(tensors)) for level, tensors in here.items()]
