"""Ops on a GPU: which kernel model answers for which op, at fidelity ``dataflow`` or ``calibrated``.

``dataflow`` uses the kernel models with their documented starting values, and never beats the roofline.
``calibrated`` uses the corrections fitted to measurements of the device, or those that the nearest
architectures lend.
An op without a kernel model of its own keeps its roofline cost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import numpy as np

from perfmodel.algebra import Value, maximum, minimum, where
from perfmodel.engine.achieved import kernel_files
from perfmodel.engine.collective import sent_bytes, steps
from perfmodel.engine.kernels.attention_decode import DecodeCorrections, attention_decode_time
from perfmodel.engine.kernels.attention_prefill import PrefillCorrections, attention_prefill_time
from perfmodel.engine.kernels.calibration import Applied, corrections_for
from perfmodel.engine.kernels.collective_kernels import CollectiveCorrections, collective_kernel_time
from perfmodel.engine.kernels.expert_programs import expert_program
from perfmodel.engine.kernels.facts import GpuFacts, KernelTime, gpu_facts
from perfmodel.engine.kernels.gemm import GemmCorrections, Storage, gemm_time
from perfmodel.engine.kernels.grouped import grouped_time
from perfmodel.engine.kernels.mla import MlaCorrections, mla_decode_time
from perfmodel.engine.kernels.moe import MoeCorrections
from perfmodel.engine.kernels.prefill_programs import prefill_program
from perfmodel.engine.kernels.splits import (
    TENSOR_MEMORY,
    WARP_LEVEL,
    latent_rule,
    matrix_per_clock,
    query_copies,
    resident_blocks,
    split_rule,
)
from perfmodel.engine.kernels.stream import StreamCorrections, stream_time
from perfmodel.engine.roofline import OpCost, collective_levels, compute_format, cost, moved_bytes
from perfmodel.formats import Precision
from perfmodel.hardware.device import System
from perfmodel.ops.core import Op


@dataclass(frozen=True)
class Question:
    """One op on one GPU: what a kernel model needs to answer."""

    op: Op
    system: System
    precision: Precision
    gpu: GpuFacts
    calibrated: bool
    runtime: str
    origin: list[Applied] = field(default_factory=list)

    def corrections(self, family: str, kind: type[Any], mode: str = "", group: str = "") -> Any:
        """Fitted corrections of a kernel family, or the documented starts at fidelity ``dataflow``.

        group  name of the group of measurements; empty: from runtime, number formats and mode
        """
        if not self.calibrated:
            return kind()
        device = self.system.device
        found = corrections_for(
            family, kind, device.name, group or self.group(family, mode), kernel_files(device)
        )
        self.origin.append(found)
        return found.values

    def spread(self, end: str) -> Value:
        """Factor from the middle to an end of the interval."""
        if end == "middle" or not self.origin:
            return 1.0
        return self.origin[-1].low if end == "low" else self.origin[-1].high

    def group(self, family: str, mode: str) -> str:
        """Name of the measurements that are most like this op; the nearest known group answers."""
        formats = TABLE_NAMES.get(compute_format(self.op, self.precision).compute, "bfloat16")
        if family == "moe" and formats == "fp8":
            formats = "fp8_block"  # experts in fp8 carry block scales
        return "/".join([self.runtime, "any", formats, *([mode] if mode else [])])

    def storage(self) -> Storage:
        """Bytes of the operands and the format of the matrix unit."""
        kinds = [(t.output, self.precision.of(t).bytes) for t in self.op.tensors if t.kind != "index"]
        read = [size for output, size in kinds if not output] or [2.0]
        written = [size for output, size in kinds if output] or [2.0]
        second = read[1] if len(read) > 1 else read[0]
        return Storage(read[0], second, max(written[0], 2.0), compute_format(self.op, self.precision).compute)


#: names of number formats in the tables that the corrections were fitted to
TABLE_NAMES: Mapping[str, str] = {
    "bf16": "bfloat16",
    "fp16": "bfloat16",
    "fp8": "fp8",
    "fp4": "nvfp4",
    "int8": "sq",
}


def _matmul(q: Question) -> KernelTime:
    sizes = q.op.loops
    # a batch of products is one product with as many times the columns: blocks and weights are the same
    columns = sizes["n"] * sizes["b"]
    c = q.corrections("gemm", GemmCorrections)
    return gemm_time(sizes["m"], columns, sizes["k"], q.storage(), q.gpu, c)


def _grouped(q: Question) -> KernelTime:
    sizes = q.op.loops
    c = q.corrections("moe", MoeCorrections)
    program = expert_program(q.origin[-1].group, q.gpu) if q.origin else None
    return grouped_time(sizes["m"], sizes["n"], sizes["k"], sizes["e"], q.storage(), q.gpu, c, program)


def _by_point(q: Question, models: Sequence[tuple[Any, Callable[[Question], KernelTime]]]) -> KernelTime:
    """Each point of an axis gets the kernel it needs.

    models  where a kernel answers (masks that cover every point), and its model
    """
    needed = [(mask, model) for mask, model in models if np.any(mask)]
    answer = needed[0][1](q)
    for mask, model in needed[1:]:
        known, other = q.origin[-1:], model(q)
        for first in known:
            last = q.origin[-1]
            ends = {"low": where(mask, last.low, first.low), "high": where(mask, last.high, first.high)}
            q.origin.append(replace(first, **ends))
        times = (where(mask, getattr(other, f.name), getattr(answer, f.name)) for f in fields(KernelTime))
        answer = KernelTime(*times)
    return answer


def _attention(q: Question) -> KernelTime:
    """One new token per sequence has kernels of its own, and they differ by what the heads share."""
    one = np.asarray(q.op.loops["s"]) == 1.0
    window, shared = np.greater(_window(q.op), 0.0), np.greater(q.op.loops["g"], 1.0)
    modes = {"window": window, "gqa": shared & ~window, "mha": ~shared & ~window}
    decodes = [(one & mask, partial(_attention_decode, mode=mode)) for mode, mask in modes.items()]
    return _by_point(q, [(~one, _attention_prefill), *decodes])


def _window(op: Op) -> Value:
    """Tokens of the sliding window; 0 where there is none."""
    window = op.attributes.get("window")
    return 0.0 if window is None else window


def _attention_decode(q: Question, mode: str) -> KernelTime:
    s, facts, window = q.op.loops, q.op.attributes, _window(q.op)
    c = q.corrections("attention_decode", DecodeCorrections, mode)
    kv, heads = q.precision.bytes("kv"), s["h"] * s["g"]
    _, source, _, cache, kind = (*q.origin[-1].group.split("/"), *[""] * 5)[:5] if q.origin else [""] * 5
    rule = split_rule(source, cache, kind, q.gpu)
    return attention_decode_time(
        s["b"],
        facts["context"],
        heads,
        s["h"],
        s["d"],
        window,
        kv,
        q.gpu,
        c,
        rule=rule,
        copies=query_copies(
            source, cache, kind, np.asarray(heads), np.asarray(s["h"]), np.asarray(window), q.gpu
        ),
        resident=resident_blocks(source, cache, kind, s["g"], s["d"], q.gpu),
    )


def _attention_prefill(q: Question) -> KernelTime:
    s, facts, window = q.op.loops, q.op.attributes, _window(q.op)
    kv, heads = q.precision.bytes("kv"), s["h"] * s["g"]
    c = q.corrections("attention_prefill", PrefillCorrections)
    key = "fp8" if compute_format(q.op, q.precision).compute in ("fp8", "fp4") else "bf16"
    _, source, _, cache = (*q.origin[-1].group.split("/"), *[""] * 4)[:4] if q.origin else [""] * 4
    past = np.maximum(facts["context"] - s["s"], 0.0)
    return attention_prefill_time(
        s["b"],
        s["s"],
        past,
        heads,
        s["h"],
        s["d"],
        window,
        q.precision.bytes("activation"),
        kv,
        key,
        q.gpu,
        c,
        s["e"],
        causal=bool(facts.get("causal", True)),
        program=prefill_program(source, key, cache, s["h"], s["d"], q.gpu),
    )


def _mla(q: Question) -> KernelTime:
    s, facts = q.op.loops, q.op.attributes
    rank = facts["kv_rank"]
    c = q.corrections("mla_decode", MlaCorrections)
    _, source, _, cache, heads = (*q.origin[-1].group.split("/"), *[""] * 5)[:5] if q.origin else [""] * 5
    rule = latent_rule(source, cache, heads, q.gpu)
    kv = q.precision.bytes("kv")
    return mla_decode_time(s["b"], s["s"], s["t"], s["h"], kv, q.gpu, c, rank, s["l"] - rank, rule=rule)


def _collective(q: Question) -> KernelTime:
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


#: streaming kernels of the tables that stand for an op family
STREAMS: Mapping[str, str] = {"norm": "input_layernorm", "softmax": "softmax", "elementwise": "mlp_act"}


def _stream(q: Question) -> KernelTime:
    """Ops that mostly move data: the streaming kernel over the bytes of this op, its arithmetic if longer."""
    group = f"any/{STREAMS.get(q.op.family, 'add')}/stream"
    # in a queue of kernels the host's share of a start is hidden behind the kernel before
    c = replace(q.corrections("stream", StreamCorrections, group=group), passes=1.0, launch=1.0)
    moving = stream_time(moved_bytes(q.op, q.precision), 1.0, 1.0, q.gpu, c)
    parts = cost(q.op, q.system, q.precision).parts
    arithmetic = [part for resource, part in parts.items() if resource.startswith("compute")]
    return replace(moving, seconds=maximum(moving.seconds, *arithmetic))


#: patterns that the tables of collectives call otherwise
NCCL_NAMES: Mapping[str, str] = {"all_to_all": "alltoall"}

#: op family -> kernel model
KERNELS: Mapping[str, Callable[[Question], KernelTime]] = {
    "matmul": _matmul,
    "grouped_matmul": _grouped,
    "attention": _attention,
    "mla": _mla,
    "collective": _collective,
    **dict.fromkeys(("elementwise", "norm", "softmax", "embedding", "permute", "combine"), _stream),
}


def model_of(op: Op, system: System) -> Callable[[Question], KernelTime] | None:
    """The kernel model that answers for an op on a device; None where only the roofline does."""
    if system.device.kind != "gpu" or (op.family == "mla" and not op.attributes["absorbed"]):
        return None
    return KERNELS.get(op.family)


def _answered(model: Callable[[Question], KernelTime], q: Question) -> KernelTime:
    """Answer of a kernel model; each point has the programs of its own generation of matrix units."""
    levels = np.digitize(matrix_per_clock(q.gpu), (WARP_LEVEL, TENSOR_MEMORY))
    return _by_point(
        q, [(levels == one, partial(_of_generation, model, levels == one)) for one in np.unique(levels)]
    )


def _of_generation(model: Callable[[Question], KernelTime], here: Any, q: Question) -> KernelTime:
    """Answer for the points of one generation; the others are asked about a chip of it."""
    if np.all(here):
        return model(q)

    def alike(value: Value) -> Value:
        return where(here, value, np.broadcast_to(value, here.shape)[here][0])

    peak = {name: alike(value) for name, value in q.gpu.peak.items()}
    gpu = replace(q.gpu, peak=peak, processors=alike(q.gpu.processors), clock=alike(q.gpu.clock))
    return model(replace(q, gpu=gpu))


def kernel_plan(
    op: Op, system: System, precision: Precision, *, calibrated: bool = False, runtime: str = "vllm"
) -> KernelTime | None:
    """Tile, split and waves that the kernel model of an op chooses, with its times; None without a model."""
    model = model_of(op, system)
    if model is None:
        return None
    return _answered(model, Question(op, system, precision, gpu_facts(system), calibrated, runtime))


def kernel_cost(
    op: Op,
    system: System,
    precision: Precision,
    *,
    calibrated: bool,
    runtime: str = "vllm",
    end: str = "middle",
) -> OpCost:
    """Cost of an op by its kernel model; its roofline cost where there is none.

    end  ``low`` or ``high``: the 10 % or 90 % quantile of measured over predicted time, on rows that the
         corrections were not fitted to
    Raises PrecisionError as the roofline does.
    """
    bound = cost(op, system, precision)
    model = model_of(op, system)
    if model is None:
        return bound
    question = Question(op, system, precision, gpu_facts(system), calibrated, runtime)
    answer = _answered(model, question)
    if not calibrated:
        longest = maximum(*bound.parts.values()) if bound.parts else 0.0  # a count of 0 has no busy time
        return replace(bound, busy=maximum(answer.seconds - answer.launch, longest))
    # launch included; small operands may come from L2 and beat the roofline of the DRAM
    return replace(bound, busy=answer.seconds * question.spread(end), serial=0.0)
