"""Costs of many mappings at once: per stage and structure, for a block of rows of tile sizes.

The counts are those of :mod:`perfmodel.engine.dataflow.accesses`, taken apart: the traffic into a stage
depends on the row, on the structure of the block above the stage, and (where nothing in that block forces a
new tile) on the unrelated loops at the inner end of the block above it.  So a row prices all combinations of
structures by a few sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfmodel.algebra import product
from perfmodel.engine.dataflow.accelerator import Accelerator, Level, Widths
from perfmodel.engine.dataflow.conventions import Conventions
from perfmodel.engine.dataflow.options import Chains, Floats, Ints, Rows, iterations_of_chains
from perfmodel.engine.dataflow.pricing import tile_bytes
from perfmodel.engine.dataflow.problem import Operand, Problem, window_cover
from perfmodel.engine.dataflow.space import LoopClass, Stage, Structure
from perfmodel.engine.dataflow.tables import (
    Choice,
    Counted,
    Counts,
    Moves,
    StageLayout,
    count_choices,
    stage_layout,
)

Mask = NDArray[np.bool_]

@dataclass
class Cost:
    """Cost of moving one tensor into one stage, (keys of its Moves or 1, rows).

    energy   [J]
    ports    port -> busy cycles of one instance
    wait     exposed weight load [cycle]; None: none
    partial  whether what goes up is still to be added to; None: nothing goes up
    """

    energy: Floats | float
    ports: dict[str, Floats] = field(default_factory=dict)
    wait: Floats | None = None
    partial: Mask | None = None


@dataclass(frozen=True)
class Config:
    """A fixed choice of levels: where tensors live, and the structures of each block.

    operands    of the problem
    holders     per stage (outermost first, MAC last), tensor -> level
    structures  per block, those with the same trail next to each other
    tiled       the number of tile transfers counts
    """

    operands: tuple[Operand, ...]
    stages: tuple[Stage, ...]
    holders: tuple[Mapping[str, Level | None], ...]
    structures: tuple[tuple[Structure, ...], ...]
    tiled: bool = False

    @property
    def blocks(self) -> int:
        """Number of blocks of loops."""
        return len(self.stages) - 1

    def parent(self, tensor: str, stage: int) -> int:
        """Next stage further out that keeps a tensor."""
        return next(outer for outer in range(stage - 1, -1, -1) if tensor in self.holders[outer])

    def moved(self, stage: int) -> list[Operand]:
        """Tensors that move into a stage."""
        return [o for o in self.operands if stage == self.blocks or o.name in self.holders[stage]]

    @cached_property
    def layout(self) -> tuple[StageLayout, ...]:
        """How the structures of the blocks share costs, per stage from the first one inside."""
        return tuple(stage_layout(self, stage) for stage in range(1, self.blocks + 1))

    def counts(self, moves: Moves, stage: int, spread: int, halo: int) -> Counts:
        """Iterations behind the costs of moving a tensor into a stage."""
        key = (moves.operand.name, stage, spread, halo)
        if key not in self._counts:
            self._counts[key] = count_choices(moves, self.classes, stage - 1, spread, halo)
        return self._counts[key]

    @cached_property
    def _counts(self) -> dict[tuple[str, int, int, int], Counts]:
        return {}

    @cached_property
    def classes(self) -> dict[str, LoopClass | None]:
        """Class of each loop; None for one that concerns all tensors."""
        found = {loop: group for s in self.structures for group in s[0].order for loop in group}
        return {loop: found.get(loop) for operand in self.operands for loop in sorted(operand.loops)}

    @cached_property
    def counted(self) -> dict[str, dict[Counted, list[bool]]]:
        """Iterations that were asked for so far, by loop, and their flags."""
        return {}

    def flags(self, key: Counted) -> list[bool]:
        """Whether lanes and factor of each block multiply, outermost first."""
        idle, inner, spread, first = key
        return [
            flag for block in range(self.blocks)
            for flag in (first <= block < spread, block <= inner and block not in idle)
        ]


class Kernel:
    """Evaluates rows of one Config; `positions` are those in use per axis and row."""

    def __init__(
        self, problem: Problem, accelerator: Accelerator, width: Widths, conventions: Conventions,
        config: Config, rows: Rows, positions: Mapping[str, Floats], timed: bool = True, priced: bool = True,
    ) -> None:
        self.problem, self.accelerator, self.width = problem, accelerator, width
        self.conventions, self.config, self.rows, self.timed = conventions, config, rows, timed
        self.positions, self.priced = positions, priced
        self.tables: dict[tuple[object, ...], Floats] = {}
        self.counts: dict[tuple[str, Counted], Floats] = {}

    def view(self, picked: Ints | slice) -> View:
        """The same kernel looking at some rows."""
        index = {loop: index[picked] for loop, index in self.rows.index.items()}
        return View(self, index, picked, len(next(iter(index.values()))))

    def count_table(self, loop: str, key: Counted) -> Floats:
        """Non-empty iterations per chain, see Counted."""
        if (loop, key) not in self.counts:
            known = self.config.counted.setdefault(loop, {})
            if key not in known:
                known[key] = self.config.flags(key)
            self._count(loop, [k for k in known if (loop, k) not in self.counts])
        return self.counts[loop, key]

    def choice_table(self, loop: str, choice: Choice) -> Floats:
        """Iterations per chain, one line per key (one line if all keys count the same)."""
        key = ("choice", loop, id(choice))
        if key not in self.tables:
            lines = np.stack([self.count_table(loop, counted) for counted in choice.counted])
            self.tables[key] = lines if choice.which is None else lines[choice.which]
        return self.tables[key]

    def _count(self, loop: str, keys: Sequence[Counted]) -> None:
        """Tables of many keys together: what one arena of a Config needed, the next one will need."""
        chains: Chains = self.rows.chains[loop]
        steps = np.stack([chains.lanes.T, chains.factors.T], axis=1).reshape(-1, len(chains.factors))
        live = (steps > 1).any(axis=1)
        known = self.config.counted[loop]
        flags = np.array([known[key] for key in keys])
        lines = iterations_of_chains(chains.bound, steps[live], flags[:, live])
        for key, line in zip(keys, lines, strict=True):
            self.counts[loop, key] = line

    def tile_table(self, loop: str, block: int) -> Floats:
        """Tile of the stage below a block per chain: without and with the block's own loop."""
        key = ("tile", loop, block)
        if key not in self.tables:
            chains = self.rows.chains[loop]
            size = chains.inside(block)
            self.tables[key] = np.minimum([size, size * chains.factors[:, block]], chains.bound)
        return self.tables[key]


class View:
    """Some rows of a kernel; what was gathered or counted for them is kept."""

    def __init__(self, kernel: Kernel, index: Mapping[str, Ints], picked: Ints | slice, size: int) -> None:
        self.kernel, self.index, self.picked, self.size = kernel, index, picked, size
        self.cache: dict[tuple[object, ...], Any] = {}

    def count(self, loop: str, idle: frozenset[int], inner: int, spread: int, first: int = 0) -> Floats:
        """Iterations of a loop per row, see Counted."""
        key = (loop, (idle, inner, spread, first))
        found: Floats | None = self.cache.get(key)
        if found is None:
            found = self.cache[key] = self.kernel.count_table(*key).take(self.index[loop])
        return found

    def instances(self, stage: int) -> Floats:
        """Copies of a stage that share the work, as the busiest one sees it."""
        key = ("instances", stage)
        if key not in self.cache:
            config = self.kernel.config
            copies = np.ones(self.size)
            for loop, chains in self.kernel.rows.chains.items():
                if np.any(chains.lanes[:, :stage] > 1):
                    busiest = self.count(loop, frozenset(), config.blocks, config.blocks, stage)
                    copies = copies * float(self.kernel.problem.bounds[loop]) / busiest
            self.cache[key] = copies
        found: Floats = self.cache[key]
        return found

    def tiles(self, operand: Operand, block: int, keys: Sequence[frozenset[LoopClass]]) -> Floats:
        """Elements of the tile in the stage below a block, a line per key: classes that run inside it."""
        groups = self.kernel.config.classes
        sizes = {}
        for loop in operand.loops:
            within = np.array([int(groups[loop] in inside) for inside in keys])
            if (loop, block) not in self.cache:
                self.cache[loop, block] = self.kernel.tile_table(loop, block).take(self.index[loop], axis=1)
            sizes[loop] = self.cache[loop, block][within]
        return np.broadcast_to(np.asarray(operand.footprint(sizes), float), (len(keys), self.size))

    def compute(self) -> Floats:
        """Time steps per row [cycle]."""
        kernel = self.kernel
        last = kernel.config.blocks
        steps = np.ones(self.size)
        for loop in kernel.problem.bounds:
            steps = steps * self.count(loop, frozenset(), last, 0)
        return np.asarray(steps / kernel.accelerator.rate)

    def _choice(self, loop: str, choice: Choice) -> Floats:
        """Iterations of a loop, one line per key (one line if all keys count the same)."""
        return self.kernel.choice_table(loop, choice).take(self.index[loop], axis=1)

    def _quiet(self, sets: Sequence[frozenset[str]], block: int) -> Mask:
        """Per key, True where none of the loops runs in the block."""
        found: Mask | None = self.cache.get(("quiet", tuple(sets), block))
        if found is not None:
            return found
        quiet = np.ones((len(sets), self.size), dtype=bool)
        for line, loops in zip(quiet, sets, strict=True):
            for loop in loops:
                key = ("idle", loop, block)
                if key not in self.cache:
                    once = self.kernel.rows.chains[loop].factors[:, block] == 1
                    self.cache[key] = once[self.index[loop]]
                line &= self.cache[key]
        self.cache["quiet", tuple(sets), block] = quiet
        return quiet

    def _elements(self, moves: Moves, stage: int, spread: int, halo: int) -> Floats | float:
        """Elements moved into a stage, lanes of the first `spread` blocks counted."""
        config, bounds = self.kernel.config, self.kernel.problem.bounds
        counts = config.counts(moves, stage, spread, halo)
        amount: Floats | float = float(product(bounds[loop] for loop in moves.operand.plain))
        for window, out, taps in zip(moves.operand.windows, counts.out, counts.taps, strict=True):
            tiles = self._slid(window.out, out, counts, stage), self._slid(window.kernel, taps, counts, stage)
            amount = amount * window_cover(window, bounds, *tiles)
        return self._again(amount, counts, stage)

    def _slid(
        self, loop: str, choices: tuple[Choice, Choice, Choice], counts: Counts, stage: int
    ) -> Floats:
        """Iterations of a loop of a window that share no halo with the one before."""
        base, once, beyond = choices
        times = self._choice(loop, base)
        if not counts.slides:
            return times
        classes = self.kernel.config.classes
        bare = self._quiet([frozenset(d for d, group in classes.items() if group is None)], stage - 1)
        times = np.where(bare, self._choice(loop, once), times)
        if beyond is not once:
            bare = bare & self._quiet([frozenset(classes)], stage - 2)
            times = np.where(bare, self._choice(loop, beyond), times)
        return times

    def _again(self, amount: Floats | float, counts: Counts, stage: int) -> Floats | float:
        """An amount times the iterations of unrelated loops that move it again."""
        quiet = self._quiet(counts.loud, stage - 1) if counts.near else None
        further = quiet & self._quiet(counts.loud, stage - 2) if quiet is not None and counts.far else None
        for loop, (base, once, beyond) in counts.unrelated.items():
            times = self._choice(loop, base)
            # a choice between whole numbers as a sum: exact, and faster than a branch per number
            if quiet is not None and once is not base:
                times = times + quiet * (self._choice(loop, once) - times)
            if further is not None and beyond is not once:
                times = times + further * (self._choice(loop, beyond) - times)
            amount = amount * times
        return amount

    def _tile(
        self, moves: Moves, stage: int, spread: int, halo: int, elements: Floats | float
    ) -> Floats | float | None:
        """Elements of one transfer, the mean; None if only their sum matters."""
        if not self.kernel.config.tiled:
            return None
        counts = self.kernel.config.counts(moves, stage, spread, halo)
        number: Floats | float = 1.0
        for loop, choice in counts.related.items():
            number = number * self._choice(loop, choice)
        return elements / self._again(number, counts, stage)

    def cost(self, moves: Moves, stage: int) -> Cost:
        """Cost of moving a tensor into a stage, one line per key."""
        kernel, conventions, operand = self.kernel, self.kernel.conventions, moves.operand
        outer = kernel.config.parent(operand.name, stage)
        halo = outer if conventions.spatial_halo == "shared" else stage
        outside = self._elements(moves, stage, outer, halo)
        same = outer == stage - 1 and not kernel.config.stages[stage].axes
        inside = outside if same else self._elements(moves, stage, stage, stage)
        tile = self._tile(moves, stage, outer, halo, outside)
        tiles = tile, tile if same else self._tile(moves, stage, stage, stage, inside)
        if not operand.output:
            return self._flows(operand, outer, stage, outside, inside, 0.0, 0.0, None, tiles)
        whole = float(operand.footprint(kernel.problem.bounds))
        partial = np.asarray(outside > whole * (1 + 1e-9))
        if conventions.first_accumulation == "read":
            back, received = outside * partial, inside * partial
        else:
            back = outside - self._distinct(operand, outer)
            received = inside - self._distinct(operand, stage)
        return self._flows(operand, outer, stage, back, received, outside, inside, partial, tiles)

    def _distinct(self, operand: Operand, spread: int) -> Floats | float:
        """Elements that meet each instance for the first time."""
        key = ("distinct", operand.name, spread)
        if key not in self.cache:
            amount: Floats | float = float(operand.footprint(self.kernel.problem.bounds))
            for loop in self.kernel.problem.bounds:
                if loop not in operand.loops:
                    amount = amount * self.count(loop, frozenset(), -1, spread)
            self.cache[key] = amount
        found: Floats | float = self.cache[key]
        return found

    def _flows(
        self, operand: Operand, outer: int, stage: int, down: Floats | float, received: Floats | float,
        up: Floats | float, sent: Floats | float, partial: Mask | None,
        tiles: tuple[Floats | float | None, Floats | float | None],
    ) -> Cost:
        """Energy and port cycles of the four streams between two stages; tiles: elements at either end."""
        kernel, config = self.kernel, self.kernel.config
        wide = float(kernel.width.of(operand.role, True)) / 8
        if partial is not None:
            narrow = float(kernel.width.of(operand.role, False)) / 8
            each: Floats | float = wide if narrow == wide else np.asarray(narrow + partial * (wide - narrow))
            up, sent = up * each, sent * each
        above, below = config.holders[outer][operand.name], config.holders[stage].get(operand.name)
        tile, own = tiles
        streams = [(above, outer, "read", down, wide, tile)]
        if partial is not None:
            streams.append((above, outer, "write", up, 1.0, None if tile is None else tile * each))
        if below is not None:
            streams.append((below, stage, "write", received, wide, own))
            if partial is not None and kernel.conventions.drain_reads == "counted":
                streams.append((below, stage, "read", sent, 1.0, None if own is None else own * each))
        energy: Floats | float = 0.0
        ports: dict[str, Floats] = {}
        for level, number, side, amount, size, tile in streams:
            if level is None:
                continue
            turns: Floats | float | None = None
            if tile is not None:
                moved, times = tile_bytes(tile, size, level, kernel.conventions), amount / tile
                amount, size = times * moved, 1.0
                if kernel.conventions.ports == "turns" and kernel.timed:
                    turns = times * np.ceil(moved / float(level.bandwidth) - 1e-9)
            price = float(level.read_energy if side == "read" else level.write_energy) * size
            if price and kernel.priced:
                energy = energy + amount * price
            if kernel.timed and not np.isinf(level.bandwidth):
                name = level.name if level.shared_ports else f"{level.name}.{side}"
                busy = amount * (size / float(level.bandwidth)) if turns is None else turns
                busy = busy / self.instances(number)
                ports[name] = ports[name] + busy if name in ports else busy
        if kernel.conventions.hops == "counted":
            energy = energy + self._hops(outer, stage, down * wide + up)
        cost = Cost(energy, ports, None, partial)
        exposed = kernel.conventions.weight_load == "exposed" and operand.role == "weight"
        if exposed and below is not None and not below.double_buffered:
            cost.wait = np.asarray(received * wide / self.instances(stage) / below.bandwidth)
        return cost

    def _hops(self, outer: int, stage: int, amount: Floats | float) -> Floats:
        """Energy of passing along the axes between two stages."""
        energy = np.zeros(self.size)
        for number in range(outer, stage):
            for axis in self.kernel.config.stages[number + 1].axes:
                energy = energy + amount * self.kernel.positions[axis.name][self.picked] * axis.hop_energy
        return energy
