"""Serving in its steady state: TTFT, TPOT, throughput at a concurrency or at a request rate.

perfmodel serve llama-3.1-8b --on h100-sxm5 --concurrency 1,8,64 --input 1024 --output 256 --runtime vllm
perfmodel serve deepseek-v3 --on h200-sxm:8 --rate 2 --tp 8 --ep 8 --precision fp8 --runtime sglang
"""

from __future__ import annotations

import argparse

from perfmodel.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("model", help="shipped name, YAML file or Hugging Face config.json")
    common.add_hardware(parser)
    common.add_numbers(
        parser,
        ("concurrency", None, "requests in flight (closed loop)"),
        ("rate", None, "requests per second (open loop)"),
        ("input", 1024, "prompt tokens"),
        ("output", 128, "generated tokens"),
        ("tp", 1, "tensor-parallel devices"),
        ("dp", 1, "attention replicas"),
        ("ep", None, "devices that share the experts of a layer"),
        ("prefill-workers", None, "instances that only run prompts (disaggregated)"),
        ("decode-workers", 1, "instances that only decode"),
    )
    parser.add_argument("--runtime", default="vllm", help="serving engine: vllm, sglang, tensorrt-llm ...")
    common.add_model(parser)
    parser.set_defaults(fidelity="calibrated")
    common.add_views(parser)
    common.add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Answer the question."""
    file = common.target(args)
    model, system = common.question(args)
    from perfmodel.scenario.serve import serving

    with common.Progress("serving") as progress:
        result = serving(
            model,
            system,
            concurrency=args.concurrency,
            rate=args.rate,
            input=args.input,
            output=args.output,
            tp=args.tp,
            dp=args.dp,
            ep=args.ep,
            prefill_workers=args.prefill_workers,
            decode_workers=args.decode_workers,
            precision=args.precision,
            runtime=args.runtime,
            fidelity=args.fidelity,
            progress=progress,
        )
    return common.finish(result, args, file)
