"""Ops on a device without kernel models (TPU, CPU, ASIC, FPGA) at fidelity ``dataflow``.

    time = max over resources (amount / (share x nominal rate))

The share of memory and matrix units is what the description states as `sustained`, else the one that the
documented starts of the kernel models stand for.  A matrix array of R x C cells keeps a tile of one operand
while y rows of the other pass, and loads its next tile in R steps meanwhile [1, 2]:

    slots = batch ceil(k / R) ceil(x / C) max(y, R) R C,    share of useful ones = batch m n k / slots

The tile is one of k x n or of k x m, whichever leaves fewer slots empty; narrow groups (depthwise
convolutions) go to the vector unit where it is the faster [recalled].

References
[1] Jouppi et al., In-Datacenter Performance Analysis of a Tensor Processing Unit, arXiv:1704.04760.
[2] Austin et al., How to Scale Your Model, 2025, https://jax-ml.github.io/scaling-book: sizes below 128 or
    256 are padded, weights are loaded while products run [recalled].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from perfmodel.algebra import Value, ceil, maximum, minimum, total
from perfmodel.engine.kernels.facts import DRAM_SHARE, MATRIX_SHARE
from perfmodel.engine.products import Product, as_product
from perfmodel.engine.roofline import OpCost, cost
from perfmodel.formats import Precision
from perfmodel.hardware.device import ComputeUnit, Device, System
from perfmodel.ops.attention import eager
from perfmodel.ops.core import Op

#: fused kernels that are two products on the matrix unit
FUSED = ("attention", "cross_attention")


def datasheet_cost(op: Op, system: System, precision: Precision) -> OpCost:
    """Cost of an op at the sustained rates, its products at the fill of the matrix array."""
    bound, device = cost(op, system, precision), system.device
    parts = {name: part / _share(device, name) for name, part in bound.parts.items()}
    for name in parts:
        if name.startswith("compute.matrix."):
            parts[name] = _on_matrix_unit(op, device, parts[name])
    return replace(bound, parts=parts)


def _share(device: Device, resource: str) -> Value:
    """Share of a nominal rate that programs sustain; 1 where no start of a kernel model stands for it."""
    kind, _, rest = resource.partition(".")
    if kind == "memory":
        stated = device.memory[rest].sustained
        return DRAM_SHARE if stated is None else stated
    if resource.startswith("compute.matrix."):
        return device.compute["matrix"].sustained.get(rest.partition(".")[2], MATRIX_SHARE)
    return 1.0


def matrix_fill(op: Op, device: Device) -> Value:
    """Share of the slots of the matrix array that an op uses; 1 where array or product are not known."""
    useful, taken = _work(op, device)
    return 1.0 if not taken else total(useful) / total(taken)


def _on_matrix_unit(op: Op, device: Device, full: Value) -> Value:
    """Time of matrix work [s], from that of an array without empty slots."""
    useful, taken = _work(op, device)
    if not taken:
        return full
    time = full * total(taken) / total(useful)
    vector = device.compute.get("vector")
    if vector is None or "fp32" not in vector.peak:
        return time
    return minimum(time, 2.0 * total(useful) / (MATRIX_SHARE * vector.peak["fp32"]))


def _work(op: Op, device: Device) -> tuple[list[Value], list[Value]]:
    """Multiply-accumulates of each product of an op, and slots of the arrays in its time."""
    unit = device.compute["matrix"]
    if unit.rows is None or unit.columns is None:
        return [], []
    found = [p for part in _products(op) if (p := as_product(part)) is not None]
    return [p.batch * p.m * p.n * p.k for p in found], [_slots(p, unit) for p in found]


def _products(op: Op) -> Iterator[Op]:
    if op.family in FUSED:
        scores, _, values = eager(op)
        yield from (scores, values)
    else:
        yield op


def _slots(p: Product, unit: ComputeUnit) -> Value:
    """Multiply-accumulates that the arrays could do in the time of a product."""
    rows, columns = unit.rows or 1.0, unit.columns or 1.0
    deep = p.batch * ceil(p.k / rows)
    steps = minimum(
        deep * ceil(p.n / columns) * maximum(p.m, rows), deep * ceil(p.m / columns) * maximum(p.n, rows)
    )
    arrays = 1.0 if unit.count is None else unit.count
    return maximum(steps, rows * arrays) * rows * columns
