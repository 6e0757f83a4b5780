"""Page of all reference papers: what expresses each, its cases, how close they are (``docs/papers.md``)."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from perfmodel.validation.cases import Outcome, published, validate

HEAD = """# What each reference paper needs, what expresses it, and how close it is

Written by `python -m perfmodel.validation.papers_page` from `perfmodel/validation/offers.csv` and the
published cases.  *Expressed by* names workload families (keys of a workload file), files of `workloads/`,
operators (`pm.op.*`), transforms (`pm.transform.*`) and rules of `perfmodel/scenario`, `perfmodel/engine`,
`perfmodel/explore`.  *Rows* are numbers of the paper, its authors' repository or another first-hand source:
predicted of all.  *Close*: rows inside their tolerance of those that have one, and the median error of all
predicted ones; [validation](validation.md) has every row.  *Not said* is what no description here says, or
why a paper has no row or no prediction.
"""


def offers() -> Sequence[Mapping[str, str]]:
    """One row per paper: id, title, scope (in, partial, out), what expresses it, what is not said."""
    with Path(__file__).with_name("offers.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def page(outcomes: Sequence[Outcome]) -> str:
    """The page as Markdown."""
    found: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.published.paper, []).append(outcome)
    asked = [row for row in offers() if row["scope"] != "out"]
    lines = [HEAD, _summary(asked, found), "", "| id | paper | expressed by | rows | close | not said |",
             "|---|---|---|---|---|---|"]
    lines += [_line(row, found.get(row["id"], [])) for row in asked]
    lines += ["", "## Without a quantity to predict", ""]
    lines += [f"- {row['id']} {row['title']}: {row['note']}" for row in offers() if row["scope"] == "out"]
    return "\n".join(lines) + "\n"


def _summary(asked: Sequence[Mapping[str, str]], found: Mapping[str, Sequence[Outcome]]) -> str:
    """How many papers have a case, and how many rows are predicted."""
    covered = sum(row["id"] in found for row in asked)
    rows = sum(len(outcomes) for outcomes in found.values())
    return (
        f"Of {len(asked)} papers with something to predict {covered} have a case that `perfmodel validate` "
        f"runs; {rows} of {len(published())} published rows are predicted."
    )


def _line(row: Mapping[str, str], outcomes: Sequence[Outcome]) -> str:
    total = sum(number.paper == row["id"] for number in published().values())
    rows = f"{len(outcomes)} of {total}" if total else "-"
    cells = (row["id"], row["title"], row["offer"], rows, _closeness(outcomes), row["note"])
    return f"| {' | '.join(cells)} |"


def _closeness(outcomes: Sequence[Outcome]) -> str:
    """Rows inside their tolerance, and the median error."""
    if not outcomes:
        return "-"
    gated = [o for o in outcomes if o.limited or o.published.gate != "report"]
    errors = [abs(o.error) for o in outcomes if o.measured]
    parts = [f"{sum(o.within for o in gated)} of {len(gated)}"] if gated else []
    if errors:
        parts.append(f"{100.0 * float(np.median(errors)):.2g} %")
    return ", ".join(parts)


def main() -> None:
    """Write ``docs/papers.md`` beside the package."""
    target = Path(__file__).parents[2] / "docs" / "papers.md"
    target.write_text(page(validate().outcomes), encoding="utf-8")


if __name__ == "__main__":
    main()
