"""What the commands share: values with units and ranges, --set, output to terminal, JSON and files."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfmodel.errors import ArgumentError, UnitError
from perfmodel.table import plain

if TYPE_CHECKING:
    from perfmodel.result import Result
    from perfmodel.table import Table

#: endings of -o and what they hold
PICTURES = (".png", ".svg", ".pdf")
OUTPUTS = (".csv", ".json", ".html", *PICTURES)

#: the terminal shows this many rows of a table
ROWS = 40


def numbers(text: str) -> float | list[float]:
    """``8`` | ``1,8,64`` | ``start:stop:count`` (evenly spaced) | ``start:stop:count:log``."""
    from perfmodel.units import number

    try:
        found: float | list[float] = expand(text, number)
    except (UnitError, ArgumentError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return found


def expand(text: str, read: Callable[[str], float]) -> Any:
    """A value, or the list that commas and ranges stand for."""
    items: list[float] = []
    pieces = text.split(",")
    for piece in pieces:
        if ":" in piece:
            items += _range(piece, read)
        else:
            items.append(read(piece.strip()))
    return items[0] if len(pieces) == 1 and ":" not in text else items


def _range(text: str, read: Callable[[str], float]) -> list[float]:
    import numpy as np

    allowed = "start:stop:count or start:stop:count:log"
    parts = [part.strip() for part in text.split(":")]
    if len(parts) not in (3, 4) or (len(parts) == 4 and parts[3] != "log") or not parts[2].isdigit():
        raise ArgumentError("range", text, allowed)
    start, stop, count = read(parts[0]), read(parts[1]), int(parts[2])
    if not 2 <= count <= 10_000_000:
        raise ArgumentError("range", text, "a count of 2 to 10,000,000")
    if len(parts) == 3:
        return [float(v) for v in np.linspace(start, stop, count)]
    if start <= 0 or stop <= 0:
        raise ArgumentError("range", text, "ends above 0 for a log range")
    # powers of two stay whole numbers in spite of the logarithm
    values = np.geomspace(start, stop, count)
    whole = np.round(values)
    return [float(v) for v in np.where(np.isclose(values, whole, rtol=1e-12, atol=0.0), whole, values)]


def names(text: str) -> str | list[str]:
    """A name, or a list of names separated by commas."""
    items = [item.strip() for item in text.split(",")]
    if not all(items):
        raise argparse.ArgumentTypeError(f"{text!r} has an empty name")
    return items[0] if len(items) == 1 else items


def assignment(text: str) -> tuple[str, str]:
    """``path=value`` of --set."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip() or not value.strip():
        raise argparse.ArgumentTypeError(
            f"{text!r} is not path=value, such as device.memory.hbm.bandwidth=4TB/s"
        )
    return path.strip(), value.strip()


def add_numbers(parser: argparse.ArgumentParser, *options: tuple[str, Any, str]) -> None:
    """Options that take numbers, lists or ranges: (name, default, help)."""
    for name, default, text in options:
        shown = f"{text} (default {default:g})" if isinstance(default, (int, float)) else text
        parser.add_argument(f"--{name}", type=numbers, default=default, metavar="N", help=shown)


def add_hardware(parser: argparse.ArgumentParser) -> None:
    """``--on`` and ``--set``."""
    parser.add_argument(
        "--on",
        required=True,
        metavar="SYSTEM",
        help="device or system: a shipped name, NAME:COUNT, or a YAML file",
    )
    add_set(parser)


def add_set(parser: argparse.ArgumentParser) -> None:
    """``--set path=value``."""
    parser.add_argument(
        "--set",
        type=assignment,
        action="append",
        default=[],
        metavar="PATH=VALUE",
        dest="changes",
        help="change a number: device.memory.hbm.bandwidth=4TB/s, workload.hidden=512; "
        "a list 2TB/s,4TB/s or a range 2TB/s:8TB/s:13 becomes an axis; repeatable",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """``--precision`` and ``--fidelity``."""
    parser.add_argument("--precision", default="bf16", help="bf16, fp8, w4a16 ... (default bf16)")
    parser.add_argument(
        "--fidelity", default="roofline", help="roofline, dataflow or calibrated (default roofline)"
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """``--json`` and ``-o``."""
    parser.add_argument("--json", action="store_true", help="print JSON with SI units")
    parser.add_argument(
        "-o",
        "--output-file",
        metavar="FILE",
        default=None,
        help="also write " + ", ".join(OUTPUTS) + " (replaces an existing file in one step)",
    )


def changed(spec: Any, changes: list[tuple[str, str]], prefix: str = "") -> Any:
    """The system or workload with every ``--set`` of its own applied.

    prefix  ``workload.`` selects changes of the workload; an empty prefix those of the hardware
    """
    from perfmodel.hardware.catalog import own_path
    from perfmodel.spec import get_path, replace_path

    for path, text in changes:
        is_workload = path.startswith("workload.")
        if is_workload != (prefix == "workload."):
            continue
        target = spec.dims if is_workload else spec
        local = path.removeprefix("workload.") if is_workload else own_path(spec, path)

        def read(piece: str, target: Any = target, local: str = local) -> Any:
            return get_path(replace_path(target, local, piece), local)

        value = expand(text, read) if "," in text or ":" in text else text
        if isinstance(value, list) and any(not isinstance(item, float) for item in value):
            raise ArgumentError(path, text, "one value: only numbers can be a list")
        spec = spec.vary({local: value})
    return spec


def question(args: argparse.Namespace) -> tuple[Any, Any]:
    """Workload and system of the command line, with --set applied."""
    from perfmodel.hardware.catalog import system
    from perfmodel.workload.workload import workload

    for name in ("model", "on", "precision"):
        text = getattr(args, name, "")
        if "," in text and not Path(text).exists():
            allowed = "one name; perfmodel sweep takes several, separated by commas"
            raise ArgumentError(name if name == "model" else f"--{name}", text, allowed)
    model = changed(workload(args.model), args.changes, "workload.")
    return model, changed(system(args.on), args.changes)


def target(args: argparse.Namespace) -> Path | None:
    """The checked path of -o; checked before any work is done."""
    if args.output_file is None:
        return None
    from perfmodel.report.files import check_target

    return check_target(args.output_file, OUTPUTS)


def as_json(data: Any) -> str:
    """JSON text: SI numbers, null for nan."""
    return json.dumps(plain(data), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def emit_json(data: Any) -> None:
    """Print JSON."""
    sys.stdout.write(as_json(data))


def emit_table(table: Table, limit: int | None = ROWS) -> None:
    """Print a table, as wide as it needs to be."""
    if sys.stdout.isatty():
        from rich.console import Console

        shown = table.rich(limit)
        # a table wider than the terminal wraps line by line; squeezing its columns would lose names
        natural = Console(width=10_000).measure(shown).maximum
        Console(width=max(Console().width, natural)).print(shown)
    else:
        sys.stdout.write(table.to_text(limit) + "\n")


def emit(text: str) -> None:
    """Print a text."""
    sys.stdout.write(text + "\n")


def add_views(parser: argparse.ArgumentParser) -> None:
    """Further views of the answer: explanation, ops, timeline, kind of picture."""
    parser.add_argument(
        "--explain", action="store_true", help="say what bounds the answer and what would help"
    )
    parser.add_argument("--breakdown", action="store_true", help="time, bound and traffic of every op")
    parser.add_argument(
        "--trace", metavar="FILE.json", help="write a timeline for Perfetto or chrome://tracing"
    )
    parser.add_argument(
        "--plot",
        default=None,
        metavar="KIND",
        help="picture that -o draws: roofline, breakdown, sweep or pareto",
    )


def finish(result: Result, args: argparse.Namespace, file: Path | None) -> int:
    """Print a Result and write it where -o and --trace say.  Exit code 1 if no point is feasible."""
    if file is not None:
        write_result(result, file, args.plot)
    if args.trace:
        result.trace(args.trace)
    if args.json:
        data = result.to_dict()
        if args.breakdown:
            data["breakdown"] = result.breakdown().to_dict()["rows"]
        if args.explain:
            data["explanation"] = result.explain()
        emit_json(data)
    else:
        emit_text(result, args)
    feasible = result.data.get("feasible")
    import numpy as np

    return 0 if feasible is None or np.any(np.asarray(feasible) > 0) else 1


def emit_text(result: Result, args: argparse.Namespace) -> None:
    """Print a Result for people."""
    emit(repr(result))
    if result.axes:
        emit_table(result.table())
    if args.breakdown:
        emit_table(result.breakdown())
    if args.explain:
        emit(result.explain())


def write_result(result: Result, file: Path, kind: str | None = None, **options: Any) -> None:
    """Write a Result in the form that the ending asks for."""
    from perfmodel.report.files import write_atomic

    ending = file.suffix.lower()
    if ending in PICTURES:
        from perfmodel.report.plots import render

        write_atomic(file, render(result.plot(kind, **options), ending))
    elif ending == ".csv":
        write_atomic(file, result.table().to_csv())
    elif ending == ".json":
        write_atomic(file, as_json(result.to_dict()))
    else:
        from perfmodel.report.page import page

        write_atomic(file, page(result))


def write_table(table: Table, file: Path) -> None:
    """Write a table as .csv, .json or .html."""
    from perfmodel.report.files import write_atomic

    ending = file.suffix.lower()
    if ending == ".csv":
        write_atomic(file, table.to_csv())
    elif ending == ".json":
        write_atomic(file, as_json(table.to_dict()))
    elif ending == ".html":
        write_atomic(file, table.to_html(None))
    else:
        raise ArgumentError("output", file.name, "a table: .csv, .json, .html")


class Progress:
    """Progress bar on standard error that appears when the work takes more than a second."""

    def __init__(self, label: str) -> None:
        self.label, self.start = label, time.monotonic()
        self.bar: Any = None
        self.task: Any = None
        self.wanted = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        return self

    def __call__(self, fraction: float) -> None:
        if not self.wanted or time.monotonic() - self.start < 1.0:
            return
        if self.bar is None:
            from rich.console import Console
            from rich.progress import Progress as Bar

            self.bar = Bar(console=Console(stderr=True), transient=True)
            self.task = self.bar.add_task(self.label, total=1.0)
            self.bar.start()
        self.bar.update(self.task, completed=fraction)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()
