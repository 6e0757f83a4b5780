"""pm.device and pm.system: descriptions by shipped name or path, and their variation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any

from perfmodel import shipped
from perfmodel.errors import ArgumentError, Fault, SpecError, UnknownNameError
from perfmodel.hardware.device import Device, System
from perfmodel.spec import get_path, load, provenance, replace_path

PLACE = "hardware_specs"


def device(name: str | Path | Device) -> Device:
    """Device of a shipped name or of a YAML file.

    Raises UnknownNameError with the nearest match, SpecError with every fault of the file.
    """
    if isinstance(name, Device):
        return name
    path = shipped.locate(name, PLACE, "device")
    spec = load(Device, path, resolve=lambda base: shipped.locate(base, PLACE, "device"))
    power = spec.power
    if power is not None and power.idle is not None and power.peak is not None and power.idle > power.peak:
        line = provenance(spec)["power.idle"].line
        message = f"{power.idle:g} W is more than the peak of {power.peak:g} W"
        raise SpecError([Fault(str(path), line, 1, "power.idle", message, "at most power.peak")])
    return spec


def system(name: str | Path | Device | System, count: int | None = None) -> System:
    """System of a shipped name, of a YAML file, or `count` devices of one kind joined by their own links.

    ``h100-sxm5:8`` is short for ``system("h100-sxm5", count=8)``.
    """
    if isinstance(name, System):
        return name if count is None else replace(name, count=float(_positive(count)))
    if isinstance(name, Device):
        return _joined(name, count)
    if not isinstance(name, (str, Path)):
        raise ArgumentError(
            "system",
            name,
            "a shipped name, the path of a YAML file, a Device or a System" + shipped.several(name),
        )
    text = str(name)
    head, colon, tail = text.rpartition(":")
    if colon and tail.isdigit() and count is None:
        return system(head, int(tail))
    if _is_system(text):
        path = shipped.locate(text, PLACE, "system")
        spec = load(System, path, resolve=lambda base: shipped.locate(base, PLACE, "system"))
        whole = replace(spec, device=device(_beside(spec.device, path)))
        return whole if count is None else replace(whole, count=float(_positive(count)))
    try:
        return _joined(device(text), count)
    except UnknownNameError as error:
        raise UnknownNameError("device or system", text, (*error.choices, *systems())) from None


def _joined(single: Device, count: int | None) -> System:
    number = 1 if count is None else _positive(count)
    label = single.name if number == 1 else f"{single.name}:{number}"
    return System(system=label, device=single, count=float(number))


def _positive(count: Any) -> int:
    wrong = isinstance(count, bool) or not isinstance(count, (Integral, float))
    if wrong or not 1 <= count < float("inf") or count != int(count):
        raise ArgumentError("count", count, "a whole number of devices, at least 1")
    return int(count)


def _is_system(text: str) -> bool:
    if text in systems():
        return True
    path = Path(text)
    return path.suffix in (".yaml", ".yml") and path.is_file() and shipped._first_key(path) == "system"


def _beside(name: str, path: Path) -> str:
    """A device file beside the system file, with or without its ending, else the name itself."""
    files = (path.parent / name, path.parent / f"{name}.yaml")
    found = [str(one) for one in files if one.suffix in (".yaml", ".yml") and one.is_file()]
    return name if name in devices() or not found else found[0]


def devices() -> tuple[str, ...]:
    """Names of the shipped devices."""
    return shipped.names(PLACE, "device")


def systems() -> tuple[str, ...]:
    """Names of the shipped systems."""
    return shipped.names(PLACE, "system")


def vary(target: Any, changes: Mapping[str, Any]) -> Any:
    """Copy of a device, system or workload with the fields at the given paths replaced.

    A value may be a number in SI units, a text with a unit, or a list: a list becomes a named axis.
    Raises UnknownNameError for a wrong path, UnitError or ArgumentError for a wrong value.
    """
    if not isinstance(changes, Mapping) or not all(isinstance(path, str) for path in changes):
        raise ArgumentError("changes", changes, "a mapping of paths to values")
    for path, value in changes.items():
        own = own_path(target, path)
        target = replace_path(target, own, value)
        if getattr(get_path(target, own), "ndim", 0) > 1:
            raise ArgumentError(path, value, "a number or a one-dimensional list")
    return target


def own_path(target: Any, path: str) -> str:
    """The path in `target`: a device needs no ``device.``, a system without links has those of its device."""
    if isinstance(target, Device):
        return path.removeprefix("device.")
    if isinstance(target, System) and path.startswith("links."):
        name = path.split(".")[1]
        if name not in target.links and name in target.device.links:
            return f"device.{path}"
    return path
