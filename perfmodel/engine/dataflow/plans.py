"""Plans: an unrolling of the array and a choice of bypasses each, with a bound that needs no tile sizes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from perfmodel.engine.dataflow.accelerator import Accelerator, Level, Widths
from perfmodel.engine.dataflow.conventions import Conventions
from perfmodel.engine.dataflow.kernel import Config
from perfmodel.engine.dataflow.options import Floats, Ints
from perfmodel.engine.dataflow.problem import Operand, Problem
from perfmodel.engine.dataflow.space import (
    LoopClass,
    Stage,
    Structure,
    Unrolling,
    classes,
    stages,
    structures,
    unrollings,
    without_mirrors,
)
from perfmodel.engine.dataflow.tables import by_trail

#: Plans that a search looks at; the others have worse bounds.
_MOST = 96
#: Configs made in this process, with what was worked out about their structures.
_CONFIGS: dict[str, list[Config]] = {}
_MOST_CONFIGS = 256


@dataclass(frozen=True)
class Plan:
    """One unrolling and one choice of bypasses, with a lower bound of its objective.

    lanes      loop -> spatial factor in front of each block, outermost first
    positions  axis -> positions in use
    narrow     leaves positions idle that the loop could use
    """

    config: Config
    unrolling: Unrolling
    lanes: Mapping[str, tuple[int, ...]]
    positions: Mapping[str, int]
    bound: float
    narrow: bool


def score(
    objective: str, energy: Floats | float, cycles: Floats | float, accelerator: Accelerator
) -> Floats:
    """Objective (``latency``, ``energy``, ``edp``) from dynamic energy [J] and cycles."""
    if objective == "latency":
        return np.asarray(cycles, float)
    total = energy
    if np.any(accelerator.static_power):
        total = energy + accelerator.static_power / accelerator.clock * cycles
    return np.asarray(total if objective == "energy" else total * cycles, float)


def plans(
    problem: Problem, accelerator: Accelerator, objective: str, width: Widths, conventions: Conventions
) -> tuple[list[Plan], bool]:
    """Plans, least bound first, and whether they hold every unrolling."""
    staged = stages(accelerator)
    wide, every = unrollings(problem, accelerator)
    spread = wide
    if not every and objective != "latency":
        spread = unrollings(problem, accelerator, fast=False)[0]
    spread = without_mirrors(problem, spread)
    usual = {str(unrolling) for unrolling in wide}
    lanes = _lanes(problem, staged, spread)
    configs = _configs(problem, staged, conventions)
    bound = np.concatenate([
        _bound(problem, accelerator, objective, width, conventions, config, lanes) for config in configs
    ])
    narrow = np.tile([str(unrolling) not in usual for unrolling in spread], len(configs))
    ranked = np.argsort(bound, kind="stable")
    # some plans that use all positions they can stay in any case
    full = ranked[~narrow[ranked]][:_MOST // 3]
    others = ranked[~np.isin(ranked, full)][:_MOST - len(full)]
    made, factors = [], {loop: table.tolist() for loop, table in lanes.items()}
    for number in ranked[np.isin(ranked, [*full, *others])]:
        which, at = divmod(int(number), len(spread))
        unrolling = spread[at]
        own = {loop: tuple(table[at]) for loop, table in factors.items()}
        positions = {name: math.prod(f.values()) for name, f in unrolling.items()}
        idle = bool(narrow[number])
        made.append(Plan(configs[which], unrolling, own, positions, float(bound[number]), idle))
    return made, every and len(bound) <= _MOST


def _lanes(problem: Problem, staged: Sequence[Stage], spread: Sequence[Unrolling]) -> dict[str, Ints]:
    """Per loop, its spatial factor in front of each block, (unrollings, blocks)."""
    block = {axis.name: number for number, stage in enumerate(staged[1:]) for axis in stage.axes}
    lanes = {loop: np.ones((len(spread), len(staged) - 1), dtype=np.intp) for loop in problem.bounds}
    for row, unrolling in enumerate(spread):
        for axis, factors in unrolling.items():
            for loop, factor in factors.items():
                lanes[loop][row, block[axis]] *= factor
    return lanes


def _configs(problem: Problem, staged: tuple[Stage, ...], conventions: Conventions) -> list[Config]:
    """One Config for every choice of bypasses; problems that differ in sizes alone ask again."""
    key = repr((tuple(problem.bounds), problem.operands, staged, conventions))
    found = _CONFIGS.get(key)  # another thread may clear the table at any time
    if found is None:
        if len(_CONFIGS) >= _MOST_CONFIGS:
            _CONFIGS.clear()
        found = _CONFIGS[key] = [
            Config(
                problem.operands, staged, holders, _block_structures(problem, holders, conventions),
                conventions.tiled,
            )
            for holders in _holders(problem, staged)
        ]
    return found


def _holders(problem: Problem, staged: Sequence[Stage]) -> Iterator[tuple[Mapping[str, Level | None], ...]]:
    """Which level of each stage keeps which tensor, for every choice of bypasses."""
    optional = [
        (number, operand.name) for number, stage in enumerate(staged) for operand in problem.operands
        for level in [stage.level_of(operand.role)] if level and operand.role in level.optional
    ]
    for dropped in itertools.product((False, True), repeat=len(optional)):
        out = {key for key, drop in zip(optional, dropped, strict=True) if drop}
        yield tuple(
            {o.name: level for o in problem.operands
             if (level := stage.level_of(o.role)) is not None and (number, o.name) not in out}
            for number, stage in enumerate(staged)
        )


def _block_structures(
    problem: Problem, holders: Sequence[Mapping[str, Level | None]], conventions: Conventions
) -> tuple[tuple[Structure, ...], ...]:
    rules = conventions.retention == "unchanged", conventions.tiled, conventions.sliding
    blocks = [by_trail(structures(problem, list(kept), *rules)) for kept in holders[1:-1]]
    return (*blocks, _mac_structures(problem, conventions))


def _mac_structures(problem: Problem, conventions: Conventions) -> tuple[Structure, ...]:
    """Orders of the innermost block; they matter only where an operand stays at the MAC."""
    ordered, _ = classes(problem)
    nothing: frozenset[LoopClass] = frozenset()
    if conventions.operand_reads == "per_mac":
        quiet = {o.name: nothing for o in problem.operands}
        return (Structure(ordered, dict.fromkeys(quiet, len(ordered)), quiet, quiet),)
    found: dict[tuple[object, ...], Structure] = {}
    for order in itertools.permutations(ordered):
        tails = {o.name: _tail(order, o) for o in problem.operands}
        made = Structure(order, dict.fromkeys(tails, len(order)), tails, tails)
        found.setdefault(tuple(tails.items()), made)
    return tuple(found.values())


def _tail(order: Sequence[LoopClass], operand: Operand) -> frozenset[LoopClass]:
    """Innermost classes under which an operand stays at the MAC."""
    if operand.output:
        return frozenset()
    return frozenset(itertools.takewhile(lambda group: not operand.loops & set(group), reversed(order)))


def _bound(
    problem: Problem, accelerator: Accelerator, objective: str, width: Widths, conventions: Conventions,
    config: Config, lanes: Mapping[str, Ints],
) -> Floats:
    """Bound per unrolling: time steps without memory, each tensor moved once, MAC reads by multicast."""
    steps: Floats = np.ones(len(next(iter(lanes.values()))))
    for loop, bound in problem.bounds.items():
        steps = steps * np.ceil(float(bound) / np.prod(lanes[loop], axis=1) - 1e-12)
    energy = np.full(steps.shape, float(problem.macs) * float(accelerator.mac_energy))
    for operand in problem.operands:
        for stage in range(1, config.blocks + 1):
            if stage == config.blocks or operand.name in config.holders[stage]:
                energy = energy + _least_energy(problem, width, conventions, config, lanes, operand, stage)
    # the outermost level moves every tensor once
    far = accelerator.levels[0]
    sizes = {o.name: float(o.footprint(problem.bounds) * width.narrow(o.role)) for o in problem.operands}
    writes = sizes[problem.output.name]
    reads = sum(sizes.values()) - writes
    port = (reads + writes if far.shared_ports else max(reads, writes)) / 8 / float(far.bandwidth)
    return score(objective, energy, np.maximum(steps / float(accelerator.rate), port), accelerator)


def _least_energy(
    problem: Problem, width: Widths, conventions: Conventions, config: Config,
    lanes: Mapping[str, Ints], operand: Operand, stage: int,
) -> Floats | float:
    """Least energy of moving an operand into a stage, per unrolling."""
    outer = config.parent(operand.name, stage)
    moved: Floats | float = float(operand.footprint(problem.bounds))
    if stage == config.blocks and (operand.output or conventions.operand_reads == "per_mac"):
        beside = [
            np.prod(lane[:, outer:], axis=1) for loop, lane in lanes.items()
            if loop not in operand.loops or operand.windows
        ]
        moved = float(problem.macs) / np.prod(beside, axis=0) if beside else float(problem.macs)
    bits = float(width.narrow(operand.role))
    above, below = config.holders[outer][operand.name], config.holders[stage].get(operand.name)
    per_byte = 0.0
    if above is not None:
        per_byte += float(above.write_energy if operand.output else above.read_energy)
    if below is not None and not operand.output:
        per_byte += float(below.write_energy)
    return moved * bits / 8 * per_byte
