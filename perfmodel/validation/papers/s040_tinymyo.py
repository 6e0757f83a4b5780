"""S040: TinyMyo: a Tiny Foundation Model for Flexible EMG Signal Processing at the Edge, arXiv:2512.15729.

Networks of the deployment framework in the authors' repository (Apache-2.0).  Its "MACs" count two per
multiply-accumulate of convolutions and linear layers, 10 per element of GELU, 5 of a norm, 2 of a mean and 1
of an addition; attention with its projections is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import perfmodel as pm
from perfmodel.ops.core import Op
from perfmodel.validation.cases import predicts, published
from perfmodel.validation.heldout import held_out_cases

#: operations per element in the count of the source
_PER_ELEMENT = {"gelu": 10.0, "norm": 5.0, "mean": 2.0, "add": 1.0}


def _conv(
    cin: float, out: float, size: float, kernel: float, stride: float = 1.0, padding: object = "same"
) -> Op:
    op: Op = pm.op.conv2d(
        batch=1, in_channels=cin, out_channels=out, height=size, width=size, kernel=kernel, stride=stride,
        padding=padding,
    )
    return op


def _each(kind: str, elements: float) -> Op:
    op: Op = pm.op.elementwise(elements)
    return op.named(kind)


def _padding() -> list[Op]:
    return [
        _conv(1, 16, 28, 3, padding="valid"), _conv(16, 32, 26, 3), _conv(32, 32, 26, 5),
        _conv(32, 16, 13, 3, padding="valid"), pm.op.matmul(m=1, n=10, k=16),
    ]


def _resnet18() -> list[Op]:
    ops, width, size = [_conv(1, 16, 28, 3)], 16.0, 28.0
    for out in (16.0, 32.0, 64.0, 128.0):
        for _ in range(2):
            shrinks = out != width
            ops.append(_conv(width, out, size, 3, 2.0 if shrinks else 1.0, 1))
            if shrinks:
                ops.append(_conv(width, out, size, 1, 2.0, "valid"))
            size = (size + 1.0) // 2.0 if shrinks else size
            ops += [_conv(out, out, size, 3), _each("add", out * size * size)]
            width = out
    return [*ops, pm.op.matmul(m=1, n=10, k=128)]


def _mlp(tokens: float, width: float, inner: float) -> list[Op]:
    return [
        pm.op.matmul(m=tokens, n=inner, k=width), _each("gelu", tokens * inner),
        pm.op.matmul(m=tokens, n=width, k=inner),
    ]


def _encoder(tokens: float, width: float, inner: float, heads: float, layers: int, patch: float) -> list[Op]:
    """Patches, layers, norm, mean over tokens, classifier."""
    core = pm.op.attention(
        batch=1, query=tokens, context=tokens, heads=heads, head_dim=width / heads, causal=False
    )
    block = [
        _each("norm", tokens * width),
        pm.op.matmul(m=tokens, n=3.0 * width, k=width).named("attention_qkv"), core,
        pm.op.matmul(m=tokens, n=width, k=width).named("attention_out"),
        _each("add", tokens * width), _each("norm", tokens * width), *_mlp(tokens, width, inner),
        _each("add", tokens * width),
    ]
    return [
        pm.op.matmul(m=tokens, n=width, k=patch), *block * layers, _each("norm", tokens * width),
        _each("mean", tokens * width), pm.op.matmul(m=1, n=7, k=width),
    ]


def _linear() -> list[Op]:
    return [*_mlp(400.0, 192.0, 768.0), pm.op.matmul(m=1, n=7, k=192)]


#: case of the count -> network; the cycles come one case before
_NETS: dict[str, Callable[[], list[Op]]] = {
    "S040-GAP9-02": partial(_encoder, 50.0, 192.0, 768.0, 3.0, 1, 20.0), "S040-GAP9-04": _linear,
    "S040-GAP9-06": _resnet18, "S040-GAP9-08": _padding,
    "S040-GAP9-10": partial(_encoder, 196.0, 128.0, 256.0, 4.0, 4, 4.0),
}


def _counted(op: Op) -> float:
    if op.family == "attention" or op.name.startswith("attention"):
        return 0.0
    return float(op.flops) + _PER_ELEMENT.get(op.name, 0.0) * float(op.operations("vector"))


@predicts({case: case for case in _NETS}, fidelity="count")
def operations(case: str) -> float:
    """Operations in the count of the source."""
    return sum(_counted(op) for op in _NETS[case]())


@cache
def _work(case: str) -> tuple[float, float]:
    """Multiply-accumulates of convolutions, and of all other products."""
    ops = _NETS[case]()
    convolved = sum(float(op.flops) for op in ops if op.family == "conv2d")
    return convolved / 2.0, sum(float(op.flops) for op in ops) / 2.0 - convolved / 2.0


held_out_cases(
    {f"S040-GAP9-{int(case[-2:]) - 1:02}": partial(_work, case) for case in _NETS},
    reason="two rates for all layers: tiling between the memories and element-wise layers are not in them",
)


@predicts("S040-EPN612-02", fidelity="count")
def energy() -> float:
    """Energy of an inference [mJ]: measured power of 57.18 mW times latency."""
    return 57.18 * published()["S040-EPN612-01"].value


@predicts("S040-EPN612-01", fidelity="calibrated",
          reason="the accelerator works better on eight times as many tokens than in the one-layer version")
def latency() -> float:
    """Latency of the 8-layer encoder on 8 channels [s]: the rate of its one-layer version, clock 370 MHz."""
    layer = published()["S040-GAP9-01"].value / sum(_work("S040-GAP9-02"))
    ops = _encoder(400.0, 192.0, 768.0, 3.0, 8, 20.0)
    return layer * sum(float(op.flops) for op in ops) / 2.0 / 370e6
