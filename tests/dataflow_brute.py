"""Brute force over a mapping space, written without the search: every factor, order, place and unrolling."""

from __future__ import annotations

import itertools
import random

import numpy as np

from perfmodel.engine.dataflow.accelerator import Accelerator, Axis, Level, Widths
from perfmodel.engine.dataflow.mapping import Keep, Loop, LoopNest
from perfmodel.engine.dataflow.pricing import price
from perfmodel.engine.dataflow.problem import problem
from perfmodel.engine.dataflow.space import classes
from perfmodel.ops.conv import conv1d, conv2d
from perfmodel.ops.matmul import matmul


def _splits(bound, blocks):
    """All factor chains of a dimension, outermost first: inner factors free, the outer one covers the rest."""
    for inner in itertools.product(range(1, bound + 1), repeat=blocks - 1):
        rest = bound
        for factor in reversed(inner):
            rest = -(-rest // factor)
        yield (rest, *inner)


def _lanes(prob, axis):
    loops = [d for d in prob.bounds if not axis.loops or d in axis.loops]
    for number in range(min(axis.most, len(loops)) + 1):
        for chosen in itertools.combinations(loops, number):
            ranges = [range(2, min(int(axis.size), int(prob.bounds[d])) + 1) for d in chosen]
            for factors in itertools.product(*ranges):
                if np.prod(factors or (1,)) <= axis.size:
                    yield dict(zip(chosen, factors, strict=True))


def _orders(groups, within):
    """Orders of the classes; within: and of the loops of each, which matter where a tile keeps its halo."""
    for order in itertools.permutations(groups):
        yield from itertools.product(*(itertools.permutations(g) if within else [g] for g in order))


def brute_force(prob, accelerator, objective, width, conventions):
    """Least objective, and the number of mappings priced.  Levels after the first are one stage each."""
    levels = accelerator.levels[1:]
    blocks = len(levels) + 1
    groups, common = classes(prob)
    held = [[o.name for o in prob.operands if o.role in level.holds] for level in levels]
    best, priced = float("inf"), 0
    for lanes in itertools.product(*(list(_lanes(prob, axis)) for axis in accelerator.axes)):
        spread = {d: int(np.prod([f.get(d, 1) for f in lanes])) for d in prob.bounds}
        if any(s > prob.bounds[d] for d, s in spread.items()):
            continue
        chains = [list(_splits(-(-int(b) // spread[d]), blocks)) for d, b in prob.bounds.items()]
        table = np.array(list(itertools.product(*chains)), dtype=float)  # (candidates, loops, blocks)
        factor = {d: table[:, i, :] for i, d in enumerate(prob.bounds)}
        places = [list(itertools.product(range(len(groups) + 1), repeat=len(names))) for names in held]
        orders = list(_orders(groups, conventions.sliding))
        for choice in itertools.product(*(itertools.product(orders, at) for at in places)):
            nodes = [Keep(accelerator.levels[0].name, tuple(o.name for o in prob.operands))]
            for block in range(blocks):
                under = accelerator.levels[block].name
                for axis, factors in zip(accelerator.axes, lanes, strict=True):
                    if axis.under == under:
                        nodes += [Loop(d, float(f), axis.name) for d, f in factors.items()]
                nodes += [Loop(d, factor[d][:, block]) for d in common]
                order, at = choice[block] if block < len(levels) else (groups, ())
                for place in range(len(order) + 1):
                    for tensor, stop in zip(held[block] if at else (), at, strict=True):
                        if stop == place:
                            nodes.append(Keep(levels[block].name, (tensor,)))
                    if place < len(order):
                        nodes += [Loop(d, factor[d][:, block]) for d in order[place]]
            result = price(prob, accelerator, LoopNest(tuple(nodes)), width, conventions)
            value = {
                "latency": result.cycles, "energy": result.total_energy, "edp": result.cycles * result.total_energy
            }[objective]
            value = np.where(result.feasible, value, np.inf)
            best, priced = min(best, float(np.min(value))), priced + len(table)
    return best, priced


def random_case(seed, kinds=("gemm", "gemm", "gemv", "batched", "conv"), word=False):
    """A small layer, an architecture, widths and an objective; word: ports of several bytes."""
    rng = random.Random(seed)
    kind = rng.choice(kinds)
    if kind == "gemm":
        op = matmul(*(rng.randint(2, 6) for _ in range(3)))
    elif kind == "gemv":
        op = matmul(1, rng.randint(2, 14), rng.randint(2, 14))
    elif kind == "batched":
        op = matmul(1, rng.randint(2, 5), rng.randint(2, 5), batch=rng.randint(2, 4), weight=False)
    elif kind == "row":
        op = conv1d(1, 1, 1, rng.randint(4, 9), rng.randint(2, 3), padding="valid")
    elif kind == "image":
        op = conv2d(1, 1, 1, rng.randint(3, 5), rng.randint(3, 5), 2, padding="valid")
    else:
        op = conv1d(1, rng.randint(1, 3), rng.randint(1, 3), rng.randint(3, 5), rng.randint(2, 3), padding="valid")
    prob = problem(op)

    def level(name, holds, capacity):
        return Level(
            name=name, holds=holds, capacity=float(capacity), bandwidth=rng.choice([0.5, 1.0, 2.0, 4.0]),
            shared_ports=rng.random() < 0.5, read_energy=rng.uniform(0.5, 3), write_energy=rng.uniform(0.5, 3),
            double_buffered=rng.random() < 0.3, word=rng.choice([8.0, 16.0, 32.0, 64.0]) if word else 1.0,
        )

    everything = ("weight", "input", "output")
    levels = [Level(name="dram", bandwidth=rng.choice([0.5, 1.0, 3.0]), shared_ports=True, word=64.0 if word else 1.0,
                    read_energy=rng.uniform(20, 90), write_energy=rng.uniform(20, 90))]
    three = kind in ("gemv", "row") and rng.random() < 0.7
    levels.append(level("buffer", everything, rng.randint(12, 90)))
    if three:
        levels.append(level("regs", rng.choice([("weight",), ("output",), ("weight", "input")]), rng.randint(4, 16)))
    axes = []
    if rng.random() < 0.7:
        loops = tuple(rng.sample(sorted(prob.bounds), min(len(prob.bounds), rng.randint(1, 2))))
        axes.append(Axis(name="lanes", size=rng.randint(2, 4), under=rng.choice(["dram", "buffer"]), loops=loops,
                         most=rng.randint(1, 2)))
    made = Accelerator(name=f"random{seed}", levels=tuple(levels), axes=tuple(axes), mac_energy=0.3,
                       skew=float(rng.randint(0, 3)))
    width = Widths(weight=8, input=8, output=8, partial=rng.choice([8, 16, 32]))
    return prob, made, width, rng.choice(["latency", "energy", "edp"])
