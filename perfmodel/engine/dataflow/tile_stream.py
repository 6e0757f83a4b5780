"""A weight-stationary array whose weights stream from DRAM tile by tile, layer after layer, as in TPU v1.

[1] N. Jouppi et al., "In-Datacenter Performance Analysis of a Tensor Processing Unit", ISCA 2017,
    arXiv:1704.04760, sections 2, 4, 7 and 8, Tables 1 to 3.
[2] JEDEC JESD79-3F, DDR3 SDRAM: a refresh every 7.8 us takes 260 ns in a 4 Gb device (recalled; two channels
    of eight such devices make the 8 GiB of [1]).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from perfmodel.algebra import Value, ceil_div, maximum, minimum, total
from perfmodel.errors import ArgumentError
from perfmodel.hardware.device import Device


@dataclass(frozen=True, kw_only=True)
class TileStreamMachine:
    """Numbers of such a machine; defaults are those of TPU v1 [1].

    rows, columns  array, and size of a weight tile [elements]
    clock          [Hz]
    bandwidth      weight DRAM [B/s];  refresh  share of its time spent refreshing [2]
    results        rows of results that the accumulators hold; half of them drain while the others fill
    queue          weight tiles fetched ahead
    weight         bytes of a weight [B]
    """

    rows: Value = 256.0
    columns: Value = 256.0
    clock: Value = 700e6
    bandwidth: Value = 34e9
    refresh: Value = 0.26 / 7.8
    results: Value = 4096.0
    queue: Value = 4.0
    weight: Value = 1.0

    @property
    def fetch(self) -> Value:
        """Cycles of fetching one tile of weights."""
        return self.rows * self.columns * self.weight / (self.bandwidth * (1.0 - self.refresh)) * self.clock


def tile_stream_machine(device: Device) -> TileStreamMachine:
    """Machine of a described device with memories ``fifo`` and ``accumulators``, as tpu-v1."""
    matrix, memory = device.compute.get("matrix"), device.memory
    named = {"fifo", "accumulators"} <= set(memory)
    if matrix is None or matrix.rows is None or matrix.columns is None or not named:
        raise ArgumentError("device", device.name, "an array with memories fifo and accumulators, as tpu-v1")
    rows, columns = matrix.rows, matrix.columns
    return TileStreamMachine(
        rows=rows, columns=columns, clock=matrix.clock, bandwidth=next(iter(memory.values())).bandwidth,
        results=memory["accumulators"].capacity / (4.0 * columns),
        queue=memory["fifo"].capacity / (rows * columns),
    )


@dataclass(frozen=True)
class TileStreamRun:
    """Cycles of a layer or of several, and what the array does in them, as the counters of [1] split them.

    cycles  from the first to the last
    active  the array multiplies;  shift  it waits for a tile to be shifted in;  stall  for weights to arrive
    other   it waits for results to be activated, combined or pooled (non-matrix)
    useful  active cycles times the share of the array that holds weights
    macs    multiply-accumulates that the network asks for
    """

    cycles: Value
    active: Value
    shift: Value
    stall: Value
    other: Value
    useful: Value
    macs: Value

    def times(self, count: Value) -> TileStreamRun:
        """As many equal layers."""
        return TileStreamRun(*(getattr(self, field.name) * count for field in fields(self)))

    def rate(self, machine: TileStreamMachine) -> Value:
        """Operations per second, two a MAC."""
        return 2.0 * self.macs / self.cycles * machine.clock


def tile_stream(
    k: Value, n: Value, inputs: Value, machine: TileStreamMachine | None = None, *, passes: Value = 1.0,
    after: Value = 0.0,
) -> TileStreamRun:
    """One layer ``[inputs, K] W[K, N]``; a convolution has K = taps x channels and inputs = output pixels.

    passes  1, or 2 where activations have 16 bits (half speed [1])
    after   cycles of vector or pooling work before the next layer may start

    The array takes ``max(inputs passes, R)`` cycles a tile (the next tile shifts in beside), the DRAM
    ``fetch``.  The next layer waits for the last accumulators to drain through the activation unit, one row a
    cycle after R + C cycles of wavefront ("delay slot" [1]); meanwhile the queue fills with weights:
    ``max(tiles max(inputs passes, R) + drain, tiles fetch + max(0, drain - queue fetch))`` [cycle].
    """
    m = machine or TileStreamMachine()
    tiles = ceil_div(k, m.rows) * ceil_div(n, m.columns)
    active = tiles * inputs * passes
    drain = minimum(inputs, m.results / 2.0) + m.rows + m.columns + after
    busy = tiles * maximum(inputs * passes, m.rows) + drain
    cycles = maximum(busy, tiles * m.fetch + maximum(0.0, drain - m.queue * m.fetch))
    wait = cycles - active - drain
    shift = minimum(wait, tiles * m.rows)
    useful = inputs * passes * k * n / (m.rows * m.columns)
    return TileStreamRun(cycles, active, shift, wait - shift, drain, useful, 1.0 * inputs * k * n)


def element_wise(values: Value, width: Value, machine: TileStreamMachine | None = None) -> TileStreamRun:
    """Vector or pooling work on `values` rows of `width` elements: C of them a cycle, after the wavefront."""
    m = machine or TileStreamMachine()
    cycles = values * ceil_div(width, m.columns) + m.rows + m.columns
    none = 0.0 * cycles
    return TileStreamRun(cycles, none, none, none, cycles, none, none)


def in_sequence(runs: Iterable[TileStreamRun]) -> TileStreamRun:
    """Layers one after another."""
    listed = list(runs)
    return TileStreamRun(*(total(getattr(run, f.name) for run in listed) for f in fields(TileStreamRun)))
