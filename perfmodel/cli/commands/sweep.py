"""One question over lists of models, systems, precisions and numbers.

perfmodel sweep llama-3.1-8b,qwen2.5-7b --on h100-sxm5:8,h200-sxm:8 --precision bf16,fp8 --batch 1,8,64 --tp 8
perfmodel sweep llama-3.1-8b --on h100-sxm5 --batch 1:512:10:log -o sweep.png --metric throughput
    --set device.memory.hbm.bandwidth=2TB/s:8TB/s:13
"""

from __future__ import annotations

import argparse
from typing import Any

from perfmodel.cli import common

#: numeric options of each scenario
OPTIONS = {
    "inference": ("batch", "input", "output", "tp", "pp"),
    "forward": ("batch", "query", "context", "tp"),
    "training": ("batch", "sequence", "tp", "pp", "dp"),
    "serving": ("concurrency", "rate", "input", "output", "tp", "pp", "dp", "ep"),
}

#: numeric options and what they mean
NUMBERS = {
    "batch": "sequences or items together",
    "input": "prompt tokens",
    "output": "generated tokens",
    "query": "new tokens",
    "context": "tokens attended to",
    "sequence": "tokens of a training sequence",
    "concurrency": "requests in flight",
    "rate": "requests per second",
    "tp": "tensor-parallel devices",
    "pp": "pipeline stages",
    "dp": "data-parallel replicas",
    "ep": "expert-parallel devices",
}


def add_space(parser: argparse.ArgumentParser) -> None:
    """Options that say which points there are."""
    parser.add_argument("model", type=common.names, help="names or files, separated by commas")
    parser.add_argument(
        "--on",
        required=True,
        type=common.names,
        metavar="SYSTEM",
        help="systems or devices, separated by commas",
    )
    common.add_set(parser)
    parser.add_argument("--scenario", default="inference", help=", ".join(OPTIONS) + " (default inference)")
    common.add_numbers(parser, *((name, None, text) for name, text in NUMBERS.items()))
    parser.add_argument(
        "--precision", type=common.names, default="bf16", help="names, separated by commas (default bf16)"
    )
    parser.add_argument(
        "--fidelity",
        type=common.names,
        default="roofline",
        help="names, separated by commas (default roofline)",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_space(parser)
    parser.add_argument(
        "--metric", action="append", default=None, help="metric to show; repeatable (default: all)"
    )
    parser.add_argument(
        "--pareto", default=None, metavar="A,B", help="only points that no other beats in these metrics"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--plot", default=None, metavar="KIND", help="picture that -o draws: sweep or pareto")
    common.add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Answer the question."""
    from perfmodel.arguments import whole

    file = common.target(args)
    jobs = int(whole("jobs", args.jobs))
    scenario, models, systems, asked = question(args)
    from perfmodel.explore.sweep import sweep

    with _executor(jobs) as executor, common.Progress("sweep") as progress:
        result = sweep(scenario, models, systems, executor=executor, progress=progress, **asked)
    return _emit(result, args, file)


def question(args: argparse.Namespace) -> tuple[str, Any, Any, dict[str, Any]]:
    """Scenario, workloads, systems and the other arguments of a sweep."""
    from perfmodel.arguments import choice

    scenario = choice("scenario", args.scenario, OPTIONS)
    asked = {name: getattr(args, name) for name in NUMBERS}
    _refuse_others(scenario, asked)
    models = _each(args.model, lambda name: _model(name, args.changes))
    systems = _each(args.on, lambda name: _system(name, args.changes))
    numbers = {name: value for name, value in asked.items() if value is not None}
    return scenario, models, systems, {"precision": args.precision, "fidelity": args.fidelity, **numbers}


def _refuse_others(scenario: str, asked: dict[str, Any]) -> None:
    from perfmodel.errors import ArgumentError

    for name, value in asked.items():
        if value is not None and name not in OPTIONS[scenario]:
            raise ArgumentError(f"--{name}", value, f"options of {scenario}: " + ", ".join(OPTIONS[scenario]))


def _each(value: Any, function: Any) -> Any:
    return [function(name) for name in value] if isinstance(value, list) else function(value)


def _model(name: str, changes: list[tuple[str, str]]) -> Any:
    from perfmodel.workload.workload import workload

    return common.changed(workload(name), changes, "workload.")


def _system(name: str, changes: list[tuple[str, str]]) -> Any:
    from perfmodel.hardware.catalog import system

    return common.changed(system(name), changes)


def _executor(jobs: int) -> Any:
    import contextlib

    if jobs == 1:
        return contextlib.nullcontext(None)
    from concurrent.futures import ProcessPoolExecutor

    return ProcessPoolExecutor(jobs)


def _emit(result: Any, args: argparse.Namespace, file: Any) -> int:
    import numpy as np

    from perfmodel.report.tables import points

    if file is not None:
        options = {"metric": args.metric[0]} if args.metric and args.plot in (None, "sweep") else {}
        common.write_result(result, file, args.plot, **options)
    metrics = tuple(args.metric) if args.metric else None
    table = points(result, metrics)
    if args.pareto:
        from perfmodel.explore.pareto import pareto

        table = pareto(result, [name.strip() for name in args.pareto.split(",")]).table()
    if args.json:
        data = result.to_dict()
        common.emit_json({**data, "pareto": table.to_dict()["rows"]} if args.pareto else data)
    else:
        common.emit(repr(result))
        common.emit_table(table)
    feasible = result.data.get("feasible")
    return 0 if feasible is None or np.any(np.asarray(feasible) > 0) else 1
