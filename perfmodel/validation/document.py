"""Page of all published cases: what is predicted, holds, misses and why (``docs/validation.md``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from perfmodel.scenario.corrections import calibration
from perfmodel.validation.cases import GATES, Outcome, Published, published
from perfmodel.validation.report import Validation

#: paper -> why rows of it that are gated have no prediction
OPEN: Mapping[str, str] = {
    "S020": "needs measurements of the search space on that GPU",
    "S048": "two detectors searched for that chip have no description yet",
    "S050": "needs the latency tables of devices that are kept apart",
    "S059": "one hybrid model has no description yet",
    "S066": "what the reduction of memory is measured against is not printed",
    "S078": "the configuration of the ablations is not printed",
    "S082": "F1 scores come from a Monte-Carlo of measured trigger curves; they are inputs here",
    "S084": "the energy of the other parts of the SoC is not printed",
    "S088": "8-bit rows: one network per device leaves no constant to take from another",
    "S090": "the accepted length of the drafts is not printed",
    "S111": "stages of one kernel's development: software, not hardware",
    "S116": "the rates of the vector DSP have no description yet",
}

HEAD = """# Published numbers beside predictions

Written by `python -m perfmodel.validation.document`; `perfmodel validate` prints every case.

A row of `perfmodel/validation/published.csv` is one number printed by a paper or stored in its authors'
repository.  Its gate says what a prediction has to meet: the printed digits (exact), a stated tolerance, the
order inside a group, a side of a bound, or a band.  Rows with the gate `report` never fail.

Fidelity `count` involves no time; `roofline` and `dataflow` know the datasheet alone; `calibrated` uses
constants from **other** rows of the same device (never the row itself), from shipped kernel calibrations, or,
for S009 only, from runtime profiles that were fitted to the data set these rows belong to.
"""


def page(validation: Validation) -> str:
    """The page as Markdown."""
    outcomes = {o.published.case: o for o in validation.outcomes}
    gated = [row for row in published().values() if row.gate != "report"]
    sections = {
        "By gate": _by_gate(gated, outcomes), "By fidelity": _by_fidelity(outcomes),
        "Without calibration": _bare(), "By paper": _by_paper(gated, outcomes), "Misses": _misses(outcomes),
        "Rows without a prediction": _open(gated, outcomes),
    }
    parts = [HEAD]
    for title, lines in sections.items():
        parts += [f"## {title}\n", *lines, ""]
    return "\n".join(parts)


def _by_gate(gated: Sequence[Published], outcomes: Mapping[str, Outcome]) -> list[str]:
    lines = ["| gate | rows | predicted | within | missed |", "|---|---|---|---|---|"]
    for gate in [g for g in GATES if g != "report"] + ["all"]:
        rows = [row for row in gated if gate in (row.gate, "all")]
        lines.append(_counts(gate, rows, outcomes))
    return lines


def _counts(label: str, rows: Sequence[Published], outcomes: Mapping[str, Outcome]) -> str:
    found = [outcomes[row.case] for row in rows if row.case in outcomes]
    within = sum(o.within for o in found)
    share = f"{100 * within / len(rows):.0f} %" if rows else "-"
    return f"| {label} | {len(rows)} | {len(found)} | {within} ({share}) | {len(found) - within} |"


def _by_fidelity(outcomes: Mapping[str, Outcome]) -> list[str]:
    lines = ["| fidelity | predicted | within | mean error | median error |", "|---|---|---|---|---|"]
    for fidelity in ("count", "roofline", "dataflow", "calibrated"):
        found = [o for o in outcomes.values() if o.fidelity == fidelity and o.published.gate != "report"]
        errors = np.array([abs(o.error) for o in found if o.measured])
        if len(errors):
            lines.append(
                f"| {fidelity} | {len(found)} | {sum(o.within for o in found)} | {100 * errors.mean():.1f} % "
                f"| {100 * np.median(errors):.1f} % |"
            )
    return lines


def _bare() -> list[str]:
    """Latencies of S009 as bounds, beside the calibrated ones."""
    from perfmodel.validation.papers.s009_llm_inference_bench import predicted

    rows = [row for row in published().values() if row.case.startswith("S009-LAT")]
    lines = ["| S009 end-to-end latency | rows | mean error | bias |", "|---|---|---|---|"]
    for fidelity in ("roofline", "calibrated"):
        errors = np.array([predicted(row.case, fidelity)["latency"] / row.value - 1.0 for row in rows])
        size, bias = 100 * np.abs(errors).mean(), 100 * errors.mean()
        lines.append(f"| {fidelity} | {len(rows)} | {size:.1f} % | {bias:+.1f} % |")
    for name, label in (("unseen_model_path", "models"), ("unseen_device", "devices")):
        score = ((calibration().fit or {}).get("batch") or {}).get(name, {}).get("latency_dense")
        if score:
            numbers = f"| {score['n']} | {score['mape']} % | {score['bias']:+} % |"
            lines.append(f"| fit without the {label} it is asked for, whole data set {numbers}")
    return lines


def _by_paper(gated: Sequence[Published], outcomes: Mapping[str, Outcome]) -> list[str]:
    lines = ["| paper | title | rows | predicted | within | missed |", "|---|---|---|---|---|---|"]
    for paper in dict.fromkeys(row.paper for row in gated):
        rows = [row for row in gated if row.paper == paper]
        cells = _counts(paper, rows, outcomes).split("|")
        lines.append("|".join([*cells[:2], f" {rows[0].title.strip()} ", *cells[2:]]))
    return lines


def _misses(outcomes: Mapping[str, Outcome]) -> list[str]:
    lines = ["| case | quantity | predicted | published | unit | error | allowed | why |",
             "|---|---|---|---|---|---|---|---|"]
    for o in outcomes.values():
        row = o.published
        if row.gate == "report" or o.within:
            continue
        allowed = row.gate if row.rel_tol is None else f"{100 * row.rel_tol:.3g} %"
        lines.append(
            f"| {row.case} | {row.quantity}, {row.workload} | {o.predicted:.4g} | {row.value:.6g} "
            f"| {row.unit} | {100 * o.error:+.0f} % | {allowed} | {o.reason or o.problem} |"
        )
    return lines


def _open(gated: Sequence[Published], outcomes: Mapping[str, Outcome]) -> list[str]:
    left: dict[str, list[str]] = {}
    for row in gated:
        if row.case not in outcomes:
            left.setdefault(row.paper, []).append(row.case)
    lines = ["| paper | rows | why |", "|---|---|---|"]
    lines += [f"| {paper} | {len(cases)} | {OPEN.get(paper, '')} |" for paper, cases in left.items()]
    return lines


def main() -> None:
    """Write ``docs/validation.md`` beside the package."""
    from pathlib import Path

    from perfmodel.validation.cases import validate

    target = Path(__file__).parents[2] / "docs" / "validation.md"
    target.write_text(page(validate()), encoding="utf-8")


if __name__ == "__main__":
    main()
