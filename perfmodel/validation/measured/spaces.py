"""Physical features of whole search spaces, from the op counts of their networks; every network is a row.

Operations, elements moved and kernels by kind of layer.  In NAS-Bench-201 an edge that no path from the input
to the output uses is dead: an eager framework computes it, an inference engine does not, so both are counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from perfmodel.workload.graph import Graph
from perfmodel.workload.nets.nas import CELL_EDGES, FBNet, NasBench201, OfaMobileNet
from perfmodel.workload.step import Step

Features = Mapping[str, Any]


def counts(graph: Graph, rows: int) -> dict[str, Any]:
    """Operations, elements moved, weights and kernels of a graph by kind of layer, each [rows].

    Kinds: dense convolution, 1x1 (pointwise), grouped, depthwise, matrix product, everything else.
    """
    found: dict[str, Any] = {}

    def add(name: str, value: Any) -> None:
        found[name] = found.get(name, 0.0) + np.broadcast_to(np.asarray(value, np.float64), (rows,))

    for op in graph.ops:
        kind = _kind(op)
        for name, mask in kind.items():
            times = op.count * mask
            moved = sum((t.footprint(op.loops) for t in op.tensors if t.kind != "weight"), 0.0)
            stored = sum((t.footprint(op.loops) for t in op.tensors if t.kind == "weight"), 0.0)
            work = sum((w.operations for w in op.work if w.unit == "matrix"), 0.0)
            add(f"operations {name}", times * work)
            add(f"elements {name}", times * moved)
            add(f"weights {name}", times * stored)
            add(f"kernels {name}", times)
    return found


def _kind(op: Any) -> Mapping[str, Any]:
    if op.family == "conv2d":
        groups, window = np.asarray(op.loops["g"]), np.asarray(op.loops["r"] * op.loops["s"])
        deep = (groups > 1) & (np.asarray(op.loops["c"]) == 1)
        grouped = (groups > 1) & ~deep
        return {
            "depthwise": deep & (window <= 9),
            "depthwise 5x5": deep & (window > 9),
            "grouped": grouped,
            "pointwise": (groups == 1) & (window == 1),
            "dense": (groups == 1) & (window > 1),
        }
    return {"product" if op.family == "matmul" else "elementwise": 1.0}


def varying(features: Features) -> dict[str, Any]:
    """Features that differ between the networks, and a constant in front."""
    kept = {name: value for name, value in features.items() if np.ptp(value) > 0}
    some = next(iter(kept.values()))
    return {"constant": np.ones(len(some)), **kept}


def nasbench201(edges: Any) -> dict[str, Any]:
    """Features of cells: edges [N, 6], operation of each edge by its number in ``CELL_OPERATIONS``."""
    table = np.asarray(edges)
    alive = live_edges(table)
    found: dict[str, Any] = {}
    for word, choices in (("all", table), ("live", np.where(alive, table, 0))):
        graph = _graph(replace(NasBench201(), edges=tuple(choices.T.astype(np.float64))))
        for name, value in counts(graph, len(table)).items():
            if name.startswith("kernels"):
                found[f"{word} {name}"] = value
        for operation in range(1, 5):
            found[f"{word} edges {operation}"] = np.sum(choices == operation, axis=1) * 1.0
    # an inference engine folds a network away whose output does not depend on its input
    found["connected"] = np.any(alive[:, 3:], axis=1) * 1.0
    found["longest path of convolutions"] = longest_path(table, alive, (0, 0, 1, 1, 0))
    found["longest path of kernels"] = longest_path(table, alive, (0, 0, 1, 1, 1))
    return varying(found)


def live_edges(edges: Any) -> Any:
    """Edges on a path from the input to the output of the cell [N, 6]."""
    used = np.asarray(edges) != 0
    reached = np.zeros((len(used), 4), bool)
    needed = np.zeros((len(used), 4), bool)
    reached[:, 0] = needed[:, 3] = True
    for index, (source, target) in enumerate(CELL_EDGES):
        reached[:, target] |= reached[:, source] & used[:, index]
    for index, (source, target) in reversed(list(enumerate(CELL_EDGES))):
        needed[:, source] |= needed[:, target] & used[:, index]
    return np.stack(
        [used[:, i] & reached[:, s] & needed[:, t] for i, (s, t) in enumerate(CELL_EDGES)], axis=1
    )


def longest_path(edges: Any, alive: Any, weight: tuple[float, ...]) -> Any:
    """Largest sum of weights (by operation) on a path from input to output [N]."""
    depth = np.full((len(edges), 4), -np.inf)
    depth[:, 0] = 0.0
    steps = np.asarray(weight)[np.asarray(edges)]
    for index, (source, target) in enumerate(CELL_EDGES):
        along = np.where(alive[:, index], depth[:, source] + steps[:, index], -np.inf)
        depth[:, target] = np.maximum(depth[:, target], along)
    return np.maximum(depth[:, 3], 0.0)


def fbnet(choices: Any) -> dict[str, Any]:
    """Counts of FBNet on 32 x 32 images (CIFAR-100): choices [N, 22]."""
    table = np.asarray(choices, dtype=np.float64)
    net = FBNet(stem_stride=1.0, first_stride=1.0, height=32.0, classes=100.0, choices=tuple(table.T))
    return varying(counts(_graph(net), len(table)))


def fbnet_layers(choices: Any) -> dict[str, Any]:
    """Which operation each layer of FBNet has: a constant per layer and operation."""
    table = np.asarray(choices)
    return {
        "constant": np.ones(len(table)),
        **{f"layer {i + 1} operation {k}": (table[:, i] == k) * 1.0 for i in range(22) for k in range(8)},
    }


def ofa(kernels: Any, expansions: Any, depths: Any, resolution: Any) -> dict[str, Any]:
    """Counts of once-for-all MobileNetV3: kernels and expansions [N, 20], depths [N, 5], resolution [N]."""
    columns = [tuple(np.asarray(v, dtype=np.float64).T) for v in (kernels, expansions, depths)]
    net = OfaMobileNet(
        kernels=columns[0],
        expansions=columns[1],
        depths=columns[2],
        height=np.asarray(resolution, dtype=np.float64),
    )
    return varying(counts(_graph(net), len(resolution)))


def _graph(net: Any) -> Graph:
    built: Graph = net.graph(Step())
    return built
