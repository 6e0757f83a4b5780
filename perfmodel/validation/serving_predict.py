"""Predictions for measured serving points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from perfmodel.algebra import Value
from perfmodel.scenario.corrections import Corrections
from perfmodel.scenario.runtime import Runtime
from perfmodel.scenario.serving import ClosedLoop, FirstToken, closed_loop, disaggregated, static_batch
from perfmodel.scenario.serving_cost import StepCost
from perfmodel.scenario.speculative import chain_tokens
from perfmodel.validation.serving_data import Points

Profiles = Mapping[str, Runtime]

#: tokens of a step with a drafting model beside the served one; tables do not say
ACCEPTED = 2.1


def equipped(cost: StepCost, names: np.ndarray, profiles: Profiles, fix: Corrections) -> StepCost:
    """The step cost with corrections and with the profile of each row as arrays."""
    kinds, where = np.unique(names, return_inverse=True)
    chosen = [profiles[str(k)] for k in kinds]
    numbers: dict[str, Any] = {
        f.name: np.array([getattr(p, f.name) for p in chosen], dtype=np.float64)[where]
        for f in fields(Runtime) if isinstance(getattr(chosen[0], f.name), (int, float))
    }
    return replace(cost, corrections=fix, runtime=replace(chosen[0], **numbers))


def predict(
    points: Points, profiles: Profiles, fix: Corrections, acceptance: float = 0.6
) -> dict[str, np.ndarray]:
    """ttft and tpot [s], or the latency of a batch [s].

    acceptance  probability that a token of the model's own drafting head is kept given the ones before it
    """
    cost = equipped(points.cost, points.runtimes, profiles, fix)
    if points.kind == "batch":
        return {"latency": batch_latency(points, cost)}
    plain = serving_state(points, replace(cost, width=np.ones(len(points))), profiles, fix, 1.0)
    chance = points.speculative
    found = {"ttft": np.asarray(plain.ttft), "tpot": np.asarray(plain.tpot)}
    drafting = chance > 0.0
    if np.any(drafting):
        part = points.take(drafting)
        cost = equipped(part.cost, part.runtimes, profiles, fix)
        accepted = chain_tokens(acceptance, cost.width - 1.0)
        fast = serving_state(part, cost, profiles, fix, accepted)
        for name, value in found.items():
            # the mean of the logarithm where it is not known whether tokens were drafted
            some = value[drafting] ** (1.0 - chance[drafting]) * getattr(fast, name) ** chance[drafting]
            found[name] = np.where(drafting, 0.0, value)
            found[name][drafting] = some
    return found


def serving_state(
    points: Points, cost: StepCost, profiles: Profiles, fix: Corrections, accepted: Value
) -> ClosedLoop:
    """Closed-loop steady state of each point."""
    run, ran = cost.runtime, points.options
    graph = np.where(np.isfinite(ran.graph), ran.graph, run.graph)
    cost = replace(cost, runtime=replace(run, graph=graph))
    # on average a request has generated half of its answer
    middle = points.input + 0.5 * points.output
    held = cost.slots(middle)
    # of prompts sent again, all but the last block is found in memory as far as they and their answers fit
    room = held * middle / (ran.distinct * (points.input + points.output))
    found = np.where(points.moe, 0.0, ran.repeated(points.load) * np.minimum(room, 1.0))
    prompt = (1.0 - found) * points.input + found * run.block
    starts = (1.0 - found) * cost.starts() + found * replace(cost, prompt=run.block).starts()
    first = FirstToken(run.first_token, run.first_steps + ran.hold, run.burst, ran.rounds, starts)
    chunk = np.where(np.isfinite(ran.chunk), ran.chunk, run.chunk)
    common = {"chunk": chunk, "first": first, "accepted": accepted, "drafted": cost.width - 1.0}
    slots = np.minimum(held, ran.slots)
    if points.prefill is None:
        return closed_loop(cost, points.load, prompt, points.output, slots=slots, **common)
    prefill = equipped(points.prefill, points.runtimes, profiles, fix)
    return disaggregated(
        prefill, cost, points.load, prompt, points.output, slots=slots,
        prefill_workers=points.workers[:, 0], decode_workers=points.workers[:, 1],
        transfer=prefill.transfer(points.input, prefill.layout.devices + cost.layout.devices), **common,
    )


def batch_latency(points: Points, cost: StepCost, accepted: float = ACCEPTED) -> np.ndarray:
    """Latency of equal requests that start together.

    A drafting model runs once per drafted token, each time through the host and its weights.
    """
    run, drafted = cost.runtime, cost.width - 1.0
    # growing caches: the mean over the steps in which requests compete for memory
    slots = cost.slots(points.input + np.where(run.whole_waves > 0, 1.0, 0.75) * points.output)
    prompts = replace(cost, routed=None)

    def decode(size: Value, prefill: Value) -> Value:
        draft = drafted * (run.step + run.request * size + points.draft / cost.bandwidth)
        return (cost(size * cost.width, prefill) + draft) / np.where(drafted > 0, accepted, 1.0)

    return np.asarray(static_batch(
        prompts, decode, points.load, points.input, points.output, slots=slots, chunk=run.chunk,
        whole_waves=run.whole_waves,
    ))
