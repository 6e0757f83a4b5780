"""Best mapping of an operator on an accelerator, or the price of a given one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np

from perfmodel.algebra import Value
from perfmodel.engine.dataflow.accelerator import Accelerator, Axis, Level, Widths, widths
from perfmodel.engine.dataflow.accesses import lanes
from perfmodel.engine.dataflow.bound import least_traffic
from perfmodel.engine.dataflow.conventions import DEFAULT, Conventions
from perfmodel.engine.dataflow.mapping import LoopNest, check_mapping, read_mapping
from perfmodel.engine.dataflow.pricing import Price, price, require_room
from perfmodel.engine.dataflow.problem import Problem, problem
from perfmodel.engine.dataflow.search import OBJECTIVES, Found, Shared, search
from perfmodel.engine.dataflow.sheet import Task
from perfmodel.errors import ArgumentError, InfeasibleError
from perfmodel.formats import Precision
from perfmodel.ops.core import Op

#: Designs of a sweep that are searched with more effort, and groups of alike ones that share a table.
_ANCHORS, _GROUPS = 24, 4

T = TypeVar("T")


@dataclass(frozen=True)
class MappingResult:
    """A mapping and what it costs, for one repetition of the op.

    problem, accelerator, width, conventions  what was mapped, and how it is counted
    nest          the loop nest
    price         bytes per level and tensor, cycles per bottleneck, energy per component, capacity
    objective     what was minimised; None: the mapping was given
    rows, mappings, complete  tile-size vectors and loop nests considered, and whether those were all
    least_traffic bytes that any mapping must move to and from the outermost level
    """

    problem: Problem
    accelerator: Accelerator
    width: Widths
    conventions: Conventions
    nest: LoopNest
    price: Price
    objective: str | None
    rows: int
    mappings: float
    complete: bool
    least_traffic: Value

    @property
    def cycles(self) -> Value:
        """Cycles of one repetition."""
        return self.price.cycles

    @property
    def latency(self) -> Value:
        """Time of one repetition [s]."""
        return self.price.cycles / self.accelerator.clock

    @property
    def energy(self) -> Value:
        """Energy of one repetition [J]."""
        return self.price.total_energy

    @property
    def traffic(self) -> Value:
        """Bytes read and written at the outermost level."""
        far = self.accelerator.levels[0].name
        return sum((t.read + t.write for (name, _), t in self.price.traffic.items() if name == far), 0.0)

    def text(self) -> str:
        """The loop nest, one statement a line."""
        return self.nest.text(self.problem)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers under stable keys, SI units."""
        paid = self.price
        return {
            "mapping": self.text().splitlines(), "objective": self.objective, "cycles": float(self.cycles),
            "latency": float(self.latency), "energy": float(self.energy), "bound": paid.bound,
            "utilisation": float(paid.utilisation), "complete": self.complete, "mappings": self.mappings,
            "bottlenecks": {name: float(value) for name, value in paid.bottlenecks.items()},
            "edges": float(paid.edges),
            "energy_by_component": {name: float(value) for name, value in paid.energy.items()},
            "accesses": [
                {"level": level, "tensor": tensor, "read": float(t.read), "write": float(t.write)}
                for (level, tensor), t in paid.traffic.items()
            ],
            "used": {name: float(value) for name, value in paid.used.items()},
            "traffic": float(self.traffic), "least_traffic": float(self.least_traffic),
        }

    def explain(self) -> str:
        """Loop nest, bottlenecks, accesses and energy as text."""
        paid = self.price
        busy = f"array busy {float(paid.utilisation):.1%}"
        lines = [self.text(), "", f"{float(self.cycles):.6g} cycles, bound by {paid.bound}; {busy}"]
        lines += [f"  {name:12s} {float(value):.6g} cycles" for name, value in paid.bottlenecks.items()]
        lines.append(f"  {'edges':12s} {float(paid.edges):.6g} cycles")
        priced = self.accelerator.priced
        lines.append(f"{float(self.energy):.6g} J" if priced else "energy not priced")
        lines += [f"  {name:12s} {float(value):.6g} J" for name, value in paid.energy.items() if priced]
        lines.append(f"{float(self.traffic):.6g} B with the outermost level; no mapping needs less than "
                     f"{float(self.least_traffic):.6g} B")
        lines += [
            f"  {level:8s} {tensor:6s} read {float(t.read):.6g} B  write {float(t.write):.6g} B"
            for (level, tensor), t in paid.traffic.items()
        ]
        return "\n".join(lines)


def map_op(
    op: Op, accelerator: Accelerator, objective: str = "latency", *,
    precision: str | Mapping[str, str] | Precision | Widths = "int8", conventions: Conventions = DEFAULT,
    effort: int = 1, mapping: str | LoopNest | None = None,
) -> MappingResult:
    """Best mapping of an op, or the price of the given `mapping`.

    objective    ``latency``, ``energy`` or ``edp`` (energy x cycles)
    precision    policy, or Widths (bits of weight, input, output, partial sum)
    effort       0 (coarse) to 5 (every tile size); more is never worse
    mapping      text or LoopNest to price instead of a search

    Raises InfeasibleError that names the level and the bytes where tiles do not fit, ArgumentError for an op
    that is not one loop nest of multiply-accumulates.
    """
    stated, width = problem(op), widths(precision)
    _plain(stated)
    if mapping is not None:
        nest = read_mapping(mapping) if isinstance(mapping, str) else mapping
        check_mapping(nest, stated)
        paid = price(stated, accelerator, nest, width, conventions)
        require_room(paid)
        found = Found(float("nan"), nest, 0, 1.0, False)
        return _result(stated, accelerator, width, conventions, found, paid, None)
    found = search(stated, accelerator, objective, width, conventions, effort)
    paid = price(stated, accelerator, found.nest, width, conventions)
    return _result(stated, accelerator, width, conventions, found, paid, objective)


def _result(
    stated: Problem, accelerator: Accelerator, width: Widths, conventions: Conventions, found: Found,
    paid: Price, objective: str | None,
) -> MappingResult:
    nest = LoopNest(found.nest.nodes, accelerator.inner_levels)
    least = least_traffic(stated, accelerator, width)
    return MappingResult(
        stated, accelerator, width, conventions, nest, paid, objective, found.rows, found.mappings,
        found.complete, least,
    )


def _plain(stated: Problem) -> None:
    for loop, bound in stated.bounds.items():
        if np.ndim(bound) or float(bound) != int(bound) or bound < 1:
            raise ArgumentError(loop, bound, "a whole number >= 1 (map one shape at a time)")


@dataclass(frozen=True)
class MappingSweep:
    """Best mapping of one op on many accelerators.

    shape     of the arrays below
    cycles, latency [s], energy [J], utilisation  per design, nan where nothing fits
    mappings  loop nest per design, flat; None where nothing fits
    """

    shape: tuple[int, ...]
    cycles: Any
    latency: Any
    energy: Any
    utilisation: Any
    mappings: tuple[LoopNest | None, ...]


def map_designs(
    op: Op, accelerator: Accelerator, objective: str = "latency", *,
    precision: str | Mapping[str, str] | Precision | Widths = "int8", conventions: Conventions = DEFAULT,
    effort: int = 0,
) -> MappingSweep:
    """Best mapping on each design of an accelerator whose parameters are arrays (they broadcast).

    Groups of designs that differ in capacities alone share one table of tile sizes, and a few designs (with
    effort all of them) are searched.  Every design may use the mapping found for any other one, so one that
    is no worse in any parameter has no worse objective.
    """
    stated, width = problem(op), widths(precision)
    _plain(stated)
    shape, designs = spread_designs(accelerator)
    groups: dict[str, list[Accelerator]] = {}
    for design in designs:
        groups.setdefault(repr(_with_capacity(design, lambda level: 1.0)), []).append(design)
    ranked = sorted(groups.values(), key=lambda alike: float(np.prod([axis.size for axis in alike[0].axes])))
    found: list[LoopNest | None] = []
    for alike in _spread(ranked, _GROUPS):
        found += _best_of_group(stated, alike, objective, width, conventions)
    for design in designs if effort else _spread(designs, _ANCHORS):
        found.append(_best(stated, design, objective, width, conventions, max(effort, 1)))
    distinct = {nest.nodes: nest for nest in found if nest is not None}
    return _lend(stated, accelerator, shape, list(distinct.values()), objective, width, conventions)


def _spread(items: Sequence[T], most: int) -> list[T]:
    """At most so many items, the first and the last among them."""
    return [items[i] for i in sorted({round(i) for i in np.linspace(0, len(items) - 1, most)})]


def _lend(
    stated: Problem, accelerator: Accelerator, shape: tuple[int, ...], nests: list[LoopNest], objective: str,
    width: Widths, conventions: Conventions,
) -> MappingSweep:
    """The best of some mappings on every design."""
    best, figures = np.full(shape, np.inf), np.full((2, *shape), np.nan)
    chosen = np.full(shape, -1)
    for number, nest in enumerate(nests):
        used = lanes(nest)
        fits = [np.asarray(axis.size) >= used.get(axis.name, 1.0) for axis in accelerator.axes]
        # priced as if the axes were wide enough; where they are not, the price does not count
        axes = tuple(replace(a, size=np.maximum(a.size, used.get(a.name, 1.0))) for a in accelerator.axes)
        paid = price(stated, replace(accelerator, axes=axes), LoopNest(nest.nodes), width, conventions)
        cycles, energy = paid.cycles, paid.total_energy
        value = {"latency": cycles, "energy": energy, "edp": cycles * energy}[objective]
        better = np.broadcast_to(paid.feasible & (value < best * (1 - 1e-12)), shape)
        for fit in fits:
            better = better & fit
        best = np.where(better, value, best)
        chosen = np.where(better, number, chosen)
        figures = np.where(better, np.stack(np.broadcast_arrays(cycles, energy, best)[:2]), figures)
    cycles, energy = figures
    used_share = stated.macs / (cycles * accelerator.positions * accelerator.rate)
    picked = tuple(nests[i] if i >= 0 else None for i in chosen.reshape(-1))
    latency = cycles / accelerator.clock
    return MappingSweep(shape, cycles, latency, energy, np.broadcast_to(used_share, shape), picked)


def _with_capacity(design: Accelerator, capacity: Callable[[Level], Value]) -> Accelerator:
    outer, *inner = design.levels
    return replace(design, levels=(outer, *(replace(level, capacity=capacity(level)) for level in inner)))


def _best_of_group(
    stated: Problem, designs: list[Accelerator], objective: str, width: Widths, conventions: Conventions
) -> list[LoopNest | None]:
    """Best mappings of designs that differ in capacities alone: tile sizes are priced once for all."""
    by_size = sorted(designs, key=lambda design: sum(float(level.room) for level in design.levels[1:]))
    chosen = {id(d): d for d in (by_size[0], by_size[len(by_size) // 3], by_size[2 * len(by_size) // 3])}
    tasks = [Task(stated, design, objective, width, conventions) for design in chosen.values()]
    return Shared(tasks).best(designs)


def _best(
    stated: Problem, design: Accelerator, objective: str, width: Widths, conventions: Conventions, effort: int
) -> LoopNest | None:
    try:
        return search(stated, design, objective, width, conventions, effort).nest
    except InfeasibleError:
        return None


def spread_designs(accelerator: Accelerator) -> tuple[tuple[int, ...], list[Accelerator]]:
    """Shape of the broadcast parameters, and one accelerator with plain numbers per design."""
    arrays = [np.asarray(value) for _, value in _numbers(accelerator)]
    shape = np.broadcast_shapes(*(a.shape for a in arrays))

    def pick(part: Any, index: tuple[int, ...]) -> Any:
        changes = {
            f.name: float(np.broadcast_to(np.asarray(value, float), shape)[index])
            for f in fields(part) if isinstance(value := getattr(part, f.name), np.ndarray)
        }
        return replace(part, **changes) if changes else part

    designs = []
    for index in itertools.product(*(range(n) for n in shape)):
        made = pick(accelerator, index)
        designs.append(replace(
            made, levels=tuple(pick(level, index) for level in accelerator.levels),
            axes=tuple(pick(axis, index) for axis in accelerator.axes),
        ))
    return shape, designs


def _numbers(accelerator: Accelerator) -> Iterator[tuple[str, Any]]:
    parts: list[Accelerator | Level | Axis] = [accelerator, *accelerator.levels, *accelerator.axes]
    for part in parts:
        for f in fields(part):
            value = getattr(part, f.name)
            if isinstance(value, np.ndarray):
                yield f"{part.name}.{f.name}", value


__all__ = ["OBJECTIVES", "MappingResult", "MappingSweep", "map_designs", "map_op", "spread_designs"]
