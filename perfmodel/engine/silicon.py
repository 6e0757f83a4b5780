"""Silicon: area of a die by component, dies per wafer, yield, price of a good die, embodied carbon.

Formulas are pure and take any mix of floats, arrays and symbols; technology facts come from
:func:`perfmodel.hardware.technology.technology`.

References
----------
[1] Zhang et al., "LLMCompass", ISCA 2024, arXiv:2312.03134 (area by component).
[2] Feng and Ma, "Chiplet Actuary", DAC 2022, arXiv:2203.12268 (dies per wafer, negative binomial yield).
[3] Gupta et al., "ACT", ISCA 2022, doi:10.1145/3470496.3527408 (embodied carbon).
[4] Cunningham, "The use and evaluation of yield models", IEEE Trans. Semicond. Manuf. 3(2), 1990,
    doi:10.1109/66.53188 (yield models).
[5] Raghavan et al., "EMPIRE", register-file regression at 90 nm, as used by [1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import pi

import numpy as np

from perfmodel.algebra import Value, exp, total
from perfmodel.errors import UnknownNameError
from perfmodel.hardware.technology import ArrayEfficiency, Component, Die, Node, Technology

#: Transistors per area of the node on which the register-file regression [5] was made [1/m2].
_REGRESSION_DENSITY = 1.6e12


def sram_area(capacity: Value, bit_area: Value, efficiency: Value) -> Value:
    """Area of an SRAM array [m2]: bits x area of a bit / share of the array that is bit cells [1].

    capacity [B], bit_area [m2], efficiency [1], broadcastable.
    """
    return capacity * 8 * bit_area / efficiency


def array_efficiency(capacity: Value, table: Sequence[ArrayEfficiency]) -> Value:
    """Share of an SRAM array of `capacity` [B] that is bit cells [1].

    Straight line over log2(capacity) between the points of the table, constant outside.  Float or array.
    """
    sizes = np.log2([float(point.capacity) for point in table])
    return np.interp(np.log2(capacity), sizes, [float(point.fraction) for point in table])


def register_file_transistors(registers: Value, width: Value, ports: Value) -> Value:
    """Transistors of logic that fill the area of one multi-ported register file [5].

    registers [1], width [bit], ports (read + write) [1].  The regression gives um2 at 90 nm,
    ``32900 - 1090 D - 883 W - 5550 P + 53.5 D W + 0.015 D^2 + 0.0108 W^2 + 0.586 P^2 + 142 D P + 368 W P``;
    times the logic density of 90 nm it scales to other nodes like logic.
    """
    d, w, p = registers, width, ports
    square_micrometres = (
        32900.0 - 1090 * d - 883 * w - 5550 * p + 53.5 * d * w
        + 0.015 * d**2 + 0.0108 * w**2 + 0.586 * p**2 + 142 * d * p + 368 * w * p
    )  # fmt: skip
    return square_micrometres * 1e-12 * _REGRESSION_DENSITY


def core_area(die: Die, node: Node, technology: Technology) -> Mapping[str, Value]:
    """Area of one core by part [m2]: arithmetic, matrix, registers, local memory, control.

    FP64 matrix work is taken to run on the FP64 lanes.
    """
    part = technology.components
    arithmetic = (
        die.int32_lanes * _transistors(part, "int32_unit")
        + die.fp32_lanes * _transistors(part, "fp32_unit")
        + die.fp64_lanes * _transistors(part, "fp64_unit")
    )
    file = register_file_transistors(die.registers, die.register_width, die.register_ports)
    local = total(_macro(size, node, technology) for size in die.local_memories)
    return {
        "arithmetic": arithmetic / node.logic_density,
        "matrix": die.fp16_macs * _transistors(part, "fp16_unit") / node.logic_density,
        "registers": die.register_files * file / node.logic_density,
        "local": local,
        "control": die.schedulers * _transistors(part, "scheduler") / node.logic_density,
    }


def die_area(die: Die, technology: Technology) -> Mapping[str, Value]:
    """Area of a die by component [m2].

    ``cores``, ``crossbar`` (ports = geometric mean of cores and cache slices), ``cache`` (SRAM macros plus
    the read path of each slice), ``memory_phy``, ``memory_controller``, ``link_phy``, ``link_controller`` and
    ``fixed`` (host interface, media, work distribution).  Transistor counts scale with the node, PHYs do not.
    """
    node, part = technology.node(die.process), technology.components
    density = node.logic_density
    ports = (die.cores * die.cache_slices) ** 0.5
    read_path = die.cache_slice_width * _transistors(part, "cache_port") / density
    slice_area = _macro(die.cache_slice, node, technology) + read_path
    return {
        "cores": die.cores * total(core_area(die, node, technology).values()),
        "crossbar": ports * _transistors(part, "crossbar_port") / density,
        "cache": die.cache_slices * slice_area,
        "memory_phy": die.memory_phys * part["memory_phy"].area,
        "memory_controller": die.memory_phys * _transistors(part, "memory_controller") / density,
        "link_phy": die.link_lanes * part["link_phy"].area,
        "link_controller": die.link_lanes * _transistors(part, "link_controller") / density,
        "fixed": _transistors(part, "fixed") / density,
    }


def _macro(capacity: Value, node: Node, technology: Technology) -> Value:
    efficiency = array_efficiency(capacity, technology.sram_efficiency)
    return sram_area(capacity, node.sram_bit_area, efficiency)


def _transistors(parts: Mapping[str, Component], name: str) -> Value:
    return parts[name].transistors


def dies_per_wafer(area: Value, diameter: Value = 0.300, edge: Value = 5e-3, scribe: Value = 0.2e-3) -> Value:
    """Gross dies on a round wafer [1], not rounded [2].

    area of a die [m2]; wafer diameter, unusable edge, saw lane [m].
    ``pi (D/2 - e)^2 / A' - pi (D - 2 e) / sqrt(2 A')`` with ``A' = A + 2 s sqrt(A) + s^2``.
    """
    cell = area + 2 * scribe * area**0.5 + scribe**2
    usable = diameter - 2 * edge
    return pi * (usable / 2) ** 2 / cell - pi * usable / (2 * cell) ** 0.5


def negative_binomial_yield(area: Value, defect_density: Value, cluster: Value = 10.0) -> Value:
    """Share of good dies with clustered defects: ``(1 + D A / c)^-c`` [2, 4].  area [m2], D [1/m2]."""
    return (1 + defect_density * area / cluster) ** (-cluster)


def poisson_yield(area: Value, defect_density: Value) -> Value:
    """Share of good dies with independent defects: ``exp(-D A)`` [4].  area [m2], D [1/m2]."""
    return exp(-defect_density * area)


def murphy_yield(area: Value, defect_density: Value) -> Value:
    """Murphy's yield, triangular spread of the density: ``((1 - exp(-D A)) / (D A))^2`` [4]."""
    expected = defect_density * area
    return ((1 - exp(-expected)) / expected) ** 2


def seeds_yield(area: Value, defect_density: Value) -> Value:
    """Seeds' yield, exponential spread of the density: ``1 / (1 + D A)`` [4]."""
    return 1 / (1 + defect_density * area)


#: Yield models by name; each takes (area, defect_density).
YIELD_MODELS: Mapping[str, Callable[[Value, Value], Value]] = {
    "negative-binomial": negative_binomial_yield,
    "poisson": poisson_yield,
    "murphy": murphy_yield,
    "seeds": seeds_yield,
}


def die_price(
    area: Value, wafer_price: Value, defect_density: Value, model: str = "negative-binomial"
) -> Value:
    """Price of a good die [USD]: wafer price / (dies per wafer x yield).

    area [m2], wafer_price [USD], defect_density [1/m2]; model: a key of YIELD_MODELS.
    """
    if model not in YIELD_MODELS:
        raise UnknownNameError("yield model", model, YIELD_MODELS)
    return wafer_price / (dies_per_wafer(area) * YIELD_MODELS[model](area, defect_density))


def priced_die(
    area: Value, node: Node, source: str = "chiplet-actuary", model: str = "negative-binomial"
) -> Value:
    """Price of a good die on a node [USD], defect density and wafer price of one source.

    Where the source has no wafer price for the node, the first one listed is used.
    Raises UnknownNameError for a source without a defect density.
    """
    if source not in node.defect_density:
        raise UnknownNameError("source of the defect density", source, node.defect_density)
    prices = node.wafer_price
    wafer = prices[source] if source in prices else next(iter(prices.values()))
    return die_price(area, wafer, node.defect_density[source], model)


def module_price(
    die_prices: Sequence[Value], counts: Sequence[Value], bond_yield: Value = 1.0, package: Value = 0.0
) -> Value:
    """Price of a multi-die module [USD]: (dies + package) / bond_yield^(number of dies) [2].

    Dies are known good; a bad bond loses the whole module.
    """
    material = total(price * count for price, count in zip(die_prices, counts, strict=True)) + package
    return material / bond_yield ** total(counts)


def carbon_per_area(
    energy: Value, intensity: Value, gas: Value, materials: Value, good: Value = 1.0
) -> Value:
    """Carbon of making good silicon by area [kgCO2e/m2]: (intensity energy + gas + materials) / yield [3].

    energy of the fab [J/m2], carbon intensity of its electricity [kgCO2e/J], gas and materials [kgCO2e/m2].
    """
    return (intensity * energy + gas + materials) / good


def embodied_carbon(area: Value, node: Node, intensity: Value, good: Value = 1.0) -> Value:
    """Embodied carbon of one good die [kgCO2e]: area x carbon per area [3].

    intensity [kgCO2e/J] (0.5 kgCO2e/kWh = 0.5/3.6e6), good: yield.  Memory, package and board are extra.
    """
    return area * carbon_per_area(node.fab_energy, intensity, node.fab_gas, node.fab_materials, good)
