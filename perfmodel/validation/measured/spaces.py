"""Physical features of whole search spaces, from the op counts of their networks; every network is a row.

Operations, elements moved and kernels by kind of layer.  In NAS-Bench-201 an eager framework computes every
edge and an inference engine those that it cannot fold: there are two counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from perfmodel.workload.graph import Graph
from perfmodel.workload.nets.nas import CELL_EDGES, CELL_OPERATIONS, FBNet, OfaMobileNet
from perfmodel.workload.step import Step

Features = Mapping[str, Any]
#: cells of a network of NAS-Bench-201
CELLS = 15
#: time of the host over that of the device, as tried; power of their smooth maximum
BALANCES, POWER = (0.5, 0.7, 1.0, 1.4, 2.0), 4.0


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
    """Operations of cells: edges [N, 6], operation of each edge by its number in ``CELL_OPERATIONS``.

    Every cell of a network is the same, so its edges of each kind tell all; two counts of them [2, N].
    """
    table = np.asarray(edges)
    runs, cells = folded(table)
    computed = np.where(runs, table, 0)
    return {
        "constant": np.ones(len(table)),
        **{
            operation: np.stack([np.sum(table == k, axis=1), cells * np.sum(computed == k, axis=1)])
            for k, operation in enumerate(CELL_OPERATIONS)
            if k > 0
        },
    }


def folded(edges: Any) -> tuple[Any, Any]:
    """Edges of a cell that an inference engine computes [N, 6], and the share of the cells that it runs [N].

    What does not reach the output is left out.  A lone convolution of which only products with zero are read
    stays, as one with weights of zero.  Where the output does not depend on the input, all cells but the
    first are constants.  As read off the times of one phone, whose engine's code we have not seen.
    """
    table = np.asarray(edges)
    used = table != 0
    convolution = np.isin(table, [k for k, name in enumerate(CELL_OPERATIONS) if "conv" in name])
    read = used.copy()
    for node in (1, 2):
        into = [i for i, (_, target) in enumerate(CELL_EDGES) if target == node]
        out = [i for i, (source, _) in enumerate(CELL_EDGES) if source == node]
        alone = (np.sum(used[:, into], axis=1) == 1) & np.any(convolution[:, into], axis=1)
        read[:, out[-1]] |= alone & ~np.any(used[:, out], axis=1)
    reached, needed = np.zeros((2, len(used), 4), bool)
    reached[:, 0] = needed[:, 3] = True
    for index, (source, target) in enumerate(CELL_EDGES):
        reached[:, target] |= reached[:, source] & read[:, index]
    for index, (source, target) in reversed(list(enumerate(CELL_EDGES))):
        needed[:, source] |= needed[:, target] & read[:, index]
    runs = np.stack([used[:, i] & needed[:, target] for i, (_, target) in enumerate(CELL_EDGES)], axis=1)
    return runs, np.where(reached[:, 3], 1.0, 1.0 / CELLS)


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
    middle = [
        np.vstack([table, np.full(table.shape[1], value)])
        for table, value in (
            (np.asarray(kernels), 5.0),
            (np.asarray(expansions), 4.0),
            (np.asarray(depths), 3.0),
        )
    ]
    net = OfaMobileNet(
        kernels=tuple(middle[0].T),
        expansions=tuple(middle[1].T),
        depths=tuple(middle[2].T),
        height=np.append(np.asarray(resolution, dtype=np.float64), 176.0),
    )
    return overlapped(varying(counts(_graph(net), len(resolution) + 1)))


def overlapped(found: Features) -> dict[str, Any]:
    """Features of devices that compute while their host starts kernels: the last network is a middle one.

    [N + 1] -> [1 + V, N].  The time (host^p + device^p)^(1/p) is the sum of host (host/time)^(p-1) and device
    (device/time)^(p-1).  How long the host takes over the device on the middle network is unknown: a count
    for each of ``BALANCES`` after one in which both add.
    """

    def total(word: str) -> Any:
        amount = sum(value for name, value in found.items() if name.startswith(word))
        return amount / amount[-1]

    host = np.array(BALANCES)[:, None] * total("kernels")
    device = 0.5 * (total("operations") + total("elements"))
    time = (host**POWER + device**POWER) ** (1 / POWER)
    both = np.ones((1, len(device)))
    waits, works = (np.vstack([both, (part / time) ** (POWER - 1)]) for part in (host, device))
    parts = {name: value * works for name, value in found.items() if name != "constant"}
    named = {"constant": found["constant"], "starts": total("kernels") * waits, **parts}
    return {name: value[..., :-1] for name, value in named.items()}


def _graph(net: Any) -> Graph:
    built: Graph = net.graph(Step())
    return built
