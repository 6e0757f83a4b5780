"""Readers of mappings as other tools print them: ZigZag, AccelForge, Timeloop.

Each returns the Op and the LoopNest, ready for :mod:`perfmodel.engine.dataflow.accesses`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from perfmodel.engine.dataflow.mapping import Keep, Loop, LoopNest
from perfmodel.errors import ArgumentError, UnknownNameError
from perfmodel.ops.conv import conv2d
from perfmodel.ops.core import Op, Tensor, Window, Work
from perfmodel.ops.matmul import matmul

#: Layers of the mapping cases.  A convolution is written without padding: its input has P + R - 1 rows.
LAYERS: Mapping[str, Op] = {
    "resnet18_conv2": conv2d(1, 64, 64, 58, 58, 3, padding="valid"),
    "conv1x1_128_28": conv2d(1, 128, 128, 28, 28, 1),
    "conv3x3_256_14": conv2d(1, 256, 256, 16, 16, 3, padding="valid"),
    "gemm4096": matmul(4096, 4096, 4096),
    "gemv4096": matmul(1, 4096, 4096),
    "gemm512x768x768": matmul(512, 768, 768),
    "gemm96": matmul(96, 96, 96),
}
_ZIGZAG_LOOPS = {
    "matmul": {"K": "n", "C": "k", "M": "m"},
    "conv2d": {"K": "k", "C": "c", "OY": "p", "OX": "q", "FY": "r", "FX": "s", "B": "b", "G": "g"},
}
_TENSORS = {
    "matmul": {"I": "A", "W": "B", "O": "C"},
    "conv2d": {"I": "I", "W": "W", "O": "O"},
}
#: Levels that exist once per processing element in the architectures of the cases.
_PER_PE = frozenset({"rf_w", "rf_o", "rf_i"})


def layer(name: str) -> Op:
    """Op of a layer name of the mapping cases."""
    if name not in LAYERS:
        raise UnknownNameError("layer", name, LAYERS)
    return LAYERS[name]


def zigzag(text: str, op: Op) -> LoopNest:
    """LoopNest of a ZigZag mapping: loops per operand and level, inner to outer, one common order.

    Spatial factors are printed rounded down; the true ones (bound / temporal product) may be fractions.
    The first one lies on the columns, the others on the rows.
    """
    loops, tensors = _ZIGZAG_LOOPS[op.family], _TENSORS[op.family]
    spatial = re.search(r"spatial\[([^\]]*)\]", text)
    if spatial is None:
        raise ArgumentError("mapping", text[:60], "a ZigZag mapping with spatial[...]")
    order: list[tuple[str, float]] = []
    stops: dict[int, list[tuple[str, str]]] = {}
    for part in text.split("per operand and level:")[1].split(" ; "):
        operand, levels = part.split(":", 1)
        own: list[tuple[str, float]] = []
        for piece in levels.split("|"):
            name, inside = re.fullmatch(r"\s*(\w+)\[([^\]]*)\]\s*", piece).groups()  # type: ignore[union-attr]
            own += [(loops[d], float(f)) for d, f in re.findall(r"([A-Z]+)(\d+)", inside)]
            stops.setdefault(len(own), []).append((name, tensors[operand.strip()]))
        order = own
    nodes: list[Loop | Keep] = []
    for depth in range(len(order), -1, -1):
        # levels that hold no loops of their own share a depth: the outermost comes first
        for name, tensor in reversed(stops.get(depth, [])):
            nodes.append(Keep(name, (tensor,)))
        if depth:
            nodes.append(Loop(*order[depth - 1]))
    for number, dimension in enumerate(re.findall(r"([A-Z]+)\d+", spatial.group(1))):
        loop = loops[dimension]
        times = 1.0
        for name, factor in order:
            times *= factor if name == loop else 1.0
        nodes.insert(0, Loop(loop, op.loops[loop] / times, "rows" if number else "cols"))
    return LoopNest(tuple(nodes), {"rows": _PER_PE, "cols": _PER_PE})


def accelforge(text: str, op: Op) -> LoopNest:
    """LoopNest of an AccelForge mapping, outer to inner."""
    names = {"DRAM": "dram", "SRAM": "sram", "GLB": "glb", "RFW": "rf_w", "RFO": "rf_o", "RFI": "rf_i"}
    axes = {"X": "cols", "Y": "rows"}
    tensors = _TENSORS[op.family]
    nodes: list[Loop | Keep] = []
    pattern = r"\[([WIO,]+) in (\w+)\]|(T|S)-(?:([XY])-)?(\w+) in \[0\.\.(\d+)\)"
    for held, level, kind, axis, loop, factor in re.findall(pattern, text):
        if held:
            nodes.append(Keep(names[level], tuple(tensors[t] for t in held.split(","))))
        else:
            nodes.append(Loop(loop, float(factor), axes[axis] if kind == "S" else None))
    return LoopNest(tuple(nodes))


def timeloop(text: str, problem: str) -> tuple[Op, LoopNest]:
    """Op and LoopNest of a Timeloop mapping, outer to inner, with its problem sizes ``P=16 R=3 ...``."""
    sizes = {key: float(value) for key, value in (item.split("=") for item in problem.split())}
    op = _timeloop_op(sizes)
    nodes: list[Loop | Keep] = []
    for part in text.split(";"):
        held = re.match(r"\s*(\w+)\s*\[(.*)\]\s*$", part)
        loop = re.match(r"\s*for (\w+) in \[0:(\d+)\)\s*(?:\(Spatial-([XY])\))?", part)
        if loop:
            nodes.append(Loop(loop.group(1).lower(), float(loop.group(2)), loop.group(3)))
        elif held:
            names = tuple(re.findall(r"(\w+):\d+", held.group(2)))
            if names:
                nodes.append(Keep(held.group(1), names))
    return op, LoopNest(tuple(nodes))


def _timeloop_op(sizes: Mapping[str, float]) -> Op:
    """One- or two-dimensional convolution in Timeloop's names (M or K filters, N batch)."""
    bounds = {key.lower(): size for key, size in sizes.items() if len(key) == 1 and key not in "HW"}
    filters = "m" if "m" in bounds else "k"
    windows: tuple[Window, ...] = (Window("p", "r", sizes.get("Wstride", 1.0), sizes.get("Wdilation", 1.0)),)
    if "q" in bounds:
        windows += (Window("q", "s", sizes.get("Hstride", 1.0), sizes.get("Hdilation", 1.0)),)

    def have(*loops: str) -> tuple[str, ...]:
        return tuple(loop for loop in loops if loop in bounds)

    tensors = (
        Tensor("Inputs", (*have("n", "c"), *windows)),
        Tensor("Weights", have(filters, "c", "r", "s"), kind="weight"),
        Tensor("Outputs", have("n", filters, "p", "q"), output=True),
    )
    macs = 1.0
    for bound in bounds.values():
        macs *= bound
    return Op("convolution", bounds, tensors, (Work("matrix", 2.0 * macs),))
