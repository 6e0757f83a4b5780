"""Closed forms of a rigid systolic array: cycles, fill and drain, utilisation, SRAM accesses.

An R x C array multiplies ``A[M,K] B[K,N]`` in folds: the loops that lie on rows and columns are cut into
pieces of R and C, the third loop streams.  Every argument may be an array; shapes broadcast.

[1] A. Samajdar et al., "SCALE-Sim: Systolic CNN Accelerator Simulator", arXiv:1811.02883.
[2] H. T. Kung, "Why systolic architectures?", Computer 15(1), 1982, doi:10.1109/MC.1982.1653825.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from perfmodel.algebra import Value, ceil_div, is_symbolic, maximum
from perfmodel.errors import ArgumentError, UnknownNameError

#: Which operand stays in the array, by dataflow name -> the loops on rows, on columns, and in time.
DATAFLOWS: Mapping[str, tuple[str, str, str]] = {
    "output_stationary": ("m", "n", "k"),
    "weight_stationary": ("k", "n", "m"),
    "input_stationary": ("k", "m", "n"),
}
_SHORT = {"os": "output_stationary", "ws": "weight_stationary", "is": "input_stationary"}


@dataclass(frozen=True)
class SystolicRun:
    """One matrix product on a rigid array.

    cycles       from the first operand to the last result [cycle]
    folds        pieces that the two spatial loops are cut into
    load         cycles of loading the stationary operand
    skew         cycles of filling and draining the wavefront
    stream       cycles in which a new operand enters
    utilisation  MACs / (cycles x PEs)
    occupancy    mean share of PEs that hold work, MACs / (folds x R x C x streamed length)
    reads, writes  SRAM words by operand (``input``, ``weight``, ``output``)
    """

    cycles: Value
    folds: Value
    load: Value
    skew: Value
    stream: Value
    utilisation: Value
    occupancy: Value
    reads: Mapping[str, Value]
    writes: Mapping[str, Value]


def systolic(
    m: Value, n: Value, k: Value, rows: Value, columns: Value, dataflow: str = "weight_stationary",
    *, overlap: bool = False,
) -> SystolicRun:
    """Product ``A[M,K] B[K,N]`` on an R x C array.

    m, n, k        sizes [elements]; a convolution has M = output pixels, K = filter volume, N = filters
    rows, columns  array shape R, C
    dataflow       ``output_stationary``, ``weight_stationary``, ``input_stationary`` (or os, ws, is)
    overlap        folds follow one another without a gap: the next stationary operand loads behind the
                   current one, fill and drain are paid once (double-buffered weights, as in TPU v1)

    Cycles of one fold [1]: with X, Y, Z the loops on rows, columns and in time,
    ``Z + R + C - 2`` (os) and ``Z + 2 R + C - 2`` (ws, is: R cycles load the stationary tile), times
    ``ceil(X/R) ceil(Y/C)`` folds.  Overlapped: ``folds max(Z, R) + R + C - 2`` (+ R for the first load), a
    fold cannot be shorter than the load of the next one.
    """
    name = _SHORT.get(dataflow, dataflow)
    if name not in DATAFLOWS:
        raise UnknownNameError("dataflow", dataflow, [*DATAFLOWS, *_SHORT])
    sizes = {"m": m, "n": n, "k": k}
    for field, value in {**sizes, "rows": rows, "columns": columns}.items():
        _positive(field, value)
    on_rows, on_columns, in_time = (sizes[loop] for loop in DATAFLOWS[name])
    row_folds, column_folds = ceil_div(on_rows, rows), ceil_div(on_columns, columns)
    folds = row_folds * column_folds
    load = 0.0 * rows if name == "output_stationary" else 1.0 * rows
    skew = rows + columns - 2.0
    if overlap:
        # an output-stationary fold drains its R rows while the next one fills, so R is the floor there too
        stream = folds * maximum(in_time, rows)
        cycles, total_load, total_skew = stream + load + skew, load, skew
    else:
        stream = folds * in_time
        cycles, total_load, total_skew = folds * (in_time + load + skew), folds * load, folds * skew
    macs = 1.0 * m * n * k
    reads, writes = _sram(name, m, n, k, row_folds, column_folds)
    return SystolicRun(
        cycles=cycles, folds=folds, load=total_load, skew=total_skew, stream=stream,
        utilisation=macs / (cycles * rows * columns),
        occupancy=macs / (folds * rows * columns * in_time),
        reads=reads, writes=writes,
    )


def _sram(
    name: str, m: Value, n: Value, k: Value, row_folds: Value, column_folds: Value
) -> tuple[dict[str, Value], dict[str, Value]]:
    """SRAM words by operand; partial sums of ws and is are written, and read back, once per K fold."""
    a, b, c = 1.0 * m * k, 1.0 * k * n, 1.0 * m * n
    if name == "output_stationary":
        reads = {"input": a * column_folds, "weight": b * row_folds, "output": 0.0 * c}
        return reads, {"output": c}
    streamed = {"input": a, "weight": b}
    moving = "input" if name == "weight_stationary" else "weight"
    streamed[moving] = streamed[moving] * column_folds
    return {**streamed, "output": c * (row_folds - 1.0)}, {"output": c * row_folds}


def _positive(field: str, value: Value) -> None:
    """Refuse zero, negative, nan and infinite sizes."""
    if is_symbolic(value):
        return
    numbers = np.asarray(value, dtype=float)
    if not (np.isfinite(numbers).all() and (numbers > 0).all()):
        raise ArgumentError(field, value, "a finite number > 0")
