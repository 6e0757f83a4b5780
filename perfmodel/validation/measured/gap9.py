"""Cycle counts of small networks on GAP9 (a simulation): a start, and the work of their layers by kind.

Each network is predicted from the others.  Networks whose layers are not known here are predicted from the
multiply-accumulates that the table states, as are all others for that purpose.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from perfmodel.validation.measured.gap9_networks import KINDS, NETWORKS
from perfmodel.validation.measured.left_out import one_left_out
from perfmodel.validation.measured.statistics import errors
from perfmodel.validation.measured.tables import Table

NAME = "gap9"
COLUMNS = {"network", "cycles", "macs"}
#: least networks with known layers for a constant per kind of work
FEWEST = 8


def recognises(header: frozenset[str]) -> bool:
    """True for tables of networks with cycles and multiply-accumulates."""
    return header >= COLUMNS


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Errors over all networks."""
    names, macs, cycles = table.texts("network"), table.numbers("macs"), table.numbers("cycles")
    found = np.stack(one_left_out({"start": np.ones(len(macs)), "operations": macs}, cycles))
    known = np.array([str(name) in NETWORKS for name in names])
    if known.sum() >= FEWEST:
        amounts = {kind: np.array([NETWORKS[str(name)][kind] for name in names[known]]) for kind in KINDS}
        work = {"start": np.ones(int(known.sum())), **amounts}
        found[:, known] = np.stack(one_left_out(work, cycles[known]))
    total = errors(found[0], cycles, found[1], found[2])
    return {
        "fidelity": "calibrated",
        "split": "one network left out",
        "summary": total,
        "groups": [{"device": "GAP9", **total}],
    }
