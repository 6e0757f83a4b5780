"""S110: Insights into DeepSeek-V3, Zhao et al., ISCA 2025, arXiv:2505.09343."""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts


@predicts({"S110-T1-02": "qwen2.5-72b", "S110-T1-03": "llama-3.1-405b"}, fidelity="count")
def kv_cache_per_token(model: str) -> float:
    """KV cache of one token [kB], Table 1."""
    return float(pm.workload(model).kv_bytes_per_token("bf16")) / 1e3


@predicts({"S110-T2-03": "llama-3.1-405b"}, fidelity="count")
def training_cost_per_token(model: str) -> float:
    """Training cost of one token [GFLOP], Table 2: forward and backward, sequence 4096, causal attention."""
    forward = pm.workload(model).flops(batch=1, query=4096, context=4096, causal=True)
    return 3.0 * float(forward) / 4096.0 / 1e9
