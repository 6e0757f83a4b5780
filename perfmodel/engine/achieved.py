"""Fidelity ``calibrated`` of a device that carries its own corrections in `achieved`.

    time = count x ( max over resources (amount / (rate x fraction)) + launch multiple x serial )

The fractions and the multiple are dimensionless, fitted by ``pm.calibrate``; nominal numbers stay as they
are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from perfmodel.engine.kernels.calibration import KernelCalibration, calibrations
from perfmodel.engine.roofline import OpCost, cost
from perfmodel.formats import Precision
from perfmodel.hardware.device import Device, System
from perfmodel.ops.core import Op

#: name of the correction of everything that is paid per kernel
LAUNCH = "launch"


def corrections(device: Device) -> Mapping[str, float]:
    """Resource (``compute.matrix.bf16``, ``memory.dram``, ``launch``) -> correction; empty if not fitted."""
    found: Mapping[str, float] = _block(device, "corrections")
    return found


def fraction(fitted: Mapping[str, float], resource: str, family: str = "") -> float:
    """Fraction of the nominal rate that a resource achieves; above 1 where a cache serves the bytes.

    ``memory.dram@norm`` applies to one operator family, ``memory.dram`` to all others.
    A number format that was not measured has that of the unit's measured formats, on average.
    """
    for name in (f"{resource}@{family}", resource):
        if name in fitted:
            return float(fitted[name])
    unit = resource.rpartition(".")[0]
    alike = [float(v) for name, v in fitted.items() if name.rpartition(".")[0] == unit and "." in unit]
    return sum(alike) / len(alike) if alike else 1.0


def calibrated_cost(op: Op, system: System, precision: Precision, *, end: str = "middle") -> OpCost:
    """Cost of an op at the rates that the device achieves.

    end  ``low`` or ``high``: times the 10 % or 90 % quantile of measured over predicted time on rows that
         were not fitted
    """
    fitted = corrections(system.device)
    factor = spread(system.device)[0 if end == "low" else 1] if end != "middle" else 1.0
    bound = cost(op, system, precision)
    parts = {name: part * (factor / fraction(fitted, name, op.family)) for name, part in bound.parts.items()}
    return replace(bound, parts=parts, serial=bound.serial * (factor * float(fitted.get(LAUNCH, 1.0))))


def spread(device: Device) -> tuple[float, float]:
    """Low and high factor of the 80 % interval."""
    found = _block(device, "spread") or (1.0, 1.0)
    return float(found[0]), float(found[1])


def kernel_files(device: Device) -> tuple[KernelCalibration, ...] | None:
    """Kernel calibrations with those of the device in front; None where it has none of its own."""
    families = _block(device, "families")
    if not families:
        return None
    own = KernelCalibration(
        calibration=f"{device.name} achieved",
        applies_to=("*",),
        data=str(_block(device, "data")),
        date=str(_block(device, "date")),
        families=families,
    )
    return (own, *calibrations())


def _block(device: Device, name: str) -> Any:
    achieved = device.achieved
    return achieved.get(name, {}) if isinstance(achieved, Mapping) else {}
