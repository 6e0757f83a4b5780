"""Transforms ``Graph -> Graph``: how a technique changes the ops of a pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from perfmodel.algebra import Value
from perfmodel.ops.core import Exchange, Op, Split, Tensor
from perfmodel.workload.graph import Graph
from perfmodel.workload.rewriting import Transform

#: further transforms, by module
_ELSEWHERE = {
    **dict.fromkeys(
        ("quantise", "sparsify", "prune", "adapt", "trainable", "compress_cache", "rematerialise"),
        "perfmodel.workload.compression",
    ),
    **dict.fromkeys(
        ("expert_parallel", "sequence_parallel", "context_parallel", "merge_batches"),
        "perfmodel.workload.partition",
    ),
    **dict.fromkeys(
        ("fuse", "recompute", "speculative", "iterate", "chunk"), "perfmodel.workload.repetition"
    ),
}

__all__ = ["Transform", "collective_after", "divide", "pipeline_parallel", "tensor_parallel"]


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        from importlib import import_module

        return getattr(import_module(_ELSEWHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_ELSEWHERE})


def tensor_parallel(members: Value) -> Transform:
    """Divide every op over `members` devices and add the collectives that this needs [1].

    An op split along a reduction loop leaves partial sums: an all-reduce of its output follows.
    Ops without a split are replicated.

    [1] Shoeybi et al., Megatron-LM, arXiv:1909.08053.
    """
    if isinstance(members, (int, float)) and members == 1:
        return lambda graph: graph

    def apply(graph: Graph) -> Graph:
        ops: list[Op] = []
        for op in graph.ops:
            split = op.split.get("tp")
            if split is None:
                ops.append(op)
                continue
            ops.append(divide(op, split, members))
            pattern = collective_after(op, split)
            if pattern:
                elements = op.elements(output=True)
                exchange = Exchange(pattern, elements, members)
                ops.append(Op("collective", {}, (), (), f"{op.name}_{pattern}", op.count, exchange))
        return graph.with_ops(ops)

    return apply


def divide(op: Op, split: Split, members: Value) -> Op:
    """The share of one of `members` devices: loop bound, work and stored weights."""
    loops = dict(op.loops)
    share = 1.0 / members
    if split.loop:
        loops[split.loop] = split.extent(op.loops[split.loop], members)
        if split.balance:
            replication = loops[split.loop] * members / op.loops[split.loop]
            loops[split.balance] = op.loops[split.balance] / replication
    tensors = tuple(_stored_share(t, split, op.loops, loops, share) for t in op.tensors)
    work = tuple(replace(w, operations=w.operations * share) for w in op.work)
    return replace(op, loops=loops, tensors=tensors, work=work)


def _stored_share(
    tensor: Tensor, split: Split, before: Mapping[str, Value], after: Mapping[str, Value], share: Value
) -> Tensor:
    if tensor.stored is None:
        return tensor
    if not split.loop:
        return replace(tensor, stored=tensor.stored * share)
    if split.loop not in tensor.axes:
        return tensor
    return replace(tensor, stored=tensor.stored * after[split.loop] / before[split.loop])


def collective_after(op: Op, split: Split) -> str:
    """Collective that makes the output whole again, or an empty string."""
    if split.gather:
        return "all_gather"
    outputs = [t for t in op.tensors if t.output]
    partial = not split.loop or all(split.loop not in t.axes for t in outputs)
    return "all_reduce" if partial else ""


def pipeline_parallel(stages: Value, stride: Value = 1.0) -> Transform:
    """Cut the pass into `stages` groups of layers; the hidden state travels between neighbours [1].

    The ops stay whole: a token still passes every layer.  Scenarios divide weights and state by `stages`.
    stride  devices between neighbours, where the members of a stage lie between

    [1] Huang et al., GPipe, arXiv:1811.06965.
    """
    if isinstance(stages, (int, float)) and stages == 1:
        return lambda graph: graph

    def apply(graph: Graph) -> Graph:
        state = graph.ops[0].elements(output=True)
        exchange = Exchange("point_to_point", state, 2.0, stride=stride)
        hop = Op("collective", {}, (), (), "stage_to_stage", stages - 1.0, exchange)
        return graph.with_ops((*graph.ops, hop))

    return apply
