"""Kernels on a GPU that mostly move data: streams, scans over a state, collectives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from perfmodel.algebra import Value, maximum, minimum
from perfmodel.engine.collective import sent_bytes, steps
from perfmodel.engine.gpu_question import Question, by_point
from perfmodel.engine.kernels.collective_kernels import CollectiveCorrections, collective_kernel_time
from perfmodel.engine.kernels.facts import MATRIX_SHARE, KernelTime
from perfmodel.engine.kernels.scan import KERNELS as PARTS
from perfmodel.engine.kernels.scan import ScanCorrections, scan_time
from perfmodel.engine.kernels.stream import StreamCorrections, stream_time
from perfmodel.engine.roofline import collective_levels, cost, moved_bytes

#: least share of L2 that holds what a kernel finds of the time before
RESIDENT_NONE = 0.02
#: streaming kernels of the tables that stand for an op family
STREAMS: Mapping[str, str] = {"norm": "input_layernorm", "softmax": "softmax"}


def streamed(q: Question, arithmetic: Value | None = None) -> KernelTime:
    """Ops that mostly move data: the streaming kernel over the bytes of this op, its arithmetic if longer.

    arithmetic  its time [s]; None: as the roofline has it, products at the documented share of their rate
    """
    curved = q.op.family == "elementwise" and any(work.unit == "special" for work in q.op.work)
    group = f"any/{'mlp_act' if curved else STREAMS.get(q.op.family, 'add')}/stream"
    # in a queue of kernels the host's share of a start is hidden behind the kernel before
    c = replace(q.corrections("stream", StreamCorrections, group=group), passes=1.0, launch=1.0)
    moving = stream_time(moved_bytes(q.op, q.precision), 1.0, 1.0, q.gpu, c)
    if arithmetic is not None:
        return replace(moving, seconds=maximum(moving.seconds, arithmetic))
    parts = cost(q.op, q.system, q.precision).parts
    share = {"matrix": MATRIX_SHARE}
    computed = [
        part / share.get(resource.split(".")[1], 1.0)
        for resource, part in parts.items()
        if resource.startswith("compute")
    ]
    return replace(moving, seconds=maximum(moving.seconds, *computed))


def convolved(q: Question) -> KernelTime:
    """The short causal convolution before a scan: over many tokens, or over one with its kept state."""
    s = q.op.loops

    def kernel(q: Question, kind: str, source: str) -> KernelTime:
        c = _scan_corrections(q, kind, f"{source}/gdn")
        return scan_time(kind, s["b"], s["s"], 0.0, 0.0, 0.0, 0.0, s["r"], q.gpu, c, s["c"])

    one = np.equal(s["s"], 1.0)
    update = partial(kernel, kind="update", source="causal_conv1d_update")
    return by_point(q, [(~one, partial(kernel, kind="conv", source="causal_conv1d_fn")), (one, update)])


def scanned(q: Question) -> KernelTime:
    """Linear attention in any of its forms: chunks of many tokens, or a state that one token updates.

    The parts of a chunk are kernels of their own; all but one of their starts are part of the work.
    """
    heads, key_dim, value_heads, value_dim = SCANS[q.op.family](q.op.loops)
    matrix = sum(work.operations for work in q.op.work if work.unit == "matrix")
    per_channel = any(tensor.name == "decay" and "d" in tensor.axes for tensor in q.op.tensors)
    rule, table = ("kda", "kda") if per_channel else ("gated_delta_rule", "gdn")

    def kernel(q: Question, kind: str, source: str) -> KernelTime:
        c = _scan_corrections(q, kind, f"{source}_{rule}/{table}")
        b, s = q.op.loops["b"], q.op.loops["s"]
        answer = scan_time(kind, b, s, heads, key_dim, value_heads, value_dim, 0.0, q.gpu, c, flop=matrix)
        return replace(answer, launch=answer.launch / PARTS.get(kind, 1.0))

    one = np.equal(q.op.loops["s"], 1.0)
    recurrent = partial(kernel, kind="recurrent", source="fused_recurrent")
    return by_point(q, [(~one, partial(kernel, kind="chunk", source="chunk")), (one, recurrent)])


def _scan_corrections(q: Question, kind: str, group: str) -> ScanCorrections:
    """Tables repeat one kernel, whose state stays in L2; in a network other layers were there since."""
    c: ScanCorrections = q.corrections("linear_attention", ScanCorrections, group=f"{q.runtime}/{group}")
    return replace(c, resident=RESIDENT_NONE) if kind in ("update", "recurrent") else c


#: op family -> key heads, key width, value heads, value width of its loops
SCANS: Mapping[str, Callable[[Mapping[str, Value]], tuple[Value, Value, Value, Value]]] = {
    "gated_delta_rule": lambda s: (s["h"], s["d"], s["h"] * s["g"], s["e"]),
    "linear_attention": lambda s: (s["h"], s["d"], s["h"], s["e"]),
    "ssd": lambda s: (s["g"], s["n"], s["g"] * s["h"], s["p"]),
}


#: patterns that the tables of collectives call otherwise
NCCL_NAMES: Mapping[str, str] = {"all_to_all": "alltoall"}


def collective(q: Question) -> KernelTime:
    """An exchange between devices: the kernel of the nearest link, then what wider links take longer."""
    exchange = q.op.exchange
    if exchange is None:
        return KernelTime(0.0)
    library = f"{q.runtime}_custom_allreduce" if exchange.pattern == "all_reduce" else "nccl"
    group = f"{library}/{NCCL_NAMES.get(exchange.pattern, exchange.pattern)}/{q.runtime}_graph"
    c = q.corrections("collectives", CollectiveCorrections, group=group)
    (name, link, near, size), *far = collective_levels(exchange, q.precision, q.system)
    shared = float(name.startswith("pcie"))
    gpu = replace(q.gpu, link=link.bandwidth, link_latency=link.latency, link_shared=shared)
    answer = collective_kernel_time(exchange.pattern, maximum(near, 2.0), size, gpu, c)
    several = minimum(near - 1.0, 1.0)  # nothing is sent in a group of one
    seconds = answer.seconds * several
    for _, link, members, message in far:  # chunks run on all links at once
        waits = steps(exchange.pattern, members, link.topology) * link.latency
        seconds = maximum(seconds, sent_bytes(exchange.pattern, message, members) / link.bandwidth) + waits
    return replace(answer, seconds=seconds, launch=answer.launch * several)
