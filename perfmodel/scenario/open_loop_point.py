"""One instance under an open loop: what its requests see at a rate, and the rate that keeps an objective."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from perfmodel.scenario.open_loop import Engine, Replayed, replay
from perfmodel.scenario.open_loop_requests import Requests
from perfmodel.scenario.open_loop_steps import StepTable

PERCENTILES = (50, 90, 99)
TIMES = ("ttft", "tpot", "latency")
#: part of generated requests that is not counted, at each end: the instance fills and drains
ENDS = 0.1
#: requests that show the most that an instance can serve: times what it holds, at most, and at least
FILLS, MOST_REQUESTS, LEAST_REQUESTS = 10.0, 20_000, 20
#: halvings of the logarithm of the rate in a search for the capacity, from this share of the most
HALVINGS, LEAST = 13, 1e-3


@dataclass(frozen=True)
class Experience:
    """What requests saw [N]: ttft, tpot (nan for single tokens), latency [s]; their answers [tokens].

    span      time from the first arrival to the last end, or of the arrivals where ends are cut off [s]
    requests  requests that the span counts
    """

    ttft: Any
    tpot: Any
    latency: Any
    answer: Any
    span: float
    requests: float

    def met(self, limits: tuple[float, float]) -> Any:
        """Whether each request met the limits of ttft and tpot; a single token has no tpot to miss [N]."""
        return (self.ttft <= limits[0]) & ~(self.tpot > limits[1])

    def keeps(self, limits: tuple[float, float], share: float) -> bool:
        """Whether this share of the requests meets each limit."""
        tpot = self.tpot[np.isfinite(self.tpot)]
        return _share(self.ttft <= limits[0]) >= share and _share(tpot <= limits[1]) >= share

    def metrics(self, limits: tuple[float, float]) -> dict[str, float]:
        """Means, percentiles, rates."""
        found: dict[str, float] = {}
        for name in TIMES:
            values = getattr(self, name)
            finite = values[np.isfinite(values)]
            found[name] = float(np.mean(finite)) if finite.size else float("nan")
            for p in PERCENTILES:
                found[f"{name}_p{p}"] = float(np.percentile(finite, p)) if finite.size else float("nan")
        met = self.met(limits)
        rate = self.requests / self.span if self.span > 0.0 else 0.0
        found["throughput"] = rate * float(np.mean(self.answer))
        found["request_rate"] = rate
        found["goodput"] = rate * float(np.mean(self.answer * met))
        found["attainment"] = _share(met)
        found["in_flight"] = rate * found["latency"]
        return found


def _share(met: Any) -> float:
    return float(np.mean(met)) if met.size else 1.0


@dataclass(frozen=True)
class Point:
    """One instance and the form of its traffic.

    unit        requests whose lengths are relative to `prompt` and `answer` [tokens]
    cached      share of each prompt that the prefix cache holds
    state, per_token  memory of a request; block: tokens that are allocated together
    latency     of handling a request [s]; generated: the ends are not counted
    held        share of an answer that memory is kept for
    starts      least time of the kernels of a prompt of more than `graph` tokens [s]
    steady      requests per second of the closed loop with a full memory
    workers     (prefill, decode) instances; None: prompts and decode share the instance
    handover    seconds, and seconds per token of a prompt, to move a cache from one to the other
    """

    table: StepTable
    engine: Engine
    unit: Requests
    prompt: float
    answer: float
    cached: float
    state: float
    per_token: float
    block: float
    latency: float
    generated: bool
    held: float
    starts: float
    graph: float
    steady: float
    workers: tuple[int, int] | None = None
    handover: tuple[float, float] = (0.0, 0.0)
    memory: dict[str, float] = field(default_factory=dict)

    def lengths(self, count: int | None = None) -> tuple[Any, Any, Any]:
        """Prompt and answer tokens, and memory of every request; of `count`, which repeat them."""
        prompt = np.maximum(np.round(self.unit.prompt * self.prompt), 1.0)
        answer = np.maximum(np.round(self.unit.answer * self.answer), 1.0)
        if count is not None:
            prompt, answer = np.resize(prompt, count), np.resize(answer, count)
        tokens = np.ceil((prompt + self.held * answer) / self.block) * self.block
        return prompt, answer, self.state + self.per_token * tokens

    @property
    def fits(self) -> bool:
        """Whether the memory holds each request alone."""
        return bool(np.all(self.lengths()[2] <= self.engine.room))

    def arrivals(self, rate: float) -> Any:
        """Arrivals at a mean rate [1/s]."""
        own = self.unit.rate
        return self.unit.arrival * (own / rate if np.isfinite(own) else 1.0)

    def run(self, arrival: Any) -> Replayed:
        """Replay of requests that arrive then; more of them than there are repeat the lengths."""
        prompt, answer, need = self.lengths(len(arrival))
        compute = np.maximum(np.ceil(prompt * (1.0 - self.cached)), 1.0)
        extra = self.table.beyond(prompt) * (compute / prompt)
        if self.workers is None:
            return replay(
                self.table, self.engine, arrival, compute, answer, need, context=prompt, extra=extra
            )
        return self.two_stages(arrival, compute, prompt, answer, need, extra)

    def two_stages(
        self, arrival: Any, compute: Any, prompt: Any, answer: Any, need: Any, extra: Any
    ) -> Replayed:
        """Prompts on workers of their own, then decode on others; requests take turns on each kind."""
        first, finish = np.zeros_like(arrival), np.zeros_like(arrival)
        filling, running = self.workers or (1, 1)
        steps = events = 0
        for worker in range(filling):
            mine = slice(worker, None, filling)
            done = replay(
                self.table,
                self.engine,
                arrival[mine],
                compute[mine],
                np.ones_like(answer[mine]),
                need[mine],
                context=prompt[mine],
                extra=extra[mine],
            )
            first[mine], steps, events = done.first, steps + done.steps, events + done.events
        first += self.handover[0] + self.handover[1] * prompt
        order = np.argsort(first, kind="stable")
        for worker in range(running):
            rest = order[worker::running]
            none = np.zeros(len(rest))
            done = replay(
                self.table,
                self.engine,
                first[rest],
                none,
                answer[rest],
                need[rest],
                context=prompt[rest],
                extra=none,
            )
            # the first token is handed out once its request has a place to go on
            first[rest], finish[rest] = done.first, done.finish
            steps, events = steps + done.steps, events + done.events
        return Replayed(first, finish, steps, events)

    def experience(self, rate: float) -> Experience:
        """What the requests see at a mean rate [1/s]."""
        arrival = self.arrivals(rate)
        done, answer = self.run(arrival), self.lengths()[1]
        with np.errstate(invalid="ignore", divide="ignore"):
            tpot = np.where(answer > 1.0, (done.finish - done.first) / (answer - 1.0), np.nan)
        # the engine hands out tokens later than it computes them
        plain = self.table.plain[1][0]
        prompt = self.lengths()[0]
        late = np.where(prompt > self.graph, np.maximum(self.starts - self.alone(prompt), 0.0), 0.0)
        lag = (
            self.latency
            + late
            + self.engine.lag_steps * np.where(np.isfinite(tpot), tpot * self.engine.accepted, plain)
        )
        ttft, latency = done.first - arrival + lag, done.finish - arrival + lag
        if not self.generated:
            span = float(np.max(done.finish + lag) - arrival[0])
            return Experience(ttft, tpot, latency, answer, span, len(arrival))
        cut = int(ENDS * len(arrival))
        kept = slice(cut, len(arrival) - cut)
        return Experience(
            ttft[kept], tpot[kept], latency[kept], answer[kept], len(arrival) / rate, float(len(arrival))
        )

    def alone(self, prompt: Any) -> Any:
        """Time of prompts in an empty engine [s]."""
        compute = np.maximum(np.ceil(prompt * (1.0 - self.cached)), 1.0)
        piece = np.minimum(compute, self.engine.chunk)
        step = np.interp(piece, self.table.prompts, self.table.seconds[0, :, 0])
        return (step / piece + self.table.beyond(prompt) / prompt) * compute

    def most(self) -> float:
        """Requests per second where the queue never empties.

        The steady state of the closed loop where all requests are alike; else so many requests at once that
        they fill the memory many times over, without the ends.
        """
        if np.ptp(self.unit.prompt) == np.ptp(self.unit.answer) == 0.0:
            return self.steady
        if "most" not in self.memory:
            held = min(
                float(self.engine.most), self.engine.room / max(float(np.mean(self.lengths()[2])), 1e-12)
            )
            count = int(max(len(self.unit.arrival), min(FILLS * held, MOST_REQUESTS)))
            ends = np.sort(self.run(np.zeros(count)).finish)
            low, high = int(ENDS * count), int((1.0 - ENDS) * count) - 1
            span = ends[high] - ends[low] if count >= LEAST_REQUESTS else 0.0
            self.memory["most"] = (high - low) / span if span > 0.0 else count / max(ends[-1], 1e-12)
        return self.memory["most"]

    def capacity(self, limits: tuple[float, float], share: float) -> float:
        """Highest rate [1/s] at which this share of the requests meets each limit; 0 if there is none."""
        high = self.most()
        if min(limits) == float("inf") and limits[0] == limits[1]:
            return high
        low = LEAST * high
        if not self.experience(low).keeps(limits, share):
            return 0.0
        if self.experience(high).keeps(limits, share):
            return high
        for _ in range(HALVINGS):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if self.experience(middle).keeps(limits, share) else (low, middle)
        return low
