"""Why a point of a sweep cannot be: codes that a Result turns into words."""

from __future__ import annotations

from typing import Any

import numpy as np

from perfmodel.algebra import Value, minimum
from perfmodel.hardware.device import System
from perfmodel.scenario.solve import NO_MAPPING, TOO_LARGE
from perfmodel.workload.workload import Workload

REASONS = (
    "",
    TOO_LARGE,
    "tp must divide the heads, widths and vocabulary that it splits",
    "tp x pp must not exceed the devices of the system",
    "pp must divide the batch into whole micro-batches",
    NO_MAPPING,
)


def reasons(
    workload: Workload, system: System, tp: Value, pp: Value, batch: Value, memory: Value, latency: Value
) -> Any:
    """Code of the first reason against each point, 0 where there is none; an index into REASONS."""
    limit = system.device.main_memory.capacity
    too_large = (memory > limit) if limit is not None else np.False_
    checks = [
        too_large,
        ~divides(workload, tp),
        tp * pp > system.count,
        np.mod(batch, pp) != 0,
        unmapped(latency),
    ]
    code: Any = np.zeros((), dtype=np.int64)
    for number, failed in reversed(list(enumerate(checks, start=1))):
        code = np.where(failed, number, code)
    return code


def unmapped(seconds: Value) -> Any:
    """Points at which an op has no mapping; one False where all have one, so that the codes stay small."""
    return np.isnan(seconds) if np.isnan(np.min(seconds)) else np.False_


def divides(workload: Workload, tp: Value) -> Any:
    """Whether `tp` divides every loop that it splits; key-value heads may be replicated instead.

    Where no op can be split, only 1 divides.
    """
    ops = workload.graph(batch=1.0, query=1.0, context=1.0).ops
    good: Any = np.True_ if any("tp" in op.split for op in ops) else np.asarray(tp) == 1
    for op in ops:
        split = op.split.get("tp")
        if split is None or not split.loop:
            continue
        bound = op.loops[split.loop]
        if split.balance:
            bound = bound * op.loops[split.balance]
        elif split.parts is not None:
            continue
        good = good & (np.mod(bound, tp) == 0)
    return good


def layers_of(workload: Workload) -> float:
    """Layers of a model; no limit where it does not say."""
    blocks = getattr(workload.dims, "blocks", ())
    named = [block for block in blocks if hasattr(block, "repeat")] if isinstance(blocks, tuple) else []
    return float(sum(np.max(block.repeat) for block in named)) if named else float("inf")


def experts_of(workload: Workload) -> Value:
    """Experts of a mixture layer, the fewest where layers differ; 1 where there is none."""
    counts = [
        tensor.storage(op.loops) / (op.loops["n"] * op.loops["k"])
        for op in workload.graph(batch=1.0, query=1.0, context=1.0).ops
        if op.family == "grouped_matmul" and "ep" in op.split
        for tensor in op.tensors
        if tensor.kind == "weight" and {"n", "k"} <= set(tensor.axes)
    ]
    return minimum(*counts) if counts else 1.0
