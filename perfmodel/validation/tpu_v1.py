"""The six applications of TPU v1, layer by layer: throughput and performance counters.

[1] N. Jouppi et al., ISCA 2017, arXiv:1704.04760: Table 1 (layers by kind, weights, batch), section 7 (a
    matrix of LSTM1), Table 3 (counters and TOPS); it names AlphaGo and Inception V2 as sources of the CNNs.
[2] S. Ioffe, C. Szegedy, "Batch Normalization", arXiv:1502.03167: Inception V2, 69 convolutions, 13 poolings.
[3] D. Silver et al., Nature 529, 2016, doi:10.1038/nature16961: 19 x 19 boards, 3 x 3 filters, 128 to 384
    wide.
"""

from __future__ import annotations

from functools import cache

from perfmodel.engine.dataflow.tile_stream import (
    TileStreamMachine,
    TileStreamRun,
    element_wise,
    in_sequence,
    tile_stream,
    tile_stream_machine,
)
from perfmodel.hardware.catalog import device
from perfmodel.workload.nets.inception import INCEPTION_V2

#: application -> array layers, vector or pooling layers, weights, batch [1, Table 1]
APPLICATIONS = {
    "MLP0": (5, 0, 20e6, 200), "MLP1": (4, 0, 5e6, 168),
    "LSTM0": (24, 34, 52e6, 64), "LSTM1": (37, 19, 34e6, 96),
    "CNN0": (16, 0, 8e6, 8), "CNN1": (76, 13, 100e6, 32),
}
#: row of Table 3 (share of the cycles) -> part of a run
COUNTERS = {
    "array_active_cycles": "active", "useful_macs_cycles": "useful", "weight_stall_cycles": "stall",
    "weight_shift_cycles": "shift", "non_matrix_cycles": "other",
}


@cache
def machine() -> TileStreamMachine:
    """The shipped description."""
    return tile_stream_machine(device("tpu-v1"))


@cache
def run(application: str) -> TileStreamRun:
    """One batch of an application."""
    layers, vectors, weights, batch = APPLICATIONS[application]
    if application == "CNN0":
        # 8M weights in 16 layers of 3 x 3 are 236 wide: 256 of the widths of [3]; a board has 361 points
        return in_sequence(tile_stream(9 * 256, 256, 361 * batch, machine()) for _ in range(layers))
    if application == "CNN1":
        return _inception(weights, batch)
    # [1, section 7], or equal squares: sizes are not printed
    side = 600.0 if application == "LSTM1" else round((weights / layers) ** 0.5)
    count = weights / side**2
    recurrent = application.startswith("LSTM")
    # 8.2 and 6.3 % useful cycles for TOPS of 4.0 and 3.0 %: activations of 16 bit, at half speed
    passes = 2.0 if recurrent else 1.0
    after = element_wise(batch, side, machine()).cycles * vectors / layers if recurrent else 0.0
    return tile_stream(side, side, batch, machine(), passes=passes, after=after).times(count)


def predicted(application: str, quantity: str) -> float | None:
    """TOPS (`throughput`) or a counter [% of cycles] (`..._cycles`) of Table 3; None for others."""
    found = run(application)
    if quantity == "throughput":
        return float(found.rate(machine())) / 1e12
    part = COUNTERS.get(quantity)
    return None if part is None else 100.0 * float(getattr(found, part) / found.cycles)


def inception_v2() -> tuple[list[tuple[int, int, int]], list[tuple[int, int]]]:
    """Convolutions [K, filters, output pixels] and poolings [input side, channels] of Inception V2."""
    found = [(3 * 49, 64, 112**2), (64, 64, 56**2), (64 * 9, 192, 56**2)]
    pools, side, channels = [(112, 64), (56, 192)], 28, 192
    for one, reduce3, three, reduce_double, double, project in INCEPTION_V2.values():
        pools.append((side, channels))
        out = (side // (1 if one else 2)) ** 2
        found += [
            (channels, reduce3, side**2), (reduce3 * 9, three, out), (channels, reduce_double, side**2),
            (reduce_double * 9, double, side**2), (double * 9, double, out),
        ]
        found += [(channels, width, side**2) for width in (one, project) if width]
        side, channels = side // (1 if one else 2), one + three + double + (project or channels)
    return found, [*pools, (side, channels)]


def _inception(weights: float, batch: float) -> TileStreamRun:
    """Inception V2 with a pooling in each module, and four equal matrices that hold the other weights."""
    layers, pools = inception_v2()
    side = round(((weights - sum(k * n for k, n, _ in layers)) / 4) ** 0.5)
    return in_sequence([
        *(tile_stream(k, n, pixels * batch, machine()) for k, n, pixels in layers),
        *(element_wise(edge**2 * batch, channels, machine()) for edge, channels in pools),
        *(tile_stream(side, side, batch, machine()) for _ in range(4)),
    ])
