"""An op that is one product of two operands, as the sizes of a batched matrix product.

    C[batch,m,n] = sum over k of A[batch,m,k] B[batch,n,k]

Its loops say which: those of both operands and the output are the batch, those of the output and one operand
its rows or columns, those of both operands alone are summed.  A convolution is the implicit product of [1].

Reference
[1] Chetlur et al., cuDNN: Efficient Primitives for Deep Learning, arXiv:1410.0759.
"""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value, product
from perfmodel.engine.dataflow.problem import problem
from perfmodel.errors import ArgumentError
from perfmodel.ops.core import Op


@dataclass(frozen=True)
class Product:
    """Sizes of a batched product [elements].

    distinct  share of the batch x m x k elements of A that are stored: windows of a convolution overlap
    """

    batch: Value
    m: Value
    n: Value
    k: Value
    distinct: Value = 1.0


def as_product(op: Op) -> Product | None:
    """The product that an op is, its B the weights if it has any; None where there are not two operands."""
    try:
        nest = problem(op)
    except ArgumentError:
        return None
    a, b, c = (next(o for o in nest.operands if o.role == role) for role in ("input", "weight", "output"))

    def size(loops: frozenset[str]) -> Value:
        return product(nest.bounds[name] for name in sorted(loops))

    batch, k = size(a.loops & b.loops & c.loops), size((a.loops & b.loops) - c.loops)
    m, n = size((a.loops & c.loops) - b.loops), size((b.loops & c.loops) - a.loops)
    return Product(batch, m, n, k, a.footprint(nest.bounds) / (batch * m * k))
