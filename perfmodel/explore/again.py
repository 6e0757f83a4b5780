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


def label_of(value: Any) -> str:
    """Name of a model, system, precision ... for an axis."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "+".join(f"{key}:{item}" for key, item in value.items())
    return str(getattr(value, "name", value))


def ask_again(result: Result, at: Mapping[str, Any] | None = None, **changes: Any) -> Result:
    """The same question at one point (None: over all axes) with some arguments changed."""
    inputs = dict(result.inputs) if at is None else pick(result.inputs, at)
    for name, value in (at or {}).items():  # one of several models, devices, options, traces or numbers
        if isinstance(inputs.get(name), (list, tuple)):
            by_label = {label_of(one): one for one in inputs[name]}
            inputs[name] = by_label[value] if isinstance(value, str) else value
    function = scenario_function(result.scenario)
    known = inspect.signature(function).parameters
    question = {name: value for name, value in inputs.items() if name in known and value is not None}
    fidelity = (at or {}).get("fidelity", result.fidelity)
    return function(**{**question, "fidelity": fidelity, **changes})
