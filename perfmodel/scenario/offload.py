"""Weights that do not fit: chains of links, sparse weights in flight, reads through a page cache.

References
[1] Joo et al., Endor: Hardware-Friendly Sparse Format for Offloaded LLM Inference, arXiv:2406.11674.
[2] Li et al., PRIMA.CPP, arXiv:2504.08791 (memory-mapped weights under memory pressure).
[3] Sheng et al., FlexGen, arXiv:2303.06865 (offloading over disk, CPU and GPU).
"""

from __future__ import annotations

from collections.abc import Sequence

from perfmodel.algebra import Value, maximum, total, where


def bitmap_compression(bits: Value, sparsity: Value) -> Value:
    """Size of dense weights over their bitmap form [1]: ``b/((1 - s) b + 1)``.

    bits per weight; sparsity: share of zeros.  One bit says where the non-zeros are.
    """
    return bits / ((1.0 - sparsity) * bits + 1.0)


def hop_time(size: Value, bandwidths: Sequence[Value], overlapped: bool = False) -> Value:
    """Time of `size` [B] over links one behind the other [B/s] -> [s].

    Stored and forwarded at each hop: the sum; streamed straight through (overlapped): the slowest hop.
    """
    times = [size / bandwidth for bandwidth in bandwidths]
    return maximum(*times) if overlapped else total(times)


def cached_read_time(size: Value, free: Value, disk: Value, memory: Value) -> Value:
    """Time to read `size` bytes once per step through a page cache of `free` bytes [s] [2].

    disk, memory  bandwidths [B/s].  While everything fits it comes from memory; beyond, cyclic reads defeat
    the least-recently-used policy and every byte comes from disk again, not only the excess.
    """
    return where(size <= free, size / memory, size / disk)


def placed_read_time(
    size: Value, device_room: Value, free: Value, device: Value, memory: Value, disk: Value
) -> Value:
    """Time of one pass over weights of which `device_room` bytes live on the accelerator [s] [2, 3].

    size, device_room, free [B]; bandwidths of accelerator memory, host memory and disk [B/s].
    """
    inside = where(size < device_room, size, device_room)
    return inside / device + cached_read_time(maximum(size - device_room, 0.0), free, disk, memory)


def streamed_weights(
    operations: Value, peak: Value, weights: Value, on_chip: Value, link: Value
) -> Value:
    """Time of a network whose weights beyond the on-chip memory come over a link in every pass [s].

    operations, peak [FLOP/s]; weights, on_chip [B]; link [B/s].
    ``max(operations/peak, max(0, weights - on_chip)/link)``
    """
    return maximum(operations / peak, maximum(0.0, weights - on_chip) / link)
