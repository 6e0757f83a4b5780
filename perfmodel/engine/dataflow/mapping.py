"""A mapping as a loop nest: where tiles are kept, which loops run in time and which in space.

Text form, outermost first, one statement a line (or all on one line)::

    dram [A:262144 B:262144 C:262144]
    for m in 4
      sram [A:65536 C:65536]
      for n in 4
        parallel k in 128 on rows
        parallel n in 128 on columns
        regs [B:1]
        for m in 128

Sizes in brackets (tile elements per instance) are printed for the reader and ignored when read back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field

import numpy as np

from perfmodel.algebra import Value
from perfmodel.engine.dataflow.problem import Problem
from perfmodel.errors import ArgumentError, UnknownNameError

#: Name of the innermost end of every chain of levels.
MAC = "mac"


@dataclass(frozen=True)
class Loop:
    """One loop of the nest; `axis` names the array axis of a spatial loop, None: in time."""

    name: str
    factor: Value
    axis: str | None = None


@dataclass(frozen=True)
class Keep:
    """From here inwards, tiles of these tensors live in this level."""

    level: str
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class LoopNest:
    """Nodes of a mapping, outermost first.  Loop factors may be arrays: one entry per candidate.

    inner_levels  axis -> levels that exist once per position of the axis.  Where an axis is missing, its
                  loops replicate the levels that stand further inside.
    """

    nodes: tuple[Loop | Keep, ...]
    inner_levels: MappingType[str, frozenset[str]] = field(default_factory=dict)

    def encloses(self, index: int, position: int, level: str) -> bool:
        """True if the loop at `index` runs outside the tile that `level` keeps at `position`."""
        node = self.nodes[index]
        if isinstance(node, Loop) and node.axis is not None and node.axis in self.inner_levels:
            return level == MAC or level in self.inner_levels[node.axis]
        return index < position

    @property
    def loops(self) -> tuple[Loop, ...]:
        """Loops only, outermost first."""
        return tuple(node for node in self.nodes if isinstance(node, Loop))

    def kept(self, tensor: str) -> list[tuple[int, str]]:
        """Positions and levels where the tensor is kept, outermost first."""
        return [
            (i, node.level) for i, node in enumerate(self.nodes)
            if isinstance(node, Keep) and tensor in node.tensors
        ]

    def tile(self, position: int, bounds: MappingType[str, Value]) -> dict[str, Value]:
        """Extents of the tile kept at a position, clipped to the bounds [elements]."""
        sizes: dict[str, Value] = dict.fromkeys(bounds, 1.0)
        here = self.nodes[position]
        level = here.level if isinstance(here, Keep) else ""
        for index, node in enumerate(self.nodes):
            if isinstance(node, Loop) and node.name in sizes and not self.encloses(index, position, level):
                sizes[node.name] = sizes[node.name] * node.factor
        return {loop: np.minimum(size, bounds[loop]) for loop, size in sizes.items()}

    def at(self, index: int) -> LoopNest:
        """Candidate number `index` with plain numbers."""
        def pick(value: Value) -> float:
            array = np.asarray(value, float)
            return float(array if array.ndim == 0 else array.reshape(-1)[index])

        nodes = (Loop(n.name, pick(n.factor), n.axis) if isinstance(n, Loop) else n for n in self.nodes)
        return LoopNest(tuple(nodes), self.inner_levels)

    def text(self, problem: Problem, indent: bool = True) -> str:
        """Readable form with tile sizes; loops of one are left out."""
        lines, depth = [], 0
        for position, node in enumerate(self.nodes):
            pad = "  " * depth if indent else ""
            if isinstance(node, Keep):
                tile = self.tile(position, problem.bounds)
                sizes = " ".join(f"{t}:{_number(problem.operand(t).footprint(tile))}" for t in node.tensors)
                lines.append(f"{pad}{node.level} [{sizes}]")
                continue
            if node.factor == 1:
                continue
            if node.axis is None:
                lines.append(f"{pad}for {node.name} in {_number(node.factor)}")
                depth += 1
            else:
                lines.append(f"{pad}parallel {node.name} in {_number(node.factor)} on {node.axis}")
        return "\n".join(lines)


def _number(value: Value) -> str:
    return f"{float(value):.12g}"


_STATEMENT = re.compile(
    r"\s*(?:for\s+(?P<loop>\w+)\s+in\s+(?P<factor>[\d.]+)"
    r"|parallel\s+(?P<ploop>\w+)\s+in\s+(?P<pfactor>[\d.]+)\s+on\s+(?P<axis>\w+)"
    r"|(?P<level>\w+)\s*\[(?P<tensors>[^\]]*)\])\s*;?"
)


def read_mapping(text: str) -> LoopNest:
    """LoopNest from its text form.  Raises ArgumentError that shows where reading stopped."""
    nodes: list[Loop | Keep] = []
    position = 0
    while position < len(text.rstrip()):
        match = _STATEMENT.match(text, position)
        if match is None:
            raise ArgumentError(
                "mapping", text[position:position + 40],
                "'LEVEL [TENSOR ...]', 'for LOOP in NUMBER' or 'parallel LOOP in NUMBER on AXIS'",
            )
        group = match.groupdict()
        if group["level"]:
            names = tuple(item.split(":")[0] for item in group["tensors"].split())
            nodes.append(Keep(group["level"], names))
        elif group["loop"]:
            nodes.append(Loop(group["loop"], float(group["factor"])))
        else:
            nodes.append(Loop(group["ploop"], float(group["pfactor"]), group["axis"]))
        position = match.end()
    return LoopNest(tuple(nodes))


def check_mapping(nest: LoopNest, problem: Problem) -> None:
    """Refuse unknown loops and tensors, factors below one, and nests that do not cover the bounds."""
    names = [operand.name for operand in problem.operands]
    covered: dict[str, Value] = dict.fromkeys(problem.bounds, 1.0)
    for node in nest.nodes:
        if isinstance(node, Keep):
            for tensor in node.tensors:
                if tensor not in names:
                    raise UnknownNameError("tensor", tensor, names)
        elif node.name in covered:
            if not np.all(np.asarray(node.factor, float) >= 1):
                raise ArgumentError(f"mapping.{node.name}", node.factor, "a factor >= 1")
            covered[node.name] = covered[node.name] * node.factor
        elif not np.all(np.asarray(node.factor) == 1):
            raise UnknownNameError("loop", node.name, problem.bounds)
    for loop, bound in problem.bounds.items():
        if not np.all(np.asarray(covered[loop]) >= np.asarray(bound) * (1 - 1e-9)):
            allowed = f"factors whose product is at least {bound}"
            raise ArgumentError(f"mapping.{loop}", covered[loop], allowed)
    for name in names:
        if not nest.kept(name):
            raise ArgumentError("mapping", name, "every tensor kept at one level at least")
