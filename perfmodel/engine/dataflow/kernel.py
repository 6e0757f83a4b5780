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

import numpy as np

from perfmodel.algebra import product
from perfmodel.engine.dataflow.accelerator import Accelerator, Level, Widths
from perfmodel.engine.dataflow.conventions import Conventions
from perfmodel.engine.dataflow.lines import Elements, Lines
from perfmodel.engine.dataflow.options import Floats, Ints, Mask, Rows
from perfmodel.engine.dataflow.pricing import tile_bytes
from perfmodel.engine.dataflow.problem import Operand, Problem, window_cover
from perfmodel.engine.dataflow.space import LoopClass, Stage, Structure
from perfmodel.engine.dataflow.tables import Moves, StageLayout, stage_layout


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

    def lines(self, loops: Sequence[str], shared_halo: bool, timed: bool) -> Lines:
        """What is counted for each row."""
        key = tuple(loops), shared_halo, timed
        if key not in self._lines:
            self._lines[key] = Lines(self, *key)
        return self._lines[key]

    @cached_property
    def _lines(self) -> dict[tuple[tuple[str, ...], bool, bool], Lines]:
        return {}

    @cached_property
    def classes(self) -> dict[str, LoopClass | None]:
        """Class of each loop; None for one that concerns all tensors."""
        found = {loop: group for s in self.structures for group in s[0].order for loop in group}
        return {loop: found.get(loop) for operand in self.operands for loop in sorted(operand.loops)}


class Kernel:
    """Evaluates rows of one Config; `positions` are those in use per axis and row."""

    def __init__(
        self, problem: Problem, accelerator: Accelerator, width: Widths, conventions: Conventions,
        config: Config, rows: Rows, positions: Mapping[str, Floats], timed: bool = True, priced: bool = True,
    ) -> None:
        self.problem, self.accelerator, self.width = problem, accelerator, width
        self.conventions, self.config, self.rows, self.timed = conventions, config, rows, timed
        self.positions, self.priced = positions, priced
        self.lines = config.lines(list(problem.bounds), conventions.spatial_halo == "shared", timed)
        self.tables = self.lines.tables(rows.chains)

    def view(self, picked: Ints | slice) -> View:
        """The same kernel looking at some rows."""
        index = {loop: index[picked] for loop, index in self.rows.index.items()}
        return View(self, index, picked, len(next(iter(index.values()))))


class View:
    """Some rows of a kernel."""

    def __init__(self, kernel: Kernel, index: Mapping[str, Ints], picked: Ints | slice, size: int) -> None:
        self.kernel, self.picked, self.size = kernel, picked, size
        self.lines = kernel.lines
        self.values = kernel.lines.values(kernel.tables, index, size)
        self.elements = {name: self._elements(made) for name, made in self.lines.elements.items()}

    def instances(self, stage: int) -> Floats:
        """Copies of a stage that share the work, as the busiest one sees it."""
        return np.asarray(float(self.kernel.problem.macs) / self.values[self.lines.instances[stage]])

    def tiles(self, operand: Operand, stage: int) -> Floats:
        """Elements of the tile in a stage, a line per key of its Tiles."""
        plain, windows = self.lines.tiles[operand.name, stage]
        found = self.values[plain]
        for window, out, taps in windows:
            found *= window.extent({window.out: self.values[out], window.kernel: self.values[taps]})
        return found

    def compute(self) -> Floats:
        """Time steps per row [cycle]."""
        return np.asarray(self.values[self.lines.steps] / self.kernel.accelerator.rate)

    def _elements(self, made: Elements) -> tuple[Floats, Floats | None]:
        """Elements moved, and those of one transfer, the mean (None if only their sum matters)."""
        bounds = self.kernel.problem.bounds
        again = made.again.of(self.values)
        amount: Floats | float = float(product(bounds[loop] for loop in made.operand.plain))
        for window, out, taps, where in made.windows:
            amount = amount * window_cover(window, bounds, out.of(self.values), taps.of(self.values))[where]
        tile = amount / self.values[made.related] if self.kernel.config.tiled else None
        return amount * again, tile

    def cost(self, moves: Moves, stage: int) -> Cost:
        """Cost of moving a tensor into a stage, one line per key."""
        kernel, conventions, operand = self.kernel, self.kernel.conventions, moves.operand
        outer, flow = kernel.config.parent(operand.name, stage), self.lines.flows[operand.name, stage]
        elements, each = self.elements[operand.name]
        outside, inside = elements[flow.outside], elements[flow.inside]
        tiles = (None, None) if each is None else (each[flow.outside], each[flow.inside])
        if not operand.output:
            return self._flows(operand, outer, stage, outside, inside, 0.0, 0.0, None, tiles)
        whole = float(operand.footprint(kernel.problem.bounds))
        partial = np.asarray(outside > whole * (1 + 1e-9))
        if conventions.first_accumulation == "read":
            back, received = outside * partial, inside * partial
        else:
            back = outside - whole * self.values[flow.first_outside]
            received = inside - whole * self.values[flow.first_inside]
        return self._flows(operand, outer, stage, back, received, outside, inside, partial, tiles)

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
