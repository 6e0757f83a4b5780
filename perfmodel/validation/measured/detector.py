"""CMS data acquisition: power and relevant samples per energy of the scenarios, by their names.

[1] Olin-Ammentorp et al., Modeling Performance of Data Collection Systems for High-Energy Physics;
    configuration sheets of the authors' repository (BSD).
"""

from __future__ import annotations

import re
from typing import Any

from perfmodel.validation.measured.rows import each, scored
from perfmodel.validation.measured.tables import Table

NAME = "cms_daq"
COLUMNS = {"scenario", "total_power_W", "f1", "relevant_samples_per_J"}
#: part of the inner tracker's data that smart pixels leave
SMART = 0.46


def recognises(header: frozenset[str]) -> bool:
    """True for scenarios with their power."""
    return header >= COLUMNS


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Errors of power and of samples per energy; the F1 score of the classifiers is an input."""
    from perfmodel.scenario.flowgraph import Flow, flow, flow_power, productivity, technology_gain
    from perfmodel.validation.papers import s082_daq as daq

    names, quality = table.texts("scenario"), table.numbers("f1")

    def state(i: int) -> tuple[float, Flow]:
        text = names[i].lower()
        ratio = re.search(r"ratio (\d+(?:\.\d+)?)", text)
        sizes = daq._RUN3 if "run-3" in text else daq._RUN5
        smart = SMART if "pixel" in text or "smart" in text else 1.0
        system = flow(daq._system(sizes, float(ratio[1]) if ratio else 53.3, "gpu" in text, smart))
        return float(flow_power(system) / technology_gain(10.0)), system["high"]

    def samples(i: int) -> float:
        watts, high = state(i)
        return float(productivity(quality[i], high.leaving, watts))

    metrics = {
        "power": (each(len(names), lambda i: state(i)[0]), table.numbers("total_power_W")),
        "samples_per_energy": (each(len(names), samples), table.numbers("relevant_samples_per_J")),
    }
    return scored(metrics, {"set": ["scenarios"] * len(names)}, "count")
