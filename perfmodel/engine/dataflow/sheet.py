"""Costs of a run of rows under every structure, their lower bounds, and their exact prices.

With the inner ends (trails) of the blocks given, the energy of a stage depends on the structure of its own
block alone, and so does the room its tiles need, except that an output tile is wide where its sums are still
open, which the next stage inside decides.  So the least energy of a row is exact as a sum of minima over the
stages; its cycles take each port at its best, which is a lower bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from perfmodel.engine.dataflow.accelerator import Accelerator, Widths
from perfmodel.engine.dataflow.conventions import Conventions
from perfmodel.engine.dataflow.kernel import Config, View
from perfmodel.engine.dataflow.options import Floats, Ints, Mask
from perfmodel.engine.dataflow.plans import score
from perfmodel.engine.dataflow.problem import Problem
from perfmodel.engine.dataflow.tables import Moves, StageLayout, Tiles

Room = Mapping[str, float]

#: Added to a cost, it changes none.
_NOTHING = 1e-300


@dataclass(frozen=True)
class Task:
    """What is searched: a problem on an accelerator under an objective."""

    problem: Problem
    accelerator: Accelerator
    objective: str
    width: Widths
    conventions: Conventions

    @cached_property
    def timed(self) -> bool:
        """True if the objective needs cycles."""
        return self.objective != "energy" or bool(np.any(self.accelerator.static_power))

    @property
    def priced(self) -> bool:
        """True if the objective needs energy."""
        return self.objective != "latency"

    @cached_property
    def bits(self) -> dict[str, tuple[float, float]]:
        """Tensor -> bits of a finished element, and of one that is still added to."""
        return {
            o.name: (float(self.width.of(o.role, False)), float(self.width.of(o.role, True)))
            for o in self.problem.operands
        }

    @cached_property
    def extra_bytes(self) -> float:
        """Bytes of tensors that are not mapped (bias)."""
        return float(sum(self.problem.extra.values(), 0.0)) * float(self.width.weight) / 8

    @property
    def base_energy(self) -> float:
        """Energy that every mapping spends: MACs, and tensors that are not mapped [J]."""
        first = self.accelerator.levels[0]
        macs = float(self.problem.macs) * float(self.accelerator.mac_energy)
        return macs + self.extra_bytes * float(first.read_energy)


@dataclass
class _Stage:
    """Costs into one stage, (far, near, own, rows) as in StageLayout; an axis may have length 1.

    partial  whether sums that leave the stage are still open
    tiles    limited level -> tensors in it: elements of their tiles, a line per key of its Tiles
    """

    layout: StageLayout
    energy: Floats
    ports: dict[str, Floats]
    wait: Floats | None
    partial: Mask | None
    tiles: dict[str, list[tuple[Tiles, Floats]]] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """True if results have a tile in a limited level."""
        return any(tiles.operand.output for held in self.tiles.values() for tiles, _ in held)


class Sheet:
    """All costs of the rows of a view; `edges`: fill and drain cycles per row."""

    def __init__(self, task: Task, config: Config, view: View, edges: Floats) -> None:
        self.task, self.config, self.size = task, config, view.size
        self.fixed_cycles = view.compute() if task.timed else np.zeros(1)
        self.edges = edges
        self.stages = [self._stage(view, number) for number in range(1, config.blocks + 1)]
        names = {o.name for o in config.operands if o.output}
        self.output = next(iter(names))
        self.child = {
            stage: next(c for c in range(stage + 1, config.blocks + 1)
                        if c == config.blocks or self.output in config.holders[c])
            for stage in range(1, config.blocks) if self.stages[stage - 1].open
        }

    # --- costs --------------------------------------------------------------------------------------

    def _stage(self, view: View, number: int) -> _Stage:
        layout = self.config.layout[number - 1]
        made = _Stage(layout, np.zeros((1, 1, 1, 1)), {}, None, None)
        for moves in layout.moves:
            cost = view.cost(moves, number)
            if self.task.priced:
                made.energy = _plus(made.energy, _spread(moves, cost.energy))
            for name, time in cost.ports.items():
                busy = _spread(moves, time)
                made.ports[name] = _plus(made.ports[name], busy) if name in made.ports else busy
            if cost.wait is not None:
                made.wait = _spread(moves, cost.wait)
            if cost.partial is not None:
                made.partial = _spread(moves, cost.partial).astype(bool, copy=False)
        self._tiles(view, number, made)
        return made

    def _tiles(self, view: View, number: int, made: _Stage) -> None:
        """Tiles in the levels of a stage that are limited."""
        for tiles in made.layout.tiles:
            level = self.config.holders[number][tiles.operand.name]
            if level is not None and not np.isinf(level.room):
                each = view.tiles(tiles.operand, number)
                made.tiles.setdefault(level.name, []).append((tiles, each))

    def masks(self, number: int, room: Room, picked: Ints | slice = slice(None)) -> tuple[Mask, Mask]:
        """Structures and rows (own, rows) whose tiles fit: sums finished, and sums still open.

        The same array twice if both take the same room; of shape (1, 1) where everything fits.
        """
        stage = self.stages[number - 1]
        finished, wide = self.task.bits[self.output]
        masks = []
        for bits in (finished, wide) if stage.open and finished != wide else (finished,):
            good: Mask = np.ones((1, 1), dtype=bool)
            for name, held in stage.tiles.items():
                each = [
                    (tiles.where, elements[:, picked] * (self._bits(tiles, bits) / 8))
                    for tiles, elements in held
                ]
                good = good & _below(each, room[name])
            masks.append(good)
        return masks[0], masks[-1]

    def _bits(self, tiles: Tiles, output: float) -> float:
        return output if tiles.operand.output else self.task.bits[tiles.operand.name][1]

    # --- lower bounds -------------------------------------------------------------------------------

    def bounds(self, room: Room) -> Floats:
        """Lower bound of the objective per row; exact for an energy without static power."""
        least = _Bounds(self, room).least()
        return np.broadcast_to(least, self.size)

    def cycles(self, ports: Mapping[str, Floats], compute: Floats) -> Floats:
        """Cycles of the busiest port, or of the array."""
        cycles, first = compute, self.task.accelerator.levels[0]
        for name, busy in ports.items():
            if self.task.extra_bytes and name in (first.name, f"{first.name}.read"):
                busy = busy + self.task.extra_bytes / float(first.bandwidth)
            cycles = np.maximum(cycles, busy)
        return cycles

    # --- exact prices -------------------------------------------------------------------------------

    def grid(self, picked: Ints, room: Room) -> Floats:
        """Objective of some rows under every combination of structures, (block 1, block 2, ..., rows).

        Infinite where a tile does not fit.
        """
        energy: Floats | float = self.task.base_energy
        wait: Floats = self.edges[picked]
        ports: dict[str, Floats] = {}
        good: Mask | bool = True
        for number, stage in enumerate(self.stages, start=1):
            if self.task.priced:
                energy = energy + self._along(stage.energy, number, picked)
            for name, busy in stage.ports.items():
                more = self._along(busy, number, picked)
                ports[name] = ports[name] + more if name in ports else more
            if stage.wait is not None:
                wait = wait + self._along(stage.wait, number, picked)
            good = good & self._fits(number, picked, room)
        compute = self.fixed_cycles[picked] if self.task.timed else self.fixed_cycles
        cycles = self.cycles(ports, compute) + wait
        values = score(self.task.objective, energy, cycles, self.task.accelerator)
        shape = (*(len(block) for block in self.config.structures), len(picked))
        return np.where(np.broadcast_to(good, shape), values, np.inf)

    def _fits(self, number: int, picked: Ints, room: Room) -> Mask:
        narrow, wide = (self._own(mask, number) for mask in self.masks(number, room, picked))
        partial = self.stages[self.child[number] - 1].partial if number in self.child else None
        if partial is None:
            return narrow
        return np.where(self._along(partial, self.child[number], picked), wide, narrow)

    def _own(self, values: Mask, number: int) -> Mask:
        shape = [1] * self.config.blocks + [values.shape[-1]]
        shape[number - 1] = values.shape[0]
        return values.reshape(shape)

    def _along(self, values: Floats | Mask, number: int, picked: Ints) -> Floats:
        """(far, near, own, rows) -> broadcastable over the grid, for some rows."""
        layout = self.stages[number - 1].layout
        rows = values[:, :, :, picked] if values.shape[3] > 1 else values
        full = np.broadcast_to(rows, (*layout.shape[:2], *rows.shape[2:]))[layout.far][:, layout.near]
        shape = [1] * self.config.blocks + [rows.shape[3]]
        for offset in range(3):
            block = number - 3 + offset
            if block >= 0:
                shape[block] = full.shape[offset]
        return np.asarray(full.reshape(shape))


class _Bounds:
    """Minima over the structures of each stage for all rows, by trail of each block and state of the sums.

    Arrays have the shape (structures of the stage, trails of all blocks but the last one, states of the
    stages whose tiles are wide or narrow by a choice further inside, rows); an axis may have length 1.
    """

    def __init__(self, sheet: Sheet, room: Room) -> None:
        self.sheet = sheet
        blocks = sheet.config.blocks
        self.masks = [sheet.masks(number, room) for number in range(1, blocks + 1)]
        self.unsettled = [
            stage for stage, child in sheet.child.items()
            if sheet.config.layout[child - 1].shape[2] > 1 and self._differ(stage)
        ]
        self.parents = {sheet.child[stage]: stage for stage in self.unsettled}
        self.ends = [len(layout.segments) for layout in sheet.config.layout[:-1]]

    def least(self) -> Floats:
        """Lower bound of the objective per row."""
        sheet = self.sheet
        energy: Floats | float = sheet.task.base_energy
        wait = sheet.edges
        ports: dict[str, Floats] = {}
        for number, stage in enumerate(sheet.stages, start=1):
            with np.errstate(divide="ignore"):  # next to nothing where a tile fits, infinite where not
                over = np.divide(_NOTHING, self._good(number))
            energy = energy + self._minimum(number, stage.energy, over)
            if stage.wait is not None:
                wait = wait + self._minimum(number, stage.wait, over)
            for name, times in stage.ports.items():
                busy = self._minimum(number, times, over)
                ports[name] = ports[name] + busy if name in ports else busy
        cycles = sheet.cycles(ports, sheet.fixed_cycles) + wait
        if sheet.task.priced:
            value = score(sheet.task.objective, energy, cycles, sheet.task.accelerator)
        else:
            value = np.where(np.isinf(energy), np.inf, cycles)
        return np.asarray(value.reshape(-1, value.shape[-1]).min(axis=0))

    def _differ(self, number: int) -> bool:
        finished, wide = self.masks[number - 1]
        return finished is not wide

    def _shape(self, number: int, far: int = 1, near: int = 1, state: int = 0) -> list[int]:
        """Lengths of the axes of trails and states; number: a stage, state: one that is unsettled."""
        shape = [1] * (len(self.ends) + len(self.unsettled))
        if number >= 2:
            shape[number - 2] = near
        if number >= 3:
            shape[number - 3] = far
        if state:
            shape[len(self.ends) + self.unsettled.index(state)] = 2
        return shape

    def _placed(self, number: int, values: Floats | Mask) -> Any:
        """(far, near, own, rows) with all axes."""
        far, near, own, size = values.shape
        shape = (own, *self._shape(number, far, near), size)
        return values.transpose(2, 0, 1, 3).reshape(shape)

    def _good(self, number: int) -> Mask:
        """Structures whose tiles fit and that leave the sums in the given state."""
        narrow, wide = (
            mask.reshape(len(mask), *self._shape(number), mask.shape[-1]) for mask in self.masks[number - 1]
        )
        good: Mask = narrow
        if number in self.unsettled:
            shape = self._shape(number, state=number)
            good = np.stack([narrow, wide], axis=1).reshape(len(narrow), *shape, narrow.shape[-1])
        elif number in self.sheet.child and self._differ(number):
            child = self.sheet.child[number]
            partial = self.sheet.stages[child - 1].partial
            if partial is not None:
                open_ = self._placed(child, partial)
                good = (open_ & wide) | (~open_ & narrow)
        partial = self.sheet.stages[number - 1].partial
        if number in self.parents and partial is not None:
            states = np.array([False, True]).reshape(1, *self._shape(number, state=self.parents[number]), 1)
            good = good & (self._placed(number, partial) == states)
        return good

    def _minimum(self, number: int, values: Floats, over: Floats) -> Floats:
        """Least cost of a stage: over the structures that share a trail."""
        placed = self._placed(number, values)
        parts = []
        for segment in self.sheet.stages[number - 1].layout.segments:
            allowed = over if len(over) == 1 else over[segment]
            if len(placed) == 1:  # all structures cost the same
                parts.append(placed[0] + allowed.min(axis=0))
            else:
                parts.append((placed[segment] + allowed).min(axis=0))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=number - 1)


def _below(each: Sequence[tuple[Ints, Floats]], room: float) -> Mask:
    """Structures and rows where the sum of some tiles, lines of bytes per key, is no more than the room."""
    where, used = each[0]
    if len(each) == 1:
        return np.asarray((used <= room)[where])
    used = used[where]
    for where, more in each[1:]:
        used += more[where]
    return np.asarray(used <= room)


def _plus(sums: Floats, more: Floats) -> Floats:
    """The sum, in the place of one of its parts if that is as large."""
    for place, other in ((sums, more), (more, sums)):
        if place.base is None and all(n in (1, m) for n, m in zip(other.shape, place.shape, strict=True)):
            return np.add(sums, more, out=place)
    return sums + more


def _spread(moves: Moves, values: Floats | Mask | float) -> Floats:
    """One line per key (or one for all) -> (far, near, own, rows)."""
    lines = np.asarray(values)
    return lines.reshape(1, 1, 1, -1) if lines.ndim < 2 or len(lines) == 1 else lines[moves.where]
