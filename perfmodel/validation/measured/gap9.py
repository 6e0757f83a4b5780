"""Cycle counts of small networks on GAP9 (a simulation): a start, and multiply-accumulates.

The networks are known by their operations alone; each is predicted from the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from perfmodel.validation.measured.left_out import one_left_out
from perfmodel.validation.measured.statistics import errors
from perfmodel.validation.measured.tables import Table

NAME = "gap9"
#: multiply-accumulates per cycle of eight cores and of the NE16 engine, hardware_specs/gap9.yaml
COLUMNS = {"network", "cycles", "macs"}


def recognises(header: frozenset[str]) -> bool:
    """True for tables of networks with cycles and multiply-accumulates."""
    return header >= COLUMNS


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Errors over all networks."""
    macs, cycles = table.numbers("macs"), table.numbers("cycles")
    guess, low, high = one_left_out({"start": np.ones(len(macs)), "operations": macs}, cycles)
    found = errors(guess, cycles, low, high)
    return {
        "fidelity": "calibrated",
        "split": "one network left out",
        "summary": found,
        "groups": [{"device": "GAP9", **found}],
    }
