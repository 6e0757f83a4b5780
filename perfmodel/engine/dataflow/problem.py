"""The part of an Op that a mapping sees: bounds, operands and how they project onto the loops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from perfmodel.algebra import Value, minimum, product
from perfmodel.errors import ArgumentError
from perfmodel.ops.core import Op, Tensor, Window

#: Parts that an operand can play; levels say which of them they hold.
ROLES = ("weight", "input", "output")

#: Families that are one product over their loops.
PRODUCTS = ("matmul", "grouped_matmul", "conv1d", "conv2d", "conv3d")


@dataclass(frozen=True)
class Operand:
    """Tensor of a problem.

    plain    loops that index it directly
    windows  sliding axes
    role     ``weight``, ``input`` or ``output``
    """

    name: str
    role: str
    plain: tuple[str, ...]
    windows: tuple[Window, ...]

    @property
    def output(self) -> bool:
        """True if the tensor is written."""
        return self.role == "output"

    @cached_property
    def loops(self) -> frozenset[str]:
        """All loops that the tensor depends on."""
        return frozenset(self.plain) | {loop for w in self.windows for loop in (w.out, w.kernel)}

    def footprint(self, tile: Mapping[str, Value]) -> Value:
        """Distinct elements of a tile [elements]."""
        return product(tile[loop] for loop in self.plain) * product(w.extent(tile) for w in self.windows)


@dataclass(frozen=True)
class Problem:
    """Loop nest of multiply-accumulates ``output += input x weight``.

    family    of the op, for array rules
    bounds    loops with more than one iteration
    operands  the two factors and the output
    extra     tensor -> elements that are read once and not mapped (bias)
    """

    name: str
    family: str
    bounds: Mapping[str, Value]
    operands: tuple[Operand, ...]
    extra: Mapping[str, Value]

    @property
    def macs(self) -> Value:
        """Multiply-accumulates."""
        return product(self.bounds.values())

    @property
    def reductions(self) -> frozenset[str]:
        """Loops that are summed over."""
        return frozenset(self.bounds) - self.output.loops

    @property
    def output(self) -> Operand:
        """The tensor that is written."""
        return next(operand for operand in self.operands if operand.output)

    @cached_property
    def _by_name(self) -> dict[str, Operand]:
        return {operand.name: operand for operand in self.operands}

    def operand(self, name: str) -> Operand:
        """Operand of this name."""
        return self._by_name[name]


def problem(op: Op) -> Problem:
    """Problem of an Op: one repetition, its MAC operands and their roles.

    The first read tensor of kind ``weight`` or ``kv`` (else the second one read) is the weight, the other the
    input.  Vectors that only add (bias) are not mapped; their elements go into `extra`.
    Raises ArgumentError for an op that is not one loop nest of multiply-accumulates (attention, softmax ...).
    """
    op, all_loops = _of_the_product(op), op.loops
    bounds = {loop: bound for loop, bound in op.loops.items() if not _is_one(bound)}
    bounds = bounds or dict(list(op.loops.items())[:1])  # a product of single numbers is a nest of one step
    macs = product(op.loops.values())
    flops = sum((w.operations for w in op.work if w.unit == "matrix"), 0.0)
    if not np.allclose(np.asarray(2.0 * macs, float), np.asarray(flops, float), rtol=1e-9):
        raise ArgumentError(
            "op", op.name or op.family,
            "one loop nest of multiply-accumulates (matmul, grouped_matmul, conv1d, conv2d); "
            "map a fused kernel with perfmodel.engine.dataflow.fused",
        )
    outputs = [t for t in op.tensors if t.output]
    reads = [t for t in op.tensors if not t.output]
    factors = [t for t in reads if _multiplies(t, outputs[0], op)]
    if len(outputs) != 1 or len(factors) != 2:
        raise ArgumentError("op", op.name or op.family, "two operands that multiply and one output")
    stored = [t for t in factors if t.kind in ("weight", "kv", "state")]
    weight = stored[0] if len(stored) == 1 else factors[1]
    roles = {t.name: "weight" if t is weight else "input" for t in factors}
    roles[outputs[0].name] = "output"
    operands = tuple(_operand(t, roles[t.name], set(bounds)) for t in (*factors, *outputs))
    extra = {t.name: t.footprint(all_loops) for t in reads if t not in factors}
    return Problem(op.name or op.family, op.family, bounds, operands, extra)


def _of_the_product(op: Op) -> Op:
    """The op without loops of a vector beside the product, such as the folded norm of a convolution."""
    users: dict[str, int] = dict.fromkeys(op.loops, 0)
    for tensor in op.tensors:
        for loop in _loops(tensor):
            users[loop] += 2 if tensor.output else 1
    return replace(op, loops={loop: bound for loop, bound in op.loops.items() if users[loop] != 1})


def _multiplies(tensor: Tensor, output: Tensor, op: Op) -> bool:
    """A factor of the product carries a loop that the output sums over, or shares all of the output's."""
    loops = _loops(tensor)
    reduced = {d for d in op.loops if d not in _loops(output)}
    return bool(loops & reduced) if reduced else len(loops) > 1


def _loops(tensor: Tensor) -> set[str]:
    return {d for a in tensor.axes for d in ((a,) if isinstance(a, str) else (a.out, a.kernel))}


def _operand(tensor: Tensor, role: str, live: set[str]) -> Operand:
    """Operand over the live loops; a window whose kernel or output is one becomes simpler."""
    plain = tuple(a for a in tensor.axes if isinstance(a, str) and a in live)
    windows = []
    for axis in tensor.axes:
        if isinstance(axis, str):
            continue
        if axis.kernel in live and axis.out in live:
            windows.append(axis)
        else:
            plain += tuple(loop for loop in (axis.out, axis.kernel) if loop in live)
    return Operand(tensor.name, role, plain, tuple(windows))


def _is_one(bound: Value) -> bool:
    return bool(np.all(np.asarray(bound) == 1))


def window_cover(window: Window, bounds: Mapping[str, Value], out_tiles: Value, kernel_tiles: Value) -> Value:
    """Positions fetched when the two loops of a window are cut into tiles, summed over all tiles.

    A tile of p outputs and r taps covers ``(p-1) s + (r-1) d + 1`` positions.  Summed over `out_tiles` x
    `kernel_tiles` tiles that partition P and R (of any sizes):
    ``s P n_r + d R n_p + n_p n_r (1 - s - d)``, and never more than the P R positions sampled.
    """
    out, kernel = bounds[window.out], bounds[window.kernel]
    stride, dilation = window.stride, window.dilation
    covered = (
        stride * out * kernel_tiles + dilation * kernel * out_tiles
        + out_tiles * kernel_tiles * (1.0 - stride - dilation)
    )
    return minimum(covered, out * kernel)
