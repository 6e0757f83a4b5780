"""S107: Wei et al., T-MAN: Enabling End-to-End Low-Bit LLM Inference on NPUs, arXiv:2511.11248.

Decode is bound by the transfers into the memory of the NPU, whose rate the paper measures.  The layers of its
model have ternary weights, embedding and head have 16 bits (BitNet b1.58 2B4T, arXiv:2504.12285: recalled).
"""

from __future__ import annotations

import math

import perfmodel as pm
from perfmodel.engine.lowbit import lookups
from perfmodel.validation.cases import predicts

#: sustained transfers from memory into the NPU [B/s] (Table 2), power of decoding [W] (Table 3)
TRANSFERS, POWER = 59e9, 4.91
#: power [W] and energy per token [J] of the runtime that decodes on the CPU (llm.npu, Table 3)
CPU_POWER, CPU_ENERGY = 8.31, 0.612


def _moved(model: str, bits: float) -> float:
    """Weights read per token [B]: layers at so many bits, the head at 16."""
    graph = pm.workload(model).graph(batch=1.0, query=1.0, context=1024.0)
    return sum(
        float(op.count * op.loops["n"] * op.loops["k"]) * (16.0 if op.name == "head" else bits) / 8.0
        for op in graph.ops if op.family == "matmul"
    )


@predicts(["S107-E2E-01", "S107-HEAD-04"], fidelity="calibrated")
def rate() -> float:
    """Decode rate at the measured transfers [token/s]."""
    return TRANSFERS / _moved("bitnet-2b-4t", 2.0)


@predicts("S107-E2E-02", fidelity="calibrated")
def energy() -> float:
    """Energy per token at the measured power [J]."""
    return POWER / rate()


@predicts("S107-HEAD-02", fidelity="calibrated")
def gain() -> float:
    """Predicted rate over the measured one of decoding on the CPU."""
    return rate() / (CPU_POWER / CPU_ENERGY)


@predicts("S107-HEAD-03", fidelity="calibrated")
def saving() -> float:
    """Energy saved against decoding on the CPU [%]."""
    return 100.0 * (1.0 - energy() / CPU_ENERGY)


@predicts(("S107-E2E-03", "S107-HEAD-06"), reason="the head is taken at 16 bits on both sides")
def two_bits() -> float:
    """Rate at two bits with a scale and a zero point per 64 weights over that at four bits per channel."""
    return _moved("llama-3.1-8b", 4.0) / _moved("llama-3.1-8b", 2.0 + (16.0 + 2.0) / 64.0)


@predicts({"S107-VLUT-01": (16.0, 256.0), "S107-VLUT-02": (16.0, 128.0), "S107-VLUT-03": (32.0, 128.0),
           "S107-VLUT-04": (32.0, 64.0)}, fidelity="count")
def products(entries: float, done: float) -> float:
    """One-bit multiply-accumulates that so many lookups replace: a table of 2^g entries joins g weights."""
    return done / float(lookups(1.0, 1.0, math.log2(entries)))


@predicts({"S107-DQ-01": 64.0, "S107-DQ-02": 128.0}, fidelity="count")
def saved(block: float) -> float:
    """Weights of a block over the values that two bits can take: what is scaled once is looked up."""
    return block / 2.0**2
