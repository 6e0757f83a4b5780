"""Eyeriss on AlexNet and VGG-16, layer by layer.

[1] Chen et al., "Eyeriss", JSSC 52(1) 2017, doi:10.1109/JSSC.2016.2616357, Tables III (mappings of AlexNet,
    recalled), V and VI (layers), section VI-A (a layer is not processed while inputs come and results leave).

The mappings of VGG-16 are not published.  They follow from two counters of Table VI: of all mappings that fit
the array, the scratchpads and the buffer, the one with the printed number of active PEs whose traffic of the
global buffer comes closest to the printed one: 0.14 % away at most, the next one ten times as far.  m is the
largest that fits.  Latency and DRAM traffic are not looked at.  CONV1 goes in two halves of 112 columns, else
its sums do not fit.  Table III lists q = 4, r = 1, t = 4 for CONV3 of AlexNet, but its buffer traffic is that
of CONV4's mapping (50.2 MB; 69.2 MB as listed).
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
    """Filters, channels that a filter sees, groups, size of the results, kernel, stride, and the mapping."""

    filters: int
    channels: int
    size: int
    mapping: RowStationaryMapping
    kernel: int = 3
    stride: int = 1
    groups: int = 1


#: network -> batch and layers
NETWORKS: Mapping[str, tuple[int, Mapping[str, Layer]]] = {
    "alexnet": (4, {
        "CONV1": Layer(96, 3, 55, RowStationaryMapping(m=96, e=7, p=16, q=1, t=2), 11, 4),
        "CONV2": Layer(256, 48, 27, RowStationaryMapping(m=64, e=27, p=16, q=2), 5, 1, 2),
        "CONV3": Layer(384, 256, 13, _ALEX), "CONV4": Layer(384, 192, 13, _ALEX, groups=2),
        "CONV5": Layer(256, 192, 13, _ALEX, groups=2),
    }),
    "vgg16": (3, {
        "CONV1-1": Layer(64, 3, 224, _EARLY), "CONV1-2": Layer(64, 64, 224, _EARLY),
        "CONV2-1": Layer(128, 64, 112, _EARLY), "CONV2-2": Layer(128, 128, 112, _EARLY),
        "CONV3-1": Layer(256, 128, 56, _THIRD), "CONV3-2": Layer(256, 256, 56, _THIRD),
        "CONV3-3": Layer(256, 256, 56, _THIRD), "CONV4-1": Layer(512, 256, 28, _FOURTH),
        "CONV4-2": Layer(512, 512, 28, _FOURTH), "CONV4-3": Layer(512, 512, 28, _FOURTH),
        "CONV5-1": Layer(512, 512, 14, _FIFTH), "CONV5-2": Layer(512, 512, 14, _FIFTH),
        "CONV5-3": Layer(512, 512, 14, _FIFTH),
    }),
}


def predicted(network: str, name: str, zeros_in: float = 0.0, zeros_out: float = 0.0) -> dict[str, float]:
    """Quantities of Tables V and VI of a layer, by their names in the table of silicon; times in ms.

    zeros_in, zeros_out  shares of zeros in inputs and results, of which the coded DRAM traffic depends
    """
    batch, layers = NETWORKS[network]
    one = layers[name]
    shape = (batch, one.filters, one.channels, one.size, one.size, one.kernel, one.stride, one.mapping)
    run = row_stationary(*shape)
    moved = row_stationary_traffic(*shape, groups=one.groups, zeros_in=zeros_in, zeros_out=zeros_out)
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
