"""Serving: TTFT, TPOT, throughput at a concurrency, a request rate, or for a trace of requests.

perfmodel serve llama-3.1-8b --on h100-sxm5 --concurrency 1,8,64 --input 1024 --output 256 --runtime vllm
perfmodel serve llama-3.1-8b --on h100-sxm5 --rate 2:20:10 --input 1024 --output 256 --slo ttft=0.5s,tpot=20ms
perfmodel serve deepseek-v3 --on h200-sxm:8 --trace requests.csv --tp 8 --ep 8 --precision fp8 --slo tpot=50ms
A trace is a CSV file with columns arrival_s, prefill_tokens, decode_tokens; FILE:NAME is one of several.
"""

from __future__ import annotations

import argparse
from typing import Any

from perfmodel.cli import common
from perfmodel.errors import ArgumentError, UnitError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("model", help="shipped name, YAML file or Hugging Face config.json")
    common.add_hardware(parser)
    common.add_numbers(
        parser,
        ("concurrency", None, "requests in flight (closed loop)"),
        ("rate", None, "mean requests per second (open loop); with --trace its arrivals are stretched to it"),
    )
    parser.add_argument(
        "--trace", metavar="FILE[:NAME]", default=None, help="requests to replay, a CSV file (open loop)"
    )
    parser.add_argument(
        "--slo",
        type=objective,
        metavar="ttft=0.5s,tpot=20ms,percentile=0.9",
        default=None,
        help="objective of goodput and capacity; each part may be left out",
    )
    common.add_numbers(
        parser,
        ("input", 1024, "prompt tokens"),
        ("output", 128, "generated tokens"),
        ("tp", 1, "tensor-parallel devices"),
        ("pp", 1, "pipeline stages"),
        ("dp", 1, "attention replicas"),
        ("ep", None, "devices that share the experts of a layer"),
        ("prefill-workers", None, "instances that only run prompts (disaggregated)"),
        ("decode-workers", 1, "instances that only decode"),
        ("prefix-hit", 0, "share of the prompt tokens that the prefix cache holds"),
        ("drafted", 0, "tokens that speculation drafts per step"),
        ("acceptance", 0.8, "probability that a drafted token is kept"),
        ("draft-cost", 0, "time to draft a token over that of a plain step"),
        ("requests", 2000, "generated requests"),
        ("burstiness", 1, "coefficient of variation of their gaps"),
        ("input-cv", 0, "the same of their prompts"),
        ("output-cv", 0, "the same of their answers"),
        ("seed", 0, "which random numbers"),
        ("max-batch", None, "most requests in the engine"),
    )
    parser.add_argument("--runtime", default="vllm", help="serving engine: vllm, sglang, tensorrt-llm ...")
    common.add_model(parser)
    parser.set_defaults(fidelity="calibrated")
    common.add_output(parser)
    parser.add_argument("--plot", default=None, metavar="KIND", help="picture of -o: serving, sweep, pareto")


def objective(text: str) -> dict[str, Any]:
    """``ttft=0.5s,tpot=20ms,percentile=0.9`` as numbers in SI units; a plain number is one of seconds."""
    from perfmodel.errors import did_you_mean
    from perfmodel.scenario.serve import OBJECTIVE
    from perfmodel.units import number, parse

    found: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            raise argparse.ArgumentTypeError(f"{part!r} is not name=value, such as ttft=0.5s")
        if name not in OBJECTIVE:
            raise argparse.ArgumentTypeError(f"no part {name!r}{did_you_mean(name, OBJECTIVE)}")
        try:
            limit = name in ("ttft", "tpot") and not value.replace(".", "", 1).isdigit()
            found[name] = parse(value, "s") if limit else number(value)
        except (UnitError, ArgumentError) as error:
            raise argparse.ArgumentTypeError(f"{name}: {error}") from None
    return found


def run(args: argparse.Namespace) -> int:
    """Answer the question."""
    file = common.target(args)
    model, system = common.question(args)
    from perfmodel.scenario.serve import serving

    names = (
        *(
            "concurrency",
            "rate",
            "trace",
            "slo",
            "input",
            "output",
            "tp",
            "pp",
            "dp",
            "ep",
            "prefill_workers",
        ),
        *("decode_workers", "prefix_hit", "drafted", "acceptance", "draft_cost", "requests", "burstiness"),
        *("input_cv", "output_cv", "seed", "max_batch", "precision", "runtime", "fidelity"),
    )
    with common.Progress("serving") as progress:
        result = serving(model, system, **{name: getattr(args, name) for name in names}, progress=progress)
    args.trace, args.breakdown, args.explain = None, False, False  # no single pass to show
    return common.finish(result, args, file)
