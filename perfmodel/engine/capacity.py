"""Capacity: bytes that a pass keeps in the memory of one device."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.formats import Precision
from perfmodel.workload.graph import Graph


@dataclass(frozen=True)
class Footprint:
    """Bytes in the memory of one device [B].

    reserve  what the runtime keeps for itself
    """

    weights: Value
    kv_cache: Value
    state: Value
    activations: Value
    reserve: Value = 0.0

    @property
    def total(self) -> Value:
        """All of it [B]."""
        return self.weights + self.kv_cache + self.state + self.activations + self.reserve


def footprint(
    graph: Graph, precision: Precision, *, state: Graph | None = None, reserve: Value = 0.0
) -> Footprint:
    """Memory of one pass of a graph.

    graph  the pass with the most live activations (prefill)
    state  the pass with the longest context; None: the same
    Activations are those of the op that reads and writes most, plus the logits kept.
    """
    longest = graph if state is None else state
    return Footprint(
        weights=graph.bytes("weight", precision),
        kv_cache=longest.bytes("kv", precision),
        state=longest.bytes("state", precision),
        activations=graph.peak_activation(precision),
        reserve=reserve,
    )


def chunked_peak(weights: Value, live: Value, chunks: Value, kept: Value = 0.0) -> Value:
    """Peak memory of a pass whose largest activations run in chunks [B]: ``W + live/chunks + kept``.

    live  bytes of the group with the most live activations, all at once [B]
    kept  features that stay at full size between the groups [B]

    Zhan et al., Fast and Memory-Efficient Video Diffusion Using Streamlined Inference, arXiv:2411.01171.
    """
    return weights + live / chunks + kept
