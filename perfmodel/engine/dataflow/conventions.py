"""Counting conventions, the choices by which tools differ on one and the same mapping.

Each is a named option; `Conventions()` is what perfmodel uses, `PEERS` what published tools do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from perfmodel.errors import ArgumentError

_CHOICES = {
    "operand_reads": ("per_mac", "per_fetch"),
    "first_accumulation": ("free", "read"),
    "drain_reads": ("counted", "free"),
    "retention": ("unchanged", "scope"),
    "halo": ("refetch", "sliding"),
    "spatial_halo": ("shared", "separate", "positions"),
    "ports": ("fluid", "turns"),
    "edges": ("counted", "free"),
    "weight_load": ("hidden", "exposed"),
    "hops": ("free", "counted"),
    "words": ("packed", "whole", "full"),
    "fractions": ("kept", "rounded"),
}


@dataclass(frozen=True)
class Conventions:
    """How accesses and cycles are counted.

    operand_reads       ``per_mac``: each MAC reads its operands from their innermost level.  ``per_fetch``:
                        an operand that does not change is held by the MAC and read once.  Default per_mac:
                        a holding register that exists is described as a level of its own.
    first_accumulation  ``free``: the first partial sum of an output is written, not added to what was there.
                        ``read``: it is read as well.  Default free: no accumulator needs the read.
    drain_reads         ``counted``: a result that leaves a level is read there.  ``free``: the write above
                        pays for it.  Default counted: the word does leave the memory.
    retention           ``unchanged``: a tile stays while the loops above leave it as it is.  ``scope``: it is
                        dropped whenever the loop around its place ends an iteration, so only a place further
                        out keeps it.  Default unchanged: a controller skips a load of what is there.
    halo                ``refetch``: each tile of a sliding window is fetched whole.  ``sliding``: along a
                        window loop directly above the tile only new positions are fetched.  Default
                        refetch: rotating addresses are a feature of few buffers (state ``sliding`` there).
    spatial_halo        ``shared``: a word wanted by several neighbours is read once and multicast, also along
                        a diagonal.  ``separate``: overlapping windows of neighbours are read one by one.
                        ``positions``: neighbours share what they would if the tile of each were one
                        position (14 rows by 3 taps: 16 of 42 tiles, however many rows a tile has).
                        Default shared, as a word wanted by all of them is multicast too.
    ports               ``fluid``: the tensors share a port without gaps.  ``turns``: each tile transfer takes
                        whole cycles and one tensor follows the other.  Default fluid: a bound that a good
                        arbiter reaches.
    edges               ``counted``: the first tiles come in and the last results go out while nothing
                        computes.  ``free``: not counted.  Default counted.
    weight_load         ``hidden``: refilling a level that is not double-buffered overlaps with compute.
                        ``exposed``: the array waits for it.  Default hidden.
    hops                ``counted``: a word that passes through an array pays every neighbour-to-neighbour
                        step (energy of the axis).  ``free``: the level's access energy includes the wire.
    words               ``packed``: bits move without padding.  ``whole``: each tile transfer is rounded up to
                        whole words of the level.  ``full``: as whole, and what a stream leaves of its last
                        access of the whole port is not counted.
    fractions           of a split that is no whole number (96 channels over 14 columns as 13.71).  ``kept``:
                        it counts as it is, the mean over all steps.  ``rounded``: elements of a tile, tiles
                        that leave a level together, and positions in use each go to the nearest whole number
                        (positions along a window whose halo is shared by ``positions``: to the one below).
    """

    operand_reads: str = "per_mac"
    first_accumulation: str = "free"
    drain_reads: str = "counted"
    retention: str = "unchanged"
    halo: str = "refetch"
    spatial_halo: str = "shared"
    ports: str = "fluid"
    edges: str = "counted"
    weight_load: str = "hidden"
    hops: str = "free"
    words: str = "packed"
    fractions: str = "kept"

    @property
    def tiled(self) -> bool:
        """True if the number of tile transfers counts beside their bytes."""
        return self.ports == "turns" or self.words != "packed"

    @property
    def sliding(self) -> bool:
        """True if a tile keeps what it shares with the one before."""
        return self.halo == "sliding" and self.retention == "unchanged"

    def __post_init__(self) -> None:
        for field in fields(self):
            value, allowed = getattr(self, field.name), _CHOICES[field.name]
            if value not in allowed:
                raise ArgumentError(f"conventions.{field.name}", value, " | ".join(allowed))


#: What perfmodel uses.
DEFAULT = Conventions()

#: Conventions of published tools, found by comparing their counts on one mapping.
PEERS: Mapping[str, Conventions] = {
    "zigzag": Conventions(
        operand_reads="per_fetch", first_accumulation="read", spatial_halo="positions", ports="turns",
        words="full", fractions="rounded",
    ),
    "accelforge": Conventions(retention="scope", spatial_halo="separate", edges="free"),
    "timeloop": Conventions(
        drain_reads="free", halo="sliding", spatial_halo="separate", edges="free"
    ),
}
