"""Op: one operator as a loop nest with tensors.

The same description is read by the roofline (products of loops and sums of footprints), by the mapping
engine (the projections of the tensors onto the loops) and by the kernel models (the loop bounds by name).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeAlias

from perfmodel.algebra import Value, maximum, minimum, product

#: What a tensor holds; a Precision maps each kind to a number format.
KINDS = ("weight", "activation", "kv", "state", "accumulator", "index", "logits", "communication")

#: What does the work; a Device gives each a peak rate per number format.
UNITS = ("matrix", "vector", "special", "lookup", "none")


@dataclass(frozen=True)
class Window:
    """Tensor axis addressed as ``out * stride + kernel * dilation``, the input side of a convolution.

    Its extent is ``(P - 1) stride + (R - 1) dilation + 1`` for loop bounds P and R, or P R where the stride
    exceeds the window and the input is only sampled.
    """

    out: str
    kernel: str
    stride: Value = 1
    dilation: Value = 1

    def extent(self, loops: Mapping[str, Value]) -> Value:
        """Input positions touched by these loop bounds [elements]."""
        out, kernel = loops[self.out], loops[self.kernel]
        covered = (out - 1) * self.stride + (kernel - 1) * self.dilation + 1
        return minimum(covered, out * kernel)


Axis: TypeAlias = str | Window


@dataclass(frozen=True)
class Tensor:
    """Operand of an Op.

    axes    projection onto the loops: a loop name per plain index, a Window for a sliding one
    kind    precision class, one of KINDS; ``weight`` and ``kv``/``state`` also say what stays in memory
    output  written (True) or read (False)
    stored  elements that occupy memory between passes, where that is not the footprint (an embedding table
            of which a few rows are read, experts of which some are touched)
    shared  storage is counted by another op (tied embeddings)
    touched fraction of the footprint that is really accessed (sparsity)
    role    what a weight is (expert, embedding, head), where a precision policy may treat it apart
    format  number format of this tensor whatever the policy says; empty: the policy decides
    """

    name: str
    axes: tuple[Axis, ...]
    kind: str = "activation"
    output: bool = False
    stored: Value | None = None
    shared: bool = False
    touched: Value = 1.0
    role: str = ""
    format: str = ""

    def footprint(self, loops: Mapping[str, Value]) -> Value:
        """Distinct elements addressed under the loop bounds [elements]."""
        extents = (loops[a] if isinstance(a, str) else a.extent(loops) for a in self.axes)
        return product(extents) * self.touched

    def storage(self, loops: Mapping[str, Value]) -> Value:
        """Elements that stay in memory between passes [elements]."""
        if self.shared:
            return 0.0
        return self.footprint(loops) if self.stored is None else self.stored


@dataclass(frozen=True)
class Work:
    """Operations of one unit.  FLOP = 2 per multiply-accumulate; vector and special operations count 1."""

    unit: str
    operations: Value
    kind: str = "activation"


@dataclass(frozen=True)
class Exchange:
    """Message between the members of a group: a collective, or ``point_to_point``.

    elements  full tensor (all_reduce, all_gather: the gathered one; all_to_all: what one rank sends)
    group     number of members
    link      name of the link; empty: the fastest, and further ones for members that it does not join
    stride    devices between neighbours of the group, where other groups lie between
    crossing  all_to_all: elements that one rank sends beyond the nearest link, where a copy serves several
              ranks there; None: the share of the ranks that are there
    """

    pattern: str
    elements: Value
    group: Value
    kind: str = "communication"
    link: str = ""
    stride: Value = 1.0
    crossing: Value | None = None


@dataclass(frozen=True)
class Split:
    """How a parallel group divides an op: member i takes a part of the loop.

    loop     name of the loop; splitting a reduction loop leaves partial sums that must be all-reduced;
             empty: only the storage is divided (rows of an embedding table), which leaves partial sums too
    gather   the members' outputs are collected afterwards
    parts    number of indivisible parts (key-value heads) when members can be more than parts; the members
             beyond replicate a part
    unit     loop extent of one such part
    balance  loop that shrinks when parts are replicated (query heads per key-value head)
    """

    loop: str
    parts: Value | None = None
    unit: Value = 1.0
    balance: str = ""
    gather: bool = False

    def extent(self, bound: Value, members: Value) -> Value:
        """Loop bound of one member."""
        share = bound / members
        if self.parts is None:
            return share
        return share + self.unit * maximum(1.0 - self.parts / members, 0.0)


@dataclass(frozen=True)
class Op:
    """One operator, repeated `count` times with identical cost.

    family      name in the registry (``matmul``, ``attention``, ...)
    loops       loop name -> bound
    tensors     operands
    work        operations by unit
    launches    kernels started per repetition
    split       parallel group (``tp``, ``ep``) -> how it divides the op
    attributes  facts a kernel model may read (causal, window, ...)
    after       names of the ops whose results are needed; None: the op before
    """

    family: str
    loops: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    work: tuple[Work, ...] = ()
    name: str = ""
    count: Value = 1.0
    exchange: Exchange | None = None
    launches: Value = 1.0
    split: Mapping[str, Split] = field(default_factory=lambda: MappingProxyType({}))
    attributes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    after: tuple[str, ...] | None = None

    def operations(self, unit: str = "matrix") -> Value:
        """Operations of `unit` in all repetitions."""
        return self.count * sum((w.operations for w in self.work if w.unit == unit), 0.0)

    @property
    def flops(self) -> Value:
        """FLOP of the matrix unit in all repetitions."""
        return self.operations("matrix")

    def elements(self, *, kind: str | None = None, output: bool | None = None) -> Value:
        """Compulsory elements moved by one repetition, optionally of one kind or direction."""
        chosen = (
            t for t in self.tensors
            if (kind is None or t.kind == kind) and (output is None or t.output == output)
        )
        return sum((t.footprint(self.loops) for t in chosen), 0.0)

    def storage(self, kind: str) -> Value:
        """Elements of `kind` kept in memory by all repetitions."""
        return self.count * sum((t.storage(self.loops) for t in self.tensors if t.kind == kind), 0.0)

    def named(self, name: str, count: Value | None = None) -> Op:
        """The same op under another name, optionally repeated `count` times."""
        return replace(self, name=name, count=self.count if count is None else count)

    def divided(self, **split: Split | str) -> Op:
        """The op with the way a parallel group divides it, e.g. ``divided(tp="n")``."""
        ways = {group: Split(way) if isinstance(way, str) else way for group, way in split.items()}
        return replace(self, split={**self.split, **ways})

    def repeated(self, times: Value) -> Op:
        """The op with its count multiplied."""
        return replace(self, count=self.count * times)
