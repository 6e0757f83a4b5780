"""S097: Zhao et al., Performance Drop in DeepSeek Model Quantization, arXiv:2505.02390.

The table prints sizes in GiB, and the totals with 32 768 tokens in GB although the unit reads the same.
"""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts

#: file -> average bits per weight as printed
_BITS = {"Q4_K_M": 4.82, "DQ3_K_M": 3.59, "Q2_K_L": 2.91, "UD-Q2_K_XL": 2.70}
CONTEXT, DEVICES = 32768.0, 8.0


def _weights(bits: float) -> float:
    return float(pm.workload("deepseek-r1").parameters) * bits / 8.0


def _total(bits: float) -> float:
    """Weights and a cache of expanded keys and values [B]."""
    expanded = pm.workload("deepseek-r1").vary({f"blocks.{i}.mla.mode": "mha" for i in (0, 1)})
    return _weights(bits) + CONTEXT * float(expanded.kv_bytes_per_token("fp16"))


@predicts({f"S097-Q-{name}-01": bits for name, bits in _BITS.items()}, fidelity="count")
def size(bits: float) -> float:
    """Size of the weights [GiB]."""
    return _weights(bits) / 2**30


@predicts({f"S097-Q-{name}-03": bits for name, bits in _BITS.items()}, fidelity="count")
def memory(bits: float) -> float:
    """Memory with the cache of 32 768 tokens [GB]; buffers of the runtime are not counted."""
    return _total(bits) / 1e9


@predicts({f"S097-Q-{name}-04": bits for name, bits in _BITS.items()}, fidelity="count")
def memory_per_device(bits: float) -> float:
    """Memory of one of eight devices [GB]."""
    return _total(bits) / DEVICES / 1e9
