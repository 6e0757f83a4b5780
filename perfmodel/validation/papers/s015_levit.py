"""S015: Graham et al., LeViT, ICCV 2021, arXiv:2104.01136; timings of the authors' repository."""

from __future__ import annotations

from functools import cache, partial

from perfmodel.engine.roofline import cost, moved_bytes
from perfmodel.formats import precision
from perfmodel.hardware.catalog import system
from perfmodel.validation.cases import predicts, run
from perfmodel.validation.heldout import held_out_cases, network_work
from perfmodel.workload.nets.efficientnet import EfficientNet
from perfmodel.workload.nets.hybrid import LeViT
from perfmodel.workload.nets.vit import ViT
from perfmodel.workload.workload import Workload


def _levit(
    hidden: tuple[float, ...], heads: tuple[float, ...], key: float, first: float = 4.0
) -> LeViT:
    return LeViT(hidden=hidden, heads=heads, key=key, layers=(first, 3.0 if first == 2.0 else 4.0, 4.0))


#: networks in the order of the table
_NETS = (
    _levit((128.0, 256.0, 384.0), (4.0, 6.0, 8.0), 16.0, 2.0),
    _levit((128.0, 256.0, 384.0), (4.0, 8.0, 12.0), 16.0),
    _levit((192.0, 288.0, 384.0), (3.0, 5.0, 6.0), 32.0),
    _levit((256.0, 384.0, 512.0), (4.0, 6.0, 8.0), 32.0),
    _levit((384.0, 512.0, 768.0), (6.0, 9.0, 12.0), 32.0),
    ViT(hidden=192.0, heads=3.0, tokens=2.0), ViT(hidden=384.0, heads=6.0, tokens=2.0),
    *(EfficientNet(variant=f"b{i}", height=h) for i, h in enumerate((224.0, 240.0, 260.0, 300.0, 380.0))),
)
GPU_BATCH, CPU_BATCH = 1024.0, 16.0


@cache
def _workload(index: int) -> Workload:
    return Workload(f"net{index}", "image", _NETS[index])


def _on_gpu(index: int) -> tuple[float, float]:
    """Kernels of a framework of 2021, whose attention moves its scores through memory; their roofline [s]."""
    ops = _workload(index).graph(batch=GPU_BATCH, attention="eager").ops
    device, formats = system("v100-sxm2-16gb"), precision("fp16")
    starts = sum(float(op.launches * op.count) for op in ops)
    return starts, float(sum(cost(op, device, formats).busy_time for op in ops))


held_out_cases(
    {f"S015-TIME-V100-{i + 1:02}": partial(_on_gpu, i) for i in range(len(_NETS))}, items=GPU_BATCH)


def _on_cpu(index: int) -> tuple[float, float, float, float]:
    """Dense and depthwise FLOP, bytes of kernels that fit into the last-level cache, and of larger ones."""
    dense, narrow, moved = network_work(_workload(index), CPU_BATCH)
    room = float(system("xeon-gold-6138").device.memory["l3"].capacity or 0.0)
    sizes = [(float(moved_bytes(op, precision("fp32"))), float(op.count))
             for op in _workload(index).graph(batch=CPU_BATCH).ops]
    beyond = sum(size * count for size, count in sizes if size > room)
    return dense, narrow, moved - beyond, beyond


held_out_cases(
    {f"S015-TIME-XEON-{i + 1:02}": partial(_on_cpu, i) for i in range(len(_NETS))}, items=CPU_BATCH)


@predicts("S015-HEAD-01", fidelity="calibrated", reason="the errors of both networks add up")
def ratio() -> float:
    """Images per second of LeViT-192 over EfficientNet-B2 on one thread, both as predicted."""
    return run("S015-TIME-XEON-03").predicted / run("S015-TIME-XEON-10").predicted
