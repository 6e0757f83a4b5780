"""Inference of a language model: time to first token, time per token, throughput, energy, memory.

perfmodel run llama-3.1-8b --on h100-sxm5:8 --batch 32 --input 1024 --output 1024 --tp 8 --precision fp8
perfmodel run llama-3.1-8b --on h100-sxm5 --batch 1,8,64 --set device.memory.hbm.bandwidth=2TB/s:8TB/s:4
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
        ("batch", 1, "sequences served together"),
        ("input", 1024, "prompt tokens"),
        ("output", 128, "generated tokens"),
        ("tp", 1, "tensor-parallel devices"),
        ("pp", 1, "pipeline stages"),
        ("dp", 1, "replicas that share out the sequences"),
        ("ep", 1, "replicas that share out the experts"),
        ("reserve", 0, "bytes per device that the runtime keeps"),
    )
    common.add_model(parser)
    parser.add_argument("--logits", default="last", help="prompt positions through the head: last or all")
    parser.add_argument("--attention", default="fused", help="fused or eager")
    common.add_views(parser)
    common.add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Answer the question."""
    file = common.target(args)
    model, system = common.question(args)
    from perfmodel.scenario.inference import inference

    with common.Progress("inference") as progress:
        result = inference(
            model,
            system,
            batch=args.batch,
            input=args.input,
            output=args.output,
            tp=args.tp,
            pp=args.pp,
            dp=args.dp,
            ep=args.ep,
            reserve=args.reserve,
            precision=args.precision,
            fidelity=args.fidelity,
            logits=args.logits,
            attention=args.attention,
            progress=progress,
        )
    return common.finish(result, args, file)
