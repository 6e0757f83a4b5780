"""Price of a given mapping on an accelerator: bytes, cycles by bottleneck, energy by component, capacity.

Latency ``max(compute, port_1, port_2, ...) + edges`` [cycle], energy ``MACs e_mac + sum bytes e_level``
(+ hops, static power x time).  Everything may carry a candidate axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from perfmodel.algebra import Value, maximum, product
from perfmodel.engine.dataflow.accelerator import Accelerator, Axis, Level, Widths
from perfmodel.engine.dataflow.accesses import Transfer, count_iterations, cycles, transfers
from perfmodel.engine.dataflow.conventions import DEFAULT, Conventions
from perfmodel.engine.dataflow.mapping import MAC, Keep, Loop, LoopNest
from perfmodel.engine.dataflow.problem import Problem
from perfmodel.errors import ArgumentError, InfeasibleError


@dataclass(frozen=True)
class Traffic:
    """Bytes of one tensor at one level, all instances together."""

    read: Value
    write: Value


@dataclass(frozen=True)
class Price:
    """What a mapping costs.

    traffic      (level, tensor) -> bytes read and written, all instances
    bottlenecks  ``compute``, and one per level port -> cycles if it alone set the pace
    edges        cycles of fill, drain and exposed loads, added to the largest bottleneck
    cycles       total [cycle]
    energy       component -> [J]
    used         level -> bytes of one instance
    excess       level -> bytes above its room (<= 0: fits)
    """

    traffic: Mapping[tuple[str, str], Traffic]
    bottlenecks: Mapping[str, Value]
    edges: Value
    cycles: Value
    energy: Mapping[str, Value]
    used: Mapping[str, Value]
    excess: Mapping[str, Value]
    utilisation: Value

    @property
    def total_energy(self) -> Value:
        """Sum of the components [J]."""
        return sum(self.energy.values(), 0.0)

    @property
    def bound(self) -> str:
        """Name of the largest bottleneck of a single mapping."""
        return max(self.bottlenecks, key=lambda name: float(np.max(self.bottlenecks[name])))

    @property
    def feasible(self) -> Value:
        """True where every level has room."""
        return np.all(np.broadcast_arrays(*[np.asarray(e) <= 0 for e in self.excess.values()]), axis=0)


def price(
    problem: Problem, accelerator: Accelerator, nest: LoopNest, width: Widths | None = None,
    conventions: Conventions = DEFAULT,
) -> Price:
    """Price of a mapping, feasible or not."""
    width = width or Widths()
    nest = LoopNest(nest.nodes, {**accelerator.inner_levels, **nest.inner_levels})
    _check_places(accelerator, nest)
    moves = transfers(problem, nest, conventions)
    streams = _streams(problem, accelerator, moves, width, conventions)
    traffic = _traffic(streams)
    bottlenecks = {"compute": cycles(problem, nest) / accelerator.rate}
    for level in accelerator.levels:
        bottlenecks.update(_ports(problem, level, streams, nest, conventions))
    edges = _edges(problem, accelerator, nest, width, conventions)
    edges = edges + _exposed(problem, accelerator, nest, moves, width, conventions)
    total = maximum(*bottlenecks.values()) + edges
    used = _used(problem, accelerator, nest, moves, width)
    return Price(
        traffic=traffic, bottlenecks=bottlenecks, edges=edges, cycles=total,
        energy=_energy(problem, accelerator, nest, moves, traffic, total, width, conventions),
        used=used,
        excess={name: used[name] - accelerator.level(name).room for name in used},
        utilisation=problem.macs / (total * accelerator.positions * accelerator.rate),
    )


def require_room(priced: Price) -> None:
    """Refuse a mapping whose tiles do not fit, naming each level and the bytes too many."""
    over = {name: float(np.max(value)) for name, value in priced.excess.items() if np.any(value > 0)}
    if over:
        text = ", ".join(f"{name} by {excess:.12g} B" for name, excess in over.items())
        raise InfeasibleError(f"mapping does not fit: {text}", max(over.values()))


def _check_places(accelerator: Accelerator, nest: LoopNest) -> None:
    used: dict[str, Value] = {}
    for node in nest.nodes:
        if isinstance(node, Keep):
            accelerator.level(node.level)
        elif node.axis is not None:
            used[node.axis] = used.get(node.axis, 1.0) * node.factor
    sizes = {axis.name: axis.size for axis in accelerator.axes}
    for name, positions in used.items():
        if name not in sizes:
            raise ArgumentError("axis", name, ", ".join(sizes))
        if np.any(positions > np.asarray(sizes[name]) * (1 + 1e-9)):
            over = float(np.max(positions - np.asarray(sizes[name])))
            raise InfeasibleError(f"mapping does not fit: axis {name} by {over:.12g} positions", over)


@dataclass(frozen=True)
class _Stream:
    """Tile transfers of one tensor through one port.

    amount  bytes of all of them;  tiles  their number;  each  bytes of one
    """

    level: str
    tensor: str
    side: str
    amount: Value
    tiles: Value
    each: Value


def tile_bytes(elements: Value, size: Value, level: Level, conventions: Conventions) -> Value:
    """Bytes of a tile of elements of a size [B] as a port moves it, in whole words if asked for."""
    if conventions.words == "packed":
        return elements * size
    word = level.word / 8.0
    return np.ceil(elements * size / word - 1e-9) * word


def _streams(
    problem: Problem, accelerator: Accelerator, moves: Sequence[Transfer], width: Widths,
    conventions: Conventions,
) -> list[_Stream]:
    """Everything that moves."""
    made: list[_Stream] = []

    def add(name: str, tensor: str, side: str, elements: Value, tile: Value, bits: Value) -> None:
        level, tiles = accelerator.level(name), elements / tile
        each = tile_bytes(tile, bits / 8.0, level, conventions)
        amount = elements * bits / 8.0 if conventions.words == "packed" else tiles * each
        if conventions.words == "full" and np.all(np.isfinite(level.bandwidth)):
            amount = np.floor(amount / level.bandwidth * (1 + 1e-12)) * level.bandwidth
        made.append(_Stream(name, tensor, side, amount, tiles, each))

    for move in moves:
        operand = problem.operand(move.tensor)
        up, down = width.of(operand.role, move.partial), width.of(operand.role, True)
        outside = (move.up if operand.output else move.down) / move.down_tiles
        add(move.outer, move.tensor, "read", move.down, outside, down)
        add(move.outer, move.tensor, "write", move.up, outside, up)
        if move.inner == MAC:
            continue
        inside = (move.sent if operand.output else move.received) / move.received_tiles
        add(move.inner, move.tensor, "write", move.received, inside, down)
        leaves = move.sent if conventions.drain_reads == "counted" else 0.0
        add(move.inner, move.tensor, "read", leaves, inside, up)
    for name, elements in problem.extra.items():
        amount = elements * width.weight / 8.0
        made.append(_Stream(accelerator.levels[0].name, name, "read", amount, 0.0, amount))
    return made


def _traffic(streams: Iterable[_Stream]) -> dict[tuple[str, str], Traffic]:
    totals: dict[tuple[str, str], dict[str, Value]] = {}
    for stream in streams:
        own = totals.setdefault((stream.level, stream.tensor), {"read": 0.0, "write": 0.0})
        own[stream.side] = own[stream.side] + stream.amount
    return {key: Traffic(**amounts) for key, amounts in totals.items()}


def _instances(problem: Problem, nest: LoopNest, level: str) -> Value:
    """Copies of a level that share the work, N_d over the share of the busiest one for each loop.

    A ragged split (5 over 4 lanes: 2, 2, 1, 0) counts 5 / 2 copies.
    """
    places = (i for i, n in enumerate(nest.nodes) if isinstance(n, Keep) and n.level == level)
    position = min(places, default=0)
    copies: Value = 1.0
    for loop, bound in problem.bounds.items():
        factors: list[Value] = []
        flags: list[Value] = []
        for i, node in enumerate(nest.nodes):
            if isinstance(node, Loop) and node.name == loop:
                factors.append(node.factor)
                flags.append(node.axis is None or not nest.encloses(i, position, level))
        if not all(flags):
            copies = copies * bound / count_iterations(bound, factors, flags)
    return copies


def _ports(
    problem: Problem, level: Level, streams: Iterable[_Stream], nest: LoopNest, conventions: Conventions
) -> dict[str, Value]:
    """Cycles of each port of a level."""
    own = [stream for stream in streams if stream.level == level.name]
    if not own or np.all(np.isinf(level.bandwidth)):
        return {}
    lanes = _instances(problem, nest, level.name)
    busy: dict[str, Value] = {"read": 0.0, "write": 0.0}
    for stream in own:
        # tensors that are not mapped (no tiles) stream without gaps
        time: Value = stream.amount / level.bandwidth
        if conventions.ports == "turns" and stream.tensor not in problem.extra:
            time = stream.tiles * np.ceil(stream.each / level.bandwidth - 1e-9)
        busy[stream.side] = busy[stream.side] + time / lanes
    if level.shared_ports:
        return {level.name: busy["read"] + busy["write"]}
    return {f"{level.name}.{side}": time for side, time in busy.items()}


def first_words(
    problem: Problem, accelerator: Accelerator, tensor: str, level: str,
    spread: Iterable[tuple[Axis, Mapping[str, Value]]],
) -> Value:
    """Elements of a tensor that the array takes in one step below a level, with the loops on each axis."""
    tile: dict[str, Value] = dict.fromkeys(problem.bounds, 1.0)
    for axis, factors in spread:
        if _beneath(accelerator, axis, level):
            for loop, factor in factors.items():
                tile[loop] = tile[loop] * factor
    return problem.operand(tensor).footprint(tile)


def _beneath(accelerator: Accelerator, axis: Axis, level: str) -> bool:
    """True if the axis lies inside the level."""
    names = [item.name for item in accelerator.levels]
    return names.index(axis.under) >= names.index(level)


def _edges(
    problem: Problem, accelerator: Accelerator, nest: LoopNest, width: Widths, conventions: Conventions
) -> Value:
    """Cycles before the first MAC and after the last: the first operands pass every level, results leave."""
    if conventions.edges == "free":
        return 0.0
    total = accelerator.skew
    spread = [(a, {n.name: n.factor}) for a in accelerator.axes for n in nest.loops if n.axis == a.name]
    for node in nest.nodes:
        if isinstance(node, Keep):
            level = accelerator.level(node.level)
            for tensor in node.tensors:
                first = first_words(problem, accelerator, tensor, node.level, spread)
                bits = width.of(problem.operand(tensor).role)
                total = total + first * bits / 8.0 / level.bandwidth
    return total


def _exposed(
    problem: Problem, accelerator: Accelerator, nest: LoopNest, moves: Sequence[Transfer], width: Widths,
    conventions: Conventions,
) -> Value:
    """Cycles in which the array waits for weights of levels that are not double-buffered."""
    if conventions.weight_load == "hidden":
        return 0.0
    stall: Value = 0.0
    for move in moves:
        if move.inner == MAC or problem.operand(move.tensor).role != "weight":
            continue
        level = accelerator.level(move.inner)
        if not level.double_buffered:
            lanes = _instances(problem, nest, level.name)
            stall = stall + move.received * width.weight / 8.0 / lanes / level.bandwidth
    return stall


def _used(
    problem: Problem, accelerator: Accelerator, nest: LoopNest, moves: Sequence[Transfer], width: Widths
) -> dict[str, Value]:
    """Bytes of one instance of each level: the tiles of all tensors kept there."""
    partial = {(move.outer, move.tensor): move.partial for move in moves}
    used: dict[str, Value] = {}
    for position, node in enumerate(nest.nodes):
        if not isinstance(node, Keep) or node.level == accelerator.levels[0].name:
            continue
        tile = nest.tile(position, problem.bounds)
        for tensor in node.tensors:
            operand = problem.operand(tensor)
            bits = width.of(operand.role, partial[node.level, tensor])
            used[node.level] = used.get(node.level, 0.0) + operand.footprint(tile) * bits / 8.0
    return used


def _energy(
    problem: Problem, accelerator: Accelerator, nest: LoopNest, moves: Sequence[Transfer],
    traffic: Mapping[tuple[str, str], Traffic], total: Value, width: Widths, conventions: Conventions,
) -> dict[str, Value]:
    energy = {"mac": problem.macs * accelerator.mac_energy}
    for (name, _), amount in traffic.items():
        level = accelerator.level(name)
        spent = amount.read * level.read_energy + amount.write * level.write_energy
        energy[name] = energy.get(name, 0.0) + spent
    if conventions.hops == "counted":
        energy["hops"] = _hops(problem, accelerator, nest, moves, width)
    if np.any(accelerator.static_power):
        energy["static"] = accelerator.static_power * total / accelerator.clock
    return energy


def _hops(
    problem: Problem, accelerator: Accelerator, nest: LoopNest, moves: Sequence[Transfer], width: Widths
) -> Value:
    """Energy of words that pass along the axes: every word visits the positions in use, one by one."""
    names = [level.name for level in accelerator.levels] + [MAC]
    energy: Value = 0.0
    for move in moves:
        bits = width.of(problem.operand(move.tensor).role, move.partial)
        for axis in accelerator.axes:
            crosses = names.index(move.outer) <= names.index(axis.under) < names.index(move.inner)
            if crosses and np.any(axis.hop_energy):
                lanes = product(n.factor for n in nest.loops if n.axis == axis.name)
                energy = energy + (move.down + move.up) * bits / 8.0 * lanes * axis.hop_energy
    return energy
