"""Vidur tables of collectives: time by node type, members and message size.

    t = a + b bytes + c sqrt(bytes), for each size of group

``calibrated`` predicts message sizes from those of other octaves; ``roofline`` is the link of the described
node alone, within one node.
Agrawal et al., arXiv:2405.05465.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from perfmodel.engine.collective import collective_time
from perfmodel.engine.rates import link_of
from perfmodel.hardware.catalog import system
from perfmodel.validation.measured.left_out import groups_left_out
from perfmodel.validation.measured.statistics import averaged, errors
from perfmodel.validation.measured.tables import Table

NAME = "node_collectives"
COLUMNS = {"node", "op", "num_gpus", "gpus_per_node_used", "message_bytes", "latency_us"}
PATTERNS = {"all_reduce": "all_reduce", "send_recv": "point_to_point"}
#: an octave of message sizes in this many is left out at a time
FOLDS = 3
#: node type -> described system
NODES = {"a100_dgx": "dgx-a100", "h100_dgx": "dgx-h100"}


def recognises(header: frozenset[str]) -> bool:
    """True for tables of collectives by node type."""
    return header >= COLUMNS


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Errors by node type and operation."""
    nodes, operations = table.texts("node"), table.texts("op")
    groups = []
    for node in np.unique(nodes):
        for operation in np.unique(operations[nodes == node]):
            rows = np.flatnonzero((nodes == node) & (operations == operation))
            if str(operation) in PATTERNS:
                found = (_bound if fidelity in ("roofline", "dataflow") else _left_out)(
                    table, rows, str(node), str(operation)
                )
                if found is not None:
                    groups.append({"node": str(node), "op": str(operation), **found})
    return {
        "fidelity": fidelity or "calibrated",
        "split": "octaves of message size left out",
        "summary": averaged(groups) if groups else {"n": 0},
        "groups": groups,
    }


def _members(table: Table, rows: Any) -> tuple[Any, Any, Any, Any]:
    members, inside = table.numbers("num_gpus")[rows], table.numbers("gpus_per_node_used")[rows]
    return members, inside, table.numbers("message_bytes")[rows], table.numbers("latency_us")[rows] * 1e-6


def _left_out(table: Table, rows: Any, node: str, operation: str) -> dict[str, Any] | None:
    members, inside, size, seconds = _members(table, rows)
    out = np.full((3, len(rows)), np.nan)
    for kind in np.unique(members * 1000 + inside):
        mine = np.flatnonzero(members * 1000 + inside == kind)
        labels = np.floor(np.log2(size[mine])) % FOLDS
        if len(np.unique(labels)) > 1:
            # a message in flight fills a pipe whose depth grows with it
            features = {"start": np.ones(len(mine)), "bytes": size[mine], "ramp": np.sqrt(size[mine])}
            out[:, mine] = groups_left_out(features, seconds[mine], labels)
    known = np.isfinite(out[0])
    return errors(out[0, known], seconds[known], out[1, known], out[2, known]) if np.any(known) else None


def _bound(table: Table, rows: Any, node: str, operation: str) -> dict[str, Any] | None:
    members, inside, size, seconds = _members(table, rows)
    here = members == inside
    if node not in NODES or not np.any(here):
        return None
    _, link = link_of(system(NODES[node]))
    guess = collective_time(
        PATTERNS[operation], size[here], members[here], link.bandwidth, link.latency, link.topology
    )
    return errors(guess, seconds[here])
