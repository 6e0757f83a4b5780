"""A whole pass on one array: the best mapping of every product, and what stays on the chip between ops.

Products are mapped one by one.  Attention is its two products with the score tile resident [1].  Other ops
stream their tensors past the array at the pace of the outermost level.  A tensor between two ops may stay in
the shared level on the chip: it then costs no traffic with the outermost level, and the ops that run while it
is held are mapped again in the room that it leaves.  It is held only where that makes the pass better, the
tensors that save most per byte first (a greedy packing of intervals, after the residency of [2]).

[1] T. Dao et al., "FlashAttention", arXiv:2205.14135.
[2] A. Symons et al., "Stream", IEEE Trans. Computers 2025, arXiv:2212.10612.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from perfmodel.algebra import product
from perfmodel.engine.dataflow.accelerator import Accelerator, Level, Widths
from perfmodel.engine.dataflow.fused import best_flash_attention
from perfmodel.engine.dataflow.mapper import MappingResult
from perfmodel.engine.dataflow.mapping import Keep, Loop
from perfmodel.engine.dataflow.pricing import Traffic
from perfmodel.engine.dataflow.problem import PRODUCTS, ROLES
from perfmodel.errors import InfeasibleError
from perfmodel.ops.core import Op
from perfmodel.ops.matmul import matmul

#: finds the best mapping of a product on an accelerator
Mapper = Callable[[Op, Accelerator], MappingResult]


@dataclass(frozen=True)
class Stage:
    """One op of the pass, per repetition.

    mappings  of its products; none: the op streams its tensors
    outside   tensor -> bytes read from and written to the outermost level if nothing stays on the chip
    busy      cycles that do not depend on the outermost level
    edges     cycles of fill and drain
    energy    [J] without the outermost level
    used      bytes of the shared level that its tiles take
    split     cores that may share it: tiles of the outermost loops over outputs
    """

    name: str
    count: float
    mappings: tuple[MappingResult, ...]
    outside: Mapping[str, Traffic]
    busy: float = 0.0
    edges: float = 0.0
    energy: float = 0.0
    used: float = 0.0
    split: float = float("inf")


@dataclass(frozen=True)
class Held:
    """Output of the op at `first` that stays on the chip until the op at `last` has read it [B]."""

    first: int
    last: int
    bytes: float
    readers: tuple[tuple[int, float], ...]  #: op and the share of its activations that this tensor is


@dataclass(frozen=True)
class Spent:
    """Cost of one op with the tensors that are held: cycles, energy [J], bytes with the outermost level."""

    cycles: float
    energy: float
    weights: float
    read: float
    written: float


@dataclass(frozen=True)
class Plan:
    """Stages of a pass and the tensors held on the chip."""

    accelerator: Accelerator
    stages: tuple[Stage, ...]
    held: tuple[Held, ...] = field(default=())

    @cached_property
    def spent(self) -> tuple[Spent, ...]:
        """Cost of each stage, one repetition."""
        reads = dict.fromkeys(range(len(self.stages)), 0.0)
        writes = set()
        for one in self.held:
            writes.add(one.first)
            for reader, share in one.readers:
                reads[reader] += share
        return tuple(
            _spent(stage, self.accelerator.levels[0], min(reads[i], 1.0), i in writes)
            for i, stage in enumerate(self.stages)
        )

    def total(self, name: str) -> float:
        """Sum of a field of :class:`Spent` over the pass, repetitions included."""
        return sum(stage.count * float(getattr(one, name))
                   for stage, one in zip(self.stages, self.spent, strict=True))

    @property
    def traffic(self) -> float:
        """Bytes with the outermost level."""
        return self.total("weights") + self.total("read") + self.total("written")

    def score(self, objective: str) -> float:
        """What is minimised: cycles, energy, or their product."""
        cycles, energy = self.total("cycles"), self.total("energy")
        energy += float(self.accelerator.static_power) * cycles / float(self.accelerator.clock)
        return {"latency": cycles, "energy": energy, "edp": cycles * energy}[objective]


def _spent(stage: Stage, far: Level, kept_reads: float, kept_write: bool) -> Spent:
    weights = stage.outside.get("weight", Traffic(0.0, 0.0)).read
    read = stage.outside.get("input", Traffic(0.0, 0.0)).read * (1.0 - kept_reads)
    out = stage.outside.get("output", Traffic(0.0, 0.0))
    # partial sums that go out and come back still do: only the finished output stays
    again = out.read
    written = again if kept_write else out.write
    down, up = float(weights + read + again), float(written)
    pace = (down + up if far.shared_ports else max(down, up)) / float(far.bandwidth)
    energy = stage.energy + down * float(far.read_energy) + up * float(far.write_energy)
    cycles = max(stage.busy, pace) + stage.edges
    return Spent(cycles, energy, float(weights), float(read + again), up)


def plan(ops: Sequence[Op], accelerator: Accelerator, width: Widths, objective: str, best: Mapper,
         *, keep: bool = True) -> Plan:
    """Mapping of every op of a pass; with `keep`, tensors between ops stay on the chip where that pays.

    Raises InfeasibleError where an op does not fit.
    """
    shared = shared_level(accelerator)
    made = Plan(accelerator, tuple(_stage(op, accelerator, width, shared, best) for op in ops))
    if not keep or shared is None:
        return made
    return _with_held(made, ops, width, objective, best, shared)


def shared_level(accelerator: Accelerator) -> Level | None:
    """First level on the chip that all positions share and that holds inputs; None: there is none.

    Outputs may pass an accumulator on their way there.
    """
    inside = {name for axis in accelerator.axes for name in accelerator.inside(axis)}
    for level in accelerator.levels[1:]:
        if level.name not in inside and "input" in level.holds:
            return level
    return None


def _with_held(made: Plan, ops: Sequence[Op], width: Widths, objective: str, best: Mapper,
               shared: Level) -> Plan:
    accelerator, room = made.accelerator, float(shared.room)
    held = [0.0] * len(ops)
    wishes = [one for one in _tensors(ops, width) if one.bytes < room]
    wishes.sort(key=lambda one: ((one.last - one.first) * one.bytes, one.first))
    for wish in wishes:
        stages = list(made.stages)
        span = range(wish.first, wish.last + 1)
        try:
            for i in span:
                taken = held[i] + wish.bytes
                if stages[i].used + taken > room:
                    small = _with_room(accelerator, shared, taken)
                    stages[i] = _stage(ops[i], small, width, shared_level(small), best)
        except InfeasibleError:
            continue
        trial = replace(made, stages=tuple(stages), held=(*made.held, wish))
        # better, and not at the price of the other: half a per cent of time is not worth twice the energy
        better = trial.score(objective) < made.score(objective)
        if better and trial.score("edp") <= made.score("edp"):
            made = trial
            for i in span:
                held[i] += wish.bytes
    return made


def _with_room(accelerator: Accelerator, shared: Level, taken: float) -> Accelerator:
    """The accelerator without the bytes that other tensors take; what is held needs no second buffer."""
    left = float(shared.room) - taken
    if left < 1.0:
        raise InfeasibleError(f"nothing left of {shared.name}", -left)
    capacity = left * (2.0 if shared.double_buffered else 1.0)
    levels = (replace(level, capacity=capacity) if level.name == shared.name else level
              for level in accelerator.levels)
    return replace(accelerator, levels=tuple(levels))


def _tensors(ops: Sequence[Op], width: Widths) -> Iterator[Held]:
    """Outputs that a later op of the same number of repetitions reads."""
    names = {op.name: i for i, op in enumerate(ops)}
    sources: list[list[int]] = []
    for i, op in enumerate(ops):
        named = [names[name] for name in (op.after or ()) if name in names]
        sources.append(named if op.after is not None else ([i - 1] if i else []))
    size = [_elements(op, output=True) for op in ops]
    for first in range(len(ops)):
        readers = [i for i in range(first + 1, len(ops)) if first in sources[i]]
        if readers:
            shares = tuple((i, size[first] / max(sum(size[s] for s in sources[i]), 1.0)) for i in readers)
            yield Held(first, readers[-1], size[first] * float(width.output) / 8.0, shares)


def _elements(op: Op, *, output: bool) -> float:
    return float(sum(t.footprint(op.loops) for t in op.tensors
                     if t.output == output and t.kind in ("activation", "logits")))


def _stage(op: Op, accelerator: Accelerator, width: Widths, shared: Level | None, best: Mapper) -> Stage:
    name, count = op.name or op.family, float(op.count)
    if op.family == "attention":
        return _attention(op, name, count, accelerator, width, shared, best)
    if op.family not in PRODUCTS:
        return Stage(name, count, (), _streamed(op, width))
    found = best(op, accelerator)
    return Stage(
        name, count, (found,), _outside(found), edges=float(found.price.edges), busy=_busy(found),
        energy=_near_energy(found), used=_used(found, shared), split=_tiles(found),
    )


def _attention(op: Op, name: str, count: float, accelerator: Accelerator, width: Widths,
               shared: Level | None, best: Mapper) -> Stage:
    """Scores and values as two products; queries, keys and values move as the resident score tile asks."""
    b, h, g, s, t, d, e = (float(op.loops[loop]) for loop in "bhgstde")
    parts = (best(matmul(g * s, t, d, b * h), accelerator), best(matmul(g * s, e, t, b * h), accelerator))
    done = float(op.attributes["pairs"]) / (b * h * g * s * t)  # share under the mask
    room = float("inf") if shared is None else float(shared.room) * 8.0 / float(width.partial)
    tiled = best_flash_attention(g * s, t, 0.5 * (d + e), room)
    once = b * h * g * s * (d + e)
    cached = (b * h * float(tiled.traffic) - once) * float(width.weight) / 8.0
    return Stage(
        name, count, parts,
        {
            "weight": Traffic(cached, 0.0),
            "input": Traffic(b * h * g * s * d * float(width.input) / 8.0, 0.0),
            "output": Traffic(0.0, b * h * g * s * e * float(width.output) / 8.0),
        },
        busy=done * sum(_busy(part) for part in parts),
        edges=sum(float(part.price.edges) for part in parts),
        energy=done * sum(_near_energy(part) for part in parts),
        used=max(_used(part, shared) for part in parts),
        split=b * h * min(_tiles(part) for part in parts),
    )


def _streamed(op: Op, width: Widths) -> dict[str, Traffic]:
    """Compulsory bytes of an op that is not mapped, by role."""
    bits = {"weight": width.weight, "input": width.input, "output": width.output}
    amount = dict.fromkeys(ROLES, 0.0)
    for tensor in op.tensors:
        kept = "input" if tensor.kind in ("activation", "logits") else "weight"
        amount["output" if tensor.output else kept] += float(tensor.footprint(op.loops))
    size = {role: amount[role] * float(bits[role]) / 8.0 for role in ROLES}
    return {"weight": Traffic(size["weight"], 0.0), "input": Traffic(size["input"], 0.0),
            "output": Traffic(0.0, size["output"])}


def _outside(found: MappingResult) -> dict[str, Traffic]:
    """Bytes with the outermost level by role; vectors beside the product are weights."""
    far = found.accelerator.levels[0].name
    roles = {operand.name: operand.role for operand in found.problem.operands}
    sums: dict[str, Traffic] = {}
    for (level, tensor), amount in found.price.traffic.items():
        if level == far:
            role = roles.get(tensor, "weight")
            old = sums.get(role, Traffic(0.0, 0.0))
            sums[role] = Traffic(old.read + amount.read, old.write + amount.write)
    return sums


def _busy(found: MappingResult) -> float:
    """Cycles of the slowest part that is not the outermost level."""
    far = found.accelerator.levels[0].name
    return max(float(value) for name, value in found.price.bottlenecks.items()
               if name.partition(".")[0] != far)


def _near_energy(found: MappingResult) -> float:
    far = found.accelerator.levels[0].name
    return sum(float(value) for name, value in found.price.energy.items() if name not in (far, "static"))


def _used(found: MappingResult, shared: Level | None) -> float:
    return 0.0 if shared is None else float(found.price.used.get(shared.name, 0.0))


def _tiles(found: MappingResult) -> float:
    """Iterations of the loops over outputs that stand outside the first tile on the chip."""
    factors: list[Any] = []
    for node in found.nest.nodes:
        if isinstance(node, Keep) and node.level != found.accelerator.levels[0].name:
            break
        if isinstance(node, Loop) and node.name in found.problem.output.loops:
            factors.append(node.factor)
    return float(product(factors)) if factors else 1.0
