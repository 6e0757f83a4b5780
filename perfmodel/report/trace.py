"""Timeline of the passes in the trace event format that Perfetto and chrome://tracing read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from perfmodel.report.tables import bound_of
from perfmodel.table import scalar

if TYPE_CHECKING:
    from perfmodel.result import Result

#: an op of up to this many repetitions is drawn repetition by repetition
REPEATS = 256


def trace(result: Result, path: str | None, at: Mapping[str, Any]) -> dict[str, Any]:
    """Events of one pass of each phase, one after the other; written to `path` if given.

    ``ph: X`` events with times in microseconds, one row per phase.  Repeated ops (the layers of a model) are
    drawn in order of the layers: one repetition of each op per layer.
    """
    events: list[dict[str, Any]] = [
        {
            "ph": "M",
            "pid": 0,
            "name": "process_name",
            "args": {"name": f"{result.scenario} on {_system(result)}"},
        }
    ]
    start = 0.0
    for row, (phase, costs) in enumerate(result.costs(**at).items()):
        events.append({"ph": "M", "pid": 0, "tid": row, "name": "thread_name", "args": {"name": phase}})
        for cost, times, part in _in_layers(costs):
            duration = scalar(cost.time) * 1e6 / times
            if duration <= 0.0:
                continue
            events.append(
                {
                    "ph": "X",
                    "pid": 0,
                    "tid": row,
                    "ts": start,
                    "dur": duration,
                    "cat": cost.op.family,
                    "name": cost.op.name or cost.op.family,
                    "args": {
                        "bound": bound_of(cost),
                        "repetition": part,
                        "flops": scalar(cost.op.flops) / times,
                        "bytes": scalar(cost.count) * scalar(cost.demand.matching("memory")) / times,
                    },
                }
            )
            start += duration
    document = {"traceEvents": events, "displayTimeUnit": "ms"}
    if path is not None:
        from perfmodel.report.files import check_target, write_atomic

        write_atomic(check_target(path, (".json",)), json.dumps(document))
    return document


def _system(result: Result) -> str:
    return result.system.name if result.system is not None else "?"


def _in_layers(costs: Any) -> Any:
    """(cost, pieces, piece) in execution order: neighbours with the same count form the layers of a stack."""
    run: list[Any] = []
    for cost in [*costs, None]:
        count = scalar(cost.count) if cost is not None else -1.0
        if run and (cost is None or count != scalar(run[0].count)):
            whole = scalar(run[0].count)
            times = int(whole) if whole == int(whole) and 1 <= whole <= REPEATS else 1
            yield from ((item, times, piece) for piece in range(times) for item in run)
            run = []
        if cost is not None:
            run.append(cost)
