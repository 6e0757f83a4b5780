"""Rows of measured Gemmini layers: their printed mapping, and the cycles that the tiled model predicts."""

from __future__ import annotations

import re
from collections.abc import Mapping

from perfmodel.engine.dataflow.tiled import GEMMINI, TiledMachine, tiled_cycles
from perfmodel.errors import ArgumentError

#: Header by which such a file is known.
COLUMNS = ("mapping", "rtl_cycles", "pe_dim", "stride")
_NAMES = {"N": "b", "K": "k", "C": "c", "P": "p", "Q": "q", "R": "r", "S": "s"}


def read_levels(text: str) -> dict[str, list[tuple[str, float]]]:
    """Level -> (loop, factor), outermost first, of ``L3[WIO] K48 - L2[WI] N1 K16X - ... - L0[W] P8``."""
    levels: dict[str, list[tuple[str, float]]] = {}
    for part in text.split(" - "):
        match = re.fullmatch(r"\s*(L\d)\[\w+\]\s*(.*)", part)
        if match is None:
            raise ArgumentError("mapping", part, "'L3[WIO] K48 - L2[WI] ... - L1[O] ... - L0[W] ...'")
        factors = re.findall(r"([NKCPQRS])(\d+)X?", match.group(2))
        levels[match.group(1)] = [(_NAMES[name], float(number)) for name, number in factors]
    return levels


def predicted_cycles(row: Mapping[str, str], machine: TiledMachine = GEMMINI) -> float:
    """Cycles of one row.  Level L3 loops over tiles; what is inside it is one tile."""
    levels = read_levels(row["mapping"])
    tile: dict[str, float] = {}
    for name in ("L2", "L1", "L0"):
        for loop, factor in levels.get(name, []):
            tile[loop] = tile.get(loop, 1.0) * factor
    outer = [(loop, factor) for loop, factor in levels["L3"] if factor > 1]
    return float(tiled_cycles(tile, outer, float(row["stride"]), machine).cycles)
