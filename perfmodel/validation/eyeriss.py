"""Eyeriss on AlexNet and VGG-16, layer by layer.

[1] Chen et al., "Eyeriss", JSSC 52(1) 2017, doi:10.1109/JSSC.2016.2616357, Tables III (mappings of AlexNet,
    recalled), V and VI (layers), section VI-A (a layer is not processed while inputs come and results leave).

The mappings of VGG-16 are not published.  They follow from two counters of Table VI: of all mappings that fit
the array, the scratchpads and the buffer, the one with the printed number of active PEs whose traffic of the
global buffer comes closest to the printed one: 0.14 % away at most, the next one ten times as far.  m is the
largest that fits.  Latency and DRAM traffic are not looked at.  CONV1 goes in two halves of 112 columns, else
its sums do not fit.  Table III lists q = 4, r = 1, t = 4 for CONV3 of AlexNet, but its buffer traffic is that
of CONV4's mapping (50.2 MB; 69.2 MB as listed).

The zeros of results are printed as those of the next layer's inputs, unless a pooling lies between, which
takes zeros away: then those of the next inputs that come straight from a convolution stand for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perfmodel.engine.dataflow.row_stationary import (
    RowStationaryMapping,
    row_stationary,
    row_stationary_traffic,
)

CLOCK, LINK = 200e6, 8 * 60e6  # [Hz], 64 bit at the link clock [B/s]
_ALEX = RowStationaryMapping(n=4, m=64, e=13, p=16, q=3, r=2, t=2)
_EARLY = RowStationaryMapping(m=32, e=13, p=8, q=1, t=4)
_THIRD = RowStationaryMapping(m=64, e=13, p=16, q=2, t=4)
_FOURTH = RowStationaryMapping(m=32, e=28, p=16, q=4, t=2)
_FIFTH = RowStationaryMapping(n=3, m=64, e=14, p=16, q=4, r=2, t=2)


@dataclass(frozen=True)
class Layer:
    """Filters, channels that a filter sees, groups, size of the results, kernel, stride, and the mapping.

    zeros   share of zeros in the inputs, Tables V and VI (recalled)
    pooled  the inputs come from a pooling
    """

    filters: int
    channels: int
    size: int
    mapping: RowStationaryMapping
    zeros: float
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    pooled: bool = False


#: network -> batch and layers
NETWORKS: Mapping[str, tuple[int, Mapping[str, Layer]]] = {
    "alexnet": (4, {
        "CONV1": Layer(96, 3, 55, RowStationaryMapping(m=96, e=7, p=16, q=1, t=2), 0.0001, 11, 4),
        "CONV2": Layer(256, 48, 27, RowStationaryMapping(m=64, e=27, p=16, q=2), 0.387, 5, 1, 2, pooled=True),
        "CONV3": Layer(384, 256, 13, _ALEX, 0.725, pooled=True),
        "CONV4": Layer(384, 192, 13, _ALEX, 0.793, groups=2),
        "CONV5": Layer(256, 192, 13, _ALEX, 0.776, groups=2),
    }),
    "vgg16": (3, {
        "CONV1-1": Layer(64, 3, 224, _EARLY, 0.016), "CONV1-2": Layer(64, 64, 224, _EARLY, 0.477),
        "CONV2-1": Layer(128, 64, 112, _EARLY, 0.248, pooled=True),
        "CONV2-2": Layer(128, 128, 112, _EARLY, 0.387),
        "CONV3-1": Layer(256, 128, 56, _THIRD, 0.397, pooled=True),
        "CONV3-2": Layer(256, 256, 56, _THIRD, 0.581), "CONV3-3": Layer(256, 256, 56, _THIRD, 0.587),
        "CONV4-1": Layer(512, 256, 28, _FOURTH, 0.643, pooled=True),
        "CONV4-2": Layer(512, 512, 28, _FOURTH, 0.747), "CONV4-3": Layer(512, 512, 28, _FOURTH, 0.854),
        "CONV5-1": Layer(512, 512, 14, _FIFTH, 0.794, pooled=True),
        "CONV5-2": Layer(512, 512, 14, _FIFTH, 0.874), "CONV5-3": Layer(512, 512, 14, _FIFTH, 0.885),
    }),
}


def predicted(network: str, name: str) -> dict[str, float]:
    """Quantities of Tables V and VI of a layer, by their names in the table of silicon; times in ms."""
    batch, layers = NETWORKS[network]
    one, order = layers[name], list(layers)
    later = [layers[other].zeros for other in order[order.index(name) + 1:] if not layers[other].pooled]
    shape = (batch, one.filters, one.channels, one.size, one.size, one.kernel, one.stride, one.mapping)
    run = row_stationary(*shape)
    results = [*later, one.zeros][0]
    moved = row_stationary_traffic(*shape, groups=one.groups, zeros_in=one.zeros, zeros_out=results)
    # Table V counts MB without filters, Table VI MiB with them: so both agree with their mappings to 0.1 %
    buffer = moved.sums + moved.ifmap
    buffer = buffer / 1e6 if network == "alexnet" else (buffer + moved.filters) / 2**20
    processing = float(run.cycles) / CLOCK * 1e3
    waiting = float(moved.dram_ifmap + moved.dram_ofmap) / LINK * 1e3
    return {
        "processing_latency": processing, "total_latency": processing + waiting,
        "active_pes": float(run.active), "global_buffer_accesses": float(buffer),
        "dram_accesses": float(moved.dram) / 1e6,
    }
