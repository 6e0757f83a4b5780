"""Costs of a run of rows under every structure, their lower bounds, and their exact prices.

With the inner ends (trails) of the blocks given, the energy of a stage depends on the structure of its own
block alone, and so does the room its tiles need, except that an output tile is wide where its sums are still
open, which the next stage inside decides.  So the least energy of a row is exact as a sum of minima over the
stages; its cycles take each port at its best, which is a lower bound.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from perfmodel.engine.dataflow.accelerator import Accelerator, Widths
from perfmodel.engine.dataflow.conventions import Conventions
from perfmodel.engine.dataflow.kernel import Config, Mask, View
from perfmodel.engine.dataflow.options import Floats, Ints
from perfmodel.engine.dataflow.plans import score
from perfmodel.engine.dataflow.problem import Problem
from perfmodel.engine.dataflow.tables import Moves, StageLayout

Room = Mapping[str, float]


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
    """Costs into one stage, arrays of shape (far, near, own, rows), see StageLayout.

    partial  whether sums that leave the stage are still open
    fixed    limited level -> bytes of its tiles, (own, rows), the output's left out
    open     limited level -> elements of the output's tile, (own, rows)
    """

    layout: StageLayout
    energy: Floats
    ports: dict[str, Floats]
    wait: Floats | None
    partial: Mask | None
    fixed: dict[str, Floats] = field(default_factory=dict)
    open: dict[str, Floats] = field(default_factory=dict)


@dataclass
class _Least:
    """Least energy, port cycles and waiting of a stage per row; the energy is infinite if nothing fits."""

    energy: Floats
    ports: dict[str, Floats]
    wait: Floats | None


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
        full = (*layout.shape, self.size)
        energy: Floats = np.zeros((1, 1, 1, 1))
        made = _Stage(layout, energy, {}, None, None)
        for moves in layout.moves:
            cost = view.cost(moves, number)
            if self.task.priced:
                energy = energy + _spread(moves, cost.energy)
            for name, time in cost.ports.items():
                busy = _spread(moves, time)
                made.ports[name] = made.ports[name] + busy if name in made.ports else busy
            if cost.wait is not None:
                made.wait = np.broadcast_to(_spread(moves, cost.wait), full)
            if cost.partial is not None:
                made.partial = np.broadcast_to(_spread(moves, cost.partial), full)
        made.energy = np.broadcast_to(energy, full)
        made.ports = {name: np.broadcast_to(busy, full) for name, busy in made.ports.items()}
        self._tiles(view, number, made)
        return made

    def _tiles(self, view: View, number: int, made: _Stage) -> None:
        """Bytes of the tiles in the levels of a stage that are limited."""
        bits = self.task.bits
        for tiles in made.layout.tiles:
            name = tiles.operand.name
            level = self.config.holders[number][name]
            if level is None or np.isinf(level.room):
                continue
            each = np.stack([view.tile(tiles.operand, number - 1, inside) for inside in tiles.keys])
            if tiles.operand.output:
                made.open[level.name] = each[tiles.where]
            else:
                amount = (each * (bits[name][1] / 8))[tiles.where]
                made.fixed[level.name] = made.fixed.get(level.name, 0.0) + amount

    def masks(self, number: int, room: Room, picked: Ints | slice = slice(None)) -> tuple[Mask, Mask]:
        """Structures and rows (own, rows) whose tiles fit: sums finished, and sums still open."""
        stage = self.stages[number - 1]
        fixed = {name: used[:, picked] for name, used in stage.fixed.items()}
        open_ = {name: tile[:, picked] for name, tile in stage.open.items()}
        finished, wide = self.task.bits[self.output]
        masks = []
        for bits in (finished, wide) if stage.open and finished != wide else (finished,):
            good: Mask = np.ones((1, 1), dtype=bool)
            for name in {**fixed, **open_}:
                used = fixed.get(name, 0.0) + open_.get(name, 0.0) * (bits / 8)
                good = good & (used <= room[name])
            size = len(picked) if isinstance(picked, np.ndarray) else self.size
            masks.append(np.broadcast_to(good, (stage.layout.shape[2], size)))
        return masks[0], masks[-1]

    # --- lower bounds -------------------------------------------------------------------------------

    def bounds(self, room: Room) -> Floats:
        """Lower bound of the objective per row; exact for an energy without static power."""
        search = _Bounds(self, room)
        least = np.full(self.size, np.inf)
        ends = [range(len(self.config.layout[block].segments)) for block in range(self.config.blocks - 1)]
        for trails in itertools.product(*ends):
            for flags in itertools.product((False, True), repeat=len(search.unsettled)):
                given = dict(zip(search.unsettled, flags, strict=True))
                parts = [search.part(number, trails, given) for number in range(1, self.config.blocks + 1)]
                least = np.minimum(least, self._combine(parts))
        return least

    def _combine(self, parts: Sequence[_Least]) -> Floats:
        energy: Floats | float = self.task.base_energy
        wait = self.edges
        ports: dict[str, Floats] = {}
        for part in parts:
            energy = energy + part.energy
            if part.wait is not None:
                wait = wait + part.wait
            for name, busy in part.ports.items():
                ports[name] = ports[name] + busy if name in ports else busy
        cycles = self._cycles(ports, self.fixed_cycles) + wait
        if self.task.priced:
            return score(self.task.objective, energy, cycles, self.task.accelerator)
        return np.where(np.isinf(energy), np.inf, cycles)

    def _cycles(self, ports: Mapping[str, Floats], compute: Floats) -> Floats:
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
        cycles = self._cycles(ports, compute) + wait
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
        full = values[:, :, :, picked][layout.far][:, layout.near]
        shape = [1] * self.config.blocks + [len(picked)]
        for offset in range(3):
            block = number - 3 + offset
            if block >= 0:
                shape[block] = full.shape[offset]
        return np.asarray(full.reshape(shape))


class _Bounds:
    """Minima over the structures of each stage, for given trails and states of the sums."""

    def __init__(self, sheet: Sheet, room: Room) -> None:
        self.sheet = sheet
        blocks = sheet.config.blocks
        self.masks = [sheet.masks(number, room) for number in range(1, blocks + 1)]
        # stages whose output tiles are wide or narrow by a choice further inside
        self.unsettled = [
            stage for stage, child in sheet.child.items()
            if sheet.config.layout[child - 1].shape[2] > 1 and self._differ(stage)
        ]
        self.parents = {sheet.child[stage]: stage for stage in self.unsettled}
        self.known: dict[tuple[object, ...], _Least] = {}

    def part(self, number: int, trails: Sequence[int], flags: Mapping[int, bool]) -> _Least:
        """Least costs of a stage."""
        own, near, far = self._place(number, trails)
        child = self.sheet.child.get(number)
        inside = self._place(child, trails)[1:] if child and number not in flags else None
        key = (number, own, near, far, flags.get(number), flags.get(self.parents.get(number, 0)), inside)
        if key not in self.known:
            self.known[key] = self._part(number, trails, flags)
        return self.known[key]

    def _differ(self, number: int) -> bool:
        finished, wide = self.masks[number - 1]
        return finished is not wide

    @staticmethod
    def _place(number: int, trails: Sequence[int]) -> tuple[int, int, int]:
        """Trails of the own block, and of the one and two blocks outside (0 where there is none)."""
        own = trails[number - 1] if number <= len(trails) else 0
        return own, trails[number - 2] if number >= 2 else 0, trails[number - 3] if number >= 3 else 0

    def _part(self, number: int, trails: Sequence[int], flags: Mapping[int, bool]) -> _Least:
        stage = self.sheet.stages[number - 1]
        own, near, far = self._place(number, trails)
        segment = stage.layout.segments[own]
        narrow, wide = (mask[segment] for mask in self.masks[number - 1])
        good = narrow
        if number in flags:
            good = wide if flags[number] else narrow
        elif number in self.sheet.child and self._differ(number):
            child = self.sheet.child[number]
            partial = self.sheet.stages[child - 1].partial
            _, beside, beyond = self._place(child, trails)
            if partial is not None:
                good = np.where(partial[beyond, beside, 0], wide, narrow)
        if number in self.parents and stage.partial is not None:
            state = stage.partial[far, near, segment]
            good = good & (state if flags[self.parents[number]] else ~state)
        over = np.where(good, 0.0, np.inf)

        def least(values: Floats) -> Floats:
            return np.asarray((values[far, near, segment] + over).min(axis=0))

        energy = least(stage.energy) if self.sheet.task.priced else over.min(axis=0)
        ports = {name: least(busy) for name, busy in stage.ports.items()}
        return _Least(energy, ports, None if stage.wait is None else least(stage.wait))


def _spread(moves: Moves, values: Floats | Mask | float) -> Floats:
    """One line per key (or one for all) -> (far, near, own, rows)."""
    lines = np.asarray(values)
    return lines.reshape(1, 1, 1, -1) if lines.ndim < 2 or len(lines) == 1 else lines[moves.where]
