"""Costs of one tensor and stage spread over the grid of structures of all blocks."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from perfmodel.engine.dataflow.kernel import Config, Cost, Trails, View
from perfmodel.engine.dataflow.options import Floats
from perfmodel.engine.dataflow.space import LoopClass


def port(name: str) -> Callable[[Cost], Floats]:
    """Picks the busy cycles of a port."""
    return lambda cost: cost.ports[name]


def along(values: Floats, stage: int, blocks: int) -> Floats:
    """(rows, structures of one block) -> broadcastable over the grid."""
    shape = [values.shape[0]] + [1] * blocks
    shape[stage] = values.shape[1]
    return values.reshape(shape)


class Table:
    """Costs of one tensor into one stage over the structures of its block and the inner ends outside."""

    def __init__(self, config: Config, view: View, tensor: str, stage: int) -> None:
        self.blocks, self.stage = config.blocks, stage
        own = [s.still[tensor] for s in config.structures[stage - 1]]
        none: list[frozenset[LoopClass]] = [frozenset()]
        near = [s.trail[tensor] for s in config.structures[stage - 2]] if stage >= 2 else none
        far = [s.trail[tensor] for s in config.structures[stage - 3]] if stage >= 3 else none
        keys: dict[tuple[frozenset[LoopClass], Trails], int] = {}
        self.where = np.empty((len(far), len(near), len(own)), dtype=np.intp)
        for (i, a), (j, b), (k, c) in itertools.product(enumerate(far), enumerate(near), enumerate(own)):
            self.where[i, j, k] = keys.setdefault((c, (b, a)), len(keys))
        self.costs = [view.cost(tensor, stage, still, trails) for still, trails in keys]
        self.ports = list(self.costs[0].ports)

    def spread(self, pick: Callable[[Cost], Floats]) -> Floats:
        """One figure of the costs, broadcastable over the grid (rows, block 1, block 2, ...)."""
        full = np.stack([pick(cost) for cost in self.costs], axis=1)[:, self.where]
        shape = [full.shape[0]] + [1] * self.blocks
        for offset, size in enumerate(self.where.shape):
            axis = self.stage - 2 + offset
            if axis >= 1:
                shape[axis] = size
        return full.reshape(shape)
