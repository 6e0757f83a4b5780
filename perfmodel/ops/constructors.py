"""Operators for users: every registered constructor behind a check of its arguments (``pm.op``).

``pm.op.matmul(m=64, n=4096, k=4096)`` gives an Op.  A size may be a list: it becomes an axis of the result.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from perfmodel import ops
from perfmodel.algebra import is_symbolic
from perfmodel.arguments import choice, number, whole
from perfmodel.axes import Axis, is_value
from perfmodel.errors import ArgumentError, UnknownNameError, nearest
from perfmodel.ops.core import Op
from perfmodel.ops.deferred import Deferred, op_or_deferred
from perfmodel.ops.registry import OPERATORS

# each module registers its operators when it is imported
for _module in pkgutil.iter_modules(ops.__path__):
    if _module.name != __name__.rpartition(".")[2]:
        importlib.import_module(f"{ops.__name__}.{_module.name}")

#: Sizes that may be fractions: means and expectations.
REAL = {
    ("grouped_matmul", "tokens_per_expert"), ("grouped_matmul", "experts"), ("permute", "copies"),
    ("combine", "copies"), ("spiking_layer", "rate"), ("hash_grid", "growth"), ("hash_grid", "coarsest"),
}
#: Amounts per element that may be zero.
AMOUNTS = ("operations", "special", "parameters", "vector", "rounds", "state_bytes")
ZERO = {("random_numbers", "state")}
CHOICES: Mapping[tuple[str, str], tuple[str, ...]] = {("norm", "kind"): ("rms", "layer")}
PAIRS = ("kernel", "stride", "dilation", "padding")
#: operator -> (argument, the one that bounds it)
SELECTED = {"top_k": (("kept", "width"),), "router_topk": (("picks", "width"),)}


class UnknownOperatorError(UnknownNameError, AttributeError):  # type: ignore[misc]  # both have `name`
    """An operator that is not registered; also an AttributeError, so that ``hasattr`` works."""


def checked(family: str, function: Callable[..., Any]) -> Callable[..., Op | Deferred]:
    """The constructor with every argument checked first."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def build(*args: Any, **kwargs: Any) -> Op | Deferred:
        given = _bound(family, signature, args, kwargs)
        clean = {
            key: _argument(family, key, signature.parameters[key], value) for key, value in given.items()
        }
        defaults = {key: p.default for key, p in signature.parameters.items()}
        _together(family, {**defaults, **clean})
        return op_or_deferred(family, clean)

    return build


def _bound(family: str, signature: inspect.Signature, args: Any, kwargs: Any) -> dict[str, Any]:
    """Arguments by name.  Raises ArgumentError for unknown, double and missing ones."""
    known = signature.parameters
    for key in kwargs:
        if key not in known:
            raise ArgumentError(f"{family}.{key}", kwargs[key], ", ".join(known), nearest(key, known))
    try:
        return dict(signature.bind(*args, **kwargs).arguments)
    except TypeError as error:
        needed = ", ".join(k for k, p in known.items() if p.default is inspect.Parameter.empty)
        raise ArgumentError(family, f"{args}, {kwargs}", f"{error}; needed: {needed}") from None


def _argument(family: str, key: str, parameter: inspect.Parameter, value: Any) -> Any:
    """One argument as the constructor wants it."""
    if is_value(value):
        return value
    kind, name = str(parameter.annotation), f"{family}.{key}"
    if kind == "bool":
        if not isinstance(value, bool):
            raise ArgumentError(name, value, "True or False")
        return value
    if (family, key) in CHOICES:
        return choice(name, value, CHOICES[family, key])
    if kind == "str":
        if not isinstance(value, str):
            raise ArgumentError(name, value, "a text")
        return value
    if value is None and parameter.default is None:
        return None
    if "Sequence" in kind or "Mapping" in kind or "tuple[" in kind:
        return value
    if kind == "int":
        count = whole(name, value)
        if not isinstance(count, float):
            raise ArgumentError(name, value, "one whole number, no list")
        return int(count)
    if "Pair" in kind or (key in PAIRS and "str" in kind):
        return _pair(name, key, value)
    return _renamed(_size(family, key, name, kind, value), key)


def _size(family: str, key: str, name: str, kind: str, value: Any) -> Any:
    if (family, key) in ZERO or key in AMOUNTS:
        return number(name, value, above=False)
    if kind == "float" or (family, key) in REAL:
        return number(name, value)
    return whole(name, value)


def _renamed(value: Any, key: str) -> Any:
    """An axis is called by the argument alone, not by operator and argument, unless the caller named it."""
    if isinstance(value, Axis) and value.name.endswith(f".{key}"):
        return Axis(key, value.values)
    return value


def _pair(name: str, key: str, value: Any) -> Any:
    """One number or a (vertical, horizontal) pair; padding may be a word or zero."""
    low = 0.0 if key == "padding" else 1.0
    if key == "padding" and isinstance(value, str):
        return choice(name, value, ("same", "valid"))
    if isinstance(value, tuple):
        if len(value) != 2:
            raise ArgumentError(name, value, "one number or a pair (vertical, horizontal)")
        return tuple(whole(name, part, low=low) for part in value)
    return _renamed(whole(name, value, low=low), key)


def _together(family: str, given: Mapping[str, Any]) -> None:
    """Checks across arguments."""
    if given.get("causal", family == "compressed_attention") is True:
        late = _worst(given.get("query"), given.get("context"), np.subtract)
        if late:
            allowed = f"at least query = {late[0]:g} (the context holds the new tokens too)"
            raise ArgumentError(f"{family}.context", late[1], allowed)
    for part, whole_of in SELECTED.get(family, ()):
        many = _worst(given[part], given[whole_of], np.subtract)
        if many:
            raise ArgumentError(f"{family}.{part}", many[0], f"at most {whole_of} = {many[1]:g}")
    uneven = _worst(given.get("heads"), given.get("kv_heads"), np.mod)
    if uneven:
        raise ArgumentError(f"{family}.kv_heads", uneven[1], f"a divisor of heads = {uneven[0]:g}")


def _worst(one: Any, other: Any, excess: Callable[[Any, Any], Any]) -> tuple[float, float] | None:
    """The two values with the largest excess above 0: of all combinations, or along the axis they share."""
    first, second = _values(one), _values(other)
    if first is None or second is None:
        return None
    if not (isinstance(one, Axis) and isinstance(other, Axis) and one.name == other.name):
        first = first[:, None]
    elif len(first) != len(second):
        return None  # the mesh of both refuses that
    over = excess(first, second)
    worst = np.unravel_index(np.argmax(over), over.shape)
    pair = (float(np.broadcast_to(values, over.shape)[worst]) for values in (first, second))
    return (next(pair), next(pair)) if over[worst] > 0 else None


def _values(value: Any) -> Any:
    """Numbers of a checked argument as an array; None where there are none to compare."""
    if value is None or value is inspect.Parameter.empty or isinstance(value, str):
        return None
    if is_symbolic(value) or is_value(value):
        return None
    return np.atleast_1d(np.asarray(value.values if isinstance(value, Axis) else value, dtype=np.float64))


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    if name not in OPERATORS:
        raise UnknownOperatorError("operator", name, sorted(OPERATORS))
    return checked(name, OPERATORS[name])


def __dir__() -> list[str]:
    return sorted(OPERATORS)
