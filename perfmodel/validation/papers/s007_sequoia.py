"""S007: Chen et al., Sequoia: Scalable, Robust, and Hardware-aware Speculative Decoding, arXiv:2402.12374.

Acceptance by rank: ``data/sequoia_acceptance.csv``, from the demo configuration of the authors' repository.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import perfmodel as pm
from perfmodel.engine.fidelity import cost_model
from perfmodel.scenario.speculative import Tree, best_tree, tree_tokens
from perfmodel.validation.cases import predicts

#: demo configuration: time of the target model over 1 .. 32 tokens, and of the draft model
VERIFY = {1: 10.0, 2: 10.0, 4: 10.0, 8: 12.0, 16: 14.0, 32: 18.0}
DRAFT = 0.3


@cache
def _acceptance() -> tuple[float, ...]:
    path = Path(__file__).parents[1] / "data" / "sequoia_acceptance.csv"
    with path.open(encoding="utf-8", newline="") as lines:
        return tuple(float(row["acceptance"]) for row in csv.DictReader(lines))


@predicts("S007-DP-128-01", fidelity="count")
def expected_tokens() -> float:
    """Tokens per step of the best tree of 128 nodes and at most 10 levels."""
    return float(tree_tokens(_acceptance(), 128, 10)[128, 10])


@predicts("S007-DP-128-02", fidelity="count")
def speedup() -> float:
    """Speed-up of the best tree of the demo over decoding one token at a time."""
    return best_tree(_acceptance(), VERIFY, DRAFT, range(1, 11)).speedup


@cache
def _draft(size: str) -> pm.Workload:
    """Draft models of 68 M (two layers of width 768), 1.3 G (Sheared-LLaMA, arXiv:2310.06694) and 7 G."""
    hidden, layers, heads, width = {
        "68m": (768.0, 2.0, 12.0, 3072.0), "1.3b": (2048.0, 24.0, 16.0, 5504.0),
        "7b": (4096.0, 32.0, 32.0, 11008.0),
    }[size]
    return pm.workload("llama-2-7b").vary({
        "hidden": hidden, "blocks.0.repeat": layers, "blocks.0.attention.heads": heads,
        "blocks.0.attention.head_dim": hidden / heads, "blocks.0.mlp.width": width,
    })


def _pass_time(model: pm.Workload, device: str, tokens: int) -> float:
    """Time of one pass over `tokens` tokens behind a context of 256 [s]."""
    cost, node, formats = cost_model("dataflow"), pm.system(device), pm.precision("fp16")
    graph = model.graph(batch=1.0, query=float(tokens), context=256.0 + tokens, logits="all")
    return sum(float(cost(op, node, formats).time) for op in graph.ops)


#: sizes that the authors' search allows
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


@cache
def _tree(model: str, device: str, draft: str = "68m") -> Tree:
    """Best tree on a device: acceptance of the demo, times of the kernel models."""
    verify = {n: _pass_time(pm.workload(model), device, n) for n in SIZES}
    return best_tree(_acceptance(), verify, _pass_time(_draft(draft), device, 1), range(1, 13))


@predicts({
    "S007-HEAD-01": ("llama-2-7b", "a100-sxm-80gb"), "S007-HEAD-02": ("llama-2-13b", "a100-sxm-80gb"),
    "S007-HEAD-03": ("llama-30b", "a100-sxm-80gb", "1.3b"),
}, fidelity="dataflow")
def device_speedup(model: str, device: str, draft: str = "68m") -> float:
    """Speed-up of tree speculation on a device; all pairs with the acceptance of the demo."""
    return _tree(model, device, draft).speedup


@predicts("S007-HEAD-04", fidelity="dataflow",
          reason="the 7 G draft is accepted more often than the small one whose acceptance is published")
def offloaded() -> float:
    """Speed-up where the weights of the 70 G model pass the host link at each step, 7 G draft on the GPU."""
    target, gpu = pm.workload("llama-2-70b"), "l40"
    load = 2.0 * float(target.active_parameters) / float(pm.device(gpu).links["pcie"].bandwidth)
    verify = {n: max(load, _pass_time(target, gpu, n)) for n in (*SIZES, 256, 512, 768)}
    return best_tree(_acceptance(), verify, _pass_time(_draft("7b"), gpu, 1), range(1, 25)).speedup


_CHOSEN = {
    "01": ("llama-2-7b", "a100-sxm-80gb"), "03": ("llama-2-7b", "a100-sxm-80gb"),
    "05": ("llama-2-13b", "a100-sxm-80gb"), "07": ("llama-30b", "a100-sxm-80gb", "1.3b"),
    "09": ("llama-2-7b", "l40"),
}


@predicts({f"S007-TREES-{row}": what for row, what in _CHOSEN.items()}, fidelity="dataflow")
def nodes(model: str, device: str, draft: str = "68m") -> float:
    """Nodes of the chosen tree."""
    return float(_tree(model, device, draft).nodes)


@predicts({f"S007-TREES-{int(row) + 1:02}": what for row, what in _CHOSEN.items()}, fidelity="dataflow")
def levels(model: str, device: str, draft: str = "68m") -> float:
    """Levels of the chosen tree."""
    return float(_tree(model, device, draft).levels)
