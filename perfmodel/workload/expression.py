"""Arithmetic in a workload file, such as ``round8(64*width)``, read without running any code.

Allowed: numbers, names, ``+ - * / // % **``, parentheses, and the functions min, max, ceil, floor, round8.
The result may be an array or a symbol if a name stands for one.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from typing import Any

from perfmodel.algebra import Value, ceil, floor, maximum, minimum, where
from perfmodel.errors import ArgumentError, UnknownNameError

_LONGEST = 200
_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b, ast.Sub: lambda a, b: a - b, ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b, ast.FloorDiv: lambda a, b: floor(a / b),
    ast.Mod: lambda a, b: a - floor(a / b) * b, ast.Pow: lambda a, b: a**b,
}


def round8(channels: Value) -> Value:
    """Nearest multiple of 8, at least 8, never more than 10 % below (the rule of the mobile networks)."""
    rounded = maximum(floor((channels + 4) / 8) * 8, 8.0)
    return where(rounded < 0.9 * channels, rounded + 8, rounded) * 1.0


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": minimum, "max": maximum, "ceil": ceil, "floor": floor, "round8": round8,
}


def check(text: str) -> frozenset[str]:
    """Names that an expression uses.  Raises ArgumentError if it is not plain arithmetic."""
    if len(text) > _LONGEST:
        raise ArgumentError("expression", text, f"at most {_LONGEST} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError) as error:
        raise ArgumentError("expression", text, "arithmetic with + - * / // % ** and names") from error
    names: set[str] = set()
    for node in ast.walk(tree.body):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Call):
            _function(node, text)
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
                raise ArgumentError("expression", text, "numbers and names")
        elif not isinstance(node, (ast.BinOp, ast.UnaryOp, ast.UAdd, ast.USub, ast.Load, *_BINARY)):
            raise ArgumentError("expression", text, "arithmetic with + - * / // % ** and names")
    return frozenset(names) - set(FUNCTIONS)


def evaluate(text: str, names: Mapping[str, Value]) -> Value:
    """Value of an expression.

    Raises ArgumentError if it is not plain arithmetic or has no finite value, UnknownNameError for a name.
    """
    check(text)
    try:
        value = _value(ast.parse(text.strip(), mode="eval").body, text, names)
    except (ZeroDivisionError, OverflowError) as error:
        raise ArgumentError("expression", text, "a finite value") from error
    if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
        raise ArgumentError("expression", text, "a finite value")
    return value


def _value(node: ast.AST, text: str, names: Mapping[str, Value]) -> Value:
    if isinstance(node, ast.Constant):
        return float(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        if node.id not in names:
            raise UnknownNameError("name in an expression", node.id, names)
        return names[node.id]
    if isinstance(node, ast.Call):
        return _function(node, text)(*(_value(item, text, names) for item in node.args))
    if isinstance(node, ast.UnaryOp):
        inner = _value(node.operand, text, names)
        return -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _BINARY[type(node.op)](_value(node.left, text, names), _value(node.right, text, names))
    raise ArgumentError("expression", text, "arithmetic with + - * / // % ** and names")


def _function(node: ast.Call, text: str) -> Callable[..., Any]:
    if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS or node.keywords or not node.args:
        raise ArgumentError("expression", text, "the functions " + ", ".join(FUNCTIONS))
    return FUNCTIONS[node.func.id]
