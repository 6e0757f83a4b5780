"""Exchange of expert parallelism: how long tokens travel to their experts and back, and what it bounds.

References
[1] Zhao et al., Insights into DeepSeek-V3, ISCA 2025, arXiv:2505.09343, sections 2.3.2 and 4.3.
[2] DeepSeek-AI, DeepEP, github.com/deepseek-ai/DeepEP (counts copies by node, its own node included).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from perfmodel.algebra import Value, maximum, minimum
from perfmodel.errors import ArgumentError
from perfmodel.ops.moe import destinations


def exchange_time(
    tokens: Value, width: Value, destinations: Value, bandwidth: Value, dispatch: Value = 1.0,
    combine: Value = 2.0,
) -> Value:
    """Time to send tokens to their experts and the results back [s] [1]: ``(b_d + b_c) B dest d / BW``.

    tokens             per device; width of a token [elements]
    destinations       experts that a token goes to, shared ones included, one per device
    dispatch, combine  bytes of an element on the way there and back [B]
    """
    return (dispatch + combine) * tokens * destinations * width / bandwidth


def decode_bound(exchange: Value, layers: Value, micro_batches: Value = 2.0) -> Value:
    """Least time per output token [s] [1]: each of two micro-batches hides its work behind the other's
    exchange, so a layer takes ``2 T`` and a token ``2 L T``.
    """
    return micro_batches * layers * exchange


@dataclass(frozen=True)
class Route:
    """Copies of one token in an all-to-all over nodes of several devices.

    copies   nodes that get the token, its own included
    network  copies that cross the network
    local    devices that get it over the links inside the nodes
    """

    copies: Value
    network: Value
    local: Value


def node_limited(chosen: Value, nodes: Value, per_node: Value, limit: Value) -> Route:
    """Copies under node-limited routing [1]: experts sit on at most `limit` of the nodes.

    chosen experts per token spread evenly over the M = min(limit, nodes) nodes; one copy crosses the network
    for each node but the own one (met with probability M/nodes), the rest is forwarded inside the nodes.
    """
    copies = minimum(limit, nodes)
    return Route(copies, copies * (1.0 - 1.0 / nodes), copies * destinations(per_node, chosen / copies))


def dispatch_bandwidth(route: Route, network: Value, inside: Value) -> Value:
    """Logical rate of a dispatch per device [B/s] [2]: bytes of all node copies over the slower link.

    network, inside  bandwidth per device between and inside nodes [B/s]
    """
    return route.copies / maximum(route.network / network, route.local / inside)


def busiest(chosen: int, experts: int, groups: int) -> float:
    """Expected number of chosen experts on the group of devices that holds most of them.

    `chosen` different experts, uniform among `experts` that are spread evenly over `groups`; with n experts
    per group ``P(max <= m) = [x^k] (sum_{j <= m} C(n, j) x^j)^g / C(E, k)``.
    """
    each = experts // groups
    if each * groups != experts or not 1 <= chosen <= experts:
        raise ArgumentError("experts, groups", f"{experts}, {groups}", "groups that divide the experts")
    below, expected = 0.0, 0.0
    for most in range(1, chosen + 1):
        one = np.array([float(comb(each, j)) for j in range(most + 1)])
        ways = np.polynomial.polynomial.polypow(one, groups)
        share = float(ways[chosen]) / comb(experts, chosen) if len(ways) > chosen else 0.0
        expected += most * (share - below)
        below = share
    return expected
