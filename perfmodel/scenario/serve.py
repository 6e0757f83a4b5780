"""pm.serving: a model served to many requests at once, from the steady state of in-flight batching."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from perfmodel.algebra import Value, minimum
from perfmodel.arguments import choice, number, whole
from perfmodel.errors import ArgumentError
from perfmodel.formats import Precision
from perfmodel.formats import precision as precision_of
from perfmodel.hardware.catalog import system as system_of
from perfmodel.hardware.device import Device, System
from perfmodel.result import Result
from perfmodel.scenario.corrections import IDEAL as NO_CORRECTION
from perfmodel.scenario.corrections import corrections
from perfmodel.scenario.feasible import divides
from perfmodel.scenario.runtime import IDEAL as NO_RUNTIME
from perfmodel.scenario.runtime import Runtime
from perfmodel.scenario.runtime import runtime as runtime_of
from perfmodel.scenario.serving import ClosedLoop, FirstToken, closed_loop, disaggregated
from perfmodel.scenario.serving_cost import Hardware, Layout, Numbers, StepCost
from perfmodel.scenario.serving_counts import step_counts
from perfmodel.scenario.serving_interval import with_interval
from perfmodel.scenario.serving_power import board_power, utilisation
from perfmodel.scenario.solve import TOO_LARGE, Scenario
from perfmodel.workload.workload import Workload, language_model

REASONS = (
    "",
    TOO_LARGE,
    "tp must divide the heads, widths and vocabulary that it splits",
    "tp x dp must not exceed the devices of the system",
    "ep must divide tp x dp",
    "rate must stay below what the instance can serve",
)

#: requests in flight that an open loop may reach; halved this often when the rate is inverted
MOST_REQUESTS, HALVINGS = 2.0**16, 40


def serving(
    workload: str | Workload,
    system: str | Device | System,
    *,
    concurrency: Any = None,
    rate: Any = None,
    input: Any = 1024,
    output: Any = 128,
    tp: Any = 1,
    dp: Any = 1,
    ep: Any = None,
    prefill_workers: Any = None,
    decode_workers: Any = 1,
    precision: str | Mapping[str, str] | Precision = "bf16",
    runtime: str | Runtime = "vllm",
    fidelity: str = "calibrated",
    ttft_limit: Any = None,
    tpot_limit: Any = None,
    progress: Callable[[float], None] | None = None,
) -> Result:
    """Mean latency and throughput of in-flight batching in its steady state.

    concurrency      requests in flight at any time (closed loop); a request that ends is replaced at once
    rate             requests per second instead (open loop) [1/s]
    input, output    prompt and generated tokens of a request
    tp, dp           tensor-parallel devices, and attention replicas with requests of their own
    ep               devices that the experts of a layer are divided over (None: all tp x dp)
    prefill_workers  instances of tp x dp devices that only run prompts (disaggregated); None: prompts and
                     decode share the devices
    decode_workers   instances that only decode, beside prefill_workers
    runtime          serving engine: its host time, memory share, chunk of prompt tokens
    fidelity         ``calibrated``, or ``roofline``: no engine and no correction
    ttft_limit, tpot_limit  service objective [s]; goodput is 0 where the means miss it

    Metrics: ttft, tpot, latency [s], throughput [generated token/s], request_rate [1/s], goodput [token/s],
    concurrency, resident (requests that the memory holds), memory, weights [B per device], power [W, all
    devices], energy_per_token [J].  Any number may be a list: it becomes a named axis.
    """
    if (concurrency is None) == (rate is None):
        raise ArgumentError("concurrency, rate", f"{concurrency}, {rate}", "exactly one of the two")
    inputs: dict[str, Any] = {
        "concurrency": None if concurrency is None else whole("concurrency", concurrency),
        "rate": None if rate is None else number("rate", rate),
        "input": whole("input", input),
        "output": whole("output", output),
        "tp": whole("tp", tp),
        "dp": whole("dp", dp),
        "ep": None if ep is None else whole("ep", ep),
        "prefill_workers": None if prefill_workers is None else whole("prefill_workers", prefill_workers),
        "decode_workers": whole("decode_workers", decode_workers),
        "ttft_limit": np.inf if ttft_limit is None else number("ttft_limit", ttft_limit),
        "tpot_limit": np.inf if tpot_limit is None else number("tpot_limit", tpot_limit),
        "system": system_of(system),
        "workload": language_model(workload),
    }
    chosen = choice("fidelity", fidelity, ("roofline", "calibrated"))
    runtime_of(runtime)  # refuses an unknown name before anything is computed
    fixed: dict[str, Any] = {
        "precision": precision_of(precision),
        "runtime": runtime,
        "corrected": chosen == "calibrated",
    }
    result = SERVING.solve(inputs, fixed, chosen, progress=progress)
    return with_interval(result) if chosen == "calibrated" else result


class Served:
    """One served instance over a mesh; all values are floats or open-mesh arrays."""

    def __init__(
        self,
        *,
        workload: Workload,
        system: System,
        concurrency: Value,
        rate: Value,
        input: Value,
        output: Value,
        tp: Value,
        dp: Value,
        ep: Value,
        prefill_workers: Value,
        decode_workers: Value,
        ttft_limit: Value,
        tpot_limit: Value,
        precision: Precision,
        runtime: str | Runtime,
        corrected: bool,
        **_: Any,
    ) -> None:
        self.workload, self.system, self.input, self.output = workload, system, input, output
        self.concurrency, self.rate, self.limits = concurrency, rate, (ttft_limit, tpot_limit)
        self.tp, self.dp, self.ep = tp, dp, tp * dp if ep is None else ep
        self.prefill_workers, self.decode_workers = prefill_workers, decode_workers
        self.runtime = runtime_of(runtime) if corrected else NO_RUNTIME
        fix = corrections("serving") if corrected else NO_CORRECTION
        middle = input + 0.5 * output
        layout = Layout(tp, dp, tp * dp / self.ep, self.ep)
        hardware = Hardware.of(system)
        kept = precision.format("weight")
        narrow = kept.bits < 16 <= precision.format("activation").bits
        numbers = Numbers.of(
            hardware, fix, precision.weight, precision.expert or precision.weight, precision.kv, narrow
        )
        counts = step_counts(workload, context=middle, prompt=input, tp=tp)
        self.cost = StepCost(counts, hardware, layout, numbers, self.runtime, fix, input, middle)

    def loop(self, concurrency: Value) -> ClosedLoop:
        """Steady state at a number of requests in flight."""
        engine = self.runtime
        shared = {
            "slots": self.cost.slots(self.input + self.output),
            "chunk": engine.chunk,
            "first": FirstToken(engine.first_token, engine.first_steps, engine.burst),
        }
        if self.prefill_workers is None:
            return closed_loop(self.cost, concurrency, self.input, self.output, **shared)
        return disaggregated(
            self.cost,
            self.cost,
            concurrency,
            self.input,
            self.output,
            prefill_workers=self.prefill_workers,
            decode_workers=self.decode_workers,
            **shared,
        )

    def in_flight(self) -> Value:
        """Requests in flight: given, or those at which the closed loop serves the rate (Little's law)."""
        if self.rate is None:
            return self.concurrency
        low, high = 0.0 * self.rate + 1e-6, 0.0 * self.rate + MOST_REQUESTS
        for _ in range(
            HALVINGS
        ):  # the request rate grows with the requests in flight: bisect, all points at once
            middle = np.sqrt(low * high)
            served = self.loop(np.maximum(middle, 1.0)).throughput / self.output * np.minimum(middle, 1.0)
            low, high = np.where(served < self.rate, middle, low), np.where(served < self.rate, high, middle)
        return np.sqrt(low * high)

    def metrics(self) -> Mapping[str, Any]:
        """Metrics of the steady state."""
        requests = self.in_flight()
        state = self.loop(np.maximum(requests, 1.0))
        latency = state.latency_of(self.output)
        throughput = state.throughput if self.rate is None else self.rate * self.output
        device = self.system.device
        weights = self.cost.memory()
        per_request = self.cost.counts.stored_cache * self.cost.numbers.cache_bytes / self.cost.context
        cache = minimum(state.resident, requests) * per_request * (self.input + self.output) / self.dp
        limit = device.main_memory.capacity
        devices = (
            self.tp
            * self.dp
            * (1.0 if self.prefill_workers is None else self.prefill_workers + self.decode_workers)
        )
        checks = [
            weights + self.runtime.reserve > self.runtime.memory_fraction * limit
            if limit is not None
            else np.False_,
            np.logical_not(divides(self.workload, self.tp)),
            devices > self.system.count,
            np.mod(self.tp * self.dp, self.ep) != 0,
            np.False_ if self.rate is None else requests >= 0.99 * MOST_REQUESTS,
        ]
        reason: Any = np.zeros((), dtype=np.int64)
        for code, failed in reversed(list(enumerate(checks, start=1))):
            reason = np.where(failed, code, reason)
        good = (state.ttft <= self.limits[0]) & (state.tpot <= self.limits[1])
        data = {
            "ttft": state.ttft,
            "tpot": state.tpot,
            "latency": latency,
            "throughput": throughput,
            "request_rate": throughput / self.output,
            "goodput": throughput * good,
            **self.energy(requests, latency, throughput, devices),
        }
        if np.any(reason > 0):
            hole = np.where(reason > 0, np.nan, 1.0)
            data = {name: value * hole for name, value in data.items()}
        return {
            **data,
            "concurrency": requests,
            "resident": state.resident,
            "weights": weights,
            "kv_cache": cache,
            "memory": weights + cache + self.runtime.reserve,
            "feasible": np.asarray(reason == 0, dtype=np.float64),
            "reason": reason,
        }

    def energy(self, requests: Value, latency: Value, throughput: Value, devices: Value) -> dict[str, Value]:
        """Power of all boards and energy of a generated token."""
        memory, compute = utilisation(self.cost, requests / self.dp, self.input, self.output, latency)
        power = board_power(self.cost.hardware.power, memory, compute) * devices
        return {"power": power, "energy_per_token": power / throughput}


def _metrics(**point: Any) -> Mapping[str, Any]:
    return Served(**point).metrics()


SERVING = Scenario("serving", _metrics, reasons=REASONS, blame=("tp", "dp"))
