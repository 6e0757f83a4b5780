"""Names of what is shipped.

perfmodel list                 all kinds with their numbers
perfmodel list devices --check audit of every device description
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from perfmodel.cli import common

if TYPE_CHECKING:
    from perfmodel.table import Table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "kind", nargs="?", default=None, help="devices, systems, workloads, cases, operators, precisions"
    )
    parser.add_argument(
        "--check", action="store_true", help="audit the device descriptions; exit code 1 on a finding"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print names, or the findings of the audit."""
    from perfmodel import listing

    if args.check:
        return _check(args)
    kinds = listing.KINDS if args.kind is None else (args.kind,)
    found = {kind: listing.list(kind) for kind in kinds}
    if args.json:
        common.emit_json(found)
    elif args.kind is None:
        for kind, names in found.items():
            common.emit(
                f"{kind} ({len(names)}): " + ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
            )
    elif args.kind == "devices":
        common.emit_table(_devices(found["devices"]), None)
    else:
        common.emit("\n".join(found[args.kind]))
    return 0


def _devices(names: tuple[str, ...]) -> Table:
    from perfmodel.hardware.catalog import device
    from perfmodel.table import Column, Table

    columns = (
        Column("device"),
        Column("kind"),
        Column("year"),
        Column("matrix bf16", "FLOP/s"),
        Column("fp8", "FLOP/s"),
        Column("int8", "FLOP/s"),
        Column("memory", "B"),
        Column("bandwidth", "B/s"),
        Column("peak power", "W"),
    )
    rows = []
    for name in names:
        spec = device(name)
        matrix = spec.compute.get("matrix")
        peaks = matrix.peak if matrix else {}
        memory = spec.main_memory
        rows.append(
            (
                name,
                spec.kind,
                f"{spec.year:.0f}" if spec.year else "",
                peaks.get("bf16", peaks.get("fp16")),
                peaks.get("fp8"),
                peaks.get("int8"),
                memory.capacity,
                memory.bandwidth,
                spec.power.peak if spec.power else None,
            )
        )
    return Table(columns, tuple(rows))


def _check(args: argparse.Namespace) -> int:
    from perfmodel.hardware.audit import audit, recalled_numbers, sourced_numbers
    from perfmodel.hardware.catalog import device, devices

    report: dict[str, Any] = {}
    for name in devices():
        spec = device(name)
        report[name] = {
            "findings": audit(spec),
            "numbers": len(sourced_numbers(spec)),
            "recalled": len(recalled_numbers(spec)),
        }
    findings = sum(len(entry["findings"]) for entry in report.values())
    if args.json:
        common.emit_json({"devices": report, "findings": findings})
    else:
        for name, entry in report.items():
            for finding in entry["findings"]:
                common.emit(f"{name}: {finding}")
        count = sum(entry["numbers"] for entry in report.values())
        recalled = sum(entry["recalled"] for entry in report.values())
        common.emit(
            f"{len(report)} devices, {count} numbers with a source ({recalled} recalled or conventions), "
            f"{findings} findings"
        )
    return 1 if findings else 0
