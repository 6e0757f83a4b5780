"""Ask the question of a Result once more, with something changed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from perfmodel.axes import pick
from perfmodel.errors import ArgumentError
from perfmodel.result import Result

#: scenario name -> module that defines the function of that name
SCENARIOS: Mapping[str, str] = {
    "inference": "perfmodel.scenario.inference",
    "forward": "perfmodel.scenario.forward",
}


def scenario_function(scenario: str | Callable[..., Result]) -> Callable[..., Result]:
    """The function of a scenario name; a function is returned as it is.

    Raises ArgumentError for a scenario that cannot be asked again.
    """
    if callable(scenario):
        return scenario
    if scenario not in SCENARIOS:
        raise ArgumentError("scenario", scenario, "one of " + ", ".join(SCENARIOS))
    function: Callable[..., Result] = getattr(importlib.import_module(SCENARIOS[scenario]), scenario)
    return function


def ask_again(result: Result, at: Mapping[str, Any] | None = None, **changes: Any) -> Result:
    """The same question at one point (None: over all axes) with some arguments changed."""
    inputs = dict(result.inputs) if at is None else pick(result.inputs, at)
    question = {name: value for name, value in inputs.items() if value is not None}
    return scenario_function(result.scenario)(**{**question, "fidelity": result.fidelity, **changes})
