"""One operator: latency, energy, what bounds it and its mapping.

  perfmodel kernel matmul m=64 n=4096 k=4096 --on h100-sxm5 --precision fp8
  perfmodel kernel matmul --m 1,64,4096 --n 4096 --k 4096 --on h100-sxm5
  perfmodel kernel attention batch=8 query=1 context=1024:65536:7:log heads=32 kv_heads=8 --on h100-sxm5
`perfmodel list operators` names the operators; `perfmodel kernel NAME --on DEVICE` lists what one needs.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from perfmodel.cli import common
from perfmodel.errors import ArgumentError

#: sizes of the operator are options that are not known beforehand
OPEN = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("operator", help="name of an operator")
    parser.add_argument(
        "sizes", nargs="*", metavar="NAME=VALUE", help="sizes; a list or range becomes an axis"
    )
    common.add_hardware(parser)
    common.add_model(parser)
    parser.add_argument("--runtime", default="vllm", help="software of the calibrated kernels (default vllm)")
    common.add_views(parser)
    common.add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Answer the question."""
    file = common.target(args)
    from perfmodel.hardware.catalog import system
    from perfmodel.scenario.kernel import kernel

    where = common.changed(system(args.on), args.changes)
    result = kernel(
        operator(args.operator, [*args.sizes, *getattr(args, "rest", [])]),
        where,
        precision=args.precision,
        fidelity=args.fidelity,
        runtime=args.runtime,
    )
    return common.finish(result, args, file)


def operator(name: str, words: Sequence[str], optional: Mapping[str, Any] | None = None) -> Any:
    """The op of a name and its sizes, written ``m=64``, ``--m 64`` or ``--m=64``.

    optional  sizes that apply if the operator has them and the words do not give them

    Raises ArgumentError for a size that the operator does not have, or that is missing.
    """
    import inspect

    from perfmodel.ops import constructors
    from perfmodel.ops.registry import find

    known = inspect.signature(find(name)).parameters
    given = sizes(words)
    given |= {key: value for key, value in (optional or {}).items() if key in known and key not in given}
    for key in given:
        if key not in known:
            from perfmodel.errors import nearest

            raise ArgumentError(f"{name}.{key}", given[key], ", ".join(known), nearest(key, known))
    missing = [key for key, p in known.items() if p.default is inspect.Parameter.empty and key not in given]
    if missing:
        raise ArgumentError(name, ", ".join(given) or "no sizes", "also needed: " + ", ".join(missing))
    return getattr(constructors, name)(**given)


def sizes(words: Sequence[str]) -> dict[str, Any]:
    """Arguments of an operator as name -> value."""
    found: dict[str, Any] = {}
    pending = list(words)
    while pending:
        word = pending.pop(0)
        key, equals, text = word.removeprefix("--").partition("=")
        if not equals:
            if not word.startswith("--") or not pending:
                raise ArgumentError("sizes", word, "NAME=VALUE or --NAME VALUE")
            text = pending.pop(0)
        key = key.replace("-", "_")
        if key in found:
            raise ArgumentError(key, text, "each size once")
        found[key] = _value(key, text)
    return found


def _value(key: str, text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    if text[:1].isalpha():
        return text
    try:
        return common.numbers(text)
    except argparse.ArgumentTypeError as error:
        raise ArgumentError(key, text, str(error)) from None
