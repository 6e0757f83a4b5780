"""Access counts of a given mapping, per level and tensor, reads and writes.

A tensor is kept at a chain of levels; between a level and the next one inside (at last the MAC) its tiles
move once per iteration of the loops above the inner level, except that a run of loops directly above which do
not concern the tensor leaves the tile in place.  Spatial loops between two levels that do not concern the
tensor multicast (inputs) or reduce (outputs).  Window operands move their halos.

Closed form of the elements that enter a level: ``prod_plain N_d x prod_window cover x prod_irrelevant n_d``
with N_d the bounds, `cover` of :func:`window_cover`, and n_d the iterations that force a new tile.  Ragged
tiles are exact: n_d counts the iterations that are not empty.

[1] A. Parashar et al., "Timeloop", ISPASS 2019, doi:10.1109/ISPASS.2019.00042.
[2] L. Mei et al., "ZigZag", IEEE Trans. Computers 70(8), 2021, doi:10.1109/TC.2021.3059962.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from perfmodel.algebra import Value, product
from perfmodel.engine.dataflow.conventions import DEFAULT, Conventions
from perfmodel.engine.dataflow.mapping import MAC, Loop, LoopNest
from perfmodel.engine.dataflow.problem import Operand, Problem, window_cover


@dataclass(frozen=True)
class Transfer:
    """Traffic of one tensor between a level and the next one inside, all instances together [elements].

    down, received    sent by the outer side, and received by the inner side (more, where multicast)
    up, sent          arriving at the outer side, and leaving the inner side (more, where reduced)
    down_tiles, received_tiles  tile transfers at either side (of an output: upwards)
    partial           True where what goes up is still to be added to
    """

    tensor: str
    outer: str
    inner: str
    down: Value
    received: Value
    up: Value
    sent: Value
    down_tiles: Value
    received_tiles: Value
    partial: Value


@dataclass(frozen=True)
class Access:
    """Accesses of one tensor at one level, all instances together [elements].

    reads    served to the inside (operands; partial sums read back)
    fills    written from the outside
    updates  written from the inside (results)
    drains   results read to leave for the outside
    """

    reads: Value
    fills: Value
    updates: Value
    drains: Value


def count_iterations(bound: Value, factors: Sequence[Value], counted: Sequence[Value]) -> Value:
    """Iterations of the `counted` loops of one dimension that are not empty.

    bound    size of the dimension N
    factors  loop factors, outermost first; their product covers N
    counted  True per loop that multiplies; False: it runs beside the others (spatial multicast, reuse)

    Full tiles count the product of the inner factors; the ragged last one is followed inwards.
    """
    inside: list[Value] = [1.0]
    full: list[Value] = [1.0]
    for factor, flag in zip(reversed(factors), reversed(counted), strict=True):
        inside.append(inside[-1] * factor)
        full.append(full[-1] * _either(flag, factor, 1.0))
    whole = np.abs(inside[-1] - bound) <= 1e-9 * bound
    if np.all(whole):
        return full[-1]
    rest: Value = 1.0 * bound
    ragged: Value = 0.0
    for j, flag in enumerate(counted):
        tile, times = inside[len(factors) - 1 - j], full[len(factors) - 1 - j]
        blocks = np.floor(rest / tile)
        ragged = ragged + _either(flag, blocks * times, 0.0)
        rest = _either(flag, rest - blocks * tile, np.minimum(rest, tile))
    ragged = ragged + (rest > 0)
    return np.where(whole, full[-1], ragged)


def _either(flag: Value, then: Value, otherwise: Value) -> Value:
    """np.where, which takes ten times as long for a single flag."""
    if isinstance(flag, (bool, np.bool_)):
        return then if flag else otherwise
    return np.where(flag, then, otherwise)


def transfers(problem: Problem, nest: LoopNest, conventions: Conventions = DEFAULT) -> list[Transfer]:
    """Traffic of every tensor over every step of its chain of levels."""
    result = []
    for operand in problem.operands:
        chain = nest.kept(operand.name)
        ends = [*chain[1:], (len(nest.nodes), MAC)]
        for outer, inner in zip(chain, ends, strict=True):
            step = _Step(problem, nest, operand, outer, inner, conventions)
            result.append(step.transfer() if conventions.fractions == "kept" else step.rounded())
    return result


class _Step:
    """One step of a chain; `a` and `b` are the node positions of its outer and inner level."""

    def __init__(
        self, problem: Problem, nest: LoopNest, operand: Operand, outer: tuple[int, str],
        inner: tuple[int, str], conventions: Conventions,
    ) -> None:
        self.problem, self.nest, self.operand, self.conventions = problem, nest, operand, conventions
        self.outer, self.inner = outer, inner
        self.at_mac = inner[1] == MAC
        self.kept, self.merged = self._reuse()

    def _reuse(self) -> tuple[dict[int, Value], dict[int, Value]]:
        """Loops that leave the inner tile in place, and the window loop whose overlap stays, by position."""
        kept: dict[int, Value] = {}
        merged: dict[int, Value] = {}
        per_mac = self.operand.output or self.conventions.operand_reads == "per_mac"
        if (self.at_mac and per_mac) or (self.conventions.retention == "scope" and not self.at_mac):
            return kept, merged
        relevant = self.operand.loops
        windowed = {d for w in self.operand.windows for d in (w.out, w.kernel)}
        sliding = self.conventions.halo == "sliding" and not self.at_mac
        open_: Value = True
        adjacent: Value = True
        for i in range(self.inner[0] - 1, -1, -1):
            node = self.nest.nodes[i]
            if not isinstance(node, Loop) or node.axis is not None:
                continue
            if node.name not in relevant:
                kept[i] = open_
                adjacent = np.logical_and(adjacent, np.asarray(node.factor) <= 1)
                continue
            moves = np.asarray(node.factor) > 1
            if sliding and node.name in windowed:
                merged[i] = np.logical_and(np.logical_and(open_, adjacent), moves)
            open_ = np.logical_and(open_, ~moves)
        return kept, merged

    def _count(
        self, loop: str, side: tuple[int, str], *, temporal: bool, merge: bool = True
    ) -> Value:
        """Iterations of one dimension: in time above the inner level, and in space above `side`.

        merge  tiles that overlap along a window loop count as one
        """
        factors: list[Value] = []
        counted: list[Value] = []
        for i, node in enumerate(self.nest.nodes):
            if not isinstance(node, Loop) or node.name != loop:
                continue
            factors.append(node.factor)
            if node.axis is not None:
                counted.append(self.nest.encloses(i, *side))
            elif i >= self.inner[0] or not temporal:
                counted.append(False)
            else:
                idle = np.logical_or(self.kept.get(i, False), merge and self.merged.get(i, False))
                counted.append(np.logical_not(idle))
        return count_iterations(self.problem.bounds[loop], factors, counted)

    def _elements(
        self, side: tuple[int, str], halo: tuple[int, str], *, temporal: bool = True
    ) -> Value:
        """Elements moved, spatial loops counted above `side`, for windows above `halo`."""
        bounds, operand = self.problem.bounds, self.operand
        amount = product(bounds[loop] for loop in operand.plain)
        for window in operand.windows:
            tiles = [self._count(loop, halo, temporal=temporal) for loop in (window.out, window.kernel)]
            amount = amount * window_cover(window, bounds, *tiles)
        for loop in bounds:
            if loop not in operand.loops:
                amount = amount * self._count(loop, side, temporal=temporal)
        return amount

    def _tiles(self, side: tuple[int, str]) -> Value:
        loops = self.problem.bounds
        return product(self._count(loop, side, temporal=True, merge=False) for loop in loops)

    def transfer(self) -> Transfer:
        """The traffic of this step."""
        shared = self.conventions.spatial_halo == "shared"
        outside = self._elements(self.outer, self.outer if shared else self.inner)
        if self.conventions.spatial_halo == "positions":
            between = self._between()
            outside = outside * product(
                w.extent(between) / (between[w.out] * between[w.kernel]) for w in self.operand.windows
            )
        inside = self._elements(self.inner, self.inner)
        names = self.operand.name, self.outer[1], self.inner[1]
        tiles = self._tiles(self.outer), self._tiles(self.inner)
        if not self.operand.output:
            return Transfer(*names, outside, inside, 0.0, 0.0, *tiles, partial=False)
        # more than the tensor itself goes up: sums that are still to be added to
        partial = outside > self.operand.footprint(self.problem.bounds) * (1 + 1e-9)
        if self.conventions.first_accumulation == "read":
            back, received = np.where(partial, outside, 0.0), np.where(partial, inside, 0.0)
        else:
            back = outside - self._elements(self.outer, self.outer, temporal=False)
            received = inside - self._elements(self.inner, self.inner, temporal=False)
        return Transfer(*names, back, received, outside, inside, *tiles, partial=partial)

    def rounded(self) -> Transfer:
        """The traffic with whole positions, tiles that leave together, and elements of a tile."""
        move, one = self.transfer(), self._size(self.inner)
        outer, inner = _rounding(self._positions(self.outer)), _rounding(self._positions(self.inner))
        tile, together = _rounding(one), _rounding(self._size(self.outer) / one)
        if self.conventions.spatial_halo == "positions":
            between = self._between()
            windowed = self.operand.loops - set(self.operand.plain)
            whole = {d: np.floor(f + 1e-9) if d in windowed else f for d, f in between.items()}
            together = np.round(self.operand.footprint(whole)) / self.operand.footprint(between)
        down, received = outer * tile * together, inner * tile
        return replace(
            move, down=move.down * down, up=move.up * down, received=move.received * received,
            sent=move.sent * received, down_tiles=move.down_tiles * outer,
            received_tiles=move.received_tiles * inner,
        )

    def _positions(self, side: tuple[int, str]) -> Value:
        """Instances of a level that are in use."""
        loops = ((i, n) for i, n in enumerate(self.nest.nodes) if isinstance(n, Loop))
        return product(n.factor for i, n in loops if n.axis is not None and self.nest.encloses(i, *side))

    def _between(self) -> dict[str, Value]:
        """Loop -> positions of its spatial loops between both levels."""
        factors: dict[str, Value] = dict.fromkeys(self.problem.bounds, 1.0)
        for i, node in enumerate(self.nest.nodes):
            if not isinstance(node, Loop) or node.axis is None or node.name not in factors:
                continue
            if self.nest.encloses(i, *self.inner) and not self.nest.encloses(i, *self.outer):
                factors[node.name] = factors[node.name] * node.factor
        return factors

    def _size(self, side: tuple[int, str]) -> Value:
        """Elements of the inner tiles that one instance of `side` sees at a time."""
        extents: dict[str, Value] = dict.fromkeys(self.problem.bounds, 1.0)
        for i, node in enumerate(self.nest.nodes):
            if isinstance(node, Loop) and node.name in extents:
                outside = i < self.inner[0] if node.axis is None else self.nest.encloses(i, *side)
                extents[node.name] = extents[node.name] * (1.0 if outside else node.factor)
        return self.operand.footprint(extents)


def _rounding(amount: Value) -> Value:
    """Ratio of the nearest whole number to an amount."""
    return np.round(amount) / amount


def accesses(
    problem: Problem, nest: LoopNest, conventions: Conventions = DEFAULT
) -> dict[tuple[str, str], Access]:
    """Accesses by (level, tensor) [elements], all instances together."""
    return gather(transfers(problem, nest, conventions), conventions)


def gather(moves: Sequence[Transfer], conventions: Conventions = DEFAULT) -> dict[tuple[str, str], Access]:
    """Accesses by (level, tensor) of a list of transfers."""
    totals: dict[tuple[str, str], dict[str, Value]] = {}
    for move in moves:
        outer = totals.setdefault((move.outer, move.tensor), _nothing())
        outer["reads"] = outer["reads"] + move.down
        outer["updates"] = outer["updates"] + move.up
        if move.inner == MAC:
            continue
        inner = totals.setdefault((move.inner, move.tensor), _nothing())
        inner["fills"] = inner["fills"] + move.received
        if conventions.drain_reads == "counted":
            inner["drains"] = inner["drains"] + move.sent
    return {key: Access(**amounts) for key, amounts in totals.items()}


def _nothing() -> dict[str, Value]:
    return {"reads": 0.0, "fills": 0.0, "updates": 0.0, "drains": 0.0}


def cycles(problem: Problem, nest: LoopNest) -> Value:
    """Compute-bound steps: iterations in time, each array position doing one MAC a step [cycle]."""
    steps: Value = 1.0
    for loop, bound in problem.bounds.items():
        own = [node for node in nest.loops if node.name == loop]
        steps = steps * count_iterations(bound, [n.factor for n in own], [n.axis is None for n in own])
    return steps


def lanes(nest: LoopNest) -> Mapping[str, Value]:
    """Positions used on each array axis."""
    used: dict[str, Value] = {}
    for node in nest.loops:
        if node.axis is not None:
            used[node.axis] = used.get(node.axis, 1.0) * node.factor
    return used
