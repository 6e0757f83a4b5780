"""Serving at a fixed number of requests in flight: the steady state of in-flight batching as a closed form.

The queueing logic is kept apart from the cost of a step.  A step is one pass of the engine over `decode`
tokens (one per running request) and `prefill` tokens (pieces of prompts); its duration comes from any
function ``step_time(decode, prefill) -> [s]``: the corrected roofline of `serving_cost`, a kernel model, or a
constant in a test.

Steady state of N resident requests, I prompt and O output tokens each (mean values [1], scheduler of [2]):

    S = O + TTFT/t                             steps that a request is resident
    D = 1 + (N - 1) O/S                        decode tokens of a step that a running request sees
    m = (N - 1) I/S                            prompt tokens that the others add to it, on average
    t = step(D, 0) + m/n (step(D, n) - step(D, 0)),  n = tokens of a step that carries prompt pieces
    TTFT = first token of the runtime + pieces x step(D - 1, I/pieces) + wait behind other prompts

A measured run starts all requests at once: of `rounds` requests per client the first finds N prompts waiting.
Its mean time to first token is ``TTFT + (first wave - TTFT)/rounds``, with chunks of ``b = min(N I, chunk)``:

    first wave = first token of the runtime + (N I/b + max(1, I/b))/2 x step(N/2, b)

and ``(C - N)/throughput`` more where the memory holds only N < C requests.  One request alone meets neither
others' prompts nor a queue: TTFT is its prefill and TPOT its decode step.

References
[1] Reiser, Lavenberg, Mean-value analysis of closed multichain queuing networks, JACM 27(2), 1980,
    doi:10.1145/322186.322195.
[2] Agrawal et al., Sarathi-Serve (chunked prefill, mixed steps), arXiv:2403.02310.
[3] Zhong et al., DistServe (disaggregated prefill and decode), arXiv:2401.09670.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from perfmodel.algebra import Value, ceil, floor, maximum, minimum

#: (decode tokens, prefill tokens) of one engine step -> duration [s]
StepTime: TypeAlias = Callable[[Value, Value], Value]

#: Fixed-point rounds; the map is a damped contraction, six leave less than 1e-3.
ROUNDS = 8


@dataclass(frozen=True)
class FirstToken:
    """What a runtime adds to the first token beside the prefill itself.

    latency  request handling before and after the engine [s]
    steps    engine steps that pass before a new request is scheduled and its token is handed out
    burst    share of the other requests that arrive together with this one (closed-loop clients in phase)
    rounds   requests that each client sends in all, the first of them at the same time; inf: steady state
    starts   time to start the kernels of a prompt without a graph, which hides behind their work [s]
    """

    latency: Value = 0.0
    steps: Value = 0.0
    burst: Value = 0.0
    rounds: Value = float("inf")
    starts: Value = 0.0


@dataclass(frozen=True)
class ClosedLoop:
    """Steady state at a fixed concurrency.

    ttft, tpot  mean time to first token and per further token [s]
    throughput  output tokens per second of the instance
    resident    requests that the memory holds at once
    running     decode tokens of a step, of them
    step        duration of a step [s]
    """

    ttft: Value
    tpot: Value
    throughput: Value
    resident: Value
    running: Value
    step: Value

    @property
    def latency_of(self) -> Callable[[Value], Value]:
        """End-to-end latency of a request with this many output tokens [s]."""
        return lambda output: self.ttft + (output - 1.0) * self.tpot


def closed_loop(
    step_time: StepTime,
    concurrency: Value,
    input: Value,
    output: Value,
    *,
    slots: Value = float("inf"),
    chunk: Value = 8192.0,
    first: FirstToken = FirstToken(),
    accepted: Value = 1.0,
    drafted: Value = 0.0,
) -> ClosedLoop:
    """Aggregated serving: prefill and decode share the devices and the steps.

    step_time      duration of a step with (decode, prefill) tokens [s]
    concurrency    requests in flight, C
    input, output  prompt and output tokens of each request
    slots          requests whose cache fits in memory
    chunk          most prefill tokens of one step
    first          overheads of the first token
    accepted       output tokens per decode step, 1 without speculation
    drafted        further tokens verified in each step

    All arguments may be arrays that broadcast.
    """
    resident = minimum(concurrency, slots)
    pieces = ceil(input / chunk)
    piece = input / pieces
    steps = maximum(output - 1.0, 1.0) / accepted
    width = 1.0 + drafted
    others = resident - 1.0
    stay = steps
    for turn in range(ROUNDS):
        running = others * steps / stay
        plain = step_time((1.0 + running) * width, 0.0 * piece)
        prompts = others * input / stay
        load = minimum(maximum(prompts, piece), maximum(piece, chunk))
        mixed = step_time((1.0 + running) * width, load)
        step = plain + minimum(prompts / load, 1.0) * (mixed - plain)
        prefill = maximum(pieces * step_time(running * width, piece), first.starts)
        wait = first.burst * others * (mixed - plain) * input / load
        ttft = first.latency + first.steps * step + prefill + wait
        # prompts cannot enter faster than a chunk per step
        needed = maximum(steps + ttft / step, resident * input / maximum(piece, chunk))
        stay = needed if turn == 0 else 0.5 * (stay + needed)
    ttft = maximum(ttft, (stay - steps) * step)
    wave = first.latency + first_wave(step_time, resident, input, chunk, width, first.starts)
    ttft = ttft + maximum(wave - ttft, 0.0) / first.rounds
    rate = resident / (ttft + steps * step)
    queue = maximum(concurrency - resident, 0.0) / rate
    return ClosedLoop(ttft + queue, step / accepted, rate * output, resident, 1.0 + running, step)


def first_wave(
    step_time: StepTime, requests: Value, input: Value, chunk: Value, width: Value = 1.0, starts: Value = 0.0
) -> Value:
    """Mean time to the first token of requests that start together [s].

    Steps carry chunks until all prompts are through; a prompt ends with the chunk that holds its last token.
    A step lasts at least as long as the host takes to start its kernels.
    """
    load = minimum(requests * input, chunk)
    full = maximum(step_time(0.5 * requests * width, load), starts)
    return 0.5 * (requests * input / load + maximum(1.0, input / load)) * full


def disaggregated(
    prefill_time: StepTime,
    decode_time: StepTime,
    concurrency: Value,
    input: Value,
    output: Value,
    *,
    prefill_workers: Value = 1.0,
    decode_workers: Value = 1.0,
    slots: Value = float("inf"),
    chunk: Value = 8192.0,
    transfer: Value = 0.0,
    first: FirstToken = FirstToken(),
    accepted: Value = 1.0,
    drafted: Value = 0.0,
) -> ClosedLoop:
    """Disaggregated serving [3]: prompts run on their own workers, decode steps carry no prompt.

    prefill_time, decode_time  step functions of one worker of each kind
    slots                      requests that the cache of one decode worker holds
    transfer                   time to move the cache of a request [s]

    The prefill workers are a station with service time s: utilisation ``u = rate s / workers``, mean wait of
    a deterministic server ``s u/(2 (1 - u))`` but no more than the queue of a closed loop allows; when they
    saturate, the rate is theirs and the rest of the cycle is waiting.
    """
    pieces = ceil(input / chunk)
    service = maximum(pieces * prefill_time(0.0 * input, input / pieces), first.starts)
    steps = maximum(output - 1.0, 1.0) / accepted
    share = minimum(concurrency / decode_workers, slots)
    step = decode_time(share * (1.0 + drafted), 0.0 * input)
    ttft = service
    running = share
    for _ in range(ROUNDS):
        rate = minimum(concurrency, share * decode_workers) / (ttft + transfer + steps * step)
        busy = minimum(rate * service / prefill_workers, 0.95)
        line = maximum(concurrency / prefill_workers - 1.0, 0.0)
        wait = minimum(service * busy / (2.0 * (1.0 - busy)) + first.burst * line * service, line * service)
        bare = first.latency + first.steps * step + service + wait
        saturated = concurrency * service / prefill_workers - steps * step
        ttft = 0.5 * (ttft + maximum(bare, saturated))
        running = maximum(minimum(rate * steps * step / decode_workers, slots), minimum(share, 1.0))
        step = decode_time(running * (1.0 + drafted), 0.0 * input)
    rate = minimum(concurrency, share * decode_workers) / (ttft + transfer + steps * step)
    queue = maximum(concurrency - share * decode_workers, 0.0) / rate
    first_token = ttft + transfer + queue
    return ClosedLoop(first_token, step / accepted, rate * output, share * decode_workers, running, step)


def static_batch(
    prefill_time: StepTime,
    decode_time: StepTime,
    batch: Value,
    input: Value,
    output: Value,
    *,
    slots: Value = float("inf"),
    chunk: Value = 8192.0,
    whole_waves: Value = 1.0,
) -> Value:
    """End-to-end latency of `batch` equal requests that start together [s].

    whole_waves  1: the cache of input + output is reserved at the start, so requests beyond the slots run in
                 further waves of equal size; 0: requests enter as others leave

    ``waves (prefill + (output - 1) decode step)``.
    """
    rounds = waves(batch, slots, whole_waves)
    size = batch / rounds
    load = minimum(size * input, maximum(chunk, 1.0))
    prefill = prefill_time(0.0 * size, load) * (size * input / load)
    return rounds * (prefill + maximum(output - 1.0, 0.0) * decode_time(size, 0.0 * size))


def waves(batch: Value, slots: Value, whole: Value = 1.0) -> Value:
    """Rounds in which a batch passes through the slots: whole ones, or the mean where requests overlap."""
    fluid = maximum(batch / maximum(slots, 1.0), 1.0)
    return fluid + whole * (maximum(ceil(batch / maximum(floor(slots), 1.0)), 1.0) - fluid)


def cache_slots(
    capacity: Value,
    weights: Value,
    cache_per_token: Value,
    tokens: Value,
    *,
    state: Value = 0.0,
    memory_fraction: Value = 0.9,
    reserve: Value = 0.0,
    block: Value = 1.0,
) -> Value:
    """Requests whose cache fits beside the weights, ``(f capacity - W - reserve)/(state + cache of one)``.

    capacity, weights, reserve  of one device [B]; cache_per_token [B], state [B] of one request on one device
    tokens                      cached tokens of a request, rounded up to blocks of `block`
    memory_fraction             part of the capacity that the runtime may use

    At least one request: whether the weights fit at all is for the caller to refuse.
    """
    room = memory_fraction * capacity - weights - reserve
    return maximum(room / (state + cache_per_token * ceil(tokens / block) * block), 1.0)
