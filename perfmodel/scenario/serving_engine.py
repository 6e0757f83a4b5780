"""A serving step through the cost engine: the same steady state at any fidelity of the ops."""

from __future__ import annotations

from collections.abc import Sequence

from perfmodel.algebra import Value, maximum, total, where
from perfmodel.engine.fidelity import CostModel
from perfmodel.formats import Precision
from perfmodel.hardware.device import System
from perfmodel.ops.core import Op
from perfmodel.scenario.serving import StepTime
from perfmodel.scenario.serving_counts import is_mixing, is_tail
from perfmodel.workload.transforms import tensor_parallel
from perfmodel.workload.workload import Workload

#: stands for no token where an op needs at least some
HARDLY_ANY = 1e-9


def engine_step(
    workload: Workload, system: System, precision: Precision, model: CostModel, *, prompt: Value,
    context: Value, tp: Value = 1.0,
) -> StepTime:
    """Duration of a step as a function of its decode and prefill tokens, from the ops of the workload [s].

    prompt   tokens of a prompt; context: cached tokens of a decode token

    Products and elementwise ops run once over the tokens of both kinds, so their weights are read once;
    attention of running requests and of prompts are passes of their own.
    """

    def ops(batch: Value, query: Value, seen: Value) -> Sequence[Op]:
        graph = workload.graph(batch=maximum(batch, HARDLY_ANY), query=query, context=seen, logits="last")
        return tensor_parallel(tp)(graph).ops

    def time(chosen: Sequence[Op], present: Value) -> Value:
        return where(present > 0.0, total(model(op, system, precision).time for op in chosen), 0.0)

    def step(decode: Value, prefill: Value) -> Value:
        tokens, prompts = decode + prefill, prefill / prompt
        shared = [op for op in ops(tokens, 1.0, context) if not is_mixing(op) and not is_tail(op)]
        tails = [op for op in ops(decode + prompts, 1.0, context) if is_tail(op)]
        running = [op for op in ops(decode, 1.0, context) if is_mixing(op)]
        filling = [op for op in ops(prompts, prompt, prompt) if is_mixing(op)]
        return (
            time(shared, tokens) + time(tails, tokens) + time(running, decode) + time(filling, prefill)
        )

    return step
