"""Registry of operator constructors; a test walks it and checks each one as float, array and symbol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from perfmodel.errors import ArgumentError, UnknownNameError

Constructor = TypeVar("Constructor", bound=Callable[..., Any])

#: operator name -> constructor
OPERATORS: dict[str, Callable[..., Any]] = {}


def operator(function: Constructor) -> Constructor:
    """Register an operator constructor under its own name."""
    name = function.__name__
    if name in OPERATORS:
        raise ArgumentError("operator", name, "a name that is not registered yet")
    OPERATORS[name] = function
    return function


def find(name: str) -> Callable[..., Any]:
    """Constructor of this name.  Raises UnknownNameError with the nearest match."""
    if name not in OPERATORS:
        raise UnknownNameError("operator", name, OPERATORS)
    return OPERATORS[name]
