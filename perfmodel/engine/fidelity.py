"""Fidelity: which model of an op's time answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from perfmodel.arguments import choice
from perfmodel.engine.roofline import OpCost, cost
from perfmodel.formats import Precision
from perfmodel.hardware.device import System
from perfmodel.ops.core import Op

CostModel: TypeAlias = Callable[[Op, System, Precision], OpCost]

FIDELITIES = ("roofline", "dataflow", "calibrated")


def cost_model(fidelity: str) -> CostModel:
    """Function (op, system, precision) -> OpCost of a fidelity."""
    chosen = choice("fidelity", fidelity, FIDELITIES)
    if chosen == "roofline":
        return cost
    from perfmodel.engine.gpu import calibrated_cost, dataflow_cost

    return dataflow_cost if chosen == "dataflow" else calibrated_cost
