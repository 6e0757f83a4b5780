"""Arithmetic that reads the same for a float, a numpy array and a sympy expression.

A formula of perfmodel is written once with ``+ - * / **`` and the helpers below.  Evaluated with floats it
answers one question, with arrays a whole design space, with sympy symbols it becomes a closed form.
Nothing here imports sympy: a symbolic operand brings its own module along.
"""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np

#: float | numpy.ndarray | sympy.Expr
Value: TypeAlias = Any


def is_symbolic(*values: Value) -> bool:
    """True if any operand is a sympy expression."""
    if "sympy" not in sys.modules:
        return False
    return any(hasattr(value, "free_symbols") for value in values)


def _sympy() -> Any:
    return sys.modules["sympy"]


def maximum(*values: Value) -> Value:
    """Largest of the operands, element by element; shapes broadcast."""
    if is_symbolic(*values):
        return _sympy().Max(*values)
    result = values[0]
    for value in values[1:]:
        result = np.maximum(result, value)
    return result


def minimum(*values: Value) -> Value:
    """Smallest of the operands, element by element; shapes broadcast."""
    if is_symbolic(*values):
        return _sympy().Min(*values)
    result = values[0]
    for value in values[1:]:
        result = np.minimum(result, value)
    return result


def ceil(value: Value) -> Value:
    """Least whole number not below `value`."""
    return _sympy().ceiling(value) if is_symbolic(value) else np.ceil(value)


def floor(value: Value) -> Value:
    """Largest whole number not above `value`."""
    return _sympy().floor(value) if is_symbolic(value) else np.floor(value)


def ceil_div(amount: Value, size: Value) -> Value:
    """Number of blocks of `size` that cover `amount`."""
    return ceil(amount / size)


def log2(value: Value) -> Value:
    """Logarithm to base 2."""
    return _sympy().log(value, 2) if is_symbolic(value) else np.log2(value)


def exp(value: Value) -> Value:
    """Natural exponential."""
    return _sympy().exp(value) if is_symbolic(value) else np.exp(value)


def where(condition: Value, then: Value, otherwise: Value) -> Value:
    """`then` where the condition holds, else `otherwise`."""
    if is_symbolic(condition, then, otherwise):
        return _sympy().Piecewise((then, condition), (otherwise, True))
    return np.where(condition, then, otherwise)


def product(values: Any) -> Value:
    """Product of an iterable of values; 1.0 when it is empty."""
    result: Value = 1.0
    for value in values:
        result = result * value
    return result


def total(values: Any) -> Value:
    """Sum of an iterable of values; 0.0 when it is empty.

    Terms are added from the smallest shape to the largest, so that an open mesh stays small for as long
    as possible.
    """
    result: Value = 0.0
    for value in sorted(values, key=lambda v: np.size(v)):
        if isinstance(result, np.ndarray) and result.shape == np.broadcast_shapes(
            result.shape, np.shape(value)
        ):
            result += value  # our own sum: no new array is needed
        else:
            result = result + value
    return result
