"""Traffic of fused operators on two levels: what a buffer of S elements saves by keeping an intermediate.

Every function is plain arithmetic over floats, arrays and symbols; tile sizes may be a candidate axis.

[1] T. Dao et al., "FlashAttention", arXiv:2205.14135; "FlashAttention-2", arXiv:2307.08691.
[2] M. Alwani et al., "Fused-layer CNN accelerators", MICRO 2016, doi:10.1109/MICRO.2016.7783725.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perfmodel.algebra import Value, ceil_div, maximum, minimum
from perfmodel.errors import ArgumentError, InfeasibleError


@dataclass(frozen=True)
class Fused:
    """Traffic with the outer level and room in the buffer [elements], MACs.

    recomputed  MACs done more than once
    tile        sizes chosen, by name
    """

    traffic: Value
    room: Value
    macs: Value
    recomputed: Value = 0.0
    tile: tuple[tuple[str, Value], ...] = ()


def flash_attention(query: Value, context: Value, head_dim: Value, tile_q: Value, tile_k: Value) -> Fused:
    """One head with the score tile resident: query tiles outside, key tiles inside [1].

    Q and O move once, K and V once per query tile: ``2 q d + ceil(q / Tq) 2 c d`` elements.
    Room: Q, O, K, V tiles and scores ``2 Tq d + 2 Tk d + Tq Tk + 2 Tq`` (running maximum and sum).
    """
    passes = ceil_div(query, tile_q)
    traffic = 2.0 * query * head_dim + passes * 2.0 * context * head_dim
    room = 2.0 * tile_q * head_dim + 2.0 * tile_k * head_dim + tile_q * tile_k + 2.0 * tile_q
    tile = (("query", tile_q), ("key", tile_k))
    return Fused(traffic, room, 2.0 * query * context * head_dim, tile=tile)


def unfused_attention(query: Value, context: Value, head_dim: Value) -> Fused:
    """Three kernels: scores and probabilities are written and read, ``2 (q + c) d + 4 q c`` elements."""
    traffic = 2.0 * (query + context) * head_dim + 4.0 * query * context
    return Fused(traffic, 0.0 * query, 2.0 * query * context * head_dim)


def best_flash_attention(query: float, context: float, head_dim: float, room: float) -> Fused:
    """Tiles of :func:`flash_attention` with the least traffic in a buffer of `room` elements.

    Every query tile is tried with the largest key tile that fits.  Raises InfeasibleError by how much 1 x 1
    does not fit.
    """
    rows = np.arange(1.0, query + 1.0)
    keys = np.floor((room - 2.0 * rows * head_dim - 2.0 * rows) / (2.0 * head_dim + rows))
    keys = minimum(keys, context)
    fits = keys >= 1
    if not fits.any():
        over = float(flash_attention(query, context, head_dim, 1.0, 1.0).room) - room
        raise InfeasibleError(f"fused attention does not fit: buffer by {over:.12g} elements", over)
    made = flash_attention(query, context, head_dim, rows, maximum(keys, 1.0))
    return _least(made, fits)


def mlp_pair(rows: Value, width: Value, hidden: Value, out: Value, tile_m: Value, tile_h: Value) -> Fused:
    """Two products ``(X A) B`` with the hidden tile resident.

    rows m, width k, hidden h, out n: for each row tile, the hidden dimension runs in tiles, each is produced
    and consumed at once while the output tile accumulates.  Traffic ``m k + m n + ceil(m / Tm) (k h + h n)``;
    unfused the hidden tensor adds ``2 m h``.  Room ``Tm (k + n + Th) + Th (k + n)``.
    """
    passes = ceil_div(rows, tile_m)
    traffic = rows * (width + out) + passes * hidden * (width + out)
    room = tile_m * (width + out + tile_h) + tile_h * (width + out)
    tile = (("rows", tile_m), ("hidden", tile_h))
    return Fused(traffic, room, rows * hidden * (width + out), tile=tile)


def best_mlp_pair(rows: int, width: int, hidden: int, out: int, room: float) -> Fused:
    """Tiles of :func:`mlp_pair` with the least traffic.  Raises InfeasibleError by how much 1 x 1 misses."""
    tile = np.arange(1.0, rows + 1.0)
    share = np.floor((room - tile * (width + out)) / (tile + width + out))
    share = minimum(share, hidden)
    fits = share >= 1
    if not fits.any():
        over = float(mlp_pair(rows, width, hidden, out, 1.0, 1.0).room) - room
        raise InfeasibleError(f"fused pair does not fit: buffer by {over:.12g} elements", over)
    return _least(mlp_pair(rows, width, hidden, out, tile, maximum(share, 1.0)), fits)


@dataclass(frozen=True)
class ConvLayer:
    """One layer of a chain: channels out, kernel and stride (square); its input is the layer before."""

    channels: Value
    kernel: Value
    stride: Value = 1.0


def conv_chain(
    in_channels: Value, size: Value, layers: Sequence[ConvLayer], tile: Value, *, cache_halo: bool = True
) -> Fused:
    """Depth-first chain of convolutions on a square image, one output tile of `tile` x `tile` at a time [2].

    size        output rows and columns of the last layer
    cache_halo  overlaps of neighbouring tiles are kept along one axis (lines) and not recomputed; else every
                tile recomputes its halo

    Traffic: the input pyramid's base once per tile (overlaps again unless kept), all weights once (resident),
    the last output.  Room: weights, and for each layer the input tile it reads (with cached halos: full-width
    lines of ``kernel - stride`` rows).
    """
    if not layers:
        raise ArgumentError("layers", layers, "one layer at least")
    count = ceil_div(size, tile)
    extents, whole = [tile], [size]
    for layer in reversed(layers):
        extents.insert(0, (extents[0] - 1.0) * layer.stride + layer.kernel)
        whole.insert(0, (whole[0] - 1.0) * layer.stride + layer.kernel)
    channels = [in_channels, *(layer.channels for layer in layers)]
    weights: Value = 0.0
    macs: Value = 0.0
    done: Value = 0.0
    room: Value = 0.0
    for i, layer in enumerate(layers):
        weight = channels[i] * layer.channels * layer.kernel**2
        outputs = whole[i + 1] ** 2
        tiled = outputs if cache_halo else count**2 * extents[i + 1] ** 2
        weights, macs = weights + weight, macs + weight * outputs
        done = done + weight * maximum(tiled, outputs)
        lines = maximum(layer.kernel - layer.stride, 0.0) * whole[i] if cache_halo else 0.0
        room = room + channels[i] * (extents[i] ** 2 + lines)
    base = whole[0] ** 2 if cache_halo else count**2 * extents[0] ** 2
    traffic = in_channels * maximum(base, whole[0] ** 2) + weights + channels[-1] * size**2
    room = room + weights + channels[-1] * tile**2
    return Fused(traffic, room, done, done - macs, (("tile", tile),))


def layer_by_layer_chain(in_channels: Value, size: Value, layers: Sequence[ConvLayer]) -> Fused:
    """The same chain with every intermediate written and read once."""
    whole, channels = [size], [in_channels, *(layer.channels for layer in layers)]
    for layer in reversed(layers):
        whole.insert(0, (whole[0] - 1.0) * layer.stride + layer.kernel)
    traffic: Value = 0.0
    macs: Value = 0.0
    for i, layer in enumerate(layers):
        weight = channels[i] * layer.channels * layer.kernel**2
        traffic = traffic + channels[i] * whole[i] ** 2 + weight + layer.channels * whole[i + 1] ** 2
        macs = macs + weight * whole[i + 1] ** 2
    return Fused(traffic, 0.0 * size, macs)


def _least(made: Fused, fits: Any) -> Fused:
    best = int(np.argmin(np.where(fits, made.traffic, np.inf)))

    def pick(value: Value) -> float:
        return float(np.broadcast_to(value, np.shape(fits))[best])

    return Fused(
        pick(made.traffic), pick(made.room), pick(made.macs), pick(made.recomputed),
        tuple((name, pick(size)) for name, size in made.tile),
    )
