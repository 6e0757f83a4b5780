"""S016: Bambhaniya et al., Demystifying Platform Requirements for LLM Inference Use Cases, arXiv:2406.01698.

Required rates printed in a notebook of the authors' repository.  Their tool counts the layers without
embedding and head, and keeps the prompt once for all beams only in models without grouped queries.
"""

from __future__ import annotations

import perfmodel as pm
from perfmodel.scenario.requirements import USE_CASES, Requirement, required
from perfmodel.validation.cases import predicts
from perfmodel.workload.graph import Graph

_CASES = {
    "QA": "question answering", "Chat": "chat", "RAG": "retrieval", "Summ": "summary", "Code": "code",
}


def _layers(graph: Graph) -> Graph:
    return graph.with_ops([op for op in graph.ops if op.name not in ("embedding", "head")])


def _required(model: str, case: str) -> Requirement:
    net = pm.workload(model).apply(_layers)
    shared = model in ("llama-2-7b", "gpt3-175b")
    return required(net, USE_CASES[_CASES[case]], "int8", shared=shared)


_MODELS = ("llama-2-7b", "llama-3-70b", "gpt3-175b")
_ROWS = [(model, case) for case in _CASES for model in _MODELS] + [("mixtral-8x7b", "QA")]


@predicts({f"S016-BW-{i:02}": row for i, row in enumerate(_ROWS, start=1)}, fidelity="count", reason={
    "S016-BW-16": "four beams choose 5.5 of 8 experts on average; the tool reads the two of one token",
})
def bandwidth(model: str, case: str) -> float:
    """Bandwidth that the target of further tokens asks for [2^20 MB/s]."""
    return float(_required(model, case).bandwidth) / 2**20 / 1e6


@predicts({f"S016-FLOP-{i:02}": case for i, case in enumerate(_CASES, start=1)}, fidelity="count")
def arithmetic(case: str) -> float:
    """Rate of arithmetic that the target of further tokens asks for [TFLOP/s]."""
    return float(_required("llama-3-70b", case).decode) / 1e12
