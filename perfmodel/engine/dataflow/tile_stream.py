"""Throughput of a weight-stationary array whose weights stream from DRAM tile by tile, as in TPU v1.

[1] N. Jouppi et al., "In-Datacenter Performance Analysis of a Tensor Processing Unit", ISCA 2017,
    arXiv:1704.04760, sections 2 and 7, Tables 1 and 3.
"""

from __future__ import annotations

from perfmodel.algebra import Value, ceil_div, maximum


def tile_stream_rate(
    k: Value, n: Value, reuse: Value, clock: Value, bandwidth: Value, *, rows: Value = 256.0,
    columns: Value = 256.0, weight_bytes: Value = 1.0,
) -> Value:
    """Operations per second (two a MAC) over matrices ``W[K,N]`` that stream through the array once [1].

    k, n       matrix sizes [elements]
    reuse      input rows per weight, MACs per weight (the batch of a fully connected layer)
    clock      array clock [Hz];  bandwidth  weight DRAM [B/s]

    A tile occupies all R C places even where the matrix does not fill it, and costs
    ``max(reuse, R, R C bytes / bandwidth x clock)`` cycles: input rows, shift into the array and fetch
    overlap (double-buffered weights behind a FIFO).  Activation and vector work is not modelled.
    """
    tiles = ceil_div(k, rows) * ceil_div(n, columns)
    fetch = rows * columns * weight_bytes / bandwidth * clock
    cycles = tiles * maximum(maximum(reuse, rows), fetch)
    return 2.0 * reuse * k * n / cycles * clock
