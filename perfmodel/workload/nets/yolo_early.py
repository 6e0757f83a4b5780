"""Layers of YOLOv3, v4 and v7 in the scaled form of YOLOBench [1], with SiLU throughout.

[1] Lazarevich et al., YOLOBench, arXiv:2307.13901, and its published configurations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfmodel.workload.nets import yolo_blocks as blocks
from perfmodel.workload.nets.builder import Feature, Net

if TYPE_CHECKING:
    from perfmodel.workload.nets.yolo import Stack

SILU = blocks.SILU


def v3(s: Stack) -> list[Feature]:
    """Darknet-53 and a pyramid upwards."""
    s.conv(32, 3, 1).conv(64).bottleneck(64).conv(128).bottleneck(128, 2).conv(256).bottleneck(256, 8)
    s.conv(512).bottleneck(512, 8).conv(1024).bottleneck(1024, 4)
    s.bottleneck(1024, 1, False).conv(512, 1, 1).conv(1024, 3, 1).conv(512, 1, 1).conv(1024, 3, 1)
    s.take(14).conv(256, 1, 1).up().cat(8).bottleneck(512, 1, False).bottleneck(512, 1, False)
    s.conv(256, 1, 1).conv(512, 3, 1)
    s.take(21).conv(128, 1, 1).up().cat(6).bottleneck(256, 1, False).bottleneck(256, 2, False)
    return s.at(27, 22, 15)


def v4(s: Stack) -> list[Feature]:
    """Cross-stage partial Darknet-53 and a path up and down."""
    s.conv(32, 3, 1).conv(64).bottleneck(64).conv(128)
    csp(s, 128, 2).conv(256)
    csp(s, 256, 8).conv(512)
    csp(s, 512, 8).conv(1024)
    csp(s, 1024, 4)
    pyramid_pool(s, 512, normed=False)
    s.conv(256, 1, 1).up()
    csp_second(s.take(8).conv(256, 1, 1).cat(13), 256, 2).conv(128, 1, 1).up()
    csp_second(s.take(6).conv(128, 1, 1).cat(18), 128, 2).conv(256, 3, 1)
    csp_second(s.take(21).conv(256).cat(16), 256, 2).conv(512, 3, 1)
    csp_second(s.take(25).conv(512).cat(11), 512, 2).conv(1024, 3, 1)
    return s.at(22, 26, 30)


def v7(s: Stack) -> list[Feature]:
    """Extended layer aggregation; merged branches count as one 3x3 convolution."""
    net = s.net
    x = s.conv(32, 3, 1).conv(64).conv(64, 3, 1).conv(128).x
    x = aggregate(s, x, 64, 64, 256, "stage2")
    c3 = aggregate(s, reduce(s, x, 128, None, "reduce3"), 128, 128, 512, "stage3")
    c4 = aggregate(s, reduce(s, c3, 256, None, "reduce4"), 256, 256, 1024, "stage4")
    x = aggregate(s, reduce(s, c4, 512, None, "reduce5"), 256, 256, 1024, "stage5")
    p5 = pyramid_pool(s.keep(x), 512, normed=True).x
    y = net.upsample(conv(s, p5, 256, 1, "top4"), name="up4")
    p4 = aggregate(s, net.concat(conv(s, c4, 256, 1, "side4"), y), 256, 128, 256, "path4", every=True)
    y = net.upsample(conv(s, p4, 128, 1, "top3"), name="up3")
    n3 = aggregate(s, net.concat(conv(s, c3, 128, 1, "side3"), y), 128, 64, 128, "path3", every=True)
    n4 = aggregate(s, reduce(s, n3, 128, p4, "down4"), 256, 128, 256, "out4", every=True)
    n5 = aggregate(s, reduce(s, n4, 256, p5, "down5"), 512, 256, 512, "out5", every=True)
    return [conv(s, n3, 256, 3, "last3"), conv(s, n4, 512, 3, "last4"), conv(s, n5, 1024, 3, "last5")]


def conv(s: Stack, x: Feature, out: int, kernel: int, name: str, stride: int = 1) -> Feature:
    """Convolution to a scaled width."""
    return s.net.conv(x, s.width(out), kernel, stride, act=SILU, name=name)


def aggregate(s: Stack, x: Feature, outer: int, inner: int, out: int, name: str, *,
              every: bool = False) -> Feature:
    """Two 1x1 branches, four 3x3 convolutions after the second; every second or `every` output is joined."""
    with s.net.scope(name):
        a, b = conv(s, x, outer, 1, "conv1"), conv(s, x, outer, 1, "conv2")
        chain = [b]
        for index in range(4):
            chain.append(conv(s, chain[-1], inner, 3, f"conv{index + 3}"))
        joined = [*chain[1:], b, a] if every else [chain[4], chain[2], b, a]
        return conv(s, s.net.concat(*joined), out, 1, "join")


def reduce(s: Stack, x: Feature, out: int, extra: Feature | None, name: str) -> Feature:
    """Pooling and a strided convolution side by side, joined with a map of the other path."""
    with s.net.scope(name):
        pooled = conv(s, s.net.pool(x, 2, 2, padding="valid"), out, 1, "conv1")
        strided = conv(s, conv(s, x, out, 1, "conv2"), out, 3, "conv3", 2)
        parts = [strided, pooled] if extra is None else [strided, pooled, extra]
        return s.net.concat(*parts)


def plain(net: Net, x: Feature, out: float, name: str) -> Feature:
    """1x1 convolution without norm, bias and activation."""
    return net.conv(x, out, 1, norm=False, bias=False, act="none", name=name)


def csp(s: Stack, out: int, repeats: int) -> Stack:
    """Cross-stage partial block with a norm on the joined branches."""
    net, x, half = s.net, s.x, float(int(s.width(out) * 0.5))
    with net.scope(s.label):
        y = net.conv(x, half, 1, act=SILU, name="conv1")
        for index in range(s.depth(repeats)):
            y = blocks.bottleneck(net, y, half, True, (1, 3), name=f"m{index}")
        joined = net.concat(plain(net, y, half, "conv3"), plain(net, x, half, "conv2"))
        y = net.conv(net.batch_norm(joined, SILU), s.width(out), 1, act=SILU, name="conv4")
    return s.keep(y)


def csp_second(s: Stack, out: int, repeats: int) -> Stack:
    """Cross-stage partial block of the neck: full width, no additions."""
    net, width = s.net, s.width(out)
    with net.scope(s.label):
        first = net.conv(s.x, width, 1, act=SILU, name="conv1")
        y = first
        for index in range(s.depth(repeats)):
            y = blocks.bottleneck(net, y, width, False, (1, 3), name=f"m{index}")
        joined = net.concat(y, plain(net, first, width, "conv2"))
        y = net.conv(net.batch_norm(joined, SILU), width, 1, act=SILU, name="conv3")
    return s.keep(y)


def pyramid_pool(s: Stack, out: int, *, normed: bool) -> Stack:
    """Cross-stage spatial pyramid pooling with windows of 5, 9 and 13."""
    net, x, width = s.net, s.x, s.width(out)
    with net.scope(s.label):
        y = net.conv(net.conv(x, width, 1, act=SILU, name="conv1"), width, 3, act=SILU, name="conv3")
        y = net.conv(y, width, 1, act=SILU, name="conv4")
        y = net.concat(y, *(net.pool(y, kernel, 1) for kernel in (5, 9, 13)))
        y = net.conv(net.conv(y, width, 1, act=SILU, name="conv5"), width, 3, act=SILU, name="conv6")
        if normed:
            joined = net.concat(y, net.conv(x, width, 1, act=SILU, name="conv2"))
        else:
            joined = net.batch_norm(net.concat(y, plain(net, x, width, "conv2")), SILU)
        y = net.conv(joined, width, 1, act=SILU, name="conv7")
    return s.keep(y)
