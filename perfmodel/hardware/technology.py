"""Facts of silicon technology: nodes, on-chip and off-chip memory, links, wafers, transistors of components.

The numbers are in ``hardware_specs/technology.yaml``, each with its source; where sources disagree, all stand
side by side and the caller picks one by its id (``defect_density["chiplet-actuary"]``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from perfmodel import shipped
from perfmodel.algebra import Value
from perfmodel.errors import UnknownNameError
from perfmodel.spec import block, load, many, quantity, table, text

_EMPTY: Mapping[str, Any] = {}


@dataclass(frozen=True, kw_only=True)
class Node:
    """One process node."""

    feature: Value = quantity("m", doc="name of the node as a length")
    voltage: Value | None = quantity("V", default=None, doc="nominal supply of fast transistors")
    logic_density: Value | None = quantity("1/m2", default=None, doc="transistors per area of logic")
    sram_bit_area: Value | None = quantity("m2", default=None, doc="area per SRAM bit before array overhead")
    wafer_price: Mapping[str, Value] = table(
        quantity("USD"), default=_EMPTY, doc="processed 300 mm wafer, by source"
    )
    defect_density: Mapping[str, Value] = table(
        quantity("1/m2"), default=_EMPTY, doc="defects per area, by source"
    )
    design_cost: Value | None = quantity("USD", default=None, doc="design and first masks of a 300 mm2 chip")
    fab_energy: Value | None = quantity("J/m2", default=None, doc="electricity of making the wafer, by area")
    fab_gas: Value | None = quantity("kgCO2e/m2", default=None, doc="process gases, 95 % abated")
    fab_materials: Value | None = quantity("kgCO2e/m2", default=None, doc="raw materials")
    operation: Mapping[str, Value] = table(
        quantity("J/FLOP"), default=_EMPTY, doc="energy of one operation, `format_add` or `format_mul`"
    )


@dataclass(frozen=True, kw_only=True)
class SramPoint:
    """One SRAM macro of a table."""

    process: Value = quantity("m", doc="node")
    capacity: Value = quantity("B", doc="size")
    word: Value = quantity("bit", default="64 bit", doc="bits of one access")
    read_energy: Value = quantity("J", doc="energy of reading a word")
    write_energy: Value | None = quantity("J", default=None, doc="energy of writing a word")
    leakage: Value | None = quantity("W", default=None, doc="static power")
    access_time: Value | None = quantity("s", default=None, doc="time of one access")
    area: Value | None = quantity("m2", default=None, doc="area with decoders and sense amplifiers")


@dataclass(frozen=True, kw_only=True)
class ArrayEfficiency:
    """Share of an SRAM array that is bit cells."""

    capacity: Value = quantity("B", doc="size of the array")
    fraction: Value = quantity("1", high=1.0, doc="bit cells / whole array")


@dataclass(frozen=True, kw_only=True)
class Transport:
    """A memory or a link outside the die."""

    energy: Value | None = quantity("J/B", default=None, doc="energy of moving a byte")
    carbon: Value | None = quantity("kgCO2e/B", default=None, doc="embodied carbon per capacity")
    price: Value | None = quantity("USD/B", default=None, doc="price per capacity")


@dataclass(frozen=True, kw_only=True)
class Wafer:
    """Geometry of a wafer and what packaging loses."""

    diameter: Value = quantity("m", doc="wafer")
    edge: Value = quantity("m", doc="unusable rim")
    scribe: Value = quantity("m", doc="saw lane between dies")
    cluster: Value = quantity("1", doc="clustering of defects in the negative binomial yield")
    reticle: Value | None = quantity("m2", default=None, doc="largest exposure field")
    bond_yield: Mapping[str, Value] = table(quantity("1", high=1.0), default=_EMPTY, doc="yield of one bond")


@dataclass(frozen=True, kw_only=True)
class Fabric:
    """Prices of a switched network."""

    switch: Value = quantity("USD", doc="one switch")
    link: Value = quantity("USD", doc="one cable with its two ends")
    radix: Value = quantity("count", doc="ports of a switch")


@dataclass(frozen=True, kw_only=True)
class Component:
    """Area of a building block: transistors scale with the node, analogue parts (PHY) do not."""

    transistors: Value | None = quantity("1", default=None, doc="transistors of one unit")
    area: Value | None = quantity("m2", default=None, doc="area of one unit on any node")


@dataclass(frozen=True, kw_only=True)
class Die:
    """Physical inventory of a die: what is there, switched on or not."""

    process: Value = quantity("m", doc="node")
    cores: Value = quantity("count", doc="cores (SM, CU)")
    schedulers: Value = quantity("count", doc="instruction schedulers of a core")
    int32_lanes: Value = quantity("count", doc="integer lanes of a core")
    fp32_lanes: Value = quantity("1", positive=False, low=0.0, doc="FP32 lanes beside the FP64 ones")
    fp64_lanes: Value = quantity("1", positive=False, low=0.0, doc="FP64 lanes of a core")
    fp16_macs: Value = quantity("count", doc="FP16 multiply-accumulates of the matrix units of a core")
    register_files: Value = quantity("count", doc="register files of a core, one per lane")
    registers: Value = quantity("count", doc="registers of one file")
    register_width: Value = quantity("count", doc="bits of a register")
    register_ports: Value = quantity("count", doc="read and write ports of a file")
    local_memories: tuple[Value, ...] = many(quantity("B"), doc="SRAM arrays of a core")
    cache_slices: Value = quantity("count", doc="slices of the last-level cache")
    cache_slice: Value = quantity("B", doc="capacity of a slice")
    cache_slice_width: Value = quantity("B", doc="bytes a slice reads in one clock")
    memory_phys: Value = quantity("count", doc="memory interfaces of 1024 bit")
    link_lanes: Value = quantity("count", doc="lanes to other devices, both directions")


@dataclass(frozen=True, kw_only=True)
class Technology:
    """All technology facts."""

    technology: str = text(doc="name of this collection")
    wafer: Wafer = block(Wafer, doc="geometry and packaging")
    nodes: Mapping[str, Node] = table(Node, doc="process nodes by name")
    operation_scaling: Value = quantity("1", doc="energy of operations at 45 nm / at 7 nm, geometric mean")
    sram: Mapping[str, tuple[SramPoint, ...]] = table(many(SramPoint), doc="SRAM tables by source")
    memory: Mapping[str, Transport] = table(Transport, doc="off-chip memories")
    links: Mapping[str, Transport] = table(Transport, doc="links")
    storage: Mapping[str, Transport] = table(Transport, default=_EMPTY, doc="storage")
    components: Mapping[str, Component] = table(Component, doc="building blocks of a die")
    sram_efficiency: tuple[ArrayEfficiency, ...] = many(ArrayEfficiency, doc="array efficiency by size")
    dies: Mapping[str, Die] = table(Die, default=_EMPTY, doc="physical inventory of known dies")
    fabrics: Mapping[str, Fabric] = table(Fabric, default=_EMPTY, doc="network prices")
    sources: Mapping[str, str] = table(text(), default=_EMPTY, doc="source id -> citation")
    provenance: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def node(self, feature: str | float) -> Node:
        """Node by name (``7nm``) or by length [m]; raises UnknownNameError."""
        if isinstance(feature, str):
            if feature not in self.nodes:
                raise UnknownNameError("process node", feature, self.nodes)
            return self.nodes[feature]
        for node in self.nodes.values():
            if abs(node.feature - feature) < 1e-3 * feature:
                return node
        raise UnknownNameError("process node", f"{feature * 1e9:g}nm", self.nodes)


@cache
def technology() -> Technology:
    """The shipped technology facts."""
    return load(Technology, shipped.locate("technology", "hardware_specs", "technology"))
