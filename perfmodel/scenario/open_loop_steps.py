"""Durations of engine steps, tabulated once so that a replay only interpolates.

A step of n running requests (mean context c) that also takes P prompt tokens lasts T(n, P, c).  The cost
model is evaluated on a grid of the three by one array call; between nodes the duration is linear in each.
Attention costs of calibrated steps are linear in c, so k steps of a fixed batch, whose contexts grow by g
tokens a step, last ``k T(n, 0, c + g (k - 1)/2)``.

A prompt of I tokens costs more than its share of the grid, which was made for the mean prompt:
``E(I) = (T_I(0, p) - T(0, p)) I/p``, p = min(I, chunk), spread evenly over its tokens.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from perfmodel.algebra import Value
from perfmodel.scenario.serving import StepTime

#: (prompt tokens of a request, mean context) -> duration of a step as a function of its tokens
StepFactory: TypeAlias = Callable[[Value, Value], StepTime]

#: nodes of contexts, and most nodes of prompt lengths
CONTEXTS, PROMPTS = 13, 48


@dataclass(frozen=True)
class StepTable:
    """Durations on a grid at one point.

    batch, prompts, contexts  nodes: running requests, prompt tokens of the step, mean context (evenly spaced)
    seconds                   T at the nodes [batch, prompts, contexts] [s]
    lengths, extra            prompt lengths, and what a prompt of each costs beyond the grid [s]
    """

    batch: Any
    prompts: Any
    contexts: Any
    seconds: Any
    lengths: Any
    extra: Any

    @property
    def start(self) -> float:
        """First node of the contexts."""
        return float(self.contexts[0])

    @property
    def spacing(self) -> float:
        """Distance of the contexts."""
        return float(self.contexts[1] - self.contexts[0])

    @cached_property
    def plain(self) -> list[list[float]]:
        """Durations of steps without prompts: a row of contexts for each number of requests [s]."""
        rows = np.arange(self.batch[-1] + 1.0)
        dense = [np.interp(rows, self.batch, column) for column in self.seconds[:, 0, :].T]
        found: list[list[float]] = np.stack(dense, axis=1).tolist()
        return found

    @cached_property
    def mixed(self) -> Callable[[float, float, float], float]:
        """Duration of a step with (requests, prompt tokens, mean context), trilinear [s]."""
        batch, prompts = self.batch.tolist(), self.prompts.tolist()
        first, width = self.start, self.spacing
        nodes, last = self.seconds.tolist(), len(self.contexts) - 2

        def duration(requests: float, tokens: float, context: float) -> float:
            i = min(bisect_right(batch, requests), len(batch) - 1) - 1
            j = min(bisect_right(prompts, tokens), len(prompts) - 1) - 1
            k = min(max(int((context - first) / width), 0), last)
            u = (requests - batch[i]) / (batch[i + 1] - batch[i])
            v = (tokens - prompts[j]) / (prompts[j + 1] - prompts[j])
            w = (context - first) / width - k
            near, far, n = nodes[i], nodes[i + 1], k + 1
            a, b, c, d = near[j], near[j + 1], far[j], far[j + 1]
            low = (1.0 - u) * ((1.0 - v) * a[k] + v * b[k]) + u * ((1.0 - v) * c[k] + v * d[k])
            high = (1.0 - u) * ((1.0 - v) * a[n] + v * b[n]) + u * ((1.0 - v) * c[n] + v * d[n])
            return float(low + w * (high - low))

        return duration

    def beyond(self, prompt: Any) -> Any:
        """E of prompts [s], by interpolation between the lengths."""
        return np.interp(prompt, self.lengths, self.extra)


@dataclass(frozen=True)
class StepTables:
    """Tables over an open mesh: as `StepTable`, with the dimensions of the mesh behind the others."""

    batch: Any
    prompts: Any
    contexts: Any
    seconds: Any
    lengths: Any
    extra: Any
    ndim: int
    found: dict[tuple[int, ...], StepTable] = field(default_factory=dict)

    def at(self, index: tuple[int, ...]) -> StepTable:
        """Table of a point; the same object where points differ in nothing that a step depends on."""
        mesh = np.broadcast_shapes(*(self._mesh(a) for a in (self.seconds, self.lengths, self.extra)))
        key = tuple(i if n > 1 else 0 for i, n in zip(index, mesh, strict=True))
        if key not in self.found:
            seconds, lengths, extra = (
                at_point(a, key, np.ndim(a) - len(self._mesh(a)))
                for a in (self.seconds, self.lengths, self.extra)
            )
            table = StepTable(self.batch, self.prompts, self.contexts, seconds, lengths, extra)
            self.found[key] = table
        return self.found[key]

    def _mesh(self, values: Any) -> tuple[int, ...]:
        found: tuple[int, ...] = np.shape(values)[np.ndim(values) - self.ndim :]
        return found


def at_point(values: Any, index: tuple[int, ...], lead: int = 0) -> Any:
    """Values of one point of an open mesh, whose dimensions lie behind `lead` others."""
    array = np.asarray(values)
    if array.ndim == lead:
        return array
    place = tuple(i if n > 1 else 0 for i, n in zip(index, array.shape[lead:], strict=True))
    return array[(slice(None),) * lead + place]


def step_tables(
    factory: StepFactory,
    *,
    most: int,
    chunk: float,
    mean: Value,
    relative: Any,
    longest: float,
    ndim: int = 0,
    width: Value = 1.0,
) -> StepTables:
    """Tables of all points of an open mesh of `ndim` dimensions.

    most      most running requests; chunk: most prompt tokens of a step
    mean      mean prompt, on the mesh; relative: prompt lengths that occur, over their mean
    longest   longest context; width: tokens that a running request brings to a step
    """
    shape = (1,) * ndim
    batch, pieces = _batch_nodes(most), _prompt_nodes(chunk)
    contexts = np.linspace(1.0, max(longest, 2.0), CONTEXTS)
    seconds = factory(mean, contexts.reshape(1, 1, -1, *shape))(
        width * batch.reshape(-1, 1, 1, *shape), pieces.reshape(1, -1, 1, *shape)
    )
    lengths = np.maximum(_length_nodes(relative).reshape(-1, *(shape or (1,))) * mean, 1.0)
    piece = np.minimum(lengths, chunk)
    own, usual = (factory(prompt, longest)(0.0 * piece, piece) for prompt in (lengths, mean + 0.0 * lengths))
    extra = (own - usual) * lengths / piece
    grid = (len(batch), len(pieces), CONTEXTS)
    seconds = np.broadcast_to(seconds, np.broadcast_shapes(np.shape(seconds), (*grid, *shape)))
    if not ndim:
        lengths, extra = lengths[:, 0], extra[:, 0]
    return StepTables(batch, pieces, contexts, seconds, lengths, extra, ndim)


def _batch_nodes(most: int) -> Any:
    """0, 1, 2, 3, 4, 6, 8, 12 ... up to at least `most`."""
    nodes: list[float] = [0.0, 1.0, 2.0, 3.0, 4.0]
    while nodes[-1] < most:
        nodes += [1.5 * nodes[-1], 2.0 * nodes[-1]]
    return np.array(nodes)


def _prompt_nodes(chunk: float) -> Any:
    """0, 1, 16, 32, 48, 64, 96 ... up to the chunk."""
    nodes = [0.0, 1.0, 16.0, 32.0]
    while nodes[-1] < chunk:
        nodes += [1.5 * nodes[-1], 2.0 * nodes[-1]]
    return np.array([*[n for n in nodes if n < chunk], max(chunk, 2.0)])


def _length_nodes(relative: Any) -> Any:
    """Lengths that occur, or as many of them that lines between them follow the rest."""
    found = np.unique(np.asarray(relative, dtype=np.float64))
    if len(found) <= PROMPTS:
        return found
    spread = np.geomspace(max(found[0], 1e-6), found[-1], PROMPTS // 2)
    return np.unique(np.concatenate([np.quantile(found, np.linspace(0.0, 1.0, PROMPTS // 2)), spread]))
