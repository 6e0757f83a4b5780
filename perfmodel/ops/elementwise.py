"""Operators without a matrix product: elementwise, norm, softmax, gather."""

from __future__ import annotations

from perfmodel.algebra import Value
from perfmodel.ops.core import Op, Tensor, Work
from perfmodel.ops.registry import operator


@operator
def elementwise(
    elements: Value,
    inputs: int = 1,
    outputs: int = 1,
    operations: Value = 1,
    *,
    special: Value = 0,
    parameters: Value = 0,
    name: str = "",
) -> Op:
    """Map over `elements` positions, ``y = f(x_1 .. x_inputs)``.

    inputs, outputs  tensors read and written, each of `elements` elements
    operations       vector operations per element
    special          special-function operations per element (exp, rsqrt, tanh)
    parameters       stored weights read once, broadcast over the rest [elements]
    """
    tensors = [Tensor(f"x{i + 1}", ("i",)) for i in range(inputs)]
    tensors += [Tensor(f"y{i + 1}", ("i",), output=True) for i in range(outputs)]
    loops = {"i": elements, "p": parameters}
    if not (isinstance(parameters, (int, float)) and parameters == 0):
        tensors.append(Tensor("w", ("p",), kind="weight"))
    work = [Work("vector", 1.0 * elements * operations)]
    if not (isinstance(special, (int, float)) and special == 0):
        work.append(Work("special", 1.0 * elements * special))
    return Op("elementwise", loops, tuple(tensors), tuple(work), name)


@operator
def norm(
    rows: Value,
    width: Value,
    *,
    kind: str = "rms",
    residual: bool = False,
    bias: bool = False,
    affine: bool = True,
    name: str = "",
) -> Op:
    """RMS or layer normalisation of `rows` vectors of `width` elements.

    residual  also adds the residual stream: one more tensor read and one written
    RMS: square, sum, scale, weight = 4 vector operations per element; layer norm: 8 with mean and bias.
    One reciprocal square root per row.
    """
    tensors = [Tensor("x", ("r", "d")), Tensor("y", ("r", "d"), output=True)]
    if residual:
        tensors += [Tensor("residual", ("r", "d")), Tensor("sum", ("r", "d"), output=True)]
    if affine:
        tensors.append(Tensor("weight", ("d",), kind="weight"))
    if bias:
        tensors.append(Tensor("bias", ("d",), kind="weight"))
    per_element = (4.0 if kind == "rms" else 8.0) + (1.0 if residual else 0.0)
    work = (Work("vector", per_element * rows * width), Work("special", 1.0 * rows))
    return Op("norm", {"r": rows, "d": width}, tuple(tensors), work, name)


@operator
def softmax(rows: Value, width: Value, *, name: str = "") -> Op:
    """Softmax over the last axis of a rows x width tensor.

    Per element: maximum, subtraction, sum, scaling = 4 vector operations and one exponential.
    """
    tensors = (Tensor("x", ("r", "d")), Tensor("y", ("r", "d"), output=True))
    work = (Work("vector", 4.0 * rows * width), Work("special", 1.0 * rows * width))
    return Op("softmax", {"r": rows, "d": width}, tensors, work, name)


@operator
def embedding(tokens: Value, vocabulary: Value, width: Value, *, shared: bool = False, name: str = "") -> Op:
    """Gather of `tokens` rows from a table of vocabulary x width stored weights.

    Reads tokens x width of the table and as many indices as tokens, writes tokens x width.
    """
    stored = 1.0 * vocabulary * width
    tensors = (
        Tensor("index", ("t",), kind="index"),
        Tensor("table", ("t", "d"), "weight", stored=stored, shared=shared, role="embedding"),
        Tensor("y", ("t", "d"), output=True),
    )
    return Op("embedding", {"t": tokens, "d": width}, tensors, (), name)
