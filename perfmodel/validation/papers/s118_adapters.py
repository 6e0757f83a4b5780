"""S118: Munoz, Yuan, Jain, Low-Rank Adapters Meet Neural Architecture Search, arXiv:2501.16372.

Tables of the authors' repository (Shears, LoNAS).
"""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts

#: tokens of one input that the printed operations of the unchanged model imply
TOKENS = 128.0


def _whole(model: str) -> float:
    """Weights of embedding and head, which no method here shrinks."""
    ops = pm.workload(model).graph(batch=1.0, query=1.0, context=1.0).ops
    return sum(float(op.storage("weight")) for op in ops if op.name in ("embedding", "head"))


@predicts({"S118-SHEARS-01": 0.5, "S118-SHEARS-02": 0.0}, fidelity="count")
def kept(sparsity: float) -> float:
    """Non-zero parameters of LLaMA-13B [G], adapters merged; embedding and head stay dense."""
    whole, total = _whole("llama-13b"), float(pm.workload("llama-13b").parameters)
    return (whole + (total - whole) * (1.0 - sparsity)) / 1e9


@predicts("S118-LONAS-01", fidelity="count")
def parameters() -> float:
    """Parameters of LLaMA-7B [G], adapters merged."""
    return float(pm.workload("llama-7b").parameters) / 1e9


def _operations(share: float) -> float:
    """FLOP of one input where this share of the layers is left [TFLOP]."""
    net = pm.workload("llama-7b")
    flops = float(net.flops(query=TOKENS, causal=False))
    head = sum(float(op.flops) for op in net.graph(batch=1.0, query=TOKENS, context=TOKENS, logits="all").ops
               if op.name == "head")
    return (head + (flops - head) * share) / 1e12


@predicts("S118-LONAS-02", fidelity="count")
def operations() -> float:
    """FLOP of one input [TFLOP]."""
    return _operations(1.0)


@predicts("S118-LONAS-03", fidelity="count")
def smaller() -> float:
    """FLOP of one input where the layers have shrunk to 5.6 G parameters in all [TFLOP]."""
    whole, total = _whole("llama-7b"), float(pm.workload("llama-7b").parameters)
    return _operations((5.6e9 - whole) / (total - whole))


@predicts("S118-LONAS-04", fidelity="count")
def encoder() -> float:
    """Multiply-accumulates of BERT-base on one input [G]."""
    return float(pm.workload("bert-base").flops(query=TOKENS, causal=False)) / 2e9
