"""Fidelity: which model of an op's time answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from perfmodel.arguments import choice
from perfmodel.engine.roofline import OpCost, cost
from perfmodel.formats import Precision
from perfmodel.hardware.device import System
from perfmodel.ops.core import Op

CostModel: TypeAlias = Callable[[Op, System, Precision], OpCost]

FIDELITIES = ("roofline", "dataflow", "calibrated")


def cost_model(fidelity: str, runtime: str = "vllm", end: str = "middle") -> CostModel:
    """Function (op, system, precision) -> OpCost of a fidelity.

    runtime  software whose kernels were calibrated
    end      ``low``, ``middle`` or ``high`` end of a calibrated interval
    """
    chosen = choice("fidelity", fidelity, FIDELITIES)
    if chosen == "roofline":
        return cost
    from perfmodel.engine.gpu import kernel_cost

    return partial(kernel_cost, calibrated=chosen == "calibrated", runtime=runtime, end=end)
