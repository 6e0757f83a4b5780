"""S113: Huang et al., New Solutions on LLM Acceleration, Optimization, and Application, arXiv:2406.10903."""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts


@predicts({"S113-T1-01": "bert-base", "S113-T1-02": "distilbert"}, fidelity="count",
          reason={"S113-T1-02": "66.4 million, which the table rounds up"})
def parameters(name: str) -> float:
    """Parameters of the models that its method is compared with."""
    return float(pm.workload(name).parameters)
