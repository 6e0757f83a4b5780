"""Fidelity: which model of an op's time answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from perfmodel.arguments import choice
from perfmodel.engine.roofline import OpCost, cost
from perfmodel.errors import ArgumentError
from perfmodel.formats import Precision
from perfmodel.hardware.array import SpatialArray
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
    if not isinstance(runtime, str) or not runtime:
        raise ArgumentError("runtime", runtime, "the name of a runtime, such as vllm")
    if chosen == "roofline":
        return cost

    def model(op: Op, system: System, precision: Precision) -> OpCost:
        """The model that knows this device best."""
        device = system.device
        if isinstance(device.array, SpatialArray):
            from perfmodel.engine.spatial import mapped_cost

            return mapped_cost(op, system, precision)
        from perfmodel.engine.achieved import calibrated_cost, corrections
        from perfmodel.engine.datasheet import datasheet_cost
        from perfmodel.engine.gpu import is_gpu, kernel_cost

        calibrated = chosen == "calibrated"
        if calibrated and corrections(device):  # the device carries what was fitted to it
            return calibrated_cost(op, system, precision, end=end)
        if is_gpu(device):
            return kernel_cost(op, system, precision, calibrated=calibrated, runtime=runtime, end=end)
        if calibrated:
            raise ArgumentError(
                "fidelity", fidelity, f"roofline or dataflow on {device.name}: pm.calibrate has not fitted it"
            )
        return datasheet_cost(op, system, precision)

    return model
