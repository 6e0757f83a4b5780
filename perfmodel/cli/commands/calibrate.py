"""Fit the corrections of a device to measured times, and write it as a new device.

perfmodel calibrate FILE.csv --on h100-sxm5 -o my-h100.yaml      sizes of operators or workloads, latency_us
perfmodel calibrate FILE.csv --on h100-sxm5 --plan 10            rows to measure first (FILE needs no times)
"""

from __future__ import annotations

import argparse
from typing import Any

from perfmodel.cli import common
from perfmodel.errors import ArgumentError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("measurements", help="CSV file: sizes and latency_us, latency_ms or latency_s")
    parser.add_argument("--on", required=True, metavar="DEVICE", help="device: a shipped name or a YAML file")
    parser.add_argument("--family", default=None, help="kernel family of the table, or roofline")
    parser.add_argument(
        "--fix",
        type=common.assignment,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="keep a correction, e.g. launch=1; repeatable",
    )
    parser.add_argument(
        "--plan", type=int, default=None, metavar="K", help="only say which K rows to measure"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("-o", "--output-file", metavar="FILE", default=None, help="write the device as YAML")


def run(args: argparse.Namespace) -> int:
    """Fit, print what was found, write the file."""
    from perfmodel.explore.calibrate import calibrate, calibration_plan, document
    from perfmodel.hardware.catalog import device, devices
    from perfmodel.report.files import check_target, write_atomic

    file = None if args.output_file is None else check_target(args.output_file, (".yaml", ".yml"))
    if args.plan is not None:
        return _plan(args, calibration_plan(device(args.on), args.measurements, args.plan))
    name = device(args.on).device if file is None else file.stem
    found = calibrate(args.on, args.measurements, family=args.family, fixed=_fixed(args.fix), name=name)
    if file is not None:
        write_atomic(file, document(found, args.on if args.on in devices() else ""))
    if args.json:
        common.emit_json({"device": found.device, "achieved": found.achieved})
    else:
        common.emit(text(found.device, found.achieved))
    return 0


def _fixed(pairs: list[tuple[str, str]]) -> dict[str, float]:
    try:
        return {name: float(value) for name, value in pairs}
    except ValueError as error:
        raise ArgumentError("fix", str(error), "NAME=NUMBER") from None


def _plan(args: argparse.Namespace, rows: Any) -> int:
    from perfmodel.explore.measurements import read_columns

    columns = read_columns(args.measurements)
    listed = [{"row": int(i) + 1, **{name: values[i] for name, values in columns.items()}} for i in rows]
    if args.json:
        common.emit_json({"rows": listed})
        return 0
    common.emit("rows to measure, most telling first:")
    for row in listed:
        common.emit("  " + ", ".join(f"{key} {value}" for key, value in row.items()))
    return 0


def text(name: str, achieved: Any) -> str:
    """What was fitted, for people."""
    lines = [f"{name}: {achieved['rows']} rows of {achieved['data']}, {achieved['parameters']} corrections"]
    for key, value in achieved.get("corrections", {}).items():
        lines.append(f"  {key}: {value:.3g}")
    for part, words in (("in_sample", "error on the rows"), ("held_out", f"left out ({achieved['split']})")):
        if part in achieved:
            lines.append(
                f"{words}: mean {100 * achieved[part]['mape']:.1f} %, "
                f"bias {100 * achieved[part]['bias']:+.1f} %{_ranks(achieved[part])}"
            )
    if "spread" in achieved:
        lines.append(
            "80 % of the rows left out lie within {:.2f} to {:.2f} of the prediction".format(
                *achieved["spread"]
            )
        )
    lines += [f"warning: {end}, a bound of the fit" for end in achieved.get("at_bounds", ())]
    return "\n".join(lines)


def _ranks(errors: Any) -> str:
    named = [f"{name.capitalize()} {errors[name]:.3f}" for name in ("spearman", "kendall") if name in errors]
    return ", " + ", ".join(named) if named else ""
