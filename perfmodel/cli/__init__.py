"""Command line.  Each command is one module of ``perfmodel.cli.commands``.

Exit codes: 0 ok, 1 a case or a constraint failed, 2 bad input.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

#: command -> one line of help; perfmodel/cli/commands/<command>.py does the work.  A new command: add a line.
COMMANDS = {
    "list": "names of what is shipped; --check audits the device descriptions",
    "show": "a device with its sources, a system, or a workload with its counts",
    "run": "inference of a language model: TTFT, TPOT, throughput, energy, memory",
    "serve": "serving of many requests: percentiles of TTFT and TPOT, goodput, capacity",
    "train": "training step: time, MFU, memory, energy",
    "forward": "one pass of any workload: latency, throughput, energy, memory",
    "kernel": "one operator: latency, energy, bound",
    "map": "best mapping of an operator on a spatial array: loop nest, cycles, energy, accesses",
    "sweep": "one question over lists of models, systems, precisions and numbers",
    "search": "the best point of a space under constraints",
    "calibrate": "fit a device to measured times, or say which rows to measure",
    "probe": "describe the machine this runs on by measuring it; --check times PyTorch passes",
    "validate": "predictions beside published numbers, or the score on a file of measurements",
    "schema": "JSON Schemas of the description files, for editors",
}

OK, FAILED, BAD_INPUT = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    top = _parser()
    if not words or words[0].startswith("-") or words[0] not in COMMANDS:
        if not words:
            top.print_help(sys.stderr)
            return BAD_INPUT
        top.parse_args(words)  # prints help or version, or refuses the command
        return BAD_INPUT
    name, rest = words[0], words[1:]
    command = importlib.import_module(f"perfmodel.cli.commands.{name}")
    parser = argparse.ArgumentParser(
        prog=f"perfmodel {name}",
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    if getattr(command, "OPEN", False):  # the command reads options that depend on its first argument
        args, unknown = parser.parse_known_args(rest)
        args.rest = unknown
    else:
        args = parser.parse_args(rest)
    return _guarded(command.run, args)


def _parser() -> argparse.ArgumentParser:
    from perfmodel import __version__

    listed = "\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="perfmodel",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        description="Predict latency, throughput, energy and memory of ML workloads on described hardware.",
        epilog=f"commands:\n{listed}\n\nperfmodel COMMAND --help shows the options of a command.",
    )
    parser.add_argument("--version", action="version", version=f"perfmodel {__version__}")
    parser.add_argument(
        "command", choices=list(COMMANDS), metavar="COMMAND", help="one of the commands below"
    )
    return parser


def _guarded(run: object, args: argparse.Namespace) -> int:
    """Run a command; what the package refuses becomes a message and an exit code, not a traceback."""
    from perfmodel.errors import InfeasibleError, PerfmodelError

    try:
        return int(run(args))  # type: ignore[operator]
    except InfeasibleError as error:
        sys.stderr.write(f"perfmodel: does not fit: {error}\n")
        return FAILED
    except PerfmodelError as error:
        sys.stderr.write(f"perfmodel: error: {error}\n")
        return BAD_INPUT
    except BrokenPipeError:  # the reader of a pipe has enough
        sys.stderr.close()
        return OK
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"perfmodel: error: {where}{error.strerror or error}\n")
        return BAD_INPUT
    except KeyboardInterrupt:
        return 130
