"""pm.map: the best mapping of one operator on a spatial array."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from perfmodel.engine.dataflow.accelerator import Accelerator, Widths, widths
from perfmodel.engine.dataflow.adapter import accelerator as adapt
from perfmodel.engine.dataflow.conventions import DEFAULT, Conventions
from perfmodel.engine.dataflow.mapper import MappingResult, map_op
from perfmodel.engine.dataflow.mapping import LoopNest
from perfmodel.errors import ArgumentError
from perfmodel.formats import Precision
from perfmodel.formats import precision as read_precision
from perfmodel.hardware.array import SpatialArray
from perfmodel.hardware.catalog import device as find_device
from perfmodel.hardware.device import Device
from perfmodel.ops.core import Op


def map(
    op: Op, accelerator: Accelerator | Device | str | Path, objective: str = "latency", *,
    precision: str | Mapping[str, str] | Precision | Widths | None = None, conventions: Conventions = DEFAULT,
    effort: int = 1, mapping: str | LoopNest | None = None,
) -> MappingResult:
    """Best mapping of an op on a spatial array, or the price of the given `mapping`.

    accelerator  Accelerator, device, shipped name or path of a device with an ``array:`` block
    objective    ``latency``, ``energy`` or ``edp`` (energy x cycles)
    precision    policy, or Widths (bits of weight, input, output, partial sum); None: int8, or the first
                 format of a device that lacks it
    conventions  how accesses are counted
    effort       0 (coarse) to 5 (every tile size); more is never worse
    mapping      text or LoopNest to price instead of a search

    Raises InfeasibleError that names level and bytes, PrecisionError, ArgumentError.
    """
    if isinstance(accelerator, Accelerator):
        check_priced(objective, accelerator)
        return map_op(
            op, accelerator, objective, precision=precision or "int8", conventions=conventions, effort=effort,
            mapping=mapping,
        )
    described = find_device(accelerator)
    wide, compute = numbers_of(described, precision)
    array = adapt(described, compute)
    check_priced(objective, array)
    return map_op(
        op, array, objective, precision=wide, conventions=conventions, effort=effort,
        mapping=mapping,
    )


def check_priced(objective: str, accelerator: Accelerator) -> None:
    """Raises ArgumentError where energy is asked to be least on a device that prices nothing."""
    if objective != "latency" and not accelerator.priced:
        raise ArgumentError("objective", objective, f"latency: {accelerator.name} prices nothing")


def _usual(described: Device) -> str:
    """int8, or the first format that the device prices or computes in."""
    array = described.array
    formats = tuple(array.mac_energy) if isinstance(array, SpatialArray) else ()
    return "int8" if not formats or "int8" in formats else formats[0]


def numbers_of(
    described: Device, choice: str | Mapping[str, str] | Precision | Widths | None
) -> tuple[Widths, str]:
    """Widths with the device's partial sums, and the format that the array computes in."""
    choice = choice or _usual(described)
    if isinstance(choice, Widths):
        formats = described.array.mac_energy if isinstance(described.array, SpatialArray) else {}
        return choice, next(iter(formats), "int8")
    policy = read_precision(choice)
    wide = widths(policy)
    if isinstance(described.array, SpatialArray):
        wide = Widths(wide.weight, wide.input, wide.output, described.array.partial)
    operands = (policy.format("weight"), policy.format("activation"))
    return wide, max(operands, key=lambda f: f.bits).compute
