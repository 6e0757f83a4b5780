"""Best mapping of an operator, or of a whole workload, on a spatial array: loop nest, cycles, energy.

perfmodel map conv2d batch=1 in_channels=64 out_channels=64 height=56 width=56 kernel=3 --on my-array.yaml
perfmodel map resnet-50 --on array-128x128 --cores 4 --schedule pipelined
perfmodel map resnet-50 --op stage2.rest.conv2 --on my-array.yaml --objective energy --effort 3 --json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from perfmodel.cli import common
from perfmodel.cli.commands.kernel import operator
from perfmodel.errors import ArgumentError, UnknownNameError

#: sizes of the operator are options that are not known beforehand
OPEN = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("operator", help="name of an operator, or a workload")
    parser.add_argument("sizes", nargs="*", metavar="NAME=VALUE", help="sizes of the operator")
    parser.add_argument("--op", default=None, help="one op of the workload (see perfmodel show)")
    common.add_numbers(
        parser, ("batch", 1, "items of the workload"), ("query", 1, "tokens of a sequence model"),
        ("context", None, "tokens with the cached ones"), ("cores", 1, "arrays beside each other"),
    )
    parser.add_argument("--schedule", default="layer_by_layer", help="layer_by_layer or pipelined")
    parser.add_argument("--spill", action="store_true", help="nothing stays on the chip between ops")
    parser.add_argument("--on", required=True, metavar="DEVICE", help="device with an array: block")
    parser.add_argument("--objective", default="latency", help="latency, energy or edp (default latency)")
    parser.add_argument("--precision", default=None, help="int8, bf16 ... (default int8)")
    parser.add_argument("--effort", type=int, default=1, help="0 (coarse) to 5 (every tile size), default 1")
    parser.add_argument(
        "--mapping", metavar="FILE", default=None, help="price this loop nest instead of a search"
    )
    common.add_set(parser)
    parser.add_argument("--json", action="store_true", help="print JSON with SI units")
    parser.add_argument("-o", "--output-file", metavar="FILE.json", default=None, help="also write JSON")


def run(args: argparse.Namespace) -> int:
    """Map, print the loop nest and what it costs."""
    from perfmodel.arguments import whole
    from perfmodel.hardware.catalog import device
    from perfmodel.ops import constructors
    from perfmodel.report.files import check_target, write_atomic
    from perfmodel.scenario.mapping import map as map_one
    from perfmodel.scenario.network_mapping import map_network

    file = None if args.output_file is None else check_target(args.output_file, (".json",))
    mapping = None if args.mapping is None else _read(args.mapping)
    target = common.changed(device(args.on), args.changes)
    effort = int(whole("effort", args.effort, low=0))
    found: Any
    if args.op is None and not hasattr(constructors, args.operator) and not _sizes(args):
        found = map_network(
            args.operator, target, args.objective, batch=args.batch, query=args.query, context=args.context,
            precision=args.precision, keep=not args.spill, cores=args.cores, schedule=args.schedule,
        )
    else:
        found = map_one(
            _op(args), target, args.objective, precision=args.precision, effort=effort, mapping=mapping
        )
    if file is not None:
        write_atomic(file, common.as_json(found.to_dict()))
    if args.json:
        common.emit_json(found.to_dict())
    else:
        common.emit(found.explain())
    return 0


def _sizes(args: argparse.Namespace) -> list[str]:
    return [*args.sizes, *getattr(args, "rest", [])]


def _op(args: argparse.Namespace) -> Any:
    """The operator of the words, or one op of a workload."""
    if args.op is None:
        built = operator(args.operator, _sizes(args), optional={"batch": args.batch})
        if not hasattr(built, "loops"):
            raise ArgumentError("sizes", "a list", "one value for each size")
        return built
    from perfmodel.workload.workload import workload

    graph = workload(args.operator).graph(batch=args.batch, query=1, context=1)
    by_name = {op.name or op.family: op for op in graph.ops}
    if args.op not in by_name:
        raise UnknownNameError(f"op of {args.operator}", args.op, by_name)
    return by_name[args.op]


def _read(path: str) -> str:
    if not Path(path).is_file():
        raise ArgumentError("mapping", path, "the path of an existing file")
    return Path(path).read_text(encoding="utf-8")
