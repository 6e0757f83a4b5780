"""Continuous batching one step at a time, written for clarity: the oracle of the replay from event to event."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass
class Request:
    """A request on its way through the engine."""

    arrival: float
    prompt: int
    answer: int
    need: float
    extra: float
    left: int = 0
    produced: float = 0.0
    first: float = math.nan
    finish: float = math.nan


def step_by_step(
    step: Callable[[int, int, float], float],
    arrival,
    prompt,
    answer,
    *,
    need=None,
    extra=None,
    room: float = math.inf,
    chunk: int = 8192,
    most: int = 10**9,
    accepted: float = 1.0,
):
    """Times of first token and end of every request, tokens computed of each kind, and steps.

    step   duration of a step with (running requests, prompt tokens, mean context of the running)
    extra  further cost of a whole prompt, spread over its tokens
    """
    count = len(arrival)
    need = np.zeros(count) if need is None else need
    extra = np.zeros(count) if extra is None else extra
    requests = [Request(*row) for row in zip(arrival, prompt, answer, need, extra, strict=True)]
    waiting, filling, running = list(requests), [], []
    now, prefilled, generated, steps = 0.0, 0, 0.0, 0
    while waiting or filling or running:
        budget, taken, beyond = chunk, 0, 0.0
        while budget > 0:
            if filling:
                request = filling[0]
            elif waiting and waiting[0].arrival <= now:
                request = waiting[0]
                used = sum(r.need for r in running)
                if used + request.need > room or len(running) + len(ended_now(filling)) >= most:
                    break
                waiting.pop(0)
                request.left = request.prompt
                filling.append(request)
            else:
                break
            piece = min(budget, request.left)
            request.left -= piece
            budget, taken, beyond = budget - piece, taken + piece, beyond + piece / request.prompt * request.extra
            if request.left == 0:
                filling.pop(0)
                running.append(request)
        decoding = [r for r in running if not math.isnan(r.first)]
        if not decoding and not taken:
            now = waiting[0].arrival
            continue
        contexts = [r.prompt + 1 + r.produced for r in decoding]
        now += step(len(decoding), taken, float(np.mean(contexts)) if contexts else 1.0) + beyond
        steps, prefilled = steps + 1, prefilled + taken
        for request in list(running):
            if math.isnan(request.first):
                request.first = now
            else:
                request.produced += accepted
                generated += accepted
            if request.produced >= request.answer - 1 - 1e-9:
                request.finish = now
                running.remove(request)
    return (
        np.array([r.first for r in requests]),
        np.array([r.finish for r in requests]),
        {"prefilled": prefilled, "generated": generated, "steps": steps},
    )


def ended_now(filling: list[Request]) -> list[Request]:
    """Requests that hold a place though their prompt is not through."""
    return filling
