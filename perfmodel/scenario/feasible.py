"""Why a point of a sweep cannot be: codes that a Result turns into words."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from perfmodel.algebra import Value, minimum
from perfmodel.hardware.device import System
from perfmodel.scenario.solve import NO_MAPPING, TOO_LARGE, first_reason
from perfmodel.workload.workload import Workload

REASONS = (
    "",
    TOO_LARGE,
    "tp must divide the heads, widths and vocabulary that it splits",
    "tp x pp x dp must not exceed the devices of the system",
    "dp x pp must divide the batch into whole micro-batches",
    NO_MAPPING,
    "ep must divide dp and the experts of a layer",
)


class Parallel(NamedTuple):
    """Devices that share the work: tensor-parallel ones, stages, replicas, replicas that share experts."""

    tp: Value
    pp: Value = 1.0
    dp: Value = 1.0
    ep: Value = 1.0


def reasons(
    workload: Workload, system: System, split: Parallel, batch: Value, memory: Value, latency: Value
) -> Any:
    """Code of the first reason against each point, 0 where there is none; an index into REASONS."""
    limit = system.device.main_memory.capacity
    too_large = (memory > limit) if limit is not None else np.False_
    checks = [
        too_large,
        ~divides(workload, split.tp),
        split.tp * split.pp * split.dp > system.count,
        np.mod(batch, split.dp * split.pp) != 0,
        unmapped(latency),
        unshared(workload, split),
    ]
    return first_reason(checks)


def unshared(workload: Workload, split: Parallel) -> Any:
    """Points at which the experts cannot be shared out evenly."""
    if np.all(np.equal(split.ep, 1.0)):
        return np.False_
    return (np.mod(split.dp, split.ep) != 0) | (np.mod(experts_of(workload), split.ep) != 0)


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
