"""S007: Chen et al., Sequoia: Scalable, Robust, and Hardware-aware Speculative Decoding, arXiv:2402.12374.

Acceptance by rank: ``data/sequoia_acceptance.csv``, from the demo configuration of the authors' repository.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

from perfmodel.scenario.speculative import best_tree, tree_tokens
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
