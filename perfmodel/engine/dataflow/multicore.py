"""Layers on several cores that share main memory: one layer after the other on all, or a pipeline of layers.

[1] A. Symons et al., "Stream", IEEE Trans. Computers 2025, arXiv:2212.10612.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perfmodel.algebra import Value, maximum, total
from perfmodel.engine.dataflow.accelerator import check
from perfmodel.errors import ArgumentError


@dataclass(frozen=True)
class LayerCost:
    """One layer on ONE core, per image: cycles of computing, and elements that pass main memory.

    weights, inputs, outputs  bytes with main memory
    split                     largest number of cores that can share the layer (its tiles)
    """

    cycles: Value
    weights: Value
    inputs: Value
    outputs: Value
    split: Value = float("inf")


@dataclass(frozen=True)
class ScheduleCost:
    """Cycles per image in steady state, of the first image, and bytes of main memory per image."""

    interval: Value
    latency: Value
    traffic: Value


def layer_by_layer(
    layers: Sequence[LayerCost], cores: Value, bandwidth: Value, *, batch: Value = 1.0, on_chip: Value = 0.0,
    duplex: bool = False,
) -> ScheduleCost:
    """All cores work on one layer, then on the next; weights are fetched once per batch.

    bandwidth  of main memory [B/cycle]
    on_chip    bytes per image and layer boundary that stay on chip instead of passing main memory
    duplex     main memory reads and writes at the same time, each at its bandwidth

    Cycles of a layer ``max(cycles / min(cores, split), bytes / bandwidth)``, summed.
    """
    _valid(layers, cores, bandwidth)
    times, moved = [], []
    for number, layer in enumerate(layers):
        inputs = layer.inputs if number == 0 else maximum(layer.inputs - on_chip, 0.0)
        last = number == len(layers) - 1
        outputs = layer.outputs if last else maximum(layer.outputs - on_chip, 0.0)
        read = layer.weights / batch + inputs
        used = -maximum(-cores, -layer.split)
        moved.append(read + outputs)
        times.append(maximum(layer.cycles / used, _pace(read, outputs, bandwidth, duplex)))
    interval = total(times)
    return ScheduleCost(interval, interval * batch, total(moved))


def pipelined(
    layers: Sequence[LayerCost], cores: int, bandwidth: Value, *, resident: bool = False, duplex: bool = False
) -> ScheduleCost:
    """Consecutive layers share a core, the groups form a pipeline; intermediates pass between cores on chip.

    resident  each core keeps the weights of its layers
    duplex    main memory reads and writes at the same time

    The cut into `cores` groups has the least largest sum of cycles (exact).  Interval ``max(largest group,
    bytes / bandwidth)``; the first image passes all groups.
    """
    _valid(layers, cores, bandwidth)
    groups = balanced_cuts([float(layer.cycles) for layer in layers], int(cores))
    slowest = max(sum(float(layers[i].cycles) for i in group) for group in groups)
    weights = 0.0 if resident else total([layer.weights for layer in layers])
    read, written = weights + layers[0].inputs, layers[-1].outputs
    interval = maximum(slowest, _pace(read, written, bandwidth, duplex))
    return ScheduleCost(interval, interval * len(groups), read + written)


def _pace(read: Value, written: Value, bandwidth: Value, duplex: bool) -> Value:
    """Cycles in which main memory moves the bytes."""
    return (maximum(read, written) if duplex else read + written) / bandwidth


def balanced_cuts(work: Sequence[float], groups: int) -> list[list[int]]:
    """Cut a list into at most `groups` runs so that the largest sum is least (dynamic programming)."""
    size = len(work)
    prefix = [0.0]
    for amount in work:
        prefix.append(prefix[-1] + amount)
    best: list[list[float]] = [[prefix[end] for end in range(size + 1)]]
    cut: list[list[int]] = [[0] * (size + 1)]
    for _ in range(1, min(groups, size)):
        last, row, where = best[-1], [0.0] * (size + 1), [0] * (size + 1)
        for end in range(1, size + 1):
            options = [(max(last[start], prefix[end] - prefix[start]), start) for start in range(end)]
            row[end], where[end] = min(options)
        best.append(row)
        cut.append(where)
    runs, end = [], size
    for where in reversed(cut):
        start = where[end]
        if end > start:
            runs.append(list(range(start, end)))
        end = start
    return runs[::-1]


def _valid(layers: Sequence[LayerCost], cores: Value, bandwidth: Value) -> None:
    if not layers:
        raise ArgumentError("layers", layers, "one layer at least")
    check("cores", cores, "cores >= 1", least=1.0)
    check("bandwidth", bandwidth, "bytes per cycle > 0")
