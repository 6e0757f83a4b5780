"""Audit of device descriptions: do the printed numbers agree with each other, and does each have a source?

A datasheet says the same thing several times (peak = units x multiply-accumulates x clock x 2), prints
sparse rates beside dense ones, and mixes a die with a package.  These checks find such slips without another
document.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from perfmodel.errors import UnknownNameError
from perfmodel.hardware.device import ComputeUnit, Device, MemoryLevel
from perfmodel.spec import get_path

#: Relative difference of a printed peak from units x MAC x clock x 2 that rounding explains.
PEAK_TOLERANCE = 0.02

# Dense rates double from one format to the next narrower one; 2:4 sparsity doubles once more.
_NARROWER = (
    ("fp8", "bf16"),
    ("fp8", "fp16"),
    ("int8", "fp16"),
    ("int8", "bf16"),
    ("fp4", "fp8"),
    ("int4", "int8"),
)

# Plausible ranges of shipped silicon, generous by design: they catch a wrong unit or factor of 1000.
_RANGES: tuple[tuple[str, float, float], ...] = (
    ("ridge point [FLOP/B]", 0.5, 5000.0),
    ("time to read the memory [s]", 1e-6, 10.0),
    ("power per area [W/m2]", 1e3, 2e6),
    ("transistors per area [1/m2]", 1e11, 4e14),
    ("energy of one operation at peak [J/FLOP]", 1e-14, 5e-9),
)


def audit(device: Device) -> list[str]:
    """Findings about one description, most telling first; an empty list is a clean bill.

    Checks: peak = units x MAC per clock x clock x 2 within 2 %; dense rates at most double from one format to
    the next narrower; sizes, rates and ratios in the range of real silicon; levels ordered; numbers sourced.
    """
    return [*_identity(device), *_density(device), *_plausible(device), *_levels(device), *_sources(device)]


def sourced_numbers(device: Device) -> list[str]:
    """Paths of the numbers that carry a source."""
    return [
        path
        for path, item in device.provenance.items()
        if item.source and isinstance(_value(device, path), float)
    ]


def recalled_numbers(device: Device) -> list[str]:
    """Paths of the numbers whose citation says that they are recalled or a convention: verify before use."""
    words = ("recalled", "convention", "assumption")
    places = device.provenance
    return [path for path in sourced_numbers(device) if any(w in _citation(places[path]) for w in words)]


def _value(device: Device, path: str) -> object:
    try:
        return get_path(device, path)
    except UnknownNameError:
        return None


def _identity(device: Device) -> Iterator[str]:
    for unit_name, unit in device.compute.items():
        for number_format, expected in _computed_peaks(unit):
            listed = _number(unit.peak.get(number_format))
            if listed is None or expected is None:
                continue
            difference = listed / expected - 1
            if abs(difference) > PEAK_TOLERANCE:
                yield (
                    f"compute.{unit_name}.peak.{number_format} is {100 * difference:+.1f} % from"
                    f" units x MAC x clock x 2 = {expected:.4g}"
                )


def _computed_peaks(unit: ComputeUnit) -> Iterator[tuple[str, float | None]]:
    count, clock = _number(unit.count), _number(unit.clock)
    for number_format, mac in unit.mac_per_clock.items():
        per_unit = _number(mac)
        known = count is not None and clock is not None and per_unit is not None
        yield number_format, (count * per_unit * clock * 2 if known else None)  # type: ignore[operator]


def _density(device: Device) -> Iterator[str]:
    unit = device.compute.get("matrix")
    for narrow, wide in _NARROWER:
        if narrow in device.justified:
            continue
        fast, slow = (_number(unit.peak.get(key)) if unit else None for key in (narrow, wide))
        if fast is not None and slow is not None and fast > slow * 2 * (1 + PEAK_TOLERANCE):
            yield f"compute.matrix.peak.{narrow} is {fast / slow:.2g} times {wide}: a sparse rate?"


def _plausible(device: Device) -> Iterator[str]:
    memory = device.main_memory
    bandwidth, capacity = _number(memory.bandwidth), _number(memory.capacity)
    best = max(
        (_number(p) or 0.0 for unit in device.compute.values() for p in unit.peak.values()), default=0.0
    )
    power = _number(device.power.peak) if device.power else None
    idle = _number(device.power.idle) if device.power else None
    area, transistors = _number(device.area), _number(device.transistors)
    ratios = (
        _ratio(best or None, bandwidth),
        _ratio(capacity, bandwidth),
        _ratio(power, area),
        _ratio(transistors, area),
        _ratio(power, best or None),
    )
    for (name, low, high), value in zip(_RANGES, ratios, strict=True):
        if value is not None and not low <= value <= high:
            yield f"{name} is {value:.3g}, outside {low:g} to {high:g}"
    if idle is not None and power is not None and idle >= power:
        yield f"power.idle {idle:g} W is not below power.peak {power:g} W"
    year = _number(device.year)
    if year is not None and not 2005 <= year <= 2030:
        yield f"year {year:g} is outside 2005 to 2030"


def _levels(device: Device) -> Iterator[str]:
    """Inner levels are faster than outer ones and hold less in all."""
    levels = list(device.memory.items())
    for (outer, wide), (inner, near) in pairwise(levels):
        rates = _number(wide.bandwidth), _number(near.bandwidth)
        if None not in rates and rates[1] < rates[0]:  # type: ignore[operator]
            yield f"memory.{inner} is slower than memory.{outer}"
    sizes = [(name, _whole_capacity(level)) for name, level in levels]
    main = sizes[0][1]
    for name, size in sizes[1:]:
        if main is not None and size is not None and size >= main:
            yield f"memory.{name} holds as much as memory.{sizes[0][0]}"


def _sources(device: Device) -> Iterator[str]:
    if not device.provenance:
        yield "no sources: the description was not read from a file"
        return
    for path, item in device.provenance.items():
        if not item.source and isinstance(_value(device, path), float):
            yield f"{path} has no source"


def _whole_capacity(level: MemoryLevel) -> float | None:
    capacity = _number(level.capacity)
    return None if capacity is None else capacity * (_number(level.instances) or 1.0)


def _citation(item: Any) -> str:
    return str(getattr(item, "citation", "")).lower()


def _ratio(over: float | None, under: float | None) -> float | None:
    return over / under if over is not None and under else None


def _number(value: Any) -> float | None:
    """The value as a float; None if it is absent or an axis of a sweep."""
    return float(value) if value is not None and np.ndim(value) == 0 else None
