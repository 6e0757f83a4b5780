"""Describe the machine this runs on by measuring it, and write the description.

perfmodel probe -o mine.yaml            about 20 seconds; numpy and what the system says
perfmodel probe --check                 times real PyTorch forward passes beside the prediction
perfmodel probe --check --rows all.csv  adds them, with date and machine, to a table
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from perfmodel.cli import common
from perfmodel.errors import ArgumentError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--name", default="", help="name of the device (default: that of the file, or this-machine)"
    )
    parser.add_argument(
        "--budget", type=float, default=20.0, metavar="S", help="seconds of measuring (default 20)"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="with PyTorch: micro-kernels, then ResNet-50, BERT and GPT-2 passes beside the prediction",
    )
    parser.add_argument("--rows", metavar="FILE", default=None, help="with --check: table (.csv) to add to")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("-o", "--output-file", metavar="FILE", default=None, help="write the device as YAML")


def run(args: argparse.Namespace) -> int:
    """Measure, print the description, write it; exit code 1 if a check is off by more than a fifth."""
    from perfmodel.explore.probe import busy, load, probe
    from perfmodel.report.files import check_target, write_atomic
    from perfmodel.spec import dump

    file = None if args.output_file is None else check_target(args.output_file, (".yaml", ".yml"))
    table = None if args.rows is None else check_target(args.rows, (".csv",))
    if table is not None and not args.check:
        raise ArgumentError("--rows", str(table), "a table for the passes of --check: give both")
    passes: Any = ()
    others = load()
    if args.check:
        from perfmodel.explore.probe_torch import achieved, torch_module

        torch_module()  # refuse before anything is measured
    with common.Progress("probe") as progress:
        device = probe(
            args.name or (file.stem if file is not None else "this-machine"),
            budget=args.budget,
            progress=progress,
        )
    if args.check:
        from perfmodel.explore.probe_check import add_rows, check

        with common.Progress("PyTorch micro-kernels") as progress:
            device = replace(device, achieved=achieved(device, 1.5 * args.budget, progress))
        with common.Progress("forward passes") as progress:
            passes = check(device, 1.5 * args.budget, progress)
        if table is not None:
            write_atomic(table, add_rows(table, device, passes, others))
    written = dump(device)
    if file is not None:
        write_atomic(file, written)
    found = [one.to_dict() for one in passes]
    if args.json:
        common.emit_json({"device": device.device, "yaml": written, "busy": busy(), "check": found})
    else:
        common.emit(written if file is None else f"written to {file}")
        if busy():
            common.emit("note: other programs keep this machine busy; peaks and bandwidths may be too low")
        for one in found:
            common.emit(line(one))
    return 0 if all(abs(one["error"]) <= 0.2 for one in found) else 1


def line(one: Any) -> str:
    """One checked pass as text."""
    times = f"predicted {1e3 * one['predicted']:.1f} ms ({1e3 * one['low']:.1f} to {1e3 * one['high']:.1f})"
    return f"{one['pass']}: {times}, measured {1e3 * one['measured']:.1f} ms, {100 * one['error']:+.1f} %"
