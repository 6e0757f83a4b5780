"""From a question to a Result: the part that all scenarios share.

A scenario gives functions of one point (floats, or arrays on an open mesh); this module finds the axes,
evaluates in blocks, refuses a single point that cannot be, and wires the interval and the breakdown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from perfmodel.arguments import choice
from perfmodel.axes import Mesh, pick
from perfmodel.engine.fidelity import FIDELITIES, cost_model
from perfmodel.engine.priors import derated
from perfmodel.engine.roofline import OpCost
from perfmodel.errors import ImpossibleError, InfeasibleError
from perfmodel.result import Result
from perfmodel.scenario.runtime import runtime as runtime_of
from perfmodel.scenario.runtime_names import kernels_of

#: function of one point: keyword arguments are the inputs, the fixed options, `model` and `ndim`
PointFunction = Callable[..., Mapping[str, Any]]

#: first reason of every scenario that can run out of memory
TOO_LARGE = "more memory needed than the device has"
#: reason of the scenarios that map ops on an array
NO_MAPPING = "no mapping of an op fits the memories of the array"


def first_reason(checks: Sequence[Any]) -> Any:
    """Number of the first check that fails at each point, from 1 as in `reasons`; 0 where none does."""
    code: Any = np.zeros((), dtype=np.int64)
    for number, failed in reversed(list(enumerate(checks, start=1))):
        code = np.where(failed, number, code)
    return code


@dataclass(frozen=True)
class Scenario:
    """What a scenario computes.

    metrics  point -> metric arrays; where a point may be impossible, among them ``reason``: an index into
             `reasons`, 0 where it can be
    phases   point -> costs of every op by phase; None: the scenario is not made of ops
    more     metric -> function that computes it (and others) when it is asked for
    reasons  why a point cannot be; the first is empty
    labels   metric -> texts that its codes stand for
    blame    arguments to name when a reason other than memory refuses a single point
    """

    name: str
    metrics: PointFunction
    phases: Callable[..., Mapping[str, Sequence[OpCost]]] | None = None
    more: Mapping[str, PointFunction] = field(default_factory=dict)
    reasons: Sequence[str] = ("", TOO_LARGE)
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    blame: Sequence[str] = ("batch",)

    def solve(
        self,
        inputs: Mapping[str, Any],
        fixed: Mapping[str, Any],
        fidelity: str,
        runtime: str = "vllm",
        progress: Callable[[float], None] | None = None,
        end: str = "middle",
    ) -> Result:
        """Result of a question; `inputs` may hold axes, `fixed` may not.

        end  ``middle``, or the ``low`` or ``high`` end of the interval.
        Raises InfeasibleError or ImpossibleError where a single point cannot be.
        """
        fidelity = choice("fidelity", fidelity, FIDELITIES)
        if isinstance(runtime, str) and runtime and (fidelity == "calibrated" or runtime != "vllm"):
            runtime = kernels_of(runtime)  # refuses an unknown name, also where it would not be used
        asked = Asked(self, inputs, fixed, fidelity, runtime, end)
        axes = Mesh.of(inputs).axes
        data = asked.run(self.metrics, progress)
        if not axes:
            self._refuse(data, {**inputs, **fixed, "fidelity": fidelity})
        return Result(
            self.name,
            fidelity,
            axes,
            data,
            {**inputs, **fixed},
            inputs["system"],
            {name: partial(asked.run, function) for name, function in self.more.items()},
            asked.band,
            asked.phases if self.phases is not None else None,
            {"reason": tuple(self.reasons), **self.labels},
        )

    def _refuse(self, data: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
        """A question about one point gets an error instead of a nan."""
        if "reason" not in data:
            return
        reason = self.reasons[int(np.asarray(data["reason"]))]
        if not reason:
            return
        if reason == NO_MAPPING:
            raise InfeasibleError(f"{inputs['workload'].name} on {inputs['system'].name}: {reason}")
        if reason != TOO_LARGE:
            given = ", ".join("none" if inputs[name] is None else f"{inputs[name]:g}" for name in self.blame)
            raise ImpossibleError(", ".join(self.blame), given, reason)
        device = inputs["system"].device
        need, there = float(np.asarray(data["memory"])), float(device.main_memory.capacity)
        engine = "runtime" in inputs and inputs["fidelity"] == "calibrated"
        limit = there * (runtime_of(inputs["runtime"]).memory_fraction if engine else 1.0)
        usable = f" ({limit / 2**30:.2f} for the engine)" if limit < there else ""
        parts = ", ".join(
            f"{words} {float(np.asarray(data[name])) / 2**30:.2f}"
            for name, words in (
                ("weights", "weights"),
                ("kv_cache", "KV cache"),
                ("activations", "activations"),
            )
            if name in data
        )
        split = "".join(f" {name}={inputs[name]:g}" for name in ("tp", "pp", "dp") if name in inputs)
        raise InfeasibleError(
            f"{inputs['workload'].name} does not fit: {need / 2**30:.2f} GiB per device wanted, "
            f"{there / 2**30:.2f} GiB there on {device.name}{usable}; "
            f"{(need - limit) / 2**30:.2f} GiB too much"
            f"{' at' + split if split else ''} ({parts} GiB)",
            need - limit,
        )


@dataclass(frozen=True)
class Asked:
    """A question to a scenario: answers what is asked of its Result later, here or in another process."""

    scenario: Scenario
    inputs: Mapping[str, Any]
    fixed: Mapping[str, Any]
    fidelity: str
    runtime: str
    end: str

    def run(self, function: PointFunction, progress: Callable[[float], None] | None = None) -> dict[str, Any]:
        """Metrics of a function of one point, over the mesh."""
        mesh = Mesh.of(self.inputs)
        model = cost_model(self.fidelity, self.runtime, self.end)
        return mesh.evaluate(
            lambda **point: function(model=model, ndim=mesh.ndim, **point, **self.fixed),
            self.inputs,
            progress=progress,
        )

    def band(self, which: str) -> Result:
        """Result of the ``low`` or ``high`` end of the interval."""
        solve = self.scenario.solve
        if self.fidelity == "calibrated":
            return solve(self.inputs, self.fixed, self.fidelity, self.runtime, end=which)
        if which == "low":  # no implementation is faster than the bound
            return solve(self.inputs, self.fixed, "roofline", self.runtime)
        slow = {**self.inputs, "system": derated(self.inputs["system"])}
        return solve(slow, self.fixed, self.fidelity, self.runtime)

    def phases(self, at: Mapping[str, float]) -> Mapping[str, Sequence[OpCost]]:
        """Cost of every op at one point, by phase."""
        if self.scenario.phases is None:
            return {}
        model = cost_model(self.fidelity, self.runtime, self.end)
        return self.scenario.phases(model=model, ndim=0, **pick(self.inputs, at), **self.fixed)
