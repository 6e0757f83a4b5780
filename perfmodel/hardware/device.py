"""Device and System: what a YAML file in ``hardware_specs/`` says about hardware."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from perfmodel.algebra import Value
from perfmodel.formats import formats, known_format
from perfmodel.hardware.array import SpatialArray
from perfmodel.spec import anything, block, flag, many, quantity, table, text

_EMPTY: Mapping[str, Any] = {}
#: instructions of NVIDIA's matrix units: of one warp, of four warps, of one thread on tensor memory (PTX ISA)
INSTRUCTIONS = ("mma", "wgmma", "tcgen05")


@dataclass(frozen=True, kw_only=True)
class ComputeUnit:
    """Matrix, vector or special-function units of one device.

    `peak` is what the datasheet prints, dense.  `count x mac_per_clock x clock x 2` must agree with it; the
    audit of ``perfmodel list --check`` compares them.
    """

    peak: Mapping[str, Value] = table(
        quantity("FLOP/s"), doc="dense peak rate of the whole device by number format, 1 MAC = 2 FLOP"
    )
    count: Value | None = quantity("count", default=None, doc="units on the device (SMs, cores, PE arrays)")
    mac_per_clock: Mapping[str, Value] = table(
        quantity("1"), default=_EMPTY, doc="multiply-accumulates of one unit in one clock by number format"
    )
    clock: Value | None = quantity("Hz", default=None, doc="clock behind the peak")
    rows: Value | None = quantity("count", default=None, doc="rows of a spatial array")
    columns: Value | None = quantity("count", default=None, doc="columns of a spatial array")
    instruction: str = text(
        default="", choices=("", *INSTRUCTIONS), doc="instruction of the matrix unit of a GPU"
    )
    sustained: Mapping[str, Value] = table(
        quantity("1", high=1.0),
        default=_EMPTY,
        doc="share of the peak that the best large product holds under the power limit, by number format; "
        "measured and published, a start for the kernel models and no bound",
    )
    energy: Mapping[str, Value] = table(
        quantity("J/FLOP"), default=_EMPTY, doc="energy of one operation by number format"
    )


@dataclass(frozen=True, kw_only=True)
class MemoryLevel:
    """One level of the memory hierarchy; levels are listed from the outermost to the innermost."""

    capacity: Value | None = quantity("B", default=None, doc="capacity of one instance; absent: unbounded")
    bandwidth: Value | None = quantity("B/s", default=None, doc="bandwidth of all instances together")
    sustained: Value | None = quantity(
        "1",
        default=None,
        high=1.0,
        doc="share of the bandwidth that long streams reach; measured and published, a start for the kernel "
        "models and no bound",
    )
    instances: Value = quantity("count", default=1.0, doc="copies of this level on the device")
    latency: Value | None = quantity("s", default=None, doc="time to the first byte")
    read_energy: Value | None = quantity("J/B", default=None, doc="energy of reading")
    write_energy: Value | None = quantity("J/B", default=None, doc="energy of writing")
    word: Value | None = quantity("bit", default=None, doc="width of one access")
    read_ports: Value | None = quantity("count", default=None, doc="read ports of one instance")
    write_ports: Value | None = quantity("count", default=None, doc="write ports of one instance")
    shared_ports: bool = flag(default=False, doc="reads and writes share the ports")
    holds: tuple[str, ...] = many(
        text(choices=("weight", "input", "output")),
        default=(),
        least=1,
        doc="operands that may live here; absent: all",
    )
    double_buffered: bool = flag(default=False, doc="half of the capacity is being filled")
    area: Value | None = quantity("m2", default=None, doc="silicon area of all instances")


@dataclass(frozen=True, kw_only=True)
class Link:
    """Connection of a device to its peers, one direction."""

    bandwidth: Value = quantity("B/s", doc="bandwidth per device and direction")
    latency: Value = quantity("s", default=0.0, positive=False, low=0.0, doc="time of one step of a message")
    energy: Value | None = quantity("J/B", default=None, doc="energy of moving a byte")
    topology: str = text(
        default="switch",
        choices=("switch", "ring", "mesh", "fully_connected", "tree", "torus"),
        doc="how the members are joined",
    )
    devices: Value | None = quantity("count", default=None, doc="members that one link domain joins")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Cost of starting one kernel."""

    overhead: Value = quantity("s", positive=False, low=0.0, doc="time from one kernel to the next")


@dataclass(frozen=True, kw_only=True)
class Power:
    """Power of the device."""

    idle: Value | None = quantity("W", default=None, positive=False, low=0.0, doc="no work")
    peak: Value | None = quantity("W", default=None, doc="board or module limit (TDP)")


@dataclass(frozen=True, kw_only=True)
class Device:
    """A processor with its memory, as a datasheet describes it (`nominal`), and what calibration found.

    Every number of the nominal blocks has a source in `sources`; `achieved` holds calibrated, dimensionless
    corrections with the data set and the error they were fitted with.
    """

    device: str = text(doc="name used in pm.device()")
    title: str = text(default="", doc="full product name")
    vendor: str = text(default="", doc="maker")
    kind: str = text(
        default="gpu",
        choices=("gpu", "cpu", "tpu", "npu", "fpga", "asic", "array", "soc", "network"),
        doc="what sort of device it is; chooses the priors of efficiency",
    )
    year: Value | None = quantity("1", default=None, doc="year of release")
    compute: Mapping[str, ComputeUnit] = table(
        ComputeUnit, keys=("matrix", "vector", "special", "lookup"), doc="units that do work"
    )
    memory: Mapping[str, MemoryLevel] = table(MemoryLevel, doc="memory levels, outermost first")
    links: Mapping[str, Link] = table(Link, default=_EMPTY, doc="connections to other devices, fastest first")
    launch: Launch | None = block(Launch, default=None, doc="kernel start")
    power: Power | None = block(Power, default=None, doc="power")
    clock: Value | None = quantity("Hz", default=None, doc="boost clock")
    process: Value | None = quantity("m", default=None, doc="process node")
    area: Value | None = quantity("m2", default=None, doc="die area, all compute dies")
    transistors: Value | None = quantity("1", default=None, doc="transistor count")
    price: Value | None = quantity("USD", default=None, doc="price of one device")
    rent: Value | None = quantity("USD/h", default=None, doc="rental price of one device")
    embodied_carbon: Value | None = quantity("kgCO2e", default=None, doc="embodied carbon")
    array: SpatialArray | None = block(SpatialArray, default=None, doc="spatial array for the mapping engine")
    sources: Mapping[str, str] = table(text(), default=_EMPTY, doc="source id -> citation")
    achieved: Any = anything(default=None, doc="calibrated corrections, never mixed with nominal numbers")
    justified: Mapping[str, str] = table(
        text(), default=_EMPTY, doc="number format -> why its rate is dense, whatever the audit says"
    )
    notes: str = text(default="", doc="what a reader should know")
    provenance: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def name(self) -> str:
        """Name of the spec."""
        return self.device

    def misnamed(self) -> Iterator[tuple[tuple[str, ...], str, tuple[str, ...]]]:
        """Names that mean nothing here: keys that lead to it, the name, and the possible ones."""
        for unit, described in self.compute.items():
            for name in described.peak:
                if not known_format(name):
                    yield ("compute", unit, "peak", name), name, tuple(formats())
        if isinstance(self.array, SpatialArray):
            for axis, rule in self.array.axes.items():
                if rule.under not in self.memory:
                    yield ("array", "axes", axis, "under"), rule.under, tuple(self.memory)
            for level in self.array.bypass:
                if level not in self.memory:
                    yield ("array", "bypass", level), level, tuple(self.memory)

    @property
    def main_memory(self) -> MemoryLevel:
        """The outermost memory level, where weights and state live."""
        return next(iter(self.memory.values()))

    @property
    def main_memory_name(self) -> str:
        """Name of the outermost memory level."""
        return next(iter(self.memory))

    def vary(self, changes: Mapping[str, Any]) -> Device:
        """Copy with the fields at the given paths replaced; a list of values becomes a named axis.

        Example: ``device.vary({"memory.hbm.bandwidth": [2e12, 4e12]})``.
        """
        from perfmodel.hardware.catalog import vary

        varied: Device = vary(self, changes)
        return varied


@dataclass(frozen=True, kw_only=True)
class System:
    """Devices joined by links: a server, a pod, or a single device."""

    system: str = text(doc="name used in pm.system()")
    title: str = text(default="", doc="full product name")
    device: Any = text(doc="name of the device spec")
    count: Value = quantity("count", default=1.0, doc="devices in the system")
    links: Mapping[str, Link] = table(Link, default=_EMPTY, doc="links between the devices, fastest first")
    power: Power | None = block(Power, default=None, doc="host and fabric power beside the devices")
    price: Value | None = quantity("USD", default=None, doc="price of the system")
    sources: Mapping[str, str] = table(text(), default=_EMPTY, doc="source id -> citation")
    notes: str = text(default="", doc="what a reader should know")
    provenance: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def name(self) -> str:
        """Name of the spec."""
        return self.system

    def vary(self, changes: Mapping[str, Any]) -> System:
        """Copy with the fields at the given paths replaced; a list of values becomes a named axis.

        Example: ``system.vary({"device.memory.hbm.bandwidth": ["2 TB/s", "4 TB/s"]})``.
        """
        from perfmodel.hardware.catalog import vary

        varied: System = vary(self, changes)
        return varied
