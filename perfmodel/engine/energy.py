"""Energy: price of each operation and byte by technology node, the ledger, and clocks held down by power.

Energy of a ledger is ``sum(amount x energy per unit) + static power x time``.  Prices by node come from
published tables; between and beyond their nodes energies follow a power law through the two nearest anchors.

References
----------
[1] Horowitz, ISSCC 2014, doi:10.1109/ISSCC.2014.6757323 (energy of operations and SRAM at 45 nm).
[2] Jouppi et al., "Ten Lessons From Three Generations Shaped Google's TPUv4i", ISCA 2021,
    doi:10.1109/ISCA52012.2021.00010 (the same at 7 nm).
[3] Muralimanohar et al., "CACTI 6.0", HPL-2009-85 (SRAM by size); the table is a run of CACTI 7.
[4] Mudge, "Power: a first-class architectural design constraint", IEEE Computer 34(4), 2001,
    doi:10.1109/2.917539 (power = C V^2 f, voltage follows frequency).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from perfmodel.algebra import Value, minimum, total
from perfmodel.errors import UnknownNameError
from perfmodel.hardware.device import Device
from perfmodel.hardware.technology import SramPoint, Technology

#: Accumulator that the products of a format are added to, where it is wider than the format.
ACCUMULATOR: Mapping[str, str] = {"int8": "int32", "fp16": "fp32", "bf16": "fp32"}

#: Memory technology of a level name, where the caller does not say.
MEMORY_KIND: Mapping[str, str] = {
    "hbm": "hbm2e",
    "gddr": "gddr6",
    "lpddr": "lpddr5",
    "dram": "ddr4",
}


def energy_parts(amounts: Mapping[str, Value], prices: Mapping[str, Value]) -> Mapping[str, Value]:
    """Energy by resource [J]: amount x price for each resource that has a price.

    amounts by resource path [FLOP, B, ...], as in a Demand; prices [J per unit] by the same paths.
    """
    return {name: amount * prices[name] for name, amount in amounts.items() if name in prices}


def unpriced(amounts: Mapping[str, Value], prices: Mapping[str, Value]) -> tuple[str, ...]:
    """Resources of a ledger without a price; their energy is not in the sum."""
    return tuple(name for name in amounts if name not in prices)


def ledger_energy(
    amounts: Mapping[str, Value], prices: Mapping[str, Value], static_power: Value, duration: Value
) -> Value:
    """Energy of a ledger [J]: ``sum(amount x price) + static_power x duration``.

    static_power [W], duration [s].
    """
    return total(energy_parts(amounts, prices).values()) + static_power * duration


def power_law(x: Value, low: tuple[float, float], high: tuple[float, float]) -> Value:
    """Value at `x` of the power law through two points (x, y): a straight line in log-log."""
    (x0, y0), (x1, y1) = low, high
    exponent = float(np.log(y1 / y0) / np.log(x1 / x0))
    return y0 * (x / x0) ** exponent


def operation_energy(operation: str, feature: Value, technology: Technology) -> Value:
    """Energy of one scalar operation on a node [J/FLOP] [1, 2].

    operation such as ``fp16_mul`` or ``int32_add``; feature [m], float, array or symbol.
    Power law through the largest and smallest node that list the operation (45 and 7 nm); an operation that
    one node lists scales by the geometric mean of all, 2.6 from 45 to 7 nm [2].
    Raises UnknownNameError for an operation that no node lists.
    """
    points = sorted(
        (float(node.feature), float(node.operation[operation]))
        for node in technology.nodes.values()
        if operation in node.operation
    )
    if not points:
        raise UnknownNameError("operation", operation, operations(technology))
    if len(points) == 1:
        known, energy = points[0]
        return (
            energy
            * power_law(feature, (45e-9, technology.operation_scaling), (7e-9, 1.0))
            / power_law(known, (45e-9, technology.operation_scaling), (7e-9, 1.0))
        )
    return power_law(feature, points[-1], points[0])


def operations(technology: Technology) -> tuple[str, ...]:
    """Operations with an energy on some node."""
    return tuple(sorted({name for node in technology.nodes.values() for name in node.operation}))


def mac_energy(number_format: str, feature: Value, technology: Technology) -> Value:
    """Energy of one multiply-accumulate, arithmetic alone [J]: product plus addition to its accumulator.

    number_format: int8, int32, fp16, bf16 or fp32; feature [m].  A 7 nm bf16 example: 0.21 + 0.38 pJ [2].
    """
    wide = ACCUMULATOR.get(number_format, number_format)
    product_energy = operation_energy(f"{number_format}_mul", feature, technology)
    return product_energy + operation_energy(f"{wide}_add", feature, technology)


def sram_energy(
    capacity: Value, feature: Value, technology: Technology, source: str = "cacti", write: bool = False
) -> Value:
    """Energy of reading (or writing) a byte of an SRAM macro [J/B] [1, 2, 3].

    capacity [B], feature [m]: floats or arrays.  source: ``cacti`` (low-power cells, 22 to 90 nm) or
    ``published`` (8 kB to 1 MB at 45 and 7 nm, reads only); they differ by a factor of 2.5 at 45 nm.
    Straight lines in log-log over size and node; exact on the points of the table.
    """
    field = "write_energy" if write else "read_energy"
    return _sram(capacity, feature, _table(technology, source), field) / 8.0


def sram_leakage(capacity: Value, feature: Value, technology: Technology) -> Value:
    """Static power of an SRAM macro [W] from the CACTI table [3]; not monotone in the node (cell type)."""
    return _sram(capacity, feature, _table(technology, "cacti"), "leakage")


def sram_access_time(capacity: Value, feature: Value, technology: Technology) -> Value:
    """Time of one access of an SRAM macro [s] from the CACTI table [3]."""
    return _sram(capacity, feature, _table(technology, "cacti"), "access_time")


def sram_macro_area(capacity: Value, feature: Value, technology: Technology) -> Value:
    """Area of an SRAM macro [m2] from the CACTI table [3]."""
    return _sram(capacity, feature, _table(technology, "cacti"), "area")


def _table(technology: Technology, source: str) -> Sequence[SramPoint]:
    if source not in technology.sram:
        raise UnknownNameError("SRAM table", source, technology.sram)
    return technology.sram[source]


def _sram(capacity: Value, feature: Value, table: Sequence[SramPoint], field: str) -> Value:
    """Log-log interpolation of a field over capacity, then over node; extended beyond the ends."""
    nodes = sorted({float(point.process) for point in table})
    capacity, feature = np.broadcast_arrays(np.asarray(capacity, float), np.asarray(feature, float))
    rows = []
    for node in nodes:
        points = sorted(
            (float(p.capacity), float(getattr(p, field)))
            for p in table
            if p.process == node and getattr(p, field) is not None
        )
        if not points:
            raise UnknownNameError("column of the SRAM table", field, ("read_energy",))
        sizes, values = np.log(np.array(points)).T
        rows.append(_line(np.log(capacity), sizes, values))
    return np.exp(_between(np.log(feature), np.log(nodes), np.stack(rows)))[()]


def _line(x: Value, xs: Value, ys: Value) -> Value:
    """Piecewise straight line through (xs, ys), its end pieces extended."""
    piece = np.clip(np.searchsorted(xs, x) - 1, 0, len(xs) - 2)
    slope = (ys[piece + 1] - ys[piece]) / (xs[piece + 1] - xs[piece])
    return ys[piece] + slope * (x - xs[piece])


def _between(x: Value, xs: Value, rows: Value) -> Value:
    """Straight line between rows (one per xs) at x, element by element, the end pieces extended."""
    piece = np.asarray(np.clip(np.searchsorted(xs, x) - 1, 0, len(xs) - 2))
    low, high = (np.take_along_axis(rows, (piece + i)[None], axis=0)[0] for i in (0, 1))
    return low + (high - low) * (x - xs[piece]) / (xs[piece + 1] - xs[piece])


def ledger_prices(
    device: Device,
    technology: Technology,
    overhead: Value = 1.0,
    memory_kind: Mapping[str, str] = MEMORY_KIND,
    sram_source: str = "published",
) -> Mapping[str, Value]:
    """Price of each resource of a device [J per FLOP or B]: its own numbers, else those of its node.

    overhead: energy of a whole operation / that of its arithmetic (operand delivery, control, clock tree);
    1 gives a lower bound.  Levels inside the outermost are priced as SRAM of their capacity.
    Special functions and formats that the operation table lacks stay without a price (:func:`unpriced`).
    """
    prices: dict[str, Value] = {}
    for name, unit in device.compute.items():
        for key in unit.peak:
            price = unit.energy.get(key)
            if price is None and name in ("matrix", "vector"):
                price = _per_operation(key, device, technology, overhead)
            if price is not None:
                prices[f"compute.{name}.{key}"] = price
    for depth, (name, level) in enumerate(device.memory.items()):
        price = level.read_energy
        if price is None and depth == 0 and name in memory_kind:
            price = technology.memory[memory_kind[name]].energy
        elif price is None and depth and device.process is not None and level.capacity is not None:
            price = sram_energy(level.capacity, device.process, technology, sram_source)
        if price is not None:
            prices[f"memory.{name}"] = price
    for name, link in device.links.items():
        price = link.energy if link.energy is not None else _link_energy(name, technology)
        if price is not None:
            prices[f"links.{name}"] = price
    return prices


def _per_operation(key: str, device: Device, technology: Technology, overhead: Value) -> Value | None:
    known = {f"{key}_mul", f"{ACCUMULATOR.get(key, key)}_add"} <= set(operations(technology))
    if device.process is None or not known:
        return None
    return overhead * mac_energy(key, device.process, technology) / 2


def _link_energy(name: str, technology: Technology) -> Value | None:
    return technology.links[name].energy if name in technology.links else None


def clock_fraction(dynamic_power: Value, idle: Value, limit: Value, exponent: Value = 3.0) -> Value:
    """Clock that the power limit leaves, as a fraction of the nominal one, at most 1 [4].

    dynamic_power [W] at the nominal clock, idle and limit [W].  Dynamic power falls with the clock f as
    ``f^exponent``: 3 where the voltage follows the clock, 1 at fixed voltage, near 2 over the usual range.
    ``f = min(1, ((limit - idle) / dynamic_power)^(1/exponent))``.
    """
    return minimum(1.0, ((limit - idle) / dynamic_power) ** (1 / exponent))


def power_capped(
    duration: Value, energy: Value, idle: Value, limit: Value, exponent: Value = 3.0
) -> tuple[Value, Value]:
    """Duration [s] and energy [J] of work under a power limit [W].

    duration and dynamic energy at the nominal clock.  The clock falls until idle + dynamic power meets the
    limit; time grows as 1/f and the dynamic energy shrinks as ``f^(exponent - 1)``.
    """
    fraction = clock_fraction(energy / duration, idle, limit, exponent)
    longer = duration / fraction
    return longer, energy * fraction ** (exponent - 1) + idle * longer


def sustained_rate(peak: Value, energy: Value, idle: Value, limit: Value, exponent: Value = 3.0) -> Value:
    """Rate that a unit holds under a power limit [FLOP/s].

    peak [FLOP/s] at the nominal clock, energy of one operation there with all that it moves [J/FLOP],
    idle and limit [W].  ``peak x clock_fraction(peak x energy)``: a board whose limit is far below
    ``idle + peak x energy`` (T4, L4) holds a small part of its printed peak.
    """
    return peak * clock_fraction(peak * energy, idle, limit, exponent)


def nominal_energy(rate: Value, peak: Value, idle: Value, limit: Value, exponent: Value = 3.0) -> Value:
    """Energy of one operation at the nominal clock [J/FLOP], from the rate that a capped board held.

    Inverse of :func:`sustained_rate`: ``(limit - idle) / peak x (peak / rate)^exponent``.  Where the board
    was not capped, the result is an upper bound.
    """
    return (limit - idle) / peak * (peak / rate) ** exponent
