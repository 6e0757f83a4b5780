"""Training step of a language model: time, MFU, memory, energy.

perfmodel train llama-2-7b --on dgx-a100 --batch 64 --sequence 4096 --tp 2 --dp 4 --zero 1 --recompute full
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
        ("batch", 64, "sequences of one optimiser step"),
        ("sequence", 4096, "tokens per sequence"),
        ("tp", 1, "tensor-parallel devices"),
        ("pp", 1, "pipeline stages"),
        ("dp", 1, "data-parallel replicas"),
        ("ep", 1, "replicas that share out the experts of a layer"),
        ("cp", 1, "devices that share the tokens of a sequence"),
        ("micro-batch", 1, "sequences that a pipeline takes at a time"),
        ("interleave", 1, "model chunks per pipeline stage"),
    )
    parser.add_argument("--recompute", default="none", help="none, selective or full")
    parser.add_argument("--sequence-parallel", action="store_true", help="split norms and residuals too")
    parser.add_argument("--zero", type=int, default=0, help="what is sharded over dp: 0, 1, 2 or 3")
    parser.add_argument("--attention", default="fused", help="fused or eager")
    parser.add_argument("--loss", default="fused", help="fused, eager or eager16: what is kept of the logits")
    parser.add_argument("--dropout", action="store_true", help="dropout, as GPT is trained")
    parser.add_argument("--overlap", action="store_true", help="experts and contexts travel behind products")
    common.add_model(parser)
    common.add_views(parser)
    common.add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Answer the question."""
    file = common.target(args)
    model, system = common.question(args)
    from perfmodel.scenario.training import training

    with common.Progress("training") as progress:
        result = training(
            model,
            system,
            batch=args.batch,
            sequence=args.sequence,
            tp=args.tp,
            pp=args.pp,
            dp=args.dp,
            ep=args.ep,
            cp=args.cp,
            micro_batch=args.micro_batch,
            interleave=args.interleave,
            recompute=args.recompute,
            sequence_parallel=args.sequence_parallel,
            zero=args.zero,
            attention=args.attention,
            loss=args.loss,
            dropout=args.dropout,
            overlap=args.overlap,
            precision=args.precision,
            fidelity=args.fidelity,
            progress=progress,
        )
    return common.finish(result, args, file)
