"""Blocks of the YOLO family; every convolution carries batch norm and, unless said, SiLU.

References: [1] ultralytics models v5, v8, v10, v11, doi:10.5281/zenodo.3908559 and arXiv:2408.15857;
[2] Wang et al., YOLOv10, arXiv:2405.14458; [3] Tian et al., YOLOv12, arXiv:2502.12524.
"""

from __future__ import annotations

from perfmodel.algebra import Value
from perfmodel.workload.nets.builder import Feature, Net

SILU = "silu"


def bottleneck(
    net: Net, x: Feature, out: Value, residual: bool, kernels: tuple[int, int] = (3, 3), ratio: float = 1.0,
    name: str = "bottleneck",
) -> Feature:
    """Two convolutions and the addition."""
    with net.scope(name):
        y = net.conv(x, int(out * ratio), kernels[0], act=SILU, name="conv1")
        y = net.conv(y, out, kernels[1], act=SILU, name="conv2")
        return net.combine(y, x) if residual and x.channels == out else y


def c3(
    net: Net, x: Feature, out: Value, depth: int, residual: bool, *, kernels: tuple[int, int] = (1, 3),
    name: str = "c3",
) -> Feature:
    """Bottlenecks on half of the channels beside a 1x1 branch [1]."""
    half = int(out * 0.5)
    with net.scope(name):
        a, b = net.conv(x, half, 1, act=SILU, name="conv1"), net.conv(x, half, 1, act=SILU, name="conv2")
        for index in range(depth):
            a = bottleneck(net, a, half, residual, kernels, name=f"m{index}")
        return net.conv(net.concat(a, b), out, 1, act=SILU, name="conv3")


def c3k(net: Net, x: Feature, out: Value, name: str) -> Feature:
    """c3 with two bottlenecks of 3x3 convolutions [1]."""
    return c3(net, x, out, 2, True, kernels=(3, 3), name=name)


def c2f(
    net: Net, x: Feature, out: Value, depth: int, residual: bool, *, inner: str = "bottleneck",
    ratio: float = 0.5, name: str = "c2f",
) -> Feature:
    """Split in two, a chain of inner blocks, all outputs joined [1].

    inner  bottleneck, half (bottleneck with half the width inside), c3k, cib, cib_large
    """
    width = int(out * ratio)
    with net.scope(name):
        y = net.conv(x, 2 * width, 1, act=SILU, name="conv1")
        parts = [y]
        last = y.reshaped(width, y.height, y.width)
        for index in range(depth):
            label = f"m{index}"
            if inner == "c3k":
                last = c3k(net, last, width, label)
            elif inner.startswith("cib"):
                last = cib(net, last, width, inner == "cib_large", label)
            else:
                slim = 0.5 if inner == "half" else 1.0
                last = bottleneck(net, last, width, residual, ratio=slim, name=label)
            parts.append(last)
        return net.conv(net.concat(*parts), out, 1, act=SILU, name="conv2")


def cib(net: Net, x: Feature, out: Value, large: bool, name: str) -> Feature:
    """Compact inverted block: depthwise, 1x1, depthwise (7x7 and 3x3 where `large`), 1x1, depthwise [2]."""
    with net.scope(name):
        y = net.conv(net.depthwise(x, 3, act=SILU), 2 * out, 1, act=SILU, name="conv1")
        if large:
            seven, three = net.depthwise(y, 7, act="none"), net.depthwise(y, 3, act="none")
            y = net.combine(seven, three, act=SILU)
        else:
            y = net.depthwise(y, 3, act=SILU)
        y = net.depthwise(net.conv(y, out, 1, act=SILU, name="conv2"), 3, act=SILU)
        return net.combine(y, x)


def sppf(
    net: Net, x: Feature, out: Value, kernel: int = 5, *, act: str = SILU, norm: bool = True,
    name: str = "sppf",
) -> Feature:
    """Spatial pyramid pooling: three poolings in a row, joined [1]."""
    with net.scope(name):
        y = net.conv(x, int(x.channels) // 2, 1, act=act, norm=norm, name="conv1")
        parts = [y]
        for _ in range(3):
            parts.append(net.pool(parts[-1], kernel, 1))
        return net.conv(net.concat(*parts), out, 1, act=act, norm=norm, name="conv2")


def scdown(net: Net, x: Feature, out: Value, name: str) -> Feature:
    """1x1, then a strided depthwise convolution [2]."""
    with net.scope(name):
        return net.depthwise(net.conv(x, out, 1, act=SILU), 3, 2, act="none")


def psa(net: Net, x: Feature, depth: int, name: str) -> Feature:
    """Attention on half of the channels [2]."""
    half = int(x.channels * 0.5)
    with net.scope(name):
        y = net.conv(x, 2 * half, 1, act=SILU, name="conv1")
        b = y.reshaped(half, y.height, y.width)
        for index in range(depth):
            with net.scope(f"m{index}"):
                b = net.combine(position_attention(net, b, max(half // 64, 1), 0.5, 3), b)
                z = net.conv(b, 2 * half, 1, act=SILU, name="up")
                b = net.combine(net.conv(z, half, 1, act="none", name="down"), b)
        joined = net.concat(y.reshaped(half, y.height, y.width), b)
        return net.conv(joined, x.channels, 1, act=SILU, name="conv2")


def position_attention(
    net: Net, x: Feature, heads: int, key_ratio: float, kernel: int, areas: int = 1
) -> Feature:
    """Attention with a depthwise convolution of the values as position code [2], in `areas` strips [3]."""
    head = int(x.channels) // heads
    key = int(head * key_ratio)
    qkv = net.conv(x, x.channels + 2 * key * heads, 1, act="none", name="qkv")
    y = net.attend(qkv.tokens(), heads=heads, head_dim=key, value_dim=head, groups=areas)
    y = y.reshaped(x.channels, x.height, x.width)
    code = net.depthwise(qkv.reshaped(x.channels, x.height, x.width), kernel, act="none", name="position")
    return net.conv(net.combine(y, code), x.channels, 1, act="none", name="out")


def area_block(
    net: Net, x: Feature, out: Value, depth: int, areas: int, *, attention: bool, ratio: float, scaled: bool,
    name: str,
) -> Feature:
    """R-ELAN: chain of area-attention pairs or c3k blocks, joined; a scaled residual in large models [3]."""
    width = int(out * 0.5)
    with net.scope(name):
        parts = [net.conv(x, width, 1, act=SILU, name="conv1")]
        for index in range(depth):
            last = parts[-1]
            if not attention:
                parts.append(c3k(net, last, width, f"m{index}"))
                continue
            for pair in range(2):
                with net.scope(f"m{index}.{pair}"):
                    last = net.combine(position_attention(net, last, width // 32, 1.0, 7, areas), last)
                    y = net.conv(last, int(width * ratio), 1, act=SILU, name="up")
                    last = net.combine(net.conv(y, width, 1, act="none", name="down"), last)
            parts.append(last)
        y = net.conv(net.concat(*parts), out, 1, act=SILU, name="conv2")
        if attention and scaled:
            y = net.combine(y, x, parameters=out, operations=2, name="scaled_add")
        return y


def detect(
    net: Net, levels: list[Feature], classes: Value, *, light: bool = False, branches: int = 1
) -> None:
    """Box branch (16 bins for each of four sides) and class branch per level, then the mean of the bins [1].

    light     depthwise separable class branch (v10, 11, 12)
    branches  sets of branches (2 in v10, which trains with two assignments)
    """
    first = levels[0].channels
    box, kind = max(16, first // 4, 64), max(first, min(classes, 100))
    for index, x in enumerate(levels):
        for branch in range(branches):
            with net.scope(f"detect{index}" + (f".{branch}" if branches > 1 else "")):
                y = net.conv(net.conv(x, box, 3, act=SILU, name="box1"), box, 3, act=SILU, name="box2")
                net.conv(y, 64, 1, norm=False, act="none", name="box")
                y = x
                for number in ("1", "2"):
                    if light:
                        y = net.depthwise(y, 3, act=SILU, name=f"class{number}_depthwise")
                    y = net.conv(y, kind, 1 if light else 3, act=SILU, name=f"class{number}")
                net.conv(y, classes, 1, norm=False, act="none", name="class")
    anchors = sum(level.positions for level in levels)
    boxes = Feature(16, 4, anchors, tuple(op.name for op in net.ops[-2:]))
    net.conv(boxes, 1, 1, norm=False, bias=False, act="none", name="box_distribution")
