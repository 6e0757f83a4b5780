"""A device with the source of each number, a system, or a workload with its counts.

perfmodel show h100-sxm5
perfmodel show llama-3.1-8b --batch 8 --query 1 --context 4096
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from perfmodel.cli import common
from perfmodel.errors import UnknownNameError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("name", help="device, system or workload: a shipped name or a file")
    parser.add_argument("--precision", default="bf16", help="for the bytes of a workload (default bf16)")
    common.add_numbers(
        parser,
        ("batch", 1, "items of the pass that is counted"),
        ("query", 1, "new tokens"),
        ("context", None, "tokens attended to"),
    )
    common.add_set(parser)
    parser.add_argument("--yaml", action="store_true", help="print the description as YAML")
    parser.add_argument("--json", action="store_true", help="print JSON with SI units")


def run(args: argparse.Namespace) -> int:
    """Print one description."""
    kind, spec = find(args.name)
    if args.yaml:
        from perfmodel.spec import dump

        if kind == "workload":
            raise UnknownNameError("device or system", args.name, ())
        common.emit(dump(common.changed(spec, args.changes)).rstrip())
    elif kind == "workload":
        _workload(common.changed(spec, args.changes, "workload."), args)
    else:
        _hardware(common.changed(spec, args.changes), args)
    return 0


def find(name: str) -> tuple[str, Any]:
    """Kind and description of a name, or of a file by its first key."""
    from pathlib import Path

    from perfmodel import shipped
    from perfmodel.hardware.catalog import device, devices, system, systems
    from perfmodel.workload.workload import workload, workloads

    path = Path(name)
    if path.is_file():
        key = shipped._first_key(path) if path.suffix in (".yaml", ".yml") else "workload"
        loaders: dict[str, Callable[[str], Any]] = {"device": device, "system": system}
        return (key, loaders[key](name)) if key in loaders else ("workload", workload(name))
    _, colon, tail = name.rpartition(":")
    if colon and tail.isdigit():
        return "system", system(name)
    if name in devices():
        return "device", device(name)
    if name in systems():
        return "system", system(name)
    if name in workloads() or "/" in name:
        return "workload", workload(name)
    raise UnknownNameError("device, system or workload", name, (*devices(), *systems(), *workloads()))


def _hardware(spec: Any, args: argparse.Namespace) -> None:
    from perfmodel.spec import get_path, paths
    from perfmodel.table import Column, Table, plain, show

    found = {
        path: get_path(spec, path)
        for path in paths(spec)
        if not path.startswith(("sources.", "device.sources."))
    }
    places = dict(spec.provenance)
    if hasattr(spec, "system") and hasattr(spec.device, "provenance"):
        places |= {f"device.{path}": entry for path, entry in spec.device.provenance.items()}
    if args.json:
        common.emit_json(
            {
                path: {"value": plain(value), "source": getattr(places.get(path), "citation", None)}
                for path, value in found.items()
            }
        )
        return
    rows = []
    for path, value in found.items():
        entry = places.get(path)
        text = value if isinstance(value, str) else show(value, unit_of(spec, path))
        cited_as = ("", "") if entry is None or isinstance(value, str) else (entry.source or "", entry.note)
        rows.append((path, str(text), *cited_as))
    columns = (Column("field"), Column("value"), Column("source"), Column("note"))
    common.emit_table(Table(columns, tuple(rows), spec.title or spec.name), None)
    used = {entry.source: entry.citation for path, entry in places.items() if path in found and entry.source}
    cited = {row[2] for row in rows}
    common.emit("\n".join(f"{name}: {text}" for name, text in used.items() if name in cited))


def unit_of(spec: Any, path: str) -> str:
    """Unit of the field at a path."""
    from perfmodel.spec.paths import rule_at

    return str(getattr(rule_at(spec, path), "unit", "1"))


def _workload(model: Any, args: argparse.Namespace) -> None:
    import numpy as np

    from perfmodel.formats import precision
    from perfmodel.table import Column, Table, show
    from perfmodel.workload.step import Step

    policy = precision(args.precision)
    query = args.query
    context = query if args.context is None else args.context
    graph = model.graph(Step(args.batch, query, context, logits="all"))
    facts = {
        "workload": model.name,
        "family": model.family,
        "source": model.source,
        "parameters": float(np.asarray(model.parameters)),
        "active_parameters": float(np.asarray(model.active_parameters)),
        "weight_bytes": float(np.asarray(graph.bytes("weight", policy))),
        "kv_bytes_per_token": float(np.asarray(model.kv_bytes_per_token(policy))),
        "flops": float(np.asarray(graph.flops)),
        "pass": {"batch": args.batch, "query": query, "context": context, "precision": policy.name},
    }
    if args.json:
        common.emit_json({**facts, "ops": [_op(op) for op in graph.ops]})
        return
    common.emit(
        f"{model.name} ({model.family}), {model.source}\n"
        f"parameters {facts['parameters']:,.0f}, {facts['active_parameters']:,.0f} per token\n"
        f"weights {show(facts['weight_bytes'], 'B')}, "
        f"cache {show(facts['kv_bytes_per_token'], 'B')}/token in {policy.name}\n"
        f"pass of batch {args.batch:g}, query {query:g}, context {context:g}: {show(facts['flops'], 'FLOP')}"
    )
    columns = (
        Column("op"),
        Column("family"),
        Column("count", "1"),
        Column("loops"),
        Column("flops", "FLOP"),
        Column("weights", "1"),
    )
    rows = tuple(
        (
            o["name"],
            o["family"],
            o["count"],
            " ".join(f"{k}={v:g}" for k, v in o["loops"].items()),
            o["flops"] or None,
            o["weights"] or None,
        )
        for o in map(_op, graph.ops)
    )
    common.emit_table(Table(columns, rows), None)


def _op(op: Any) -> dict[str, Any]:
    from perfmodel.table import scalar

    return {
        "name": op.name or op.family,
        "family": op.family,
        "count": scalar(op.count),
        "loops": {name: scalar(bound) for name, bound in op.loops.items()},
        "flops": scalar(op.flops),
        "weights": scalar(op.storage("weight")),
    }
