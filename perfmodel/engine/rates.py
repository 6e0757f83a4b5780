"""Rates: how fast a system serves each resource of a Demand, and what a unit of it costs in energy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perfmodel.algebra import Value, is_symbolic, maximum
from perfmodel.errors import PrecisionError, UnknownNameError
from perfmodel.hardware.device import ComputeUnit, Device, Link, System

#: A vector unit without a peak for a narrow format computes in a wider one; first hit counts.
WIDER = {
    "fp4": ("fp8", "fp16", "bf16", "fp32"),
    "fp8": ("fp16", "bf16", "fp32"),
    "fp16": ("bf16", "fp32"),
    "bf16": ("fp16", "fp32"),
    "tf32": ("fp32",),
    "int8": ("int16", "int32", "fp16", "fp32"),
    "int4": ("int8", "int16", "int32", "fp32"),
    "int16": ("int32", "fp32"),
    "fp32": ("fp16", "bf16"),
}


def unit_of(device: Device, unit: str) -> tuple[str, ComputeUnit] | None:
    """The compute unit that does `unit` work: itself, or the vector unit for special functions.

    None where the device describes neither; such work then costs nothing, which keeps the result a bound.
    """
    for name in (unit, "vector") if unit in ("special", "lookup") else (unit,):
        if name in device.compute:
            return name, device.compute[name]
    return None


def compute_key(device: Device, unit: str, format_key: str) -> str | None:
    """Resource path ``compute.<unit>.<format>`` on which the work runs.

    The matrix unit must have the format.  Vector and special-function units use the next wider one.
    Raises PrecisionError that lists what the device has.
    """
    found = unit_of(device, unit)
    if found is None:
        return None
    name, described = found
    if format_key in described.peak:
        return f"compute.{name}.{format_key}"
    if name != "matrix":
        for wider in (*WIDER.get(format_key, ()), *described.peak):
            if wider in described.peak:
                return f"compute.{name}.{wider}"
    raise PrecisionError(format_key, device.name, tuple(described.peak))


def links_of(system: System) -> dict[str, Link]:
    """Links by name, the fastest first: those of the system come before those of the device."""
    return {**system.links, **system.device.links, **system.links}


def link_of(system: System, name: str = "") -> tuple[str, Link]:
    """Link of this name, or the fastest one."""
    links = links_of(system)
    if name and name not in links:
        raise UnknownNameError("link", name, links)
    if not links:
        raise UnknownNameError("link", f"any link of {system.name}", ())
    first = name or next(iter(links))
    return first, links[first]


def route(system: System, name: str = "", members: Value = np.inf) -> list[tuple[str, Link]]:
    """Links that `members` devices use: the named one, or the fastest and then those that join more devices.

    A link that does not say how many it joins, or the last of all, joins any number.
    """
    first = link_of(system, name)
    if name:
        return [first]
    found, reach = [first], first[1].devices
    for other, link in list(links_of(system).items())[1:]:
        if reach is None or (not is_symbolic(members) and np.all(np.less_equal(members, reach))):
            break
        if link.devices is None or np.all(np.greater(link.devices, reach)):
            found.append((other, link))
            reach = link.devices
    return found


def domains(system: System, devices: Value) -> Value | None:
    """Nodes that `devices` lie in, by the first link that says how many it joins; None where none does."""
    size = next((link.devices for _, link in route(system) if link.devices is not None), None)
    return None if size is None else maximum(devices / size, 1.0)


def joins(links: Sequence[tuple[str, Link]], stride: Value = 1.0) -> list[Value | None]:
    """Members of a group, `stride` devices apart, that each link of a route joins; the last joins all."""
    inner = [None if link.devices is None else maximum(link.devices / stride, 1.0) for _, link in links]
    return [*inner[:-1], None]


def rate(system: System, resource: str) -> Value | None:
    """Amount per second of a resource path; None where it is unlimited."""
    kind, _, rest = resource.partition(".")
    device: Device = system.device
    if kind == "compute":
        unit, _, key = rest.partition(".")
        return device.compute[unit].peak[key]
    if kind == "memory":
        return device.memory[rest].bandwidth
    if kind == "links":
        return link_of(system, rest)[1].bandwidth
    raise UnknownNameError("resource", resource, ("compute", "memory", "links"))
