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
    from perfmodel.engine.achieved import calibrated_cost, corrections
    from perfmodel.engine.gpu import kernel_cost

    model = partial(kernel_cost, calibrated=chosen == "calibrated", runtime=runtime, end=end)
    if chosen == "dataflow":
        return model

    def calibrated(op: Op, system: System, precision: Precision) -> OpCost:
        if corrections(system.device):  # the device carries what was fitted to it
            return calibrated_cost(op, system, precision, end=end)
        return model(op, system, precision)

    return calibrated
