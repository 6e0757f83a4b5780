"""S018: Eccles, Wong, Varghese, Mosaic: Composite Projection Pruning, FGCS 2026, arXiv:2504.06323.

LLaMA-7B with 70 % of its projections pruned, the example of the authors' repository, in whole heads and
columns: 22 of 32 heads and 45 of 64 inner columns are gone.
"""

from __future__ import annotations

from functools import cache

import perfmodel as pm
from perfmodel.validation.cases import predicts

HEADS, COLUMNS = 22.0 / 32.0, 45.0 / 64.0
RATIOS = {
    "qkv": HEADS, "attention": HEADS, "attention_out": HEADS, "up": COLUMNS, "activation": COLUMNS,
    "down": COLUMNS,
}


@cache
def _asked(pruned: bool) -> pm.Result:
    """One sequence of 512 tokens in and out on one GPU that holds the unpruned model."""
    model = pm.workload("llama-7b")
    if pruned:
        model = model.apply(pm.transform.prune(RATIOS))
    return pm.inference(model, "rtx-a6000", batch=1, input=512, output=512, precision="fp16")


def _saved(metric: str) -> float:
    return 100.0 * (1.0 - float(getattr(_asked(True), metric)) / float(getattr(_asked(False), metric)))


@predicts("S018-HEAD-01")
def faster() -> float:
    """Time saved per generated token [%]."""
    return _saved("tpot")


@predicts("S018-HEAD-02")
def smaller() -> float:
    """Memory saved [%]: weights, cache of the kept heads and activations; embedding and head stay whole."""
    return _saved("memory")
