"""JSON Schemas of the description files, for completion and checks in editors.

  perfmodel schema device          print one
  perfmodel schema --check         are the committed files current?
  perfmodel schema --write         write them again
The first line of a description names its schema:
  # yaml-language-server: $schema=../perfmodel/schema/device.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from perfmodel.arguments import choice
from perfmodel.cli import common

KINDS = ("device", "system", "workload")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("kind", nargs="?", default="device", help=", ".join(KINDS))
    parser.add_argument(
        "--check", action="store_true", help="compare with the committed files; exit code 1 if they differ"
    )
    parser.add_argument("--write", action="store_true", help="write the committed files")


def run(args: argparse.Namespace) -> int:
    """Print, check or write schemas."""
    from perfmodel.report.files import write_atomic

    if not (args.check or args.write):
        common.emit_json(schema(args.kind))
        return 0
    stale = [kind for kind in KINDS if _committed(kind) != common.as_json(schema(kind))]
    if args.write:
        for kind in stale:
            write_atomic(path_of(kind), common.as_json(schema(kind)))
        common.emit(f"{len(stale)} of {len(KINDS)} schemas written")
        return 0
    for kind in stale:
        common.emit(f"{path_of(kind).name} is not current: run perfmodel schema --write")
    return 1 if stale else 0


def schema(kind: str) -> dict[str, Any]:
    """Schema of a kind of description."""
    from perfmodel.hardware.device import Device, System
    from perfmodel.spec import json_schema
    from perfmodel.workload.families import WorkloadSpec

    classes = dict(zip(KINDS, (Device, System, WorkloadSpec), strict=True))
    return json_schema(classes[choice("kind", kind, KINDS)])


def path_of(kind: str) -> Path:
    """Committed file."""
    return Path(__file__).parent.parent.parent / "schema" / f"{kind}.json"


def _committed(kind: str) -> str:
    path = path_of(kind)
    return path.read_text(encoding="utf-8") if path.is_file() else ""
