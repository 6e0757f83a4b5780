"""Replay of requests through continuous batching, from event to event instead of step to step.

The engine runs steps.  A step gives every running request one token (or what speculation accepts) and takes
up to `chunk` tokens of prompts, first come first served, pieces of a prompt across steps [1, 2].  A request
is admitted when its first piece is taken: its cache must fit beside what is reserved (else it waits,
and all behind it), and at most `most` requests are in the engine.  The step that ends a prompt yields its
first token; the last token frees the memory.

Between two events (an arrival, an end, a step with prompts) the batch is constant and contexts grow by the
same amount each step, so a run of k steps is one multiplication (`open_loop_steps`); an arrival ends the run
after the step in which it falls.  Time therefore grows with the number of requests, not of tokens.

References
[1] Yu et al., Orca: A Distributed Serving System for Transformer-Based Generative Models, OSDI 2022
    (iteration-level scheduling).
[2] Agrawal et al., Sarathi-Serve (chunked prefill, mixed steps), arXiv:2403.02310.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import numpy as np

from perfmodel.scenario.open_loop_steps import StepTable


@dataclass(frozen=True)
class Engine:
    """Limits of the engine.

    chunk      most prompt tokens of a step
    most       most requests in the engine
    room       memory for caches, in the unit of `need` of the replay
    accepted   output tokens of a request per step, 1 without speculation
    lag_steps  plain steps between the first token and its delivery, and as long at the end
    """

    chunk: float
    most: int
    room: float = float("inf")
    accepted: float = 1.0
    lag_steps: float = 0.0


@dataclass(frozen=True)
class Replayed:
    """Times of every request [N] [s]: first token and end.  steps: engine steps; events: of the replay."""

    first: Any
    finish: Any
    steps: int
    events: int


def replay(
    table: StepTable,
    engine: Engine,
    arrival: Any,
    prompt: Any,
    answer: Any,
    need: Any,
    *,
    context: Any = None,
    extra: Any = None,
) -> Replayed:
    """Times of requests that arrive in order.

    arrival  seconds, ascending [N]; prompt: tokens to compute, may be 0 (computed elsewhere) [N]
    answer   tokens to generate [N]; need: memory until the end, each at most the room of the engine [N]
    context  cached tokens after the prompt; None: prompt [N]
    extra    cost of a prompt beyond the table [s]; None: from the table [N]
    """
    ready, left_of, count = _plain(arrival), _plain(np.ceil(prompt)), len(arrival)
    more = _plain(
        (table.beyond(prompt) if extra is None else np.asarray(extra)) / np.maximum(np.ceil(prompt), 1.0)
    )
    stay = [int(k) for k in np.ceil((np.asarray(answer) - 1.0) / engine.accepted)]
    # a running token attends to itself too
    seen, need = _plain(np.asarray(prompt if context is None else context) + 1.0), _plain(need)
    rows, start, width = table.plain, table.start, table.spacing
    most, accepted, chunk = min(engine.most, count, len(rows) - 1), engine.accepted, engine.chunk
    mixed, last = table.mixed, len(rows[0]) - 2
    first, finish = [0.0] * count, [0.0] * count
    ends: list[int] = []  # step at which a request ends x count + request
    now, step, running, held, cached, used = ready[0] if count else 0.0, 0, 0, 0, 0.0, 0.0
    head, left, events = 0, -1.0, 0  # request whose prompt is next, and its tokens left once admitted

    while head < count or ends:
        events += 1
        # prompts of this step: first come first served, as far as chunk, batch and memory allow
        tokens, beyond, blocked, done = 0.0, 0.0, False, head
        while done < count and ready[done] <= now and tokens < chunk:
            if left < 0.0:
                if held >= most or used + need[done] > engine.room:
                    blocked = True
                    break
                held, used, left = held + 1, used + need[done], left_of[done]
            piece = min(left, chunk - tokens)
            tokens, beyond, left = tokens + piece, beyond + piece * more[done], left - piece
            if left > 0.0:
                break
            done, left = done + 1, -1.0
        if tokens > 0.0:
            now += mixed(running, tokens, cached / running if running else start) + beyond
            step, cached = step + (running > 0), cached + running * accepted
        elif done == head:
            if not running:
                now = ready[head]
                continue
            runs = ends[0] // count - step
            mean = cached / running
            place = (mean - start) / width
            cell = min(max(int(place), 0), last)
            row = rows[running]
            slope = (row[cell + 1] - row[cell]) / width
            if head < count and not blocked:
                # k steps of t + slope x accepted x j seconds, j < k, reach the next arrival
                grow = slope * accepted
                b = row[cell] + (place - cell) * (row[cell + 1] - row[cell]) - 0.5 * grow
                gap = ready[head] - now
                until = -int(-2.0 * gap / (b + (b * b + 2.0 * max(grow, 0.0) * gap) ** 0.5) // 1.0)
                runs = max(min(runs, until), 1)
            middle = (mean + 0.5 * (runs - 1) * accepted - start) / width
            cell = min(max(int(middle), 0), last)
            now += runs * (row[cell] + (middle - cell) * (row[cell + 1] - row[cell]))
            step, cached = step + runs, cached + running * runs * accepted
        while ends and ends[0] // count <= step:
            request = heappop(ends) % count
            finish[request] = now
            running, held, used = running - 1, held - 1, used - need[request]
            cached -= seen[request] + stay[request] * accepted
        for request in range(head, done):
            first[request] = now
            if stay[request]:
                heappush(ends, (step + stay[request]) * count + request)
                running, cached = running + 1, cached + seen[request]
            else:
                finish[request], held, used = now, held - 1, used - need[request]
        head = done
    return Replayed(np.array(first), np.array(finish), step, events)


def _plain(values: Any) -> list[float]:
    found: list[float] = np.asarray(values, dtype=np.float64).tolist()
    return found
