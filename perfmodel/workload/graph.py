"""Graph: the ordered ops of one pass, with what stays in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from perfmodel.algebra import Value, maximum, total
from perfmodel.errors import GraphError
from perfmodel.formats import Precision
from perfmodel.ops.core import Op


@dataclass(frozen=True)
class Graph:
    """Ordered ops of one pass of a workload.

    An op depends on the ops named in its `after`, or on the op before it.
    """

    name: str
    ops: tuple[Op, ...]

    def __iter__(self) -> Iterator[Op]:
        return iter(self.ops)

    def with_ops(self, ops: Sequence[Op]) -> Graph:
        """The graph with other ops."""
        return replace(self, ops=tuple(ops))

    @property
    def flops(self) -> Value:
        """FLOP of the matrix unit, 2 per multiply-accumulate."""
        return total(op.flops for op in self.ops)

    def operations(self, unit: str) -> Value:
        """Operations of one unit in the whole pass."""
        return total(op.operations(unit) for op in self.ops)

    def elements(self, kind: str) -> Value:
        """Elements of one tensor kind kept in memory (weights, kv, state)."""
        return total(op.storage(kind) for op in self.ops)

    def bytes(self, kind: str, precision: Precision) -> Value:
        """Bytes of one tensor kind kept in memory [B], each tensor in its own format."""
        return total(
            op.count * tensor.storage(op.loops) * precision.of(tensor).bytes
            for op in self.ops
            for tensor in op.tensors
            if tensor.kind == kind
        )

    def peak_activation(self, precision: Precision) -> Value:
        """Bytes of the op with the most live activations and logits: all it reads and writes [B]."""
        peak: Value = 0.0
        for op in self.ops:
            live = sum(op.elements(kind=kind) * precision.bytes(kind) for kind in ("activation", "logits"))
            peak = maximum(peak, live)
        return peak

    def edges(self) -> tuple[tuple[str, str], ...]:
        """Dependencies (before, after) by op name.

        Raises GraphError for a name used twice, an edge to an unknown op, and a cycle.
        """
        names = [op.name for op in self.ops]
        seen: set[str] = set()
        for name in names:
            if name in seen:
                raise GraphError(f"{self.name}: two ops are called {name!r}")
            seen.add(name)
        pairs: list[tuple[str, str]] = []
        for previous, op in zip([None, *names], self.ops, strict=False):
            sources = op.after if op.after is not None else ((previous,) if previous else ())
            for source in sources:
                if source not in seen:
                    raise GraphError(
                        f"{self.name}: op {op.name!r} comes after {source!r}, which does not exist"
                    )
                pairs.append((source, op.name))
        order: TopologicalSorter[str] = TopologicalSorter()
        for source, target in pairs:
            order.add(target, source)
        try:
            order.prepare()
        except CycleError as error:
            cycle = ", ".join(error.args[1][1:])
            raise GraphError(f"{self.name}: the ops {cycle} depend on each other in a cycle") from None
        return tuple(pairs)
