"""Result: named arrays over named axes, with an interval, what bounds them and why points are missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from perfmodel.arguments import choice
from perfmodel.axes import NamedArray
from perfmodel.errors import ArgumentError, UnknownNameError

if TYPE_CHECKING:
    from perfmodel.engine.roofline import OpCost
    from perfmodel.hardware.device import System

#: unit of each metric that a scenario may return
UNITS: Mapping[str, str] = MappingProxyType(
    {
        "ttft": "s",
        "tpot": "s",
        "latency": "s",
        "throughput": "token/s",
        "memory": "B",
        "weights": "B",
        "kv_cache": "B",
        "state": "B",
        "activations": "B",
        "energy_per_token": "J/token",
        "energy": "J",
        "power": "W",
        "mfu": "1",
        "mbu": "1",
        "flops": "FLOP",
        "bytes": "B",
        "intensity": "FLOP/B",
        "request_rate": "1/s",
        "goodput": "token/s",
        "attainment": "1",
        "capacity": "1/s",
        "concurrency": "1",
        "resident": "1",
        "inference_rate": "1/s",
        "step_time": "s",
        "cost_per_token": "USD/token",
        "feasible": "1",
    }
)

#: units that differ from UNITS in some scenarios: metric -> scenario -> unit
UNITS_IN: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "throughput": {"forward": "1/s", "kernel": "1/s", "collective": "B/s"},
    }
)


@dataclass(frozen=True, repr=False)
class Result:
    """Answer of a scenario.

    Metrics are attributes: a float for one point, a NamedArray over the axes of a sweep.  `low` and `high`
    are Results too.  Infeasible points of a sweep are nan and `reason` says why.

    scenario, fidelity  what was computed, and how
    axes                name -> values, in the order of the array dimensions
    data                metric -> array that broadcasts to the shape of the axes
    inputs              the question: name -> value
    system              the hardware of the question
    more                computes further metrics when they are asked for
    band                computes the Result of the ``low`` or ``high`` end of the interval
    phases              costs of every op at one point: phase -> OpCosts
    """

    scenario: str
    fidelity: str
    axes: Mapping[str, Any]
    data: Mapping[str, Any]
    inputs: Mapping[str, Any]
    system: System | None = None
    more: Mapping[str, Callable[[], Mapping[str, Any]]] = field(default_factory=dict)
    band: Callable[[str], Result] | None = None
    phases: Callable[[Mapping[str, float]], Mapping[str, Sequence[OpCost]]] | None = None
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        data: dict[str, Any] = self.data  # type: ignore[assignment]
        if name not in data:
            if name not in self.more:
                raise AttributeError(str(UnknownNameError("metric", name, self.metrics)))
            data.update(self.more[name]())
        return self._present(name, data[name])

    def _present(self, name: str, value: Any) -> Any:
        if name in self.labels:
            texts = np.asarray(self.labels[name], dtype=object)
            codes = np.asarray(value, dtype=np.int64)
            chosen = np.asarray(texts[codes], dtype=object)
            return np.broadcast_to(chosen, self.shape) if self.axes else str(chosen.reshape(())[()])
        if not self.axes:
            return float(np.asarray(value).reshape(()))
        return NamedArray(np.broadcast_to(value, self.shape), tuple(self.axes), self.axes)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of all metrics, computed or not."""
        return tuple(dict.fromkeys([*self.data, *self.more]))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values per axis; empty for one point."""
        return tuple(len(values) for values in self.axes.values())

    @property
    def low(self) -> Result:
        """The optimistic end of the interval (shortest time)."""
        return self._end("low")

    @property
    def high(self) -> Result:
        """The pessimistic end of the interval (longest time)."""
        return self._end("high")

    def _end(self, which: str) -> Result:
        if self.band is None:
            raise ArgumentError("interval", which, f"a scenario with an interval; {self.scenario} has none")
        return self.band(which)

    def unit(self, metric: str) -> str:
        """Unit of a metric."""
        own = UNITS_IN.get(metric, {}).get(self.scenario)
        if own is None:  # a percentile such as ttft_p90 has the unit of its metric
            own = UNITS.get(metric, UNITS.get(re.sub(r"_p\d+$", "", metric), "1"))
        return own

    def point(self, **at: Any) -> dict[str, Any]:
        """Values of the axes at a point: those given, the first value elsewhere.

        Raises UnknownNameError for an axis that does not exist, ArgumentError for a value not on the axis.
        """
        chosen: dict[str, Any] = {}
        for name in at:
            if name not in self.axes:
                raise UnknownNameError("axis", name, self.axes)
        for name, values in self.axes.items():
            value = at.get(name, values[0])
            if isinstance(values[0], str):
                chosen[name] = choice(name, value, values)
                continue
            asked = float(value) if isinstance(value, (int, float, np.number, np.ndarray)) else np.nan
            closest = values[np.argmin(np.abs(np.asarray(values) - asked))]
            if not np.isclose(closest, asked, rtol=1e-5, atol=0.0):
                raise ArgumentError(name, value, "one of " + ", ".join(f"{v:g}" for v in values[:20]))
            chosen[name] = float(closest)
        return chosen

    def costs(self, **at: float) -> Mapping[str, Sequence[OpCost]]:
        """Costs of every op by phase at one point."""
        if self.phases is None:
            raise ArgumentError("breakdown", self.scenario, "a scenario that is made of ops")
        return self.phases(self.point(**at))

    def breakdown(self, phase: str | None = None, **at: float) -> Any:
        """Time, bound, FLOP and bytes of every op at one point, as a table."""
        from perfmodel.report.tables import breakdown

        return breakdown(self, phase, at)

    def table(self) -> Any:
        """Axes and metrics of every point as a table."""
        from perfmodel.report.tables import points

        return points(self)

    def explain(self, **at: float) -> str:
        """What bounds the answer, in words."""
        from perfmodel.report.text import explain

        return explain(self, at)

    def plot(self, kind: str | None = None, **options: Any) -> Any:
        """Matplotlib figure: ``roofline``, ``breakdown``, ``sweep`` or ``pareto``."""
        from perfmodel.report.plots import plot

        return plot(self, kind, **options)

    def trace(self, path: str | None = None, **at: float) -> Any:
        """Chrome/Perfetto timeline of one pass; written to `path` if given."""
        from perfmodel.report.trace import trace

        return trace(self, path, at)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, SI units, for JSON."""
        from perfmodel.report.tables import as_dict

        return as_dict(self)

    def to_pandas(self) -> Any:
        """pandas.DataFrame with one row per point (needs pandas)."""
        from perfmodel.report.tables import to_pandas

        return to_pandas(self)

    def to_xarray(self) -> Any:
        """xarray.Dataset over the axes (needs xarray)."""
        from perfmodel.report.tables import to_xarray

        return to_xarray(self)

    def __repr__(self) -> str:
        from perfmodel.report.text import summary

        return summary(self)

    def _repr_html_(self) -> str:
        from perfmodel.report.text import html

        return html(self)
