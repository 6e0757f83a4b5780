"""Deferred: an operator whose sizes are lists; it becomes an Op when the lists have become array axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from perfmodel.algebra import is_symbolic
from perfmodel.axes import Axis
from perfmodel.errors import ArgumentError
from perfmodel.ops.core import Op
from perfmodel.ops.registry import find


@dataclass(frozen=True)
class Deferred:
    """Operator name and arguments, some of them an Axis named after the argument.

    Mesh finds the axes in here, substitutes open-mesh arrays, and `build` then makes an ordinary Op.
    """

    family: str
    arguments: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the op to come."""
        return str(self.arguments.get("name", "") or self.family)

    def build(self) -> Op:
        """The Op with the arguments as they are now."""
        op: Op = find(self.family)(**self.arguments)
        if self.family.startswith(("conv", "pool")):
            for name, bound in op.loops.items():
                if not is_symbolic(bound) and np.any(np.less(bound, 1)):
                    allowed = f"a window within the padded input (loop {name} is empty)"
                    raise ArgumentError(self.family, self, allowed)
        return op

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{key}={list(value.values) if isinstance(value, Axis) else value!r}"
            for key, value in self.arguments.items()
        )
        return f"{self.family}({shown})"


def built(op: Op | Deferred) -> Op:
    """The op itself, or the one that a Deferred stands for."""
    return op.build() if isinstance(op, Deferred) else op


def op_or_deferred(family: str, arguments: Mapping[str, Any]) -> Op | Deferred:
    """An Op, or a Deferred if any checked argument is an Axis."""
    deferred = Deferred(family, dict(arguments))
    return deferred if any(isinstance(value, Axis) for value in arguments.values()) else deferred.build()
