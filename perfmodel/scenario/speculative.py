"""Speculative decoding: expected tokens of a chain or a tree of drafted tokens, and the speed-up they buy.

A step drafts tokens with a cheap model and verifies all of them with the target model in one pass; it yields
the accepted ones and one more.

References
[1] Leviathan, Kalman, Matias, Fast Inference from Transformers via Speculative Decoding, arXiv:2211.17192.
[2] Chen et al., Sequoia: Scalable, Robust, and Hardware-aware Speculative Decoding, arXiv:2402.12374.
[3] Zhang et al., Dovetail: A CPU/GPU Heterogeneous Speculative Decoding, arXiv:2412.18934.
[4] Zhao et al., Insights into DeepSeek-V3, arXiv:2505.09343, section 2.3.3 (multi-token prediction).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perfmodel.algebra import Value
from perfmodel.errors import ArgumentError


def chain_tokens(acceptance: Value, drafted: Value) -> Value:
    """Expected tokens of a step with a chain of `drafted` tokens [1]: ``(1 - a^(g+1))/(1 - a)``.

    acceptance  probability a < 1 that a drafted token is kept given the ones before it
    """
    return (1.0 - acceptance ** (drafted + 1.0)) / (1.0 - acceptance)


def chain_speedup(accepted: Value, drafted: Value, draft: Value, verify: Value, target: Value) -> Value:
    """Speed-up of a step over plain decoding [1, 3]: ``accepted/(drafted draft/target + verify/target)``.

    accepted            tokens per step, e.g. of `chain_tokens`
    draft, target       time of one token of the draft and of the target model alone [s]
    verify              time of the target model over drafted + 1 tokens [s]
    """
    return accepted * target / (drafted * draft + verify)


def multi_token_gain(acceptance: Value, extra: Value) -> Value:
    """Gain of predicting one more token with a module of relative cost `extra` [4]: ``(1 + p)/(1 + c)``."""
    return (1.0 + acceptance) / (1.0 + extra)


def tree_tokens(acceptance: Any, nodes: int, levels: int) -> Any:
    """Expected tokens of the best tree by number of nodes and levels, shape (nodes + 1, levels + 1) [2].

    acceptance  p_r, probability that the child of rank r is the accepted one, most likely first
    levels      levels of the tree, the root (the last accepted token) included

    With ``T(m, l, b)`` the best tree of m nodes and l levels whose root has b children,
    ``T(m, l, b) = max_y T(y, l, b - 1) + p_b G(m - y, l - 1)``, ``G = max_b T``, ``T(1, l, 0) = 1``.
    G counts trees of exactly m nodes; -inf where none exists.
    """
    p = np.asarray(acceptance, dtype=np.float64)
    if p.ndim != 1 or nodes < 1 or levels < 1:
        raise ArgumentError("nodes, levels", f"{nodes}, {levels}", "whole numbers from 1")
    best = np.full((nodes + 1, levels + 1), -np.inf)
    best[1, 1:] = 1.0
    for level in range(2, levels + 1):
        best[:, level] = _roots(p, best[:, level - 1], nodes)
    return best


def _roots(p: Any, below: Any, nodes: int) -> Any:
    """Best trees by size where every child of the root is a tree `below` [nodes + 1]."""
    current = np.full(nodes + 1, -np.inf)
    current[1] = 1.0
    best = current.copy()
    # element (m, y): a child of m - y nodes joins a root that has y nodes already
    rest = np.arange(nodes + 1)[:, None] - np.arange(nodes + 1)[None, :]
    child = np.where(rest > 0, below[np.maximum(rest, 0)], -np.inf)
    for probability in p[: nodes - 1]:
        grown = current[None, :] + np.where(np.isfinite(child), probability, 1.0) * child
        current = np.max(grown, axis=1)
        best = np.maximum(best, current)
    return best


@dataclass(frozen=True)
class Tree:
    """Best tree of a search.

    nodes, levels  size, root included in both
    tokens         expected tokens per step
    speedup        over decoding one token at a time
    """

    nodes: int
    levels: int
    tokens: float
    speedup: float


def best_tree(acceptance: Any, verify: Mapping[int, float], draft: float, levels: Sequence[int]) -> Tree:
    """Tree with the least time per token [2]: ``min (l t_draft + t_verify(m))/G(m, l)``.

    verify  size of the tree -> time of the target model over that many tokens; size 1 is plain decoding [s]
    draft   time of one pass of the draft model [s]; the root level is drafted as well
    """
    table = tree_tokens(acceptance, max(verify), max(levels))
    options = [
        ((level * draft + time) / table[size, level], size, level)
        for size, time in verify.items() for level in levels if np.isfinite(table[size, level])
    ]
    least, size, level = min(options)
    return Tree(size, level, float(table[size, level]), verify[1] / least)
