"""Counts of a served model: a dozen numbers per token or sequence that the cost of a step is made of.

Everything is read from the ops of the workload, so a model that the importer understands needs nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value, total
from perfmodel.ops.core import Op
from perfmodel.workload.graph import Graph
from perfmodel.workload.transforms import tensor_parallel
from perfmodel.workload.workload import Workload


@dataclass(frozen=True)
class StepCounts:
    """What one device holds and does, per token or per sequence; elements unless said otherwise.

    dense, head       weights of dense products and of the head
    expert            weights of one expert of every mixture layer together, before moe_tp
    experts, top_k    routed experts of a layer and picks per token
    moe_layers        mixture layers; layers: collectives of tensor parallelism per token over two
    embedding         weights of the embedding table
    cache             elements of the cache that a decode token reads; stored_cache: kept per request
    state             recurrent state of a request, read and written
    chain             tokens that one decode token attends to, summed over layers
    decode_mixing     FLOP of attention and scans of one decode token
    prompt_mixing     FLOP of attention and scans of one whole prompt
    traffic           activations that elementwise ops and norms move per token
    expert_traffic    the same of the ops around the experts, per token, before division by devices
    launches          kernels of one pass; expert_launches: of the mixture layers, of them
    reduced           elements that one token sends through all-reduces
    reductions        all-reduces of one pass
    hidden            model width
    """

    dense: Value
    head: Value
    expert: Value
    experts: Value
    top_k: Value
    moe_layers: Value
    embedding: Value
    cache: Value
    stored_cache: Value
    state: Value
    chain: Value
    decode_mixing: Value
    prompt_mixing: Value
    traffic: Value
    expert_traffic: Value
    launches: Value
    expert_launches: Value
    reduced: Value
    reductions: Value
    hidden: Value


#: ops that belong to the mixture of experts and run on all devices of the instance
EXPERT_OPS = ("dispatch", "combine", "expert_up", "expert_down", "expert_activation", "router", "topk")


def step_counts(workload: Workload, *, context: Value, prompt: Value, tp: Value = 1.0) -> StepCounts:
    """Counts of a workload for decode tokens at `context` and prompts of `prompt` tokens on tp devices."""
    one = tensor_parallel(tp)(workload.graph(batch=1.0, query=1.0, context=context, logits="last"))
    prefill = tensor_parallel(tp)(workload.graph(batch=1.0, query=prompt, context=prompt, logits="last"))
    whole = workload.graph(batch=1.0, query=1.0, context=1.0, logits="last")
    grouped = [op for op in whole.ops if op.family == "grouped_matmul"]
    linear = [op for op in one.ops if _is_linear(op)]
    mixing = [op for op in one.ops if is_mixing(op)]
    rest = [op for op in one.ops if _is_plain(op)]
    reduces = [op for op in one.ops if op.exchange is not None and _is_reduce(op)]
    moe_layers = total(op.count for op in grouped if _base(op) == "expert_down")
    first = grouped[0] if grouped else None
    hidden = _hidden(whole)
    return StepCounts(
        dense=total(op.count * op.elements(kind="weight") for op in linear if not is_head(op)),
        head=total(op.count * op.elements(kind="weight") for op in linear if is_head(op)),
        expert=total(op.count * op.loops["n"] * op.loops["k"] for op in grouped),
        experts=_stored_experts(first) if first is not None else 1.0,
        top_k=first.loops["e"] * first.loops["m"] if first is not None else 0.0,
        moe_layers=moe_layers,
        embedding=total(op.storage("weight") for op in one.ops if op.family == "embedding"),
        cache=total(op.count * op.elements(kind="kv") for op in mixing),
        stored_cache=one.elements("kv"),
        state=total(op.count * op.elements(kind="state") for op in mixing),
        chain=total(op.count * op.loops["t"] for op in mixing if "t" in op.loops),
        decode_mixing=total(op.flops for op in mixing),
        prompt_mixing=total(op.flops for op in prefill.ops if is_mixing(op)),
        traffic=total(op.count * op.elements(kind="activation") for op in rest if _outside_experts(op)),
        expert_traffic=total(
            op.count * op.elements(kind="activation") for op in whole.ops
            if _is_plain(op) and not _outside_experts(op)
        ),
        launches=total(op.count * op.launches for op in one.ops if op.exchange is None),
        expert_launches=total(op.count * op.launches for op in whole.ops if not _outside_experts(op)),
        # the partial sums of shared and routed experts travel together: one all-reduce per mixture layer
        reduced=total(op.count * op.exchange.elements for op in reduces if op.exchange) + moe_layers * hidden,
        reductions=total(op.count for op in reduces) + moe_layers,
        hidden=hidden,
    )


def _hidden(graph: Graph) -> Value:
    embedded = next((op for op in graph.ops if op.family == "embedding"), graph.ops[0])
    return embedded.elements(output=True)


def _stored_experts(op: Op) -> Value:
    weight = next(t for t in op.tensors if t.kind == "weight")
    return weight.storage(op.loops) / (op.loops["n"] * op.loops["k"])


def _is_linear(op: Op) -> bool:
    return op.family == "matmul" and any(t.kind == "weight" for t in op.tensors)


def is_head(op: Op) -> bool:
    """The projection to the vocabulary."""
    return op.name == "head"


def is_tail(op: Op) -> bool:
    """What runs on the last position of a sequence only."""
    return _base(op).startswith(("final_norm", "embedding_out", "head"))


def is_mixing(op: Op) -> bool:
    """Attention, scans and what belongs to them: work that depends on the context or keeps a state."""
    if _is_linear(op) or op.family in ("grouped_matmul", "embedding") or op.exchange is not None:
        return False
    stateful = any(t.kind in ("kv", "state") for t in op.tensors)
    return stateful or any(w.unit == "matrix" for w in op.work)


def _is_plain(op: Op) -> bool:
    other = op.exchange is not None or op.family in ("grouped_matmul", "embedding")
    return not (_is_linear(op) or is_mixing(op) or other)


def _base(op: Op) -> str:
    return op.name.rpartition(".")[2]


def is_expert(op: Op) -> bool:
    """Experts and what carries tokens to them and back; they are chosen where the tokens are."""
    return _base(op).startswith(EXPERT_OPS[:-2])


def _outside_experts(op: Op) -> bool:
    return not _base(op).startswith(EXPERT_OPS)


def _is_reduce(op: Op) -> bool:
    return not _base(op).startswith(("expert", "shared", "head", "embedding"))
