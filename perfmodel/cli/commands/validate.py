"""Predictions beside published numbers, or the score on a file of measurements.

perfmodel validate                       every case
perfmodel validate S110 --json           the cases of one paper
perfmodel validate --data FILE.csv       errors by group on measurements with the columns of a known data set
"""

from __future__ import annotations

import argparse
from pathlib import Path

from perfmodel.cli import common
from perfmodel.errors import ArgumentError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("names", nargs="*", help="cases, groups or papers (default: all)")
    parser.add_argument("--data", metavar="PATH", help="CSV file of measurements (.csv or .csv.gz)")
    parser.add_argument(
        "--fidelity", default=None, help="score this fidelity only: roofline, dataflow or calibrated"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("-o", "--output-file", metavar="FILE", default=None, help="also write .csv or .json")


def run(args: argparse.Namespace) -> int:
    """Print the table and the summary; exit code 1 if a case fails."""
    from perfmodel.report.files import check_target, write_atomic
    from perfmodel.report.tables import scores_table, validation_table
    from perfmodel.validation.cases import validate

    file = None if args.output_file is None else check_target(args.output_file, (".csv", ".json"))
    if args.data is not None and not Path(args.data).is_file():
        raise ArgumentError("data", args.data, "the path of an existing file")
    with common.Progress("validate") as progress:
        found = validate(args.names or None, data=args.data, fidelity=args.fidelity, progress=progress)
    if file is not None and file.suffix.lower() == ".csv":
        table = scores_table(found.scores) if found.scores else validation_table(found)
        write_atomic(file, table.to_csv())
    elif file is not None:
        write_atomic(file, common.as_json(found.to_dict()))
    if args.json:
        common.emit_json(found.to_dict())
    else:
        common.emit(repr(found))
    return 0 if found.passed else 1
