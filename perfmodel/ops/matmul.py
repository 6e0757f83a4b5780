"""Matrix products, dense and grouped."""

from __future__ import annotations

from perfmodel.algebra import Value
from perfmodel.ops.core import Op, Tensor, Work
from perfmodel.ops.registry import operator


@operator
def matmul(
    m: Value,
    n: Value,
    k: Value,
    batch: Value = 1,
    *,
    weight: bool = True,
    bias: bool = False,
    shared: bool = False,
    out_kind: str = "activation",
    role: str = "",
    name: str = "",
) -> Op:
    """Dense product ``C[b,m,n] = A[b,m,k] B[b,n,k] (+ bias[n])``.

    m, n, k, batch  sizes [elements]; any may be an array or a symbol
    weight          B is a stored weight (else an activation)
    bias            add a stored vector of n elements
    shared          the storage of B is counted by another op (tied embeddings)
    role            what the weight is (head), where a precision policy treats it apart

    FLOP = 2 b m n k; compulsory traffic = b m k + b n k + b m n (+ n) elements.
    """
    b_kind = "weight" if weight else "activation"
    tensors = [
        Tensor("A", ("b", "m", "k")),
        Tensor("B", ("b", "n", "k"), kind=b_kind, shared=shared, role=role),
        Tensor("C", ("b", "m", "n"), kind=out_kind, output=True),
    ]
    if bias:
        tensors.append(Tensor("bias", ("n",), kind="weight"))
    loops = {"b": batch, "m": m, "n": n, "k": k}
    return Op("matmul", loops, tuple(tensors), (Work("matrix", 2.0 * batch * m * n * k),), name)


@operator
def grouped_matmul(
    tokens_per_expert: Value,
    n: Value,
    k: Value,
    experts: Value = 1,
    *,
    stored_experts: Value | None = None,
    name: str = "",
) -> Op:
    """One product per expert, ``C[e,m,n] = A[e,m,k] B[e,n,k]``, the core of a mixture of experts.

    tokens_per_expert  mean rows m per touched expert
    experts            distinct experts touched, may be an expectation
    stored_experts     experts whose weights stay in memory (None: those touched)

    FLOP = 2 e m n k; only touched experts are read.
    """
    stored = None if stored_experts is None else stored_experts * n * k
    tensors = (
        Tensor("A", ("e", "m", "k")),
        Tensor("B", ("e", "n", "k"), kind="weight", stored=stored, role="expert"),
        Tensor("C", ("e", "m", "n"), output=True),
    )
    loops = {"e": experts, "m": tokens_per_expert, "n": n, "k": k}
    work = (Work("matrix", 2.0 * experts * tokens_per_expert * n * k),)
    return Op("grouped_matmul", loops, tensors, work, name)
