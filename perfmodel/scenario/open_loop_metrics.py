"""The open loop: percentiles, goodput and capacity of a served instance from replays of requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from perfmodel.algebra import Value
from perfmodel.scenario.open_loop import Engine, Replayed, replay
from perfmodel.scenario.open_loop_requests import Requests, generate
from perfmodel.scenario.open_loop_steps import StepTable, StepTables, at_point, step_tables
from perfmodel.scenario.served import BEYOND_CAPACITY, REQUEST_TOO_LARGE, Served

PERCENTILES = (50, 90, 99)
TIMES = ("ttft", "tpot", "latency")
#: part of generated requests that is not counted, at each end: the instance fills and drains
ENDS = 0.1
#: requests that show the most that an instance can serve: times what it holds, at most, and at least
FILLS, MOST_REQUESTS, LEAST_REQUESTS = 10.0, 20_000, 20
#: batch up to which steps are tabulated, also where fewer requests are replayed
LARGE_BATCH = 2048
#: requests in flight that stand for a memory without a limit
ENDLESS = 2.0**16
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
    need        (state, per token) memory of a request; block: tokens that are allocated together
    latency     of handling a request [s]; generated: the ends are not counted
    steady      requests per second of the closed loop with a full memory
    workers     (prefill, decode) instances; None: prompts and decode share the instance
    """

    table: StepTable
    engine: Engine
    unit: Requests
    prompt: float
    answer: float
    cached: float
    need: tuple[float, float]
    block: float
    latency: float
    generated: bool
    steady: float
    workers: tuple[int, int] | None = None
    memory: dict[str, float] = field(default_factory=dict)

    def lengths(self, count: int | None = None) -> tuple[Any, Any, Any]:
        """Prompt and answer tokens, and memory of every request; of `count`, which repeat them."""
        prompt = np.maximum(np.round(self.unit.prompt * self.prompt), 1.0)
        answer = np.maximum(np.round(self.unit.answer * self.answer), 1.0)
        if count is not None:
            prompt, answer = np.resize(prompt, count), np.resize(answer, count)
        state, per_token = self.need
        return prompt, answer, state + per_token * np.ceil((prompt + answer) / self.block) * self.block

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
        lag = self.latency + self.engine.lag_steps * np.where(
            np.isfinite(tpot), tpot * self.engine.accepted, plain
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


class Opened(Served):
    """A served instance with arrivals of its own over a mesh."""

    def __init__(
        self,
        *,
        rate: Value,
        trace_index: Value,
        trace: Requests | tuple[Requests, ...] | None,
        requests: int,
        burstiness: float,
        input_cv: float,
        output_cv: float,
        seed: int,
        max_batch: int | None,
        percentile: float,
        input: Value = None,
        output: Value = None,
        **rest: Any,
    ) -> None:
        if trace is None:
            self.units: tuple[Requests, ...] = (
                generate(requests, burstiness=burstiness, input_cv=input_cv, output_cv=output_cv, seed=seed),
            )
        else:
            trace = (trace,) if isinstance(trace, Requests) else trace
            index = np.asarray(0 if trace_index is None else trace_index, dtype=np.int64)
            input, output = (
                _own(np.array([np.mean(getattr(t, name)) for t in trace])[index])
                for name in ("prompt", "answer")
            )
            self.units = tuple(_relative(t) for t in trace)
        super().__init__(input=input, output=output, **rest)
        self.rate, self.index, self.generated = rate, trace_index, trace is None
        self.share, self.max_batch = percentile, max_batch

    def tables(self) -> StepTables:
        """Durations of steps at all points."""
        most = max(LARGE_BATCH, *(len(unit.arrival) for unit in self.units))
        slots = np.max(self.slots(self.input + self.output))
        longest = max(
            float(np.max(self.input)) * np.max(u.prompt) + float(np.max(self.output)) * np.max(u.answer)
            for u in self.units
        )
        return step_tables(
            self.step,
            most=int(min(most, self.max_batch or most, 2.0 * slots + 1.0)),
            chunk=float(self.runtime.chunk),
            mean=self.input,
            relative=np.concatenate([u.prompt for u in self.units]),
            longest=longest,
            ndim=self.ndim,
            width=self.width,
        )

    def points(self) -> tuple[tuple[int, ...], Any]:
        """Shape of the mesh and a function index -> Point, which is the same where only the rate differs."""
        cost, engine = self.cost, self.runtime
        state = cost.request_cache(0.0) / self.pp / self.dp
        per_token = (cost.request_cache(1.0) - cost.request_cache(0.0)) / self.pp / self.dp
        # one block of tokens at a time, so that the room is not rounded up to a whole request
        room = self.slots(engine.block) * (state + per_token * engine.block)
        most: Any = np.clip(self.slots(self.input + self.output), 1.0, ENDLESS)
        if self.max_batch is not None:
            most = np.minimum(most, float(self.max_batch))
        tables = self.tables()
        known: dict[tuple[Any, ...], Point] = {}
        parts = (
            0.0 if self.index is None else self.index,
            self.input,
            self.output,
            self.hit,
            state,
            per_token,
            room,
            self.accepted,
            0.0 if self.prefill_workers is None else self.prefill_workers,
            self.decode_workers,
            self.loop(most).throughput / self.output,
        )

        def point(index: tuple[int, ...]) -> Point:
            found = tuple(float(at_point(value, index)) for value in parts)
            which, prompt, answer, hit, fixed, each, memory, accepted, filling, running, steady = found
            table = tables.at(index)
            key = (id(table), *found)
            if key not in known:
                limit = self.max_batch or len(table.plain) - 1
                known[key] = Point(
                    table,
                    Engine(float(engine.chunk), limit, memory, accepted, float(engine.first_steps)),
                    self.units[int(which)], prompt, answer, hit, (fixed, each), float(engine.block),
                    float(engine.first_token), self.generated,
                    steady,
                    (int(filling), int(running)) if filling else None,
                )  # fmt: skip
            return known[key]

        hardware = (self.tp, self.pp, self.dp, self.ep, self.devices, self.weights)
        values = (*parts, tables.seconds, self.rate, *self.limits, *hardware)
        shapes = [np.shape(v)[max(np.ndim(v) - self.ndim, 0) :] for v in values if v is not None]
        return np.broadcast_shapes(*shapes, (1,) * self.ndim), point

    def metrics(self) -> Mapping[str, Any]:
        """Metrics of every point."""
        static = self.reason()
        shape, point = self.points()
        shape = np.broadcast_shapes(shape, np.shape(static))
        found: dict[str, Any] = {}
        code = np.zeros(shape, dtype=np.int64)
        for index in np.ndindex(shape):
            if at_point(static, index):
                continue
            here = point(index)
            rate = here.unit.rate if self.rate is None else float(at_point(self.rate, index))
            if not here.fits:
                code[index] = REQUEST_TOO_LARGE
            elif self.generated and rate >= here.most():
                code[index] = BEYOND_CAPACITY
            else:
                limits = tuple(float(at_point(limit, index)) for limit in self.limits)
                for name, value in here.experience(rate).metrics((limits[0], limits[1])).items():
                    found.setdefault(name, np.full(shape, np.nan))[index] = value
        names = [*TIMES, *(f"{t}_p{p}" for t in TIMES for p in PERCENTILES)]
        names += ["throughput", "request_rate", "goodput", "attainment", "in_flight"]
        data = {name: _own(found.get(name, np.full(shape, np.nan))) for name in names}
        reason = np.where(static > 0, static, code)
        in_flight = data.pop("in_flight")
        return self.finished(data, in_flight, self.slots(self.input + self.output), reason)

    def capacity(self) -> Mapping[str, Any]:
        """Highest rate that keeps the objective [1/s], at every point that can be."""
        static = self.reason()
        shape, point = self.points()
        shape = np.broadcast_shapes(shape, np.shape(static))
        found, known = np.full(shape, np.nan), {}
        for index in np.ndindex(shape):
            if at_point(static, index):
                continue
            here = point(index)
            if here.fits:
                limits = (float(at_point(self.limits[0], index)), float(at_point(self.limits[1], index)))
                key = (id(here), limits)
                if key not in known:
                    known[key] = here.capacity(limits, self.share)
                found[index] = known[key]
        return {"capacity": _own(found)}


def _relative(trace: Requests) -> Requests:
    """A trace with lengths over their means."""
    prompt, answer = trace.prompt / np.mean(trace.prompt), trace.answer / np.mean(trace.answer)
    return Requests(trace.name, trace.arrival, prompt, answer)


def _own(value: Any) -> Any:
    """A float for an array without dimensions."""
    array = np.asarray(value)
    return array if array.ndim else float(array)
