"""Several workloads one after the other: vision-language(-action) models, cascades, planning trees."""

from __future__ import annotations

from dataclasses import dataclass, replace

from perfmodel.algebra import Value
from perfmodel.ops.core import Op
from perfmodel.spec import flag, many, quantity, text
from perfmodel.workload.graph import Graph
from perfmodel.workload.nets.builder import one
from perfmodel.workload.step import Step
from perfmodel.workload.workload import workload


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One workload of a composite."""

    name: str = text(doc="prefix of its ops")
    workload: str = text(doc="shipped name or path")
    repeat: Value = quantity("1", default=1.0,
                             doc="runs per item with the same weights; below 1: gated or skipped")
    batch: Value = quantity("1", default=1.0,
                            doc="items of this stage per item of the composite (tiles, beams)")
    query: Value = quantity("count", default=1.0, doc="tokens of a sequence model")
    context: Value | None = quantity("count", default=None, doc="context; absent: the query")
    all_logits: bool = flag(default=False, doc="head on every token")


@dataclass(frozen=True, kw_only=True)
class Composite:
    """Stages in order; each waits for the one before.

    A repeated stage stores its weights once.  ``query`` and ``context`` of a Step are not used: each stage
    has its own.
    """

    stages: tuple[Stage, ...] = many(Stage, doc="workloads in order")

    def graph(self, step: Step, name: str = "composite") -> Graph:
        """Ops of all stages."""
        ops: list[Op] = []
        for stage in self.stages:
            context = stage.query if stage.context is None else stage.context
            inner = replace(step, batch=step.batch * stage.batch, query=stage.query, context=context,
                            logits="all" if stage.all_logits else "last")
            graph = workload(stage.workload).graph(inner)
            ops += [self.placed(op, stage) for op in graph.ops]
        return Graph(name, self.chained(ops))

    def placed(self, op: Op, stage: Stage) -> Op:
        """The op under the name of its stage, repeated with shared weights."""
        after = None if op.after is None else tuple(f"{stage.name}.{before}" for before in op.after)
        op = replace(op, name=f"{stage.name}.{op.name}", after=after)
        if one(stage.repeat):
            return op
        tensors = tuple(
            replace(t, stored=t.storage(op.loops) / stage.repeat) if t.kind in ("weight", "state",
                                                                                "kv") else t
            for t in op.tensors
        )
        return replace(op, tensors=tensors).repeated(stage.repeat)

    def chained(self, ops: list[Op]) -> tuple[Op, ...]:
        """Ops without inputs wait for the last op of the stage before."""
        found: list[Op] = []
        for op in ops:
            stage = op.name.split(".", 1)[0]
            earlier = [other.name for other in found if other.name.split(".", 1)[0] != stage]
            found.append(replace(op, after=(earlier[-1],)) if op.after == () and earlier else op)
        return tuple(found)
