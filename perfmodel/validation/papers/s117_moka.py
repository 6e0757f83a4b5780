"""S117: Sadeghi et al., MoKA: Mixture of Kronecker Adapters, arXiv:2508.03527.

The shapes of its factors could not be read; the adapters that it is compared with can be counted.  Rank and
projections are the defaults of LLM-Adapters (arXiv:2304.01933), whose tasks it uses: recalled.
"""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts

RANK = 32.0
#: adapters of its smaller variant on LLaMA3-8B [parameters]
SMALLEST = 2.1e6
#: widths of queries, keys and values, and of the MLP
WIDTHS = {"llama-3-8b": ((4096.0, 1024.0, 1024.0), 14336.0), "llama-2-7b": ((4096.0,) * 3, 11008.0)}


@predicts({"S117-QLORA-01": "llama-3-8b", "S117-QLORA-02": "llama-2-7b"}, fidelity="count",
          reason={"S117-QLORA-02": "56.1 million at this rank, as other papers print: another configuration"})
def trainable(name: str) -> float:
    """Parameters of low-rank adapters on queries, keys, values, up and down."""
    joint, width = WIDTHS[name]
    parts = {"qkv": joint, "up": (width,)}
    adapted = pm.workload(name).apply(pm.transform.adapt(RANK, ("qkv", "up", "down"), parts=parts))
    return float(pm.transform.trainable(adapted.graph(batch=1.0, query=1.0, context=1.0)))


@predicts("S117-HEAD-01", fidelity="count")
def gain() -> float:
    """Adapters of the baseline over the smallest of the paper, on one model."""
    return trainable("llama-3-8b") / SMALLEST
