"""Mixture of experts: which experts a batch touches, routing and the movement of tokens.

References
[1] Jiang et al., MoE-CAP, arXiv:2412.07067 (activated experts of a batch).
[2] Fedus et al., Switch Transformers, arXiv:2101.03961 (capacity factor).
[3] DeepSeek-AI, DeepSeek-V3, arXiv:2412.19437 (node-limited routing).
"""

from __future__ import annotations

from collections.abc import Sequence

from perfmodel.algebra import Value, ceil, minimum
from perfmodel.ops.core import Op, Tensor, Work
from perfmodel.ops.registry import operator


def distinct_experts(
    experts: Value, top_k: Value, tokens: Value, popularity: Sequence[float] | None = None
) -> Value:
    """Expected number of experts that at least one of `tokens` tokens is sent to [1].

    experts, top_k  routed experts, and how many of them each token picks
    tokens          tokens routed independently
    popularity      per expert, the probability that a token picks it (sum = top_k); None: all alike

    ``E (1 - (1 - k/E)^T)``, or ``sum_i 1 - (1 - p_i)^T``.  Between k (one token) and E.
    """
    if popularity is None:
        return experts * (1.0 - (1.0 - 1.0 * top_k / experts) ** tokens)
    touched: Value = 0.0
    for chance in popularity:
        touched = touched + 1.0 - (1.0 - chance) ** tokens
    return touched


def zipf_popularity(experts: int, top_k: float, exponent: float) -> tuple[float, ...]:
    """Skewed popularity: p_i proportional to ``i^-exponent``, no expert picked twice by a token, sum = top_k.

    Experts whose share would exceed 1 are always picked; the rest shares what remains.
    """
    weights = [(i + 1.0) ** -exponent for i in range(experts)]
    for always in range(experts):
        rest = sum(weights[always:])
        scale = (top_k - always) / rest
        if scale * weights[always] <= 1.0:
            return (1.0,) * always + tuple(scale * w for w in weights[always:])
    return (1.0,) * experts


def routed_rows(
    experts: Value,
    top_k: Value,
    tokens: Value,
    capacity_factor: Value | None = None,
    popularity: Sequence[float] | None = None,
) -> tuple[Value, Value]:
    """Experts that compute, and mean rows of each.

    Without a capacity factor nothing is dropped or padded: rows x experts = tokens x top_k.  With one, every
    expert computes ``ceil(factor x tokens x top_k / experts)`` rows, filled or not [2].
    """
    if capacity_factor is not None:
        return experts, ceil(capacity_factor * tokens * top_k / experts)
    touched = distinct_experts(experts, top_k, tokens, popularity)
    return touched, tokens * top_k / touched


def destinations(groups: Value, picks: Value, limit: Value | None = None) -> Value:
    """Expected distinct groups (devices, nodes) that one token is sent to.

    groups  equal groups that hold the experts; picks: experts a token picks
    limit   most groups that routing allows (node-limited routing [3]); None: no limit

    ``G (1 - (1 - 1/G)^picks)`` with G the groups that may be chosen.
    """
    choice = groups if limit is None else minimum(groups, limit)
    return choice * (1.0 - (1.0 - 1.0 / choice) ** picks)


@operator
def router_topk(rows: Value, width: Value, picks: Value, *, name: str = "") -> Op:
    """Softmax or sigmoid scores of rows x width and the `picks` largest of each row.

    Vector operations: 4 per element for the scores, one comparison per element and pick.
    """
    loops = {"r": rows, "d": width, "k": picks}
    tensors = (
        Tensor("x", ("r", "d")),
        Tensor("index", ("r", "k"), kind="index", output=True),
        Tensor("w", ("r", "k"), output=True),
    )
    work = (Work("vector", rows * width * (4.0 + picks)), Work("special", 1.0 * rows * width))
    return Op("router_topk", loops, tensors, work, name)


@operator
def permute(tokens: Value, copies: Value, width: Value, *, name: str = "") -> Op:
    """Each of `tokens` rows copied to `copies` places by expert: reads t d, writes t c d elements."""
    loops = {"t": tokens, "c": copies, "d": width}
    tensors = (
        Tensor("x", ("t", "d")),
        Tensor("index", ("t", "c"), kind="index"),
        Tensor("y", ("t", "c", "d"), output=True),
    )
    return Op("permute", loops, tensors, (), name)


@operator
def combine(tokens: Value, copies: Value, width: Value, *, name: str = "") -> Op:
    """Weighted sum of `copies` expert outputs per token: reads t c d, writes t d, 2 t c d operations."""
    loops = {"t": tokens, "c": copies, "d": width}
    tensors = (
        Tensor("x", ("t", "c", "d")),
        Tensor("w", ("t", "c")),
        Tensor("y", ("t", "d"), output=True),
    )
    return Op("combine", loops, tensors, (Work("vector", 2.0 * tokens * copies * width),), name)
