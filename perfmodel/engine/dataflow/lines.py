"""Counts of rows as lines: products over the loops of one number per chain of tile sizes.

All that a row costs depends on such products: iterations that move a tile again, sizes of tiles, whether
loops run in a block.  Which lines a Config needs is worked out once; a table of numbers per chain and one
look-up per loop and group of lines then serve every stage, tensor and structure of a run of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from perfmodel.engine.dataflow.options import Chains, Floats, Ints, iterations_of_chains
from perfmodel.engine.dataflow.problem import Operand
from perfmodel.engine.dataflow.tables import Moves
from perfmodel.ops.core import Window

if TYPE_CHECKING:
    from perfmodel.engine.dataflow.kernel import Config

#: Whether lanes and factor of each block multiply, outermost first.
Flags = tuple[bool, ...]


class Bare(NamedTuple):
    """Blocks in which a loop does not run."""

    first: int
    last: int


#: Iterations by their flags, one where a loop is bare (else zero), or a tile by its place in the chain:
#: 2 b + 1 with the factor of block b, 2 b + 2 without.
Key = Flags | Bare | int
#: Loop -> key, as sorted pairs.
Line = tuple[tuple[str, Key], ...]


class Option(NamedTuple):
    """Numbers of lines: in general; where the flag `quiet` is one; where `further` is one besides."""

    base: int
    once: int
    quiet: int
    beyond: int
    further: int


@dataclass(frozen=True)
class Pick:
    """Options of several keys.

    base    line of each key
    others  which keys take another line where a flag is one: (keys, lines, flags)
    """

    base: Ints
    others: tuple[tuple[Ints, Ints, Ints], ...]

    def of(self, values: Floats) -> Floats:
        """Chosen lines, (keys, rows)."""
        found = values[self.base]
        for keys, lines, flags in self.others:
            # a choice between whole numbers as a sum: exact, and faster than a branch per number
            found[keys] += values[flags] * (values[lines] - found[keys])
        return found


@dataclass(frozen=True)
class Elements:
    """Elements of a tensor that move: all stages, sides and keys behind each other.

    windows  per window, tiles of both its loops, and which of them each key takes
    again    iterations of unrelated loops
    related  tiles of the loops of the tensor
    """

    operand: Operand
    windows: tuple[tuple[Window, Pick, Pick, Ints], ...]
    again: Pick
    related: Ints


class _Keys(NamedTuple):
    """Elements with the numbers of lines as they were asked for: windows have a pair of options per key."""

    operand: Operand
    again: list[Option]
    windows: list[list[tuple[Option, Option]]]
    related: list[int]


class Flow(NamedTuple):
    """Where the Elements of a tensor moving into a stage are, and lines of those met for the first time."""

    outside: slice
    inside: slice
    first_outside: int
    first_inside: int


class _Group(NamedTuple):
    """Lines with the same loops: their place, and per loop the rows of its table."""

    place: slice
    factors: tuple[tuple[str, Ints], ...]


class Lines:
    """What is counted for the rows of a Config.

    elements   tensor -> Elements
    flows      (tensor, stage) -> Flow
    tiles      (tensor, stage) -> lines of plain loops, and per window of its two loops, per key
    instances  per stage, line of the share of its busiest copy
    steps      line of the time steps
    """

    def __init__(self, config: Config, loops: Sequence[str], shared_halo: bool, timed: bool) -> None:
        self.config, self.loops, self.shared_halo = config, tuple(loops), shared_halo
        self.numbers: dict[Line, int] = {(): 0}
        self.lanes = [bool(stage.axes) for stage in config.stages[1:]]
        self.flows: dict[tuple[str, int], Flow] = {}
        made = {o.name: self._elements(o) for o in config.operands}
        tiles = {
            (t.operand.name, stage): self._tiles(t.operand, stage - 1, t.keys)
            for stage, layout in enumerate(config.layout, start=1) for t in layout.tiles
        }
        last = config.blocks
        stages = range(last + 1) if timed else ()
        busiest = [self._counts(self.loops, frozenset(), last, last, stage) for stage in stages]
        steps = self._counts(self.loops, frozenset(), last, 0) if timed else 0
        place = self._group()
        self.elements = {name: _placed(keys, place) for name, keys in made.items()}
        self.tiles = {
            key: (place[plain], [(w, place[a], place[b]) for w, a, b in windows])
            for key, (plain, windows) in tiles.items()
        }
        self.flows = {
            key: flow._replace(
                first_outside=int(place[flow.first_outside]), first_inside=int(place[flow.first_inside])
            ) for key, flow in self.flows.items()
        }
        self.instances, self.steps = [int(place[line]) for line in busiest], int(place[steps])

    # --- which lines --------------------------------------------------------------------------------

    def _line(self, factors: Iterable[tuple[str, Key]]) -> int:
        line = tuple(sorted(factors, key=lambda factor: factor[0]))
        return self.numbers.setdefault(line, len(self.numbers))

    def _counts(
        self, loops: Iterable[str], idle: frozenset[int], inner: int, spread: int, first: int = 0
    ) -> int:
        """Iterations in time of blocks up to `inner` but not the idle ones, and in space of the lanes of
        blocks `first` to `spread`, the latter left out."""
        return self._line(self._counted(loop, idle, inner, spread, first) for loop in loops)

    def _counted(
        self, loop: str, idle: frozenset[int], inner: int, spread: int, first: int = 0
    ) -> tuple[str, Flags]:
        return loop, tuple(
            flag for block, lanes in enumerate(self.lanes)
            for flag in (lanes and first <= block < spread, block <= inner and block not in idle)
        )

    def _bare(self, loops: Iterable[str], first: int, last: int) -> int:
        """One where none of the loops runs in these blocks, else zero."""
        return self._line((loop, Bare(first, last)) for loop in loops)

    def _elements(self, operand: Operand) -> _Keys:
        """Per key of all stages and sides: lines of unrelated loops, of windows, and of related loops."""
        made = _Keys(operand, [], [[] for _ in operand.windows], [])
        config = self.config
        others = [loop for loop in self.loops if loop not in operand.loops]
        for stage, layout in enumerate(config.layout, start=1):
            for moves in layout.moves:
                if moves.operand.name != operand.name:
                    continue
                outer = config.parent(operand.name, stage)
                sides = [(outer, outer if self.shared_halo else stage)]
                if outer != stage - 1 or config.stages[stage].axes:
                    sides.append((stage, stage))
                parts = []
                for spread, halo in sides:
                    start = len(made.again)
                    for key in range(len(moves.keys)):
                        made.again.append(self._unrelated(moves, key, stage - 1, spread))
                        made.related.append(self._related(moves, key, stage - 1, spread))
                        for found, window in zip(made.windows, operand.windows, strict=True):
                            found.append((
                                self._window(window.out, moves, key, stage - 1, halo),
                                self._window(window.kernel, moves, key, stage - 1, halo),
                            ))
                    parts.append(slice(start, len(made.again)))
                first = [self._counts(others, frozenset(), -1, side) for side in (outer, stage)]
                self.flows[operand.name, stage] = Flow(parts[0], parts[-1], *first)
        return made

    def _unrelated(self, moves: Moves, key: int, block: int, spread: int) -> Option:
        """Iterations that bring the tile again: in general, where nothing in the block disturbs it (quiet),
        and where nothing in the next block outside does either."""
        still, (near, far), _ = moves.keys[key]
        classes, own = self.config.classes, moves.operand.loops
        counted: list[list[tuple[str, Key]]] = [[], [], []]
        for loop in self.loops:
            if loop in own:
                continue
            group = classes[loop]
            steps = 0 if group not in still else 1 if group not in near else 2 if group not in far else 3
            for most, line in enumerate(counted, start=1):
                idle = frozenset(block - i for i in range(min(steps, most)))
                line.append(self._counted(loop, idle, block, spread))
        loud = [loop for loop in own if classes[loop] not in still]
        base, once, beyond = (self._line(line) for line in counted)
        quiet = self._bare(loud, block, block) if once != base else 0
        return Option(base, once, quiet, beyond, self._bare(loud, block - 1, block) if beyond != once else 0)

    def _window(self, loop: str, moves: Moves, key: int, block: int, halo: int) -> Option:
        """Iterations of a loop of a window that share no halo with the one before."""
        still, _, slides = moves.keys[key]
        classes = self.config.classes
        blocks = [block - i for i in range(3) if slides[i] == loop]
        own = frozenset([block]) if classes[loop] in still else frozenset()
        base, once, beyond = (
            self._counts([loop], own.union(b for b in blocks if b >= block - most), block, halo)
            for most in range(3)
        )
        # halos are kept across blocks where nothing runs around the tile in its own block
        common = [d for d, group in classes.items() if group is None]
        quiet = self._bare(common, block, block) if once != base else 0
        further = 0 if beyond == once else self._line([
            *((d, Bare(block - 1, block)) for d in common),
            *((d, Bare(block - 1, block - 1)) for d, group in classes.items() if group is not None),
        ])
        return Option(base, once, quiet, beyond, further)

    def _related(self, moves: Moves, key: int, block: int, spread: int) -> int:
        """Iterations that bring another tile; counted where the number of transfers matters."""
        if not self.config.tiled:
            return 0
        still, classes = moves.keys[key][0], self.config.classes
        return self._line(
            self._counted(d, frozenset([block]) if classes[d] in still else frozenset(), block, spread)
            for d in moves.operand.loops
        )

    def _tiles(
        self, operand: Operand, block: int, keys: Sequence[frozenset[tuple[str, ...]]]
    ) -> tuple[list[int], list[tuple[Window, list[int], list[int]]]]:
        """Sizes of the tile in the stage below a block, per key: classes that run inside it."""
        classes = self.config.classes

        def sizes(loops: Sequence[str]) -> list[int]:
            return [
                self._line((d, 2 * block + (1 if classes[d] in inside else 2)) for d in loops)
                for inside in keys
            ]

        return sizes(operand.plain), [(w, sizes([w.out]), sizes([w.kernel])) for w in operand.windows]

    def _group(self) -> Ints:
        """Sort the lines by their loops; place of each line."""
        order = sorted(self.numbers, key=lambda line: [loop for loop, _ in line])
        place = np.empty(len(order), dtype=np.intp)
        for at, line in enumerate(order):
            place[self.numbers[line]] = at
        self.count = len(order)
        flags: dict[str, dict[Flags, int]] = {loop: {} for loop in self.loops}
        bare: dict[Bare, int] = {}
        for line in order:
            for loop, key in line:
                if isinstance(key, Bare):
                    bare.setdefault(key, len(bare))
                elif not isinstance(key, int):
                    flags[loop].setdefault(key, len(flags[loop]))
        most = max(len(own) for own in flags.values())
        self.flags = np.zeros((most, 2 * self.config.blocks, len(self.loops)), dtype=bool)
        for number, own in enumerate(flags.values()):
            for key, at in own.items():
                self.flags[at, :, number] = key
        self.bare = list(bare)

        def row(loop: str, key: Key) -> int:
            if isinstance(key, int):
                return most + len(bare) + key
            return most + bare[key] if isinstance(key, Bare) else flags[loop][key]

        self.groups: list[_Group] = []
        start = 1  # the first line is empty: one
        while start < len(order):
            loops = [loop for loop, _ in order[start]]
            stop = start
            while stop < len(order) and [loop for loop, _ in order[stop]] == loops:
                stop += 1
            factors = tuple(
                (loop, np.array([row(*line[at]) for line in order[start:stop]], dtype=np.intp))
                for at, loop in enumerate(loops)
            )
            self.groups.append(_Group(slice(start, stop), factors))
            start = stop
        return place

    # --- their numbers ------------------------------------------------------------------------------

    def tables(self, chains: Mapping[str, Chains]) -> dict[str, Floats]:
        """Loop -> numbers per chain, (iterations, bare blocks, tiles; chains)."""
        ends = np.cumsum([0, *(len(chains[loop].factors) for loop in self.loops)])
        owner = np.repeat(np.arange(len(self.loops)), np.diff(ends))
        bound = np.array([chains[loop].bound for loop in self.loops])[owner]
        steps = np.empty((2 * self.config.blocks, len(owner)))
        steps[0::2] = np.concatenate([chains[loop].lanes for loop in self.loops]).T
        steps[1::2] = np.concatenate([chains[loop].factors for loop in self.loops]).T
        inside = np.ones((len(steps) + 1, len(owner)))
        np.multiply.accumulate(steps[::-1], out=inside[-2::-1])
        live = [number for number, step in enumerate(steps) if number % 2 or self.lanes[number // 2]]
        counts = iterations_of_chains(
            bound, steps[live], inside[[*live, len(steps)]], self.flags[:, live][:, :, owner]
        )
        once = steps[1::2] == 1
        bare = [once[first:last + 1].all(axis=0) for first, last in self.bare]
        every = np.concatenate([counts, *(b[None] for b in bare), np.minimum(inside, bound)])
        return {loop: every[:, ends[at]:ends[at + 1]] for at, loop in enumerate(self.loops)}

    def values(self, tables: Mapping[str, Floats], index: Mapping[str, Ints], size: int) -> Floats:
        """All lines for rows given by the chain of each loop, (lines, rows)."""
        made = np.empty((self.count, size))
        made[0] = 1.0
        for place, factors in self.groups:
            part = made[place]
            for number, (loop, rows) in enumerate(factors):
                lines = tables[loop][rows]
                if number:
                    part *= lines.take(index[loop], axis=1)
                else:
                    lines.take(index[loop], axis=1, out=part, mode="clip")
        return made


def _placed(made: _Keys, place: Ints) -> Elements:
    windows = []
    for window, pairs in zip(made.operand.windows, made.windows, strict=True):
        distinct = {pair: at for at, pair in enumerate(dict.fromkeys(pairs))}
        out, taps = (_pick([pair[side] for pair in distinct], place) for side in (0, 1))
        windows.append((window, out, taps, np.array([distinct[pair] for pair in pairs], dtype=np.intp)))
    return Elements(made.operand, tuple(windows), _pick(made.again, place), place[made.related])


def _pick(options: Sequence[Option], place: Ints) -> Pick:
    once = [(at, o.once, o.quiet) for at, o in enumerate(options) if o.once != o.base]
    beyond = [(at, o.beyond, o.further) for at, o in enumerate(options) if o.beyond != o.once]
    others = []
    for found in filter(None, (once, beyond)):
        keys, lines, flags = (np.array(column, dtype=np.intp) for column in zip(*found, strict=True))
        others.append((keys, place[lines], place[flags]))
    return Pick(place[[option.base for option in options]], tuple(others))
