"""Least traffic with the outermost level for a given amount of memory on chip; no search needed.

[1] T. M. Smith et al., "A tight I/O lower bound for matrix multiplication", arXiv:1702.02017.
[2] D. Irony, S. Toledo, A. Tiskin, "Communication lower bounds for distributed-memory matrix multiplication",
    J. Parallel Distrib. Comput. 64(9), 2004, doi:10.1016/j.jpdc.2004.03.021.
"""

from __future__ import annotations

import math

from perfmodel.algebra import Value, ceil, maximum, minimum, product
from perfmodel.engine.dataflow.accelerator import Accelerator, Widths
from perfmodel.engine.dataflow.problem import Problem


def least_elements(problem: Problem, room: Value) -> Value:
    """Elements that must pass between a memory of `room` elements and the one outside.

    Each tensor once, and for three tensors on distinct pairs of loops ``2 MACs / sqrt(S) - 2 S`` [1].  With
    sliding windows an input element meets up to R = prod ceil(taps / stride) taps; the segment argument of
    [2] with Cauchy-Schwarz over the taps gives ``MACs / sqrt(8 R S) - S``.
    """
    once = sum((o.footprint(problem.bounds) for o in problem.operands), 0.0)
    reuse = product(
        ceil(problem.bounds[w.kernel] / w.stride) for o in problem.operands for w in o.windows
    )
    windowed = any(o.windows for o in problem.operands)
    # each MAC must be fixed by its three elements; loops shared by all tensors are separate products
    shared = product(
        bound for loop, bound in problem.bounds.items() if all(loop in o.loops for o in problem.operands)
    )
    macs = problem.macs / shared
    if windowed:
        tiled = shared * (macs / (8.0 * reuse * room) ** 0.5 - room)
    else:
        tiled = shared * (2.0 * macs / room**0.5 - 2.0 * room)
    return maximum(once, tiled)


def room_on_chip(accelerator: Accelerator, width: Widths) -> Value:
    """Elements, at their narrowest, that all levels but the outermost hold together [elements]."""
    total: Value = 0.0
    for level in accelerator.levels[1:]:
        copies = product(
            axis.size for axis in accelerator.axes if level.name in accelerator.inside(axis)
        )
        total = total + level.capacity * copies
    narrow = minimum(width.weight, width.input, width.output, width.partial)
    return maximum(total * 8.0 / narrow, 1.0)


def least_traffic(problem: Problem, accelerator: Accelerator, width: Widths) -> Value:
    """Bytes that any mapping moves between the outermost level and the chip [B]."""
    once = sum(
        (o.footprint(problem.bounds) * width.narrow(o.role) for o in problem.operands), 0.0
    ) / 8.0
    room = room_on_chip(accelerator, width)
    if isinstance(room, float) and math.isinf(room):
        return once
    narrow = minimum(width.weight, width.input, width.output, width.partial)
    return maximum(once, least_elements(problem, room) * narrow / 8.0)
