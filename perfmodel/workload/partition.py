"""Transforms that spread a pass over devices beside tensor and pipeline parallelism.

References
[1] Lepikhin et al., GShard, arXiv:2006.16668 (expert parallelism).
[2] DeepSeek-AI, DeepSeek-V3, arXiv:2412.19437 (node-limited routing).
[3] Korthikanti et al., Reducing Activation Recomputation, arXiv:2205.05198 (sequence parallelism).
[4] Liu et al., Ring Attention, arXiv:2310.01889 (context parallelism).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from perfmodel.algebra import Value
from perfmodel.errors import ArgumentError
from perfmodel.ops.attention import attended_pairs
from perfmodel.ops.core import Exchange, Op, Split
from perfmodel.ops.moe import destinations
from perfmodel.workload.graph import Graph
from perfmodel.workload.rewriting import StepTransform, Transform, each, scaled_work, with_tensors
from perfmodel.workload.step import Step
from perfmodel.workload.transforms import divide

#: name ending of the message in which keys and values of a context go round
RING = "_ring_all_gather"


def expert_parallel(
    members: Value, *, nodes: Value | None = None, limit: Value | None = None, link: str = "",
    stride: Value = 1.0,
) -> Transform:
    """Give each of `members` devices an equal part of the experts; tokens travel to them and back [1].

    The graph holds the tokens of the whole group.  Each device sends its share to the experts' devices:
    tokens/members x destinations x width elements before the experts and as many after, its own included.
    nodes, limit  one copy of a token crosses to each node that needs it [2], at most `limit` nodes per token
                  (None: as many groups as the model's routing allows)
    link          name of the one link that carries the exchange; empty: the fastest, and wider ones beyond it
    stride        devices between neighbours of the group
    """
    if isinstance(members, (int, float)) and members == 1:
        return lambda graph: graph

    def change(op: Op) -> Iterable[Op]:
        split = op.split.get("ep")
        if split is not None:
            return [divide(op, split, members)]
        if op.family not in ("permute", "combine"):
            return [op]
        own, picks = op.loops["t"] / members * op.loops["d"], op.loops["c"]
        crossing = None
        if nodes is not None:
            most = op.attributes.get("limit") if limit is None else limit
            crossing = own * destinations(nodes, picks, most) * (nodes - 1.0) / nodes
        way = "dispatch" if op.family == "permute" else "return"
        exchange = Exchange("all_to_all", own * destinations(members, picks), members, link=link,
                            stride=stride, crossing=crossing)
        message = Op("collective", {}, (), (), f"{op.name}_{way}_all_to_all", op.count, exchange)
        local = divide(op, Split("t"), members)
        return [local, message] if way == "dispatch" else [message, local]

    return each(change)


def sequence_parallel(members: Value) -> Transform:
    """Share out what tensor parallelism replicates (norms, residual additions) along the tokens [3].

    Apply after tensor_parallel: each all-reduce becomes a reduce-scatter and an all-gather of the same size,
    which move as many bytes.
    """
    if isinstance(members, (int, float)) and members == 1:
        return lambda graph: graph

    def change(op: Op) -> Iterable[Op]:
        if op.exchange is not None and op.exchange.pattern == "all_reduce":
            return [
                replace(
                    op, name=f"{op.name.removesuffix('_all_reduce')}_{pattern}",
                    exchange=replace(op.exchange, pattern=pattern),
                )
                for pattern in ("reduce_scatter", "all_gather")
            ]
        if op.family in ("norm", "elementwise") and "tp" not in op.split:
            return [divide(op, Split("r" if op.family == "norm" else "i"), members)]
        return [op]

    return each(change)


def context_parallel(members: Value, *, stride: Value = 1.0) -> StepTransform:
    """Give each of `members` devices an equal part of the new tokens and of the cache [4].

    Causal work is balanced by dealing each device an early and a late part.  Keys and values of the whole
    context go round: an all-gather per attention layer.

    stride  devices between neighbours of the group
    The graph raises ArgumentError where an op needs the whole context in another way (states, sparse or eager
    attention).
    """

    def step(given: Step) -> Step:
        return replace(given, query=given.query / members)

    def change(op: Op) -> Iterable[Op]:
        if not any(t.kind in ("kv", "state") for t in op.tensors):
            return [op]
        if op.family not in ("attention", "mla"):
            raise ArgumentError("context_parallel", op.name, "a model whose every mixer is fused attention")
        query, context, causal = op.loops["s"], op.attributes["context"], op.attributes["causal"]
        window = op.attributes["window"]
        whole = attended_pairs(query * members, context, causal=causal, window=window)
        last = attended_pairs(query, context, causal=causal, window=window)
        balanced = scaled_work(op, whole / (members * last))
        if causal and window is None:  # the context of which these would be the last queries
            mean = whole / (members * query) + 0.5 * (query - 1.0)
            balanced = replace(balanced, attributes={**op.attributes, "context": mean})
        keys = op.elements(kind="kv")
        exchange = Exchange("all_gather", keys, members, kind="kv", stride=stride)
        message = Op("collective", {}, (), (), f"{op.name}{RING}", op.count, exchange)
        kept = with_tensors(
            balanced, lambda t: replace(t, stored=t.storage(op.loops) / members) if t.kind == "kv" else t
        )
        return [message, kept]

    return StepTransform(step, each(change))


def merge_batches(local: Graph, whole: Graph) -> Graph:
    """Ops of one device where attention is data parallel and experts are shared out.

    local  graph of one device's own tokens; whole: graph of the tokens of the whole group.  Experts and the
    movement of tokens come from `whole`, everything else from `local`; apply expert_parallel to the result.
    """
    groups = {op.name: op for op in whole.ops}

    def pick(op: Op) -> Op:
        return groups[op.name] if "ep" in op.split or op.family in ("permute", "combine") else op

    return local.with_ops([pick(op) for op in local.ops])
