"""Device with an ``array:`` block -> Accelerator."""

from __future__ import annotations

import numpy as np

from perfmodel.algebra import Value
from perfmodel.engine.dataflow.accelerator import INFINITE, Accelerator, Axis, Level
from perfmodel.engine.dataflow.problem import ROLES
from perfmodel.errors import ArgumentError, PrecisionError, UnknownNameError
from perfmodel.hardware.array import LOOPS, SpatialArray
from perfmodel.hardware.device import Device, MemoryLevel


def accelerator(described: Device, compute: str = "int8") -> Accelerator:
    """Accelerator of a device with an ``array:`` block.

    compute  number format of the multiply-accumulate; its energy is looked up

    A level's bandwidth is that of all instances together and of one direction (of both, with shared ports);
    an instance gets its share.  The outermost level is unbounded: what exceeds it does not fit the device.
    """
    array = described.array
    if not isinstance(array, SpatialArray):
        raise ArgumentError(
            "accelerator", described.name, "a device with an array: block (kernels of a GPU: pm.kernel)"
        )
    clock = _clock(described)
    names = list(described.memory)
    for axis, rule in array.axes.items():
        if rule.under not in names:
            raise UnknownNameError(f"memory level of array.axes.{axis}.under", rule.under, names)
        for family, factors in rule.fixed.items():
            for loop in factors:
                if loop not in LOOPS:
                    raise UnknownNameError(f"loop of array.axes.{axis}.fixed.{family}", loop, LOOPS)
    for name in array.bypass:
        if name not in names:
            raise UnknownNameError("memory level of array.bypass", name, names)
    levels = tuple(
        _level(name, spec, array, names, clock) for name, spec in described.memory.items()
    )
    axes = tuple(
        Axis(
            name=name, size=rule.size, under=rule.under, hop_energy=rule.hop_energy, most=int(rule.most),
            loops={family: tuple(loops) for family, loops in rule.loops.items()},
            fixed={family: dict(factors) for family, factors in rule.fixed.items()},
        )
        for name, rule in array.axes.items()
    )
    return Accelerator(
        name=described.name, levels=levels, axes=axes, clock=clock,
        rate=array.rates.get(compute, array.rate), skew=array.skew,
        mac_energy=_mac_energy(described, array, compute), static_power=array.static_power,
    )


def _clock(described: Device) -> Value:
    matrix = described.compute.get("matrix")
    clock = matrix.clock if matrix is not None and matrix.clock is not None else described.clock
    if clock is None:
        raise ArgumentError(f"{described.name}.clock", None, "a clock of the device or of its matrix unit")
    return clock


def _mac_energy(described: Device, array: SpatialArray, compute: str) -> Value:
    if not array.mac_energy:
        return 0.0
    if compute not in array.mac_energy:
        raise PrecisionError(compute, described.name, tuple(array.mac_energy))
    return array.mac_energy[compute]


def _level(
    name: str, spec: MemoryLevel, array: SpatialArray, names: list[str], clock: Value
) -> Level:
    outer = name == names[0]
    copies: Value = 1.0
    for rule in array.axes.values():
        if names.index(rule.under) < names.index(name):
            copies = copies * rule.size
    if np.any(spec.instances != 1.0) and np.any(spec.instances != copies):
        raise ArgumentError(f"memory.{name}.instances", spec.instances, f"{copies:g}, the positions above it")
    share = INFINITE if spec.bandwidth is None else spec.bandwidth / clock / copies
    return Level(
        name=name, capacity=INFINITE if outer or spec.capacity is None else spec.capacity, bandwidth=share,
        shared_ports=spec.shared_ports, holds=tuple(spec.holds) or ROLES, word=spec.word or 1.0,
        read_energy=spec.read_energy or 0.0, write_energy=_write_energy(spec),
        optional=tuple(array.bypass.get(name, ())), double_buffered=spec.double_buffered,
    )


def _write_energy(spec: MemoryLevel) -> Value:
    if spec.write_energy is not None:
        return spec.write_energy
    return spec.read_energy or 0.0
