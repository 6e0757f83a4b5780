"""Ops on a GPU: which kernel model answers for which op, at fidelity ``dataflow`` or ``calibrated``.

``dataflow`` uses the kernel models with their documented starting values, and never beats the roofline.
``calibrated`` uses the corrections fitted to measurements of the device, or those that the nearest
architectures lend.
An op without a kernel model of its own is a product if it is one of two operands, else a stream of its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from perfmodel.algebra import Value, maximum, where
from perfmodel.engine.gpu_attention import attention, latent
from perfmodel.engine.gpu_products import dense, implicit, of_experts
from perfmodel.engine.gpu_question import KernelModel, Question, by_point
from perfmodel.engine.gpu_streams import SCANS, collective, convolved, scanned, streamed
from perfmodel.engine.kernels.facts import KernelTime, gpu_facts
from perfmodel.engine.kernels.splits import generation
from perfmodel.engine.roofline import OpCost, cost
from perfmodel.formats import Precision
from perfmodel.hardware.device import Device, System
from perfmodel.ops.core import Op

#: op family -> kernel model
KERNELS: Mapping[str, KernelModel] = {
    "matmul": dense,
    "grouped_matmul": of_experts,
    "attention": attention,
    "cross_attention": attention,
    "mla": latent,
    "collective": collective,
    "causal_conv1d": convolved,
    **dict.fromkeys(SCANS, scanned),
    **dict.fromkeys(("elementwise", "norm", "softmax", "embedding", "permute", "combine"), streamed),
}


def is_gpu(device: Device) -> bool:
    """A GPU, alone or on a chip with others: thread blocks share a memory of their processor."""
    return device.kind == "gpu" or "shared" in device.memory


def model_of(op: Op, system: System) -> KernelModel | None:
    """The kernel model that answers for an op on a device; None on what is no GPU."""
    if not is_gpu(system.device):
        return None
    if op.family == "mla" and not op.attributes["absorbed"]:
        return streamed
    return KERNELS.get(op.family, implicit)


def _answered(model: KernelModel, q: Question) -> KernelTime:
    """Answer of a kernel model; each point has the programs of its own generation of matrix units."""
    levels = generation(q.gpu)
    return by_point(
        q, [(levels == one, partial(_of_generation, model, levels == one)) for one in np.unique(levels)]
    )


def _of_generation(model: KernelModel, here: Any, q: Question) -> KernelTime:
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
