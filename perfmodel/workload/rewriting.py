"""What a transform is, and the few steps that transforms share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TypeAlias

from perfmodel.algebra import Value
from perfmodel.errors import ArgumentError
from perfmodel.ops.core import Op, Tensor
from perfmodel.workload.graph import Graph
from perfmodel.workload.step import Step

#: A graph made from another.
Transform: TypeAlias = Callable[[Graph], Graph]


@dataclass(frozen=True)
class StepTransform:
    """A transform of the pass itself: the step it is built for, then the graph built from it."""

    step: Callable[[Step], Step]
    graph: Transform | None = None

    def __call__(self, graph: Graph) -> Graph:
        """The graph after its own rewriting; the step was rewritten when the graph was built."""
        return graph if self.graph is None else self.graph(graph)


def each(change: Callable[[Op], Op | Iterable[Op]]) -> Transform:
    """Transform that replaces every op by one or several ops."""

    def apply(graph: Graph) -> Graph:
        ops: list[Op] = []
        for op in graph.ops:
            made = change(op)
            ops += [made] if isinstance(made, Op) else list(made)
        return graph.with_ops(ops)

    return apply


def matches(op: Op, patterns: Iterable[str]) -> bool:
    """Whether the name of the op, with or without its block, fits one of the shell patterns."""
    short = op.name.rsplit(".", 1)[-1]
    return any(fnmatchcase(op.name, pattern) or fnmatchcase(short, pattern) for pattern in patterns)


def with_tensors(op: Op, change: Callable[[Tensor], Tensor]) -> Op:
    """The op with every tensor changed."""
    return replace(op, tensors=tuple(change(tensor) for tensor in op.tensors))


def scaled_work(op: Op, factor: Value) -> Op:
    """The op with all its operations multiplied."""
    return replace(op, work=tuple(replace(w, operations=w.operations * factor) for w in op.work))


def fraction(name: str, value: Value, *, one: bool = True) -> Value:
    """A share between 0 and 1; symbols and arrays pass unchecked.  Raises ArgumentError."""
    if isinstance(value, (int, float)) and not (0.0 < value < 1.0 or (one and value == 1.0)):
        raise ArgumentError(name, value, "a share above 0 and " + ("at most 1" if one else "below 1"))
    return value
