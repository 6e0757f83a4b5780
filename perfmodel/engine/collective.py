"""Collectives: alpha-beta cost of a message among the members of a group.

References
[1] Thakur, Rabenseifner, Gropp, Optimization of Collective Communication Operations in MPICH,
    IJHPCA 19(1), 2005, doi:10.1177/1094342005051521.
[2] Patarasuk, Yuan, Bandwidth optimal all-reduce algorithms, JPDC 69(2), 2009,
    doi:10.1016/j.jpdc.2008.09.002.
[3] Jia et al., Highly Scalable Deep Learning Training System with Mixed-Precision, arXiv:1807.11205,
    section 3.3 (hierarchical all-reduce).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from perfmodel.algebra import Value, log2, maximum, minimum
from perfmodel.errors import UnknownNameError

#: Part of the message that each member sends, as a function of the group size [1, 2].
VOLUME: Mapping[str, Callable[[Value], Value]] = {
    "all_reduce": lambda n: 2.0 * (n - 1.0) / n,
    "all_gather": lambda n: (n - 1.0) / n,
    "reduce_scatter": lambda n: (n - 1.0) / n,
    "all_to_all": lambda n: (n - 1.0) / n,
    "broadcast": lambda n: (n - 1.0) / n,
    "point_to_point": lambda n: minimum(n - 1.0, 1.0),
}

#: Steps one after the other on a ring, and on a switch where the distance can double in every step [1].
RING_STEPS: Mapping[str, Callable[[Value], Value]] = {
    "all_reduce": lambda n: 2.0 * (n - 1.0),
    "all_gather": lambda n: n - 1.0,
    "reduce_scatter": lambda n: n - 1.0,
    "all_to_all": lambda n: n - 1.0,
    "broadcast": lambda n: n - 1.0,
    "point_to_point": lambda n: minimum(n - 1.0, 1.0),
}
SWITCH_STEPS: Mapping[str, Callable[[Value], Value]] = {
    "all_reduce": lambda n: 2.0 * log2(n),
    "all_gather": log2,
    "reduce_scatter": log2,
    "all_to_all": lambda n: (n - 1.0) / n,  # all pairs at once: one step, none for a group of one
    "broadcast": log2,
    "point_to_point": lambda n: minimum(n - 1.0, 1.0),
}


def sent_bytes(pattern: str, size: Value, members: Value) -> Value:
    """Bytes that each member sends [B].

    pattern  all_reduce, all_gather, reduce_scatter, all_to_all, broadcast or point_to_point
    size     full tensor [B]; members  group size
    """
    return _find(VOLUME, pattern)(members) * size


def steps(pattern: str, members: Value, topology: str = "switch") -> Value:
    """Message steps one after the other; each costs the latency of the link."""
    table = RING_STEPS if topology in ("ring", "torus", "mesh") else SWITCH_STEPS
    return _find(table, pattern)(members)


def collective_time(
    pattern: str, size: Value, members: Value, bandwidth: Value, latency: Value, topology: str = "switch"
) -> Value:
    """Time of a collective [s]: ``steps x latency + bytes sent / bandwidth``.

    size [B], bandwidth per member and direction [B/s], latency of one step [s].
    """
    return steps(pattern, members, topology) * latency + sent_bytes(pattern, size, members) / bandwidth


def by_level(
    pattern: str, size: Value, members: Value, reach: Sequence[Value | None], crossing: Value | None = None
) -> list[tuple[Value, Value]]:
    """Group and message [B] of a collective on each of several links, the nearest first [3].

    reach     members that each link joins, those of the links before included; None: all
    crossing  bytes that a member sends beyond the nearest link in an all-to-all, if not the even share

    A reduction or a gathering runs among the near members, then among the groups with what one member of a
    group holds: ``size / inside``.  All-to-all sends ``joined - inside`` of `members` parts over a link.
    A message between two devices takes the first link that joins them.
    """
    parts: list[tuple[Value, Value]] = []
    inside: Value = 1.0
    for limit in reach:
        joined = members if limit is None else minimum(members, limit)
        group = joined / inside
        message = size * joined / members if pattern == "all_to_all" else size / inside
        if crossing is not None and parts:
            message = crossing * group / maximum(group - 1.0, 1.0)
        if pattern == "point_to_point":
            group, message = 1.0 + minimum(group - 1.0, 1.0) * maximum(2.0 - inside, 0.0), size
        parts.append((group, message))
        inside = joined
    return parts


def _find(table: Mapping[str, Callable[[Value], Value]], pattern: str) -> Callable[[Value], Value]:
    if pattern not in table:
        raise UnknownNameError("collective", pattern, table)
    return table[pattern]
