"""The best point of a space under constraints; every combination is evaluated.

perfmodel search llama-3.1-70b --on h100-sxm5:8,h200-sxm:8 --precision bf16,fp8 --tp 2,4,8 --batch 1:256:256
    --objective throughput --where "ttft <= 2 s" --where "tpot <= 30 ms"
"""

from __future__ import annotations

import argparse

from perfmodel.cli import common
from perfmodel.cli.commands import sweep as space


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    space.add_space(parser)
    parser.add_argument("--objective", default="throughput", help="metric to make best (default throughput)")
    parser.add_argument(
        "--where", action="append", default=[], metavar="RULE", help="'ttft <= 200 ms'; repeatable"
    )
    parser.add_argument("--top", type=int, default=10, help="points to show (default 10)")
    common.add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Search, print the best points; exit code 1 if none keeps the constraints."""
    from perfmodel.arguments import whole
    from perfmodel.explore.search import search

    file = common.target(args)
    top = int(whole("top", args.top))
    scenario, models, systems, question = space.question(args)
    with common.Progress("search") as progress:
        best = search(
            scenario,
            models,
            systems,
            objective=args.objective,
            where=args.where,
            progress=progress,
            **question,
        )
    if file is not None:
        common.write_table(best.table(len(best.order)), file)
    table = best.table(top)
    if args.json:
        common.emit_json(
            {
                "objective": best.objective,
                "value": best.value,
                "point": best.point,
                "best": table.to_dict()["rows"],
            }
        )
    else:
        common.emit_table(table)
    return 0
