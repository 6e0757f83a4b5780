"""pm.serving: a model served to many requests at once, in a closed loop or with arrivals of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from perfmodel.arguments import choice, number, whole
from perfmodel.axes import Axis
from perfmodel.engine.fidelity import FIDELITIES
from perfmodel.errors import ArgumentError, nearest
from perfmodel.formats import Precision
from perfmodel.formats import precision as precision_of
from perfmodel.hardware.catalog import system as system_of
from perfmodel.hardware.device import Device, System
from perfmodel.result import Result
from perfmodel.scenario.open_loop_metrics import Opened
from perfmodel.scenario.open_loop_requests import Requests, traces
from perfmodel.scenario.runtime import Runtime
from perfmodel.scenario.runtime import runtime as runtime_of
from perfmodel.scenario.served import BOUNDS, REASONS, Served
from perfmodel.scenario.serving_interval import factors, quantiles, with_interval
from perfmodel.scenario.solve import Scenario
from perfmodel.workload.workload import Workload, language_model

#: what an objective may hold
OBJECTIVE = ("ttft", "tpot", "percentile")


def serving(
    workload: str | Workload,
    system: str | Device | System,
    *,
    concurrency: Any = None,
    rate: Any = None,
    trace: Any = None,
    slo: Mapping[str, Any] | None = None,
    input: Any = 1024,
    output: Any = 128,
    tp: Any = 1,
    pp: Any = 1,
    dp: Any = 1,
    ep: Any = None,
    prefill_workers: Any = None,
    decode_workers: Any = 1,
    prefix_hit: Any = 0.0,
    drafted: Any = 0,
    acceptance: Any = 0.8,
    draft_cost: Any = 0.0,
    precision: str | Mapping[str, str] | Precision = "bf16",
    runtime: str | Runtime = "vllm",
    fidelity: str = "calibrated",
    max_batch: int | None = None,
    requests: int = 2000,
    burstiness: float = 1.0,
    input_cv: float = 0.0,
    output_cv: float = 0.0,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Result:
    """Latency, throughput and capacity of in-flight batching.

    Closed loop: the steady state as a formula.

    concurrency      requests in flight at any time; a request that ends is replaced at once

    Open loop: requests arrive by themselves and are replayed through the engine.

    rate             mean requests per second [1/s]; alone: `requests` generated ones, of which the first and
                     the last tenth are not counted
    trace            path of a CSV file with columns arrival_s, prefill_tokens, decode_tokens (``path:name``
                     for one trace of several, else they become an axis), rows of these, or a mapping of
                     columns; with a rate: its arrivals stretched to that mean rate
    burstiness       coefficient of variation of the gaps between generated requests (1: Poisson)
    input_cv, output_cv, seed  the same of their lengths (gamma distributed); which random numbers
    max_batch        most requests in the engine at once (None: as many as memory holds)

    Both:

    slo              objective: ``{"ttft": s, "tpot": s, "percentile": 0.9}``, each may be left out
    input, output    prompt and generated tokens of a request, or their means
    tp, pp, dp       tensor- and pipeline-parallel devices, and attention replicas with requests of their own
    ep               devices that the experts of a layer are divided over (None: all tp x dp)
    prefill_workers  instances of tp x pp x dp devices that only run prompts (disaggregated); None: prompts
                     and decode share the devices.  decode_workers: instances that only decode, beside them
    prefix_hit       share of the prompt tokens whose cache is there already
    drafted          tokens that speculation drafts per step; acceptance: probability that one is kept given
                     the ones before it; draft_cost: time to draft one over that of a plain step
    runtime          serving engine: its host time, memory share, chunk of prompt tokens
    fidelity         ``calibrated``; ``roofline``: no engine and no correction; ``dataflow``: kernel models
                     with their documented starts, no engine

    Metrics: ttft, tpot, latency [s], throughput [generated token/s], request_rate [1/s], goodput [token/s of
    requests that meet the objective; closed loop: 0 where the means miss it], concurrency, resident (requests
    that the memory holds), memory, weights [B per device], power [W, all devices], energy_per_token [J],
    bound (compute, memory, links or overhead: what takes most of a mean step).  Open loop also: ttft_p50,
    _p90, _p99, the same of tpot and latency, attainment (share of requests that meet the objective), and,
    computed when asked for, capacity [1/s]: the highest rate at which `percentile` of the requests keep each
    limit.  Any number may be a list: it becomes a named axis.
    """
    if concurrency is not None and (rate is not None or trace is not None):
        raise ArgumentError("concurrency, rate, trace", "concurrency and another", "exactly one of the three")
    if concurrency is None and rate is None and trace is None:
        allowed = "exactly one of the three, or a trace at a rate"
        raise ArgumentError("concurrency, rate, trace", "none", allowed)
    chosen = choice("fidelity", fidelity, FIDELITIES)
    runtime_of(runtime)  # refuses an unknown name before anything is computed
    objective = _objective(slo)
    inputs: dict[str, Any] = {
        "concurrency": None if concurrency is None else whole("concurrency", concurrency),
        "rate": None if rate is None else number("rate", rate),
        "input": whole("input", input),
        "output": whole("output", output),
        "tp": whole("tp", tp),
        "pp": whole("pp", pp),
        "dp": whole("dp", dp),
        "ep": None if ep is None else whole("ep", ep),
        "prefill_workers": None if prefill_workers is None else whole("prefill_workers", prefill_workers),
        "decode_workers": whole("decode_workers", decode_workers),
        "prefix_hit": _share("prefix_hit", prefix_hit),
        "drafted": whole("drafted", drafted, low=0.0),
        "acceptance": _share("acceptance", acceptance),
        "draft_cost": number("draft_cost", draft_cost, above=False),
        "ttft_limit": objective["ttft"],
        "tpot_limit": objective["tpot"],
        "system": system_of(system),
        "workload": language_model(workload),
    }
    fixed: dict[str, Any] = {
        "precision": precision_of(precision),
        "runtime": runtime,
        "fidelity": chosen,
        "slo": slo,
    }
    replay = {
        "max_batch": None if max_batch is None else int(_one("max_batch", max_batch, low=1.0, whole=True)),
        "requests": int(_one("requests", requests, low=10.0, high=1e7, whole=True)),
        "burstiness": _one("burstiness", burstiness, high=10.0),
        "input_cv": _one("input_cv", input_cv, high=10.0),
        "output_cv": _one("output_cv", output_cv, high=10.0),
        "seed": int(_one("seed", seed, high=2.0**53, whole=True)),
        "percentile": objective["percentile"],
    }
    if concurrency is not None:
        for name, usual in (("max_batch", None), ("burstiness", 1.0), ("input_cv", 0.0), ("output_cv", 0.0)):
            if replay[name] != usual:
                raise ArgumentError(name, replay[name], "a rate or a trace; the closed loop is steady")
        result = CLOSED.solve(inputs, fixed, chosen, progress=progress)
        return with_interval(result) if chosen == "calibrated" else result
    fixed |= replay
    result = _opened(inputs, fixed, trace, progress)
    known = chosen == "calibrated" and {"ttft", "tpot"} <= set(quantiles())
    return replace(result, band=partial(_open_end, result, inputs, fixed)) if known else result


def _open_end(result: Result, inputs: Mapping[str, Any], fixed: Mapping[str, Any], which: str) -> Result:
    """One end of the interval: all times are longer or shorter, the requests arrive as they did.

    What the objective makes of that is answered by a replay against limits that are changed instead.
    """
    times = factors(which)
    limits = {f"{name}_limit": _over(inputs[f"{name}_limit"], times[name]) for name in ("ttft", "tpot")}
    end = OPEN.solve({**inputs, **limits}, fixed, fixed["fidelity"])
    data = {name: value * times.get(name, 1.0) for name, value in end.data.items()}
    data["concurrency"] = data["concurrency"] * times["latency"]
    return replace(end, axes=result.axes, data=data, inputs=result.inputs, band=None)


def _over(limit: Any, factor: float) -> Any:
    return Axis(limit.name, limit.values / factor) if isinstance(limit, Axis) else limit / factor


def _opened(
    inputs: dict[str, Any], fixed: dict[str, Any], trace: Any, progress: Callable[[float], None] | None
) -> Result:
    """The open loop; several traces become an axis with their names."""
    found: tuple[Requests, ...] | None = None if trace is None else traces(trace)
    fixed["trace"] = found if found is None or len(found) > 1 else found[0]
    inputs["trace_index"] = None
    if found is None:
        return OPEN.solve(inputs, fixed, fixed["fidelity"], progress=progress)
    if inputs["rate"] is not None and any(np.isinf(one.rate) for one in found):
        raise ArgumentError("rate", "arrivals at one time", "no rate, or a trace that spans some time")
    if any(inputs[name] != usual for name, usual in (("input", 1024.0), ("output", 128.0))):
        raise ArgumentError("input, output", "with a trace", "none: the trace has the lengths")
    for name in ("input", "output"):
        del inputs[name]
    if len(found) == 1:
        return OPEN.solve(inputs, fixed, fixed["fidelity"], progress=progress)
    inputs["trace_index"] = Axis("trace", np.arange(float(len(found))))
    result = OPEN.solve(inputs, fixed, fixed["fidelity"], progress=progress)
    return replace(result, axes={**result.axes, "trace": np.array([t.name for t in found], dtype=object)})


def _objective(slo: Mapping[str, Any] | None) -> dict[str, Any]:
    """Limits [s] (inf: none) and percentile of an objective."""
    given = {} if slo is None else slo
    if not isinstance(given, Mapping):
        raise ArgumentError("slo", slo, 'a mapping such as {"ttft": 0.5, "tpot": 0.05, "percentile": 0.9}')
    for name in given:
        if name not in OBJECTIVE:
            raise ArgumentError(
                f"slo.{name}", given[name], ", ".join(OBJECTIVE), nearest(str(name), OBJECTIVE)
            )
    limits = {
        name: number(f"slo.{name}", given[name]) if name in given else float("inf")
        for name in ("ttft", "tpot")
    }
    share = _one("slo.percentile", given.get("percentile", 0.9), low=1e-6, high=1.0)
    return {**limits, "percentile": share}


def _one(name: str, value: Any, **limits: Any) -> float:
    """A single number within limits that count themselves."""
    found = number(name, value, above=False, **limits)
    if not isinstance(found, float):
        raise ArgumentError(name, value, "one number, not a list")
    return found


def _share(name: str, value: Any) -> Any:
    """Numbers from 0 to below 1."""
    found = number(name, value, above=False, high=1.0)
    if np.any(np.asarray(found.values if isinstance(found, Axis) else found) == 1.0):
        raise ArgumentError(name, value, "at least 0 and below 1, or a list of such numbers")
    return found


def _closed(**point: Any) -> Mapping[str, Any]:
    return Served(**point).closed()


def _open(**point: Any) -> Mapping[str, Any]:
    return Opened(**point).metrics()


def _capacity(**point: Any) -> Mapping[str, Any]:
    return Opened(**point).capacity()


LABELS = {"bound": BOUNDS}
CLOSED = Scenario("serving", _closed, reasons=REASONS, labels=LABELS, blame=("tp", "pp", "dp", "concurrency"))
OPEN = Scenario(
    "serving",
    _open,
    more={"capacity": _capacity},
    reasons=REASONS,
    labels=LABELS,
    blame=("tp", "pp", "dp", "rate"),
)
