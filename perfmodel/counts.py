"""Demand: what an op asks of each named resource, an additive ledger.

Time is amount / rate and energy is amount x energy per unit, so one ledger gives latency, energy and the
explanation, for a GPU, an FPGA stage, a network switch or a detector read-out alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from perfmodel.algebra import Value

#: Resource of kernel starts; its rate is 1 / overhead.
LAUNCH = "launch"


@dataclass(frozen=True)
class Demand:
    """Amounts by resource path.

    ``compute.<unit>.<format>`` [FLOP], ``memory.<level>`` [B], ``links.<name>`` [B],
    ``steps.<name>`` [messages one after the other], ``launch`` [kernels].
    """

    amounts: Mapping[str, Value]

    def __add__(self, other: Demand) -> Demand:
        merged = dict(self.amounts)
        for resource, amount in other.amounts.items():
            merged[resource] = merged[resource] + amount if resource in merged else amount
        return Demand(merged)

    def __mul__(self, factor: Value) -> Demand:
        return Demand({resource: amount * factor for resource, amount in self.amounts.items()})

    __rmul__ = __mul__

    def __getitem__(self, resource: str) -> Value:
        return self.amounts.get(resource, 0.0)

    def __iter__(self) -> Iterator[str]:
        return iter(self.amounts)

    def matching(self, prefix: str) -> Value:
        """Sum over all resources whose path starts with `prefix`."""
        return sum((a for r, a in self.amounts.items() if r == prefix or r.startswith(prefix + ".")), 0.0)
