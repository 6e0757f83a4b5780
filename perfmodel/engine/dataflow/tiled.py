"""Tile after tile on a weight-stationary array with a DMA engine behind a cache, as Gemmini works.

A layer is cut into tiles that fit the scratchpad.  For each tile the DMA engine fetches inputs and weights,
then the array computes, then results leave; two tiles are in flight, so the fetch of the next one and the
write-back of the last one overlap with compute, but a tile computes only when all of it is there.

Where each number comes from: the array multiplies blocks of DIM x DIM; one `preload` and one `compute` per
block and up to DIM output columns, each at least 4 rows long (two accumulator writes to one address must be 4
cycles apart), a preload of new weights DIM rows [2]; compute waits until all three loads of the tile are
complete, stores wait for compute, two loops are concurrent [2]; requests of at most 64 B over a bus of 16
B/cycle [2]; results leave in rows of DIM elements [2]; main memory 8 B/cycle [3]; last-level cache 512 KiB
(recalled: Chipyard default [4]).  The core writes inputs and weights before the layer starts, so those that
fit the cache are there (assumed).

[1] H. Genc et al., "Gemmini", DAC 2021, arXiv:1911.09925.
[2] github.com/ucb-bar/gemmini: Configs.scala, ExecuteController.scala, LoopConv.scala.
[3] github.com/ucb-bar/dosa: dataset/hw/gemmini/arch/arch.yaml; C. Hong et al., "DOSA", MICRO 2023,
    doi:10.1145/3613424.3623797.
[4] A. Amid et al., "Chipyard", IEEE Micro 40(4), 2020, doi:10.1109/MM.2020.2996616.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from perfmodel.algebra import Value, ceil_div, maximum, minimum, product, total, where
from perfmodel.engine.dataflow.accelerator import check

#: Loops of a convolution as this module names them: filters, channels, output columns and rows, taps, batch.
LOOPS = ("k", "c", "p", "q", "r", "s", "b")
_CONCERNS = {"input": frozenset("bcpqrs"), "weight": frozenset("kcrs"), "output": frozenset("bkpq")}


@dataclass(frozen=True, kw_only=True)
class TiledMachine:
    """Numbers of such an accelerator; element size one byte.

    dim               rows and columns of the array
    instruction_rows  least rows of one instruction [cycle]
    burst             bytes of one request [B]
    bus               bytes per cycle and direction [B/cycle]
    memory            main memory [B/cycle]
    cache             last-level cache [B]
    """

    dim: Value = 16.0
    instruction_rows: Value = 4.0
    burst: Value = 64.0
    bus: Value = 16.0
    memory: Value = 8.0
    cache: Value = 512.0 * 1024

    def __post_init__(self) -> None:
        for name in ("dim", "instruction_rows", "burst", "bus", "memory", "cache"):
            check(f"tiled machine.{name}", getattr(self, name), "a finite number > 0")


#: Gemmini as published: 16 x 16 int8.
GEMMINI = TiledMachine()


@dataclass(frozen=True)
class TiledRun:
    """Cycles of a layer, and of one tile by what it does."""

    cycles: Value
    compute: Value
    load: Value
    store: Value


def tiled_cycles(
    tile: Mapping[str, Value], outer: Sequence[tuple[str, Value]], stride: Value = 1,
    machine: TiledMachine = GEMMINI,
) -> TiledRun:
    """Cycles of a convolution (or matrix product, p rows) tile by tile.

    tile    loop -> size inside the scratchpad; p are output columns, the side that the array streams
    outer   loops over tiles, outermost first: (loop, number of tiles)

    ``first load + (tiles - 1) max(compute, load, store) + compute + store`` [cycle]
    """
    size = {loop: tile.get(loop, 1.0) for loop in LOOPS}
    cached = _footprint(size, outer, stride) <= machine.cache
    machine = replace(machine, memory=where(cached, machine.bus, machine.memory))
    tiles = product(times for _, times in outer)
    compute = _compute(size, machine)
    load = sum(_load(size, outer, stride, name, machine, first=False) for name in ("input", "weight"))
    first = sum(_load(size, outer, stride, name, machine, first=True) for name in ("input", "weight"))
    written = product(times for loop, times in outer if loop in _CONCERNS["output"])
    each = _store(size, machine)
    cycles = first + (tiles - 1.0) * maximum(compute, load, each * written / tiles) + compute + each
    return TiledRun(cycles, compute, load, each * written / tiles)


def _compute(size: Mapping[str, Value], machine: TiledMachine) -> Value:
    """Cycles of all instruction pairs of a tile.

    Output columns go in pieces of DIM; a pair lasts its columns, two minimal instructions at least, and DIM
    where it brings new weights.
    """
    dim, least = machine.dim, 2.0 * machine.instruction_rows
    blocks = ceil_div(size["k"], dim) * ceil_div(size["c"], dim) * size["r"] * size["s"]
    pieces = ceil_div(size["p"], dim)
    last = size["p"] - (pieces - 1.0) * dim
    row = (pieces - 1.0) * dim + maximum(last, least)
    leading = maximum(minimum(size["p"], dim), least)  # the pair that brings new weights
    return blocks * (row * size["q"] * size["b"] + maximum(dim - leading, 0.0))


def _bytes(size: Mapping[str, Value], stride: Value, name: str) -> Value:
    if name == "weight":
        return size["r"] * size["s"] * size["c"] * size["k"]
    columns, rows = (size["p"] - 1.0) * stride + size["r"], (size["q"] - 1.0) * stride + size["s"]
    return size["b"] * columns * rows * size["c"]


def _footprint(size: Mapping[str, Value], outer: Sequence[tuple[str, Value]], stride: Value) -> Value:
    """Bytes of all inputs and weights of the layer; rows and columns that tiles share count in each."""
    return total(
        _bytes(size, stride, name) * product(times for loop, times in outer if loop in _CONCERNS[name])
        for name in ("input", "weight")
    )


def _load(
    size: Mapping[str, Value], outer: Sequence[tuple[str, Value]], stride: Value, name: str,
    machine: TiledMachine, *, first: bool,
) -> Value:
    """Cycles of fetching one tile of a tensor: the first tile, or the mean of the later ones.

    Contiguous are the channels of a pixel (input) and the filters of a tap (weight).  A request is served by
    the cache in burst / bus cycles, by main memory in burst / memory cycles if it first touches its line.
    """
    run = size["c"] if name == "input" else size["k"]
    requests = _bytes(size, stride, name) / run * ceil_div(run, machine.burst)
    missing = minimum(run / machine.burst, 1.0)
    if not first:
        missing = missing * _uncached(size, outer, stride, name, machine)
    hit, miss = machine.burst / machine.bus, machine.burst / machine.memory
    return requests * (missing * miss + (1.0 - missing) * hit)


def _uncached(
    size: Mapping[str, Value], outer: Sequence[tuple[str, Value]], stride: Value, name: str,
    machine: TiledMachine,
) -> Value:
    """Share of the tile loads of a tensor that come from main memory.

    A loop that does not concern the tensor loads its tiles again; they are still cached if what the loops
    inside touched meanwhile fits the cache.
    """
    share: Value = 1.0
    for position, (loop, times) in enumerate(outer):
        if loop in _CONCERNS[name]:
            continue
        inner = outer[position + 1:]
        touched: Value = 0.0
        for other in ("input", "weight"):
            tiles = product(n for d, n in inner if d in _CONCERNS[other])
            touched = touched + _bytes(size, stride, other) * tiles
        fits = touched <= machine.cache
        share = share * (fits / times + (1.0 - fits))
    return share


def _store(size: Mapping[str, Value], machine: TiledMachine) -> Value:
    """Cycles of writing a finished tile: one cache access per output position and DIM filters."""
    rows = size["b"] * size["p"] * size["q"] * ceil_div(size["k"], machine.dim)
    return rows * machine.burst / machine.bus
