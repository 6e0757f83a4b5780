"""The open loop over a mesh: percentiles, goodput and capacity of a served instance from replays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from perfmodel.algebra import Value
from perfmodel.errors import ArgumentError
from perfmodel.scenario.open_loop import Engine
from perfmodel.scenario.open_loop_point import PERCENTILES, TIMES, Point
from perfmodel.scenario.open_loop_requests import Requests, generate
from perfmodel.scenario.open_loop_steps import StepTables, at_point, step_tables
from perfmodel.scenario.served import BEYOND_CAPACITY, REQUEST_TOO_LARGE, Served

#: batch up to which steps are tabulated, also where fewer requests are replayed
LARGE_BATCH = 2048
#: requests in flight that stand for a memory without a limit
ENDLESS = 2.0**16
#: prompt tokens beyond any graph
LONG = 1e12


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
        slots = np.max(self.resident)
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

    def points(self) -> tuple[tuple[int, ...], Callable[[tuple[int, ...]], Point]]:
        """Shape of the mesh and a function index -> Point, which is the same where only the rate differs."""
        cost, engine = self.cost, self.runtime
        state = cost.request_cache(0.0) / self.pp / self.dp
        per_token = (cost.request_cache(1.0) - cost.request_cache(0.0)) / self.pp / self.dp
        most: Any = np.clip(self.resident, 1.0, ENDLESS)
        if self.max_batch is not None:
            most = np.minimum(most, float(self.max_batch))
        tables = self.tables()
        values = {
            "prompt": self.input,
            "answer": self.output,
            "cached": self.hit,
            "state": state,
            "per_token": per_token,
            "held": self.held,
            "starts": replace(cost, prompt=LONG).starts(),
            "steady": self.loop(most).throughput / self.output,
        }
        others = {
            "which": 0.0 if self.index is None else self.index,
            # one block of tokens at a time, so that the room is not rounded up to a whole request
            "room": self.slots(engine.block) * (state + per_token * engine.block),
            "accepted": self.accepted,
            "filling": 0.0 if self.prefill_workers is None else self.prefill_workers,
            "running": self.decode_workers,
            "fixed": cost.transfer(0.0, self.devices) / self.pp,
            "moved": (cost.transfer(1.0, self.devices) - cost.transfer(0.0, self.devices)) / self.pp,
        }
        known: dict[tuple[float, ...], Point] = {}

        def point(index: tuple[int, ...]) -> Point:
            table = tables.at(index)
            here: dict[str, Any] = {name: float(at_point(value, index)) for name, value in values.items()}
            more = {name: float(at_point(value, index)) for name, value in others.items()}
            key = (float(id(table)), *here.values(), *more.values())
            if key not in known:
                limit = self.max_batch or len(table.plain) - 1
                known[key] = Point(
                    table=table,
                    engine=Engine(
                        float(engine.chunk), limit, more["room"], more["accepted"], float(engine.first_steps)
                    ),
                    unit=self.units[int(more["which"])],
                    block=float(engine.block),
                    latency=float(engine.first_token),
                    graph=float(engine.graph),
                    generated=self.generated,
                    workers=(int(more["filling"]), int(more["running"])) if more["filling"] else None,
                    handover=(more["fixed"], more["moved"]),
                    **here,
                )
            return known[key]

        hardware = (self.tp, self.pp, self.dp, self.ep, self.devices, self.weights)
        all_values = (*values.values(), *others.values(), tables.seconds, self.rate, *self.limits, *hardware)
        shapes = [np.shape(v)[max(np.ndim(v) - self.ndim, 0) :] for v in all_values if v is not None]
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
                if not self.ndim:
                    most = f"below {here.most():.4g} 1/s, the most that the instance can serve"
                    raise ArgumentError("rate", rate, most)
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
        return self.finished(data, in_flight, self.resident, reason)

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
