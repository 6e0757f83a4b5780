"""What a use case asks of a platform: rates and bytes that meet its latency targets.

References
[1] Bambhaniya et al., Demystifying Platform Requirements for Diverse LLM Inference Use Cases,
    arXiv:2406.01698; use cases as in the authors' repository (Paper charts/variables.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perfmodel.algebra import Value, total
from perfmodel.formats import precision as precision_of
from perfmodel.workload.workload import Workload


@dataclass(frozen=True)
class UseCase:
    """Lengths [tokens], parallel beams, and the targets of first and further tokens [s]."""

    prompt: Value
    answer: Value
    beams: Value
    ttft: Value
    tpot: Value


#: use cases of [1]
USE_CASES: Mapping[str, UseCase] = {
    "question answering": UseCase(1000.0, 200.0, 4.0, 0.2, 0.010),
    "chat": UseCase(3000.0, 1000.0, 2.0, 0.2, 0.010),
    "retrieval": UseCase(10000.0, 200.0, 4.0, 0.4, 0.010),
    "summary": UseCase(15000.0, 1000.0, 4.0, 2.0, 0.020),
    "code": UseCase(20000.0, 50.0, 4.0, 5.0, 0.020),
}


@dataclass(frozen=True)
class Requirement:
    """What one request needs at its last token.

    capacity   weights and cache [B]
    bandwidth  rate of memory that meets `tpot` [B/s]
    decode     rate of arithmetic that meets `tpot` [FLOP/s]
    prefill    rate of arithmetic that meets `ttft` [FLOP/s]
    """

    capacity: Value
    bandwidth: Value
    decode: Value
    prefill: Value


def cached_tokens(case: UseCase, shared: bool = True) -> Value:
    """Tokens in the cache at the end; the prompt is kept once, or once per beam [1]."""
    if shared:
        return case.prompt + case.beams * case.answer
    return case.beams * (case.prompt + case.answer)


def required(workload: Workload, case: UseCase, precision: str, *, shared: bool = True) -> Requirement:
    """Requirement of one request [1].

    Every beam reads the weights that its token passes through once for all beams, and its whole context.
    """
    formats = precision_of(precision)
    last = case.prompt + case.answer
    step = workload.graph(batch=case.beams, query=1.0, context=last, logits="last")
    cache = workload.kv_bytes_per_token(precision) * cached_tokens(case, shared)
    read = total(
        op.count * t.footprint(op.loops) * formats.of(t).bytes
        for op in step.ops for t in op.tensors if t.kind == "weight" and op.family != "embedding"
    )
    first = workload.graph(batch=1.0, query=case.prompt, context=case.prompt, logits="last")
    return Requirement(
        step.bytes("weight", formats) + cache, (read + cache) / case.tpot, step.flops / case.tpot,
        first.flops / case.ttft,
    )
