"""Validation: outcomes of cases or scores of measurements, as numbers for people and for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from perfmodel.validation.cases import Outcome


@dataclass(frozen=True)
class Validation:
    """What ``pm.validate`` returns.

    outcomes  predictions beside published numbers
    scores    ``{"summary": ..., "groups": [...]}`` of a file of measurements
    """

    outcomes: Sequence[Outcome] = ()
    scores: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """No case failed without a written reason."""
        return all(outcome.status != "FAIL" for outcome in self.outcomes)

    def summary(self) -> Mapping[str, Any]:
        """Number of cases, share within tolerance, and error statistics."""
        if self.scores:
            return dict(self.scores["summary"])
        errors = np.array([abs(o.error) for o in self.outcomes if o.measured])
        gated = [o for o in self.outcomes if o.published.gate != "report"]
        counts = {s: sum(o.status == s for o in self.outcomes) for s in ("pass", "miss", "FAIL", "report")}
        return {
            "n": len(self.outcomes), **counts,
            "within_tolerance": sum(o.within for o in gated) / len(gated) if gated else 1.0,
            "mean_error": float(errors.mean()) if errors.size else 0.0,
            "median_error": float(np.median(errors)) if errors.size else 0.0,
            "max_error": float(errors.max()) if errors.size else 0.0,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and texts for JSON."""
        if self.scores:
            return dict(self.scores)
        cases = [
            {
                "case": o.published.case, "group": o.published.group, "quantity": o.published.quantity,
                "predicted": o.predicted if np.isfinite(o.predicted) else None,
                "published": o.published.value,
                "unit": o.published.unit, "error": o.error if np.isfinite(o.predicted) else None,
                "rel_tol": o.published.rel_tol, "abs_tol": o.published.abs_tol, "gate": o.published.gate,
                "status": o.status, "fidelity": o.fidelity, "reason": o.reason or o.problem,
                "source": o.published.source, "evidence": o.published.evidence,
            }
            for o in self.outcomes
        ]
        return {"summary": self.summary(), "cases": cases}

    def __repr__(self) -> str:
        from perfmodel.report.tables import validation_text

        return validation_text(self)
