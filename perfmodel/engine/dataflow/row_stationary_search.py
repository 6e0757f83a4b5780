"""The mapping of a convolution on an Eyeriss-like array that costs least energy.

Rules of the chip [2]: sets of PEs are R rows high and e columns wide, wide ones are cut into segments of the
array's width; a pass needs p q S filter, q S input and p sum words in each PE; several images share a pass
only as whole maps; banks of the buffer hold either inputs or sums; inputs may not arrive slower than the PEs
work.  An input row of all channels of a pass takes 128 words at most, so that 16 rows fill a bank.  This last
rule is not in the paper: the buffer counters of VGG-16 show q r of 1, 2, 4, 8 for maps of 112, 56, 28, 14.

[1] Y.-H. Chen, J. Emer, V. Sze, "Eyeriss", ISCA 2016, doi:10.1109/ISCA.2016.40 (energy per access: 200 DRAM,
    6 buffer, 2 between PEs, in units of a MAC, recalled; least energy as the objective).
[2] Y.-H. Chen et al., "Eyeriss", JSSC 52(1) 2017, doi:10.1109/JSSC.2016.2616357, sections III to V.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from perfmodel.engine.dataflow.row_stationary import (
    RowStationaryMapping,
    row_stationary_traffic,
)
from perfmodel.errors import ArgumentError


@dataclass(frozen=True, kw_only=True)
class RowStationaryArray:
    """Sizes of the chip: PEs, words of scratchpads, of a bank and of an input row; energies by access."""

    rows: int = 12
    columns: int = 14
    filter_words: int = 224
    input_words: int = 12
    sum_words: int = 24
    banks: int = 25
    bank_words: int = 2048
    row_words: int = 128
    dram: float = 200.0
    buffer: float = 6.0
    neighbour: float = 2.0


@dataclass(frozen=True)
class Shape:
    """A convolution: images, filters, channels that a filter sees, groups, results, kernel, stride."""

    images: int
    filters: int
    channels: int
    size: int
    kernel: int
    stride: int = 1
    groups: int = 1


def least_energy_mapping(
    shape: Shape, array: RowStationaryArray | None = None, *, zeros_in: float = 0.0
) -> RowStationaryMapping:
    """Mapping of least energy; all candidates are priced at once.

    zeros_in  share of zeros in the inputs, whose coded form crosses the DRAM
    """
    chip = array or RowStationaryArray()
    found = _candidates(shape, chip)
    if not len(found["e"]):
        raise ArgumentError("kernel", shape.kernel, f"{chip.rows} rows at most")
    mapping = RowStationaryMapping(**found)
    moved = row_stationary_traffic(
        shape.images, shape.filters, shape.channels, shape.size, shape.size, shape.kernel, shape.stride,
        mapping, groups=shape.groups, zeros_in=zeros_in, word=1.0,
    )
    results = shape.images * shape.filters * shape.size**2
    passed = results * shape.channels / found["q"] * (shape.kernel - 1.0 / found["r"])
    energy = (
        chip.dram * moved.dram + chip.buffer * (moved.sums + moved.ifmap + moved.filters)
        + chip.neighbour * passed
    )
    best = int(np.argmin(energy))
    return RowStationaryMapping(**{name: float(values[best]) for name, values in found.items()})


def _candidates(shape: Shape, chip: RowStationaryArray) -> dict[str, Any]:
    """Parameters of all mappings that fit, one entry each: the most filters m that the buffer holds."""
    whole = np.arange(1, shape.images + 1)
    e, r, t, q, p, n = np.meshgrid(
        np.arange(1, min(shape.size, chip.columns * chip.rows) + 1), [1, 2, 4, 8, 16], [1, 2, 4, 8, 16],
        np.arange(1, chip.input_words // shape.kernel + 1), np.arange(1, chip.sum_words + 1),
        whole[shape.images % whole == 0], indexing="ij", sparse=True,
    )
    own = shape.filters // shape.groups
    # sets of PEs beside and above each other
    segments, high = -(-e // chip.columns), chip.rows // shape.kernel
    sets = np.where(segments > 1, high // segments, high * (chip.columns // e))
    rows = (e - 1) * shape.stride + shape.kernel
    columns = (shape.size - 1) * shape.stride + shape.kernel
    fits = (
        (r * t <= sets) & (p * q * shape.kernel <= chip.filter_words) & ((n == 1) | (e == shape.size))
        & (shape.channels % (q * r) == 0) & (own % (p * t) == 0)
        & (n * q * r * rows * columns <= n * p * q * shape.kernel * shape.size)
        & ((q * r * columns <= chip.row_words) | (q * r == 1))
    )
    at = np.nonzero(fits)
    named = zip("ertqpn", (e, r, t, q, p, n), strict=True)
    shown = {name: np.broadcast_to(values, fits.shape)[at] for name, values in named}
    most = _most_filters(shape, chip, shown, columns)
    return {name: values[most > 0].astype(float) for name, values in {**shown, "m": most}.items()}


def _most_filters(shape: Shape, chip: RowStationaryArray, found: dict[str, Any], columns: int) -> Any:
    """Largest multiple of p t that divides the filters and whose sums fit beside the inputs; 0: none."""
    own, words = shape.filters // shape.groups, chip.bank_words
    rows = (found["e"] - 1) * shape.stride + shape.kernel
    # maps wider than eight times the array go in halves: else not even the sums of a pass fit
    width = shape.size / 2 if shape.size > 8 * chip.columns else shape.size
    inputs = np.ceil(found["n"] * found["q"] * found["r"] * rows * columns * width / shape.size / words)
    most = np.zeros(len(found["e"]), dtype=int)
    for m in (d for d in range(1, own + 1) if own % d == 0):
        sums = np.ceil(found["n"] * m * found["e"] * width / words)
        most = np.where((m % (found["p"] * found["t"]) == 0) & (inputs + sums <= chip.banks), m, most)
    return most
