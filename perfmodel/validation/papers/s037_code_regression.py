"""S037: Akhauri et al., Regression Language Models for Code, arXiv:2509.26476: its search spaces."""

from __future__ import annotations

from perfmodel.validation.cases import predicts
from perfmodel.workload.nets.nas import CELL_EDGES, CELL_OPERATIONS


@predicts("S037-SPACE-01", fidelity="count")
def cells() -> float:
    """Cells of NAS-Bench-201: an operation for each edge."""
    return float(len(CELL_OPERATIONS) ** len(CELL_EDGES))
