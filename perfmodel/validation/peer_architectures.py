"""The architectures of the published mapping cases, as accelerators.

Energies are given per access of a stated width; bandwidths in bits per cycle and port; one MAC per position
and cycle.  What they are like: a TPU-like 128 x 128 array and an Eyeriss-like 12 x 14 array.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

from perfmodel.engine.dataflow.accelerator import Accelerator, Axis, Level, Widths
from perfmodel.errors import UnknownNameError

_PJ = 1e-12
#: Loops that an axis allows, or loop -> factor where they are prescribed.
_Rule: TypeAlias = tuple[str, ...] | dict[str, float]


def _level(
    name: str, bits: float, holds: tuple[str, ...], energy: float, width: float, port: float = float("inf"),
    *, shared: bool = False, word: float = 1.0,
) -> Level:
    """Level from its size [bit], energy [pJ] per access of `width` [bit], and port width [bit/cycle]."""
    per_byte = energy * _PJ / width * 8
    return Level(
        name=name, capacity=bits / 8, bandwidth=port / 8, shared_ports=shared, word=word,
        read_energy=per_byte, write_energy=per_byte, holds=holds,
    )


_ALL = ("weight", "input", "output")
_SYS_DRAM = _level("dram", float("inf"), _ALL, 4000, 1024, 1024, shared=True)
_SYS_SRAM = _level("sram", 33554432, ("input", "output"), 400, 8192, 8192)
_SYS_RF_W = _level("rf_w", 512, ("weight",), 0.05, 8)
_SYS_RF_O = _level("rf_o", 32, ("output",), 0.03, 32, word=32)
_EYE_DRAM = _level("dram", float("inf"), _ALL, 640, 64, 64, shared=True)
_EYE_GLB = _level("glb", 884736, _ALL, 6, 256, 256)
_EYE_RF = (
    _level("rf_i", 192, ("input",), 0.05, 8), _level("rf_w", 1792, ("weight",), 0.1, 8),
    _level("rf_o", 768, ("output",), 0.1, 32, word=32),
)


def _axes(under: str, columns: float, rows: float, rules: Mapping[str, _Rule]) -> tuple[Axis, ...]:
    axes = []
    for name, size in (("cols", columns), ("rows", rows)):
        rule = rules[name]
        fixed = rule if isinstance(rule, dict) else {}
        axes.append(Axis(name=name, size=size, under=under, fixed=fixed, loops=tuple(rule)))
    return tuple(axes)


def architecture(name: str, layer: str, peer: str = "zigzag") -> tuple[Accelerator, Widths]:
    """Accelerator and widths of a published case.  Raises UnknownNameError.

    The dataflow constraint depends on the layer and the tool: ZigZag prescribes loops per axis, AccelForge
    allows any loop that leaves the weight (columns) or the output (rows) in place.
    """
    convolution = layer.startswith(("conv", "resnet"))
    free = peer == "accelforge"
    if name in ("sys128", "sys128n"):
        rf = (_SYS_RF_W,) if name == "sys128n" else (_SYS_RF_W, _SYS_RF_O)
        axes = _axes("sram", 128, 128, _systolic_loops(convolution, free))
        levels: tuple[Level, ...] = (_SYS_DRAM, _SYS_SRAM, *rf)
        made = Accelerator(name=name, levels=levels, axes=axes, mac_energy=0.1 * _PJ, clock=1e9)
        return made, Widths(partial=8 if name == "sys128n" else 32)
    if name in ("eyeriss12x14", "eyeriss12x14_o8"):
        axes = _axes("glb", 14, 12, _eyeriss_loops(layer, convolution, free))
        levels = (_EYE_DRAM, _EYE_GLB, *_EYE_RF)
        if name == "eyeriss12x14_o8":
            small = replace(_level("rf_o", 192, ("output",), 0.0125, 1), word=8)
            levels = (*levels[:-1], small)
        made = Accelerator(name=name, levels=levels, axes=axes, mac_energy=0.2 * _PJ, clock=1e9)
        return made, Widths(partial=8 if name == "eyeriss12x14_o8" else 32)
    raise UnknownNameError("architecture", name, ("sys128", "sys128n", "eyeriss12x14", "eyeriss12x14_o8"))


def _systolic_loops(convolution: bool, free: bool) -> dict[str, _Rule]:
    if not convolution:
        return {"cols": ("n",), "rows": ("k",)}
    return {"cols": ("k",), "rows": ("c", "r", "s") if free else ("c",)}


def _eyeriss_loops(layer: str, convolution: bool, free: bool) -> dict[str, _Rule]:
    if free and convolution:
        return {"cols": ("p", "q"), "rows": ("c", "r", "s")}
    if free:
        return {"cols": ("m",), "rows": ("k",)}
    if not convolution:
        return {"cols": ("n",), "rows": ("k",)}
    if layer.startswith("conv1x1"):
        return {"cols": ("p",), "rows": ("k",)}
    return {"cols": ("p",), "rows": {"r": 3.0, "k": 4.0}}
