"""A served model over a mesh: cost of its steps, memory, power, and the steady state of the closed loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from perfmodel.algebra import Value, maximum, minimum, total, where
from perfmodel.engine.fidelity import CostModel
from perfmodel.formats import Precision
from perfmodel.hardware.device import System
from perfmodel.scenario.corrections import IDEAL as NO_CORRECTION
from perfmodel.scenario.corrections import corrections
from perfmodel.scenario.feasible import divides, layers_of
from perfmodel.scenario.runtime import IDEAL as NO_RUNTIME
from perfmodel.scenario.runtime import Runtime
from perfmodel.scenario.runtime import runtime as runtime_of
from perfmodel.scenario.serving import ClosedLoop, FirstToken, StepTime, closed_loop, disaggregated
from perfmodel.scenario.serving_cost import WIDE, Hardware, Layout, Numbers, StepCost
from perfmodel.scenario.serving_counts import step_counts
from perfmodel.scenario.serving_engine import engine_step
from perfmodel.scenario.serving_power import board_power, utilisation
from perfmodel.scenario.solve import TOO_LARGE
from perfmodel.scenario.speculative import chain_tokens
from perfmodel.workload.workload import Workload

REASONS = (
    "",
    TOO_LARGE,
    "tp must divide the heads, widths and vocabulary that it splits",
    "tp x pp x dp of all workers must not exceed the devices of the system",
    "ep must divide tp x dp",
    "pp must not exceed the layers of the model",
    "rate must stay below what the instance can serve",
    "the cache of every request must fit beside the weights",
)
#: what may bound a step; index = code
BOUNDS = ("compute", "memory", "links", "overhead")
BEYOND_CAPACITY, REQUEST_TOO_LARGE = 6, 7


class Served:
    """One served instance over a mesh; all values are floats or open-mesh arrays.

    Prefix hits leave (1 - h) of a prompt to compute, whose attention still reads what is cached:
    (1 - h^2) of its FLOP.  Speculation verifies 1 + drafted tokens per request and step and keeps
    `chain_tokens` of them; drafting one token costs `draft_cost` of a plain step.  Pipeline stages work on
    as many groups of requests in turn, so all advance by a token in one cycle of the whole model over 1/pp of
    the tokens, and the hidden state travels pp - 1 times.
    """

    def __init__(
        self,
        *,
        workload: Workload,
        system: System,
        input: Value,
        output: Value,
        tp: Value,
        pp: Value,
        dp: Value,
        ep: Value,
        prefill_workers: Value,
        decode_workers: Value,
        prefix_hit: Value,
        drafted: Value,
        acceptance: Value,
        draft_cost: Value,
        ttft_limit: Value,
        tpot_limit: Value,
        precision: Precision,
        runtime: str | Runtime,
        fidelity: str,
        model: CostModel,
        ndim: int,
        concurrency: Value = None,
        **_: Any,
    ) -> None:
        self.workload, self.system, self.precision, self.model = workload, system, precision, model
        self.input, self.output, self.concurrency, self.ndim = input, output, concurrency, ndim
        self.tp, self.pp, self.dp, self.ep = tp, pp, dp, tp * dp if ep is None else ep
        #: experts of one replica are divided like its products unless `ep` says otherwise
        self.split = where(np.asarray(dp) > 1.0, self.ep, 1.0) if ep is None else ep
        self.prefill_workers, self.decode_workers = prefill_workers, decode_workers
        self.hit, self.drafted, self.draft_cost = prefix_hit, drafted, draft_cost
        self.accepted = chain_tokens(acceptance, drafted)
        self.limits, self.fidelity = (ttft_limit, tpot_limit), fidelity
        calibrated = fidelity == "calibrated"
        self.runtime = runtime_of(runtime) if calibrated else NO_RUNTIME
        self.fix = corrections("serving") if calibrated else NO_CORRECTION
        self.hardware = Hardware.of(system)
        kept = precision.format("weight")
        narrow = kept.bits < 16 <= precision.format("activation").bits
        self.numbers = Numbers.of(
            self.hardware,
            self.fix,
            precision.weight,
            precision.expert or precision.weight,
            precision.kv,
            narrow,
        )
        self.cost = self.step_cost(input, input + 0.5 * output)

    @property
    def width(self) -> Value:
        """Tokens that a running request brings to a step."""
        return 1.0 + self.drafted

    def step_cost(self, prompt: Value, context: Value) -> StepCost:
        """Cost of a step for prompts of `prompt` tokens and running requests of mean context `context`."""
        counts = step_counts(self.workload, context=context, prompt=prompt, tp=self.tp)
        counts = replace(counts, prompt_mixing=counts.prompt_mixing * (1.0 + self.hit))
        layout = Layout(self.tp, self.dp, self.tp * self.dp / self.ep, self.ep)
        return StepCost(
            counts,
            self.hardware,
            layout,
            self.numbers,
            self.runtime,
            self.fix,
            prompt,
            context,
            width=self.width,
        )

    def step(self, prompt: Value, context: Value) -> StepTime:
        """Duration of a step of the whole instance as a function of its decode and prefill tokens [s]."""
        if self.fidelity == "dataflow":
            plain = engine_step(
                self.workload,
                self.system,
                self.precision,
                self.model,
                prompt=prompt,
                context=context,
                tp=self.tp,
                dp=self.dp,
                ep=self.split,
            )
        else:
            plain = self.step_cost(prompt, context)

        drafting = self.drafted * self.draft_cost
        if np.all(self.pp == 1.0) and np.all(drafting == 0.0):
            return plain

        def time(decode: Value, prefill: Value) -> Value:
            # a stage holds at least one request
            group = maximum(decode / self.pp, minimum(decode, self.width))
            whole = plain(group, prefill / self.pp)
            return (
                whole
                + drafting * plain(group / self.width, 0.0 * prefill)
                + self.hops(group + prefill / self.pp)
            )

        return time

    def hops(self, tokens: Value) -> Value:
        """Time in which the hidden state of `tokens` tokens passes from stage to stage [s]."""
        hw, fix = self.hardware, self.fix
        link = where(self.tp * self.pp > hw.node, hw.far_link, hw.link) * fix.link
        one = fix.latency * hw.latency + tokens / self.dp * self.cost.counts.hidden * WIDE / link
        return (self.pp - 1.0) * where(tokens > 0.0, one, 0.0)

    def slots(self, tokens: Value) -> Value:
        """Requests of `tokens` cached tokens that the memory of the instance holds."""
        # stages divide weights and caches alike: as if one device had their memory together
        together = replace(self.hardware, capacity=self.hardware.capacity * self.pp)
        engine = replace(self.runtime, reserve=self.runtime.reserve * self.pp)
        return replace(self.cost, hardware=together, runtime=engine).slots(tokens)

    @property
    def held(self) -> Value:
        """Share of its answer for which a request holds memory: half on average where caches grow, or all."""
        return 0.5 + 0.5 * self.runtime.whole_waves

    @property
    def resident(self) -> Value:
        """Requests that the memory holds, on average."""
        return self.slots(self.input + self.held * self.output)

    def loop(self, concurrency: Value) -> ClosedLoop:
        """Steady state at a number of requests in flight."""
        engine = self.runtime
        step, prompt = self.step(self.input, self.input + 0.5 * self.output), self.input * (1.0 - self.hit)
        shared: dict[str, Any] = {
            "slots": self.resident,
            "chunk": engine.chunk,
            "first": FirstToken(
                engine.first_token, engine.first_steps, engine.burst, starts=self.cost.starts()
            ),
            "accepted": self.accepted,
            "drafted": self.drafted,
        }
        if self.prefill_workers is None:
            return closed_loop(step, concurrency, prompt, self.output, **shared)
        workers = {"prefill_workers": self.prefill_workers, "decode_workers": self.decode_workers}
        shared["transfer"] = self.cost.transfer(self.input, self.devices) / self.pp
        return disaggregated(step, step, concurrency, prompt, self.output, **workers, **shared)

    @property
    def devices(self) -> Value:
        """Devices of all instances."""
        workers = 1.0 if self.prefill_workers is None else self.prefill_workers + self.decode_workers
        return self.tp * self.pp * self.dp * workers

    @property
    def weights(self) -> Value:
        """Weights of one device [B]."""
        return self.cost.memory() / self.pp

    @property
    def room(self) -> Value:
        """Memory of one device that the engine may fill with weights and caches [B]."""
        limit = self.system.device.main_memory.capacity
        return self.runtime.memory_fraction * (np.inf if limit is None else limit) - self.runtime.reserve

    def reason(self, further: Mapping[int, Any] | None = None) -> Any:
        """Code of the first reason against each point, an index into REASONS."""
        layers = layers_of(self.workload)
        checks = {
            1: np.logical_not(self.weights <= self.room),
            2: np.logical_not(divides(self.workload, self.tp)),
            3: self.devices > self.system.count,
            4: np.mod(self.tp * self.dp, self.ep) != 0,
            5: np.asarray(self.pp) > layers,
            **(further or {}),
        }
        code: Any = np.zeros((), dtype=np.int64)
        for number, failed in sorted(checks.items(), reverse=True):
            code = np.where(failed, number, code)
        return code

    def closed(self) -> Mapping[str, Any]:
        """Metrics of the closed loop."""
        state = self.loop(self.concurrency)
        request = self.cost.request_cache(self.input + self.output) / self.pp
        large = {REQUEST_TOO_LARGE: np.logical_not(self.weights + request <= self.room)}
        latency = state.latency_of(self.output)
        good = (state.ttft <= self.limits[0]) & (state.tpot <= self.limits[1])
        data = {
            "ttft": state.ttft,
            "tpot": state.tpot,
            "latency": latency,
            "throughput": state.throughput,
            "request_rate": state.throughput / self.output,
            "goodput": state.throughput * good,
        }
        return self.finished(data, self.concurrency, state.resident, self.reason(large))

    def finished(
        self, data: Mapping[str, Value], requests: Value, resident: Value, reason: Any
    ) -> Mapping[str, Any]:
        """Metrics with energy and memory, and holes where there is a reason against a point."""
        data = {**data, **self.energy(requests, data["latency"], data["throughput"])}
        if np.any(reason > 0):
            hole = np.where(reason > 0, np.nan, 1.0)
            data = {name: value * hole for name, value in data.items()}
        bound = self.bound(data["throughput"], data["tpot"])
        per_token = self.cost.counts.stored_cache * self.cost.numbers.cache_bytes / self.cost.context
        # a point that cannot be has no requests in flight; one of them shows what is too much
        shown = np.where(np.isnan(requests), 1.0, requests)
        longest, usual = self.input + self.output, self.input + self.held * self.output
        cache = minimum(resident * usual, shown * longest) * per_token / self.dp / self.pp
        return {
            **data,
            "bound": bound,
            "concurrency": requests,
            "resident": resident,
            "weights": self.weights,
            "kv_cache": cache,
            "memory": self.weights + cache + self.runtime.reserve,
            "feasible": np.asarray(reason == 0, dtype=np.float64),
            "reason": reason,
        }

    def bound(self, throughput: Value, tpot: Value) -> Any:
        """What takes most of a mean step, an index into BOUNDS.

        Products compute for as long as their FLOP take at the rate they reach, and else wait for weights.
        """
        cost, counts, numbers = self.cost, self.cost.counts, self.cost.numbers
        workers = 1.0 if self.prefill_workers is None else self.decode_workers
        step = np.where(np.isnan(tpot), 0.0, tpot * self.accepted)
        running = throughput / workers * step / self.accepted
        prompts = throughput / self.output * self.input * (1.0 - self.hit) * step
        decode = running * self.width
        prefill = prompts if self.prefill_workers is None else 0.0 * prompts
        parts, plain = cost.parts(decode, prefill), cost.parts(decode, 0.0 * prefill)
        reached = self.fix.compute * self.runtime.compute
        tokens = (decode + prefill) / self.dp
        picks = counts.expert * counts.top_k / cost.layout.devices * (decode + prefill)
        work = {
            "dense": 2.0 * counts.dense * tokens / (numbers.dense_rate * reached),
            "head": 2.0 * counts.head * decode / self.dp / (numbers.wide_rate * reached),
            "experts": 2.0 * picks / (numbers.expert_rate * reached * self.fix.grouped),
        }
        busy = {name: minimum(time, parts[name]) for name, time in work.items()}
        busy["attention"] = parts["attention"] - plain["attention"]
        compute = total(busy.values())
        memory = total(parts[name] for name in (*busy, "elementwise")) - compute
        shares = (compute, memory, parts["collectives"], parts["kernels"] + parts["host"])
        return np.argmax(np.stack(np.broadcast_arrays(*shares)), axis=0)

    def energy(self, requests: Value, latency: Value, throughput: Value) -> dict[str, Value]:
        """Power of all boards and energy of a generated token."""
        memory, compute = utilisation(self.cost, requests / self.dp, self.input, self.output, latency)
        shared = 1.0 / self.pp  # each stage does its part of the work
        power = board_power(self.cost.hardware.power, memory * shared, compute * shared) * self.devices
        return {"power": power, "energy_per_token": power / throughput}
