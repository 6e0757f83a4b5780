"""One pass of any workload: latency, throughput, energy, memory.

perfmodel forward resnet-50 --on jetson-agx-orin --batch 1,8,32 --precision int8
"""

from __future__ import annotations

import argparse

from perfmodel.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("model", help="shipped name, YAML file, Hugging Face config.json or .onnx")
    common.add_hardware(parser)
    common.add_numbers(
        parser,
        ("batch", 1, "items processed together"),
        ("query", 1, "new tokens of a sequence model"),
        ("context", None, "tokens attended to (default: as many as query)"),
        ("tp", 1, "tensor-parallel devices"),
    )
    common.add_model(parser)
    parser.add_argument("--logits", default="all", help="positions through the head: last or all")
    parser.add_argument("--attention", default="fused", help="fused or eager")
    common.add_views(parser)
    common.add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Answer the question."""
    file = common.target(args)
    model, system = common.question(args)
    from perfmodel.scenario.forward import forward

    with common.Progress("forward") as progress:
        result = forward(
            model,
            system,
            batch=args.batch,
            query=args.query,
            context=args.context,
            tp=args.tp,
            precision=args.precision,
            fidelity=args.fidelity,
            logits=args.logits,
            attention=args.attention,
            progress=progress,
        )
    return common.finish(result, args, file)
