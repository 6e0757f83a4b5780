"""Ask the question of a Result once more, with something changed."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from perfmodel.axes import pick
from perfmodel.errors import ArgumentError
from perfmodel.result import Result

#: scenario name -> module and function that answers it
SCENARIOS: Mapping[str, tuple[str, str]] = {
    "inference": ("perfmodel.scenario.inference", "inference"),
    "forward": ("perfmodel.scenario.forward", "forward"),
    "kernel": ("perfmodel.scenario.forward", "forward"),
    "training": ("perfmodel.scenario.training", "training"),
    "serving": ("perfmodel.scenario.serve", "serving"),
}


def scenario_function(scenario: str | Callable[..., Result]) -> Callable[..., Result]:
    """The function of a scenario name; a function is returned as it is.

    Raises ArgumentError for a scenario that cannot be asked again.
    """
    if callable(scenario):
        return scenario
    if not isinstance(scenario, str) or scenario not in SCENARIOS:
        raise ArgumentError("scenario", scenario, "one of " + ", ".join(SCENARIOS))
    module, name = SCENARIOS[scenario]
    function: Callable[..., Result] = getattr(importlib.import_module(module), name)
    return function


def ask_again(result: Result, at: Mapping[str, Any] | None = None, **changes: Any) -> Result:
    """The same question at one point (None: over all axes) with some arguments changed."""
    inputs = dict(result.inputs) if at is None else pick(result.inputs, at)
    function = scenario_function(result.scenario)
    known = inspect.signature(function).parameters
    question = {name: value for name, value in inputs.items() if name in known and value is not None}
    if isinstance(question.get("trace"), tuple) and at is not None and "trace" in at:  # one of several traces
        question["trace"] = next(one for one in question["trace"] if one.name == at["trace"])
    return function(**{**question, "fidelity": result.fidelity, **changes})
