"""A serving step through the cost engine: the same steady state at any fidelity of the ops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perfmodel.algebra import Value, maximum, total, where
from perfmodel.engine.fidelity import CostModel
from perfmodel.engine.rates import domains
from perfmodel.formats import Precision
from perfmodel.hardware.device import System
from perfmodel.ops.core import Op
from perfmodel.scenario.serving import StepTime
from perfmodel.scenario.serving_counts import is_expert, is_mixing, is_tail
from perfmodel.workload.graph import Graph
from perfmodel.workload.partition import expert_parallel
from perfmodel.workload.transforms import tensor_parallel
from perfmodel.workload.workload import Workload

#: stands for no token where an op needs at least some
HARDLY_ANY = 1e-9


def engine_step(
    workload: Workload, system: System, precision: Precision, model: CostModel, *, prompt: Value,
    context: Value, tp: Value = 1.0, dp: Value = 1.0, ep: Value = 1.0,
) -> StepTime:
    """Duration of a step as a function of its decode and prefill tokens, from the ops of the workload [s].

    prompt      tokens of a prompt; context: cached tokens of a decode token
    tp, dp, ep  devices of a replica, replicas, devices that share the experts of all of them

    Products and elementwise ops run once over the tokens of both kinds, so their weights are read once;
    attention of running requests and of prompts are passes of their own.  A replica works on its share of the
    tokens; the experts see those of all replicas, which travel to them and back.
    """
    apart = np.any(np.not_equal(dp, 1.0)) or np.any(np.not_equal(ep, 1.0))

    def graph(batch: Value, query: Value, seen: Value) -> Graph:
        return workload.graph(batch=maximum(batch, HARDLY_ANY), query=query, context=seen, logits="last")

    def ops(batch: Value, query: Value, seen: Value) -> Sequence[Op]:
        return tensor_parallel(tp)(graph(batch / dp, query, seen)).ops

    def experts(tokens: Value) -> Value:
        """Time of experts that each of `ep` devices has a part of, and of the exchange."""
        spread = expert_parallel(ep, nodes=domains(system, ep))(graph(tokens, 1.0, context))
        mine = [op for op in tensor_parallel(tp * dp / ep)(spread).ops if is_expert(op)]
        travel = [op for op in mine if op.exchange is not None and op.exchange.kind == "all_to_all"]
        # one replica: all of its devices have the tokens, and add up what the experts made of them
        added = [op for op in ops(tokens, 1.0, context) if is_expert(op) and op.exchange is not None]
        rest = [op for op in mine if op.exchange is None]
        return time(rest, tokens) + where(dp > 1.0, time(travel, tokens), time(added, tokens))

    def time(chosen: Sequence[Op], present: Value) -> Value:
        return where(present > 0.0, total(model(op, system, precision).time for op in chosen), 0.0)

    def step(decode: Value, prefill: Value) -> Value:
        tokens, prompts = decode + prefill, prefill / prompt
        shared = [op for op in ops(tokens, 1.0, context) if not is_mixing(op) and not is_tail(op)]
        routed = apart and any(is_expert(op) for op in shared)
        if routed:
            shared = [op for op in shared if not is_expert(op)]
        tails = [op for op in ops(decode + prompts, 1.0, context) if is_tail(op)]
        running = [op for op in ops(decode, 1.0, context) if is_mixing(op)]
        filling = [op for op in ops(prompts, prompt, prompt) if is_mixing(op)]
        return (
            time(shared, tokens) + time(tails, tokens) + time(running, decode) + time(filling, prefill)
            + (experts(tokens) if routed else 0.0)
        )

    return step
