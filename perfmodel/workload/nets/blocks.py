"""Building blocks that several families share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from perfmodel.algebra import Value
from perfmodel.workload.nets.builder import Feature, Net, share_of
from perfmodel.workload.nets.image import some


def squeeze_excite(
    net: Net, x: Feature, squeezed: Value, *, act: str = "relu", gate: str = "hardsigmoid", name: str = "se"
) -> Feature:
    """Channel attention: global mean, two 1x1 layers, product [1].

    [1] Hu et al., Squeeze-and-Excitation Networks, arXiv:1709.01507.
    """
    with net.scope(name):
        y = net.global_pool(x, name="pool")
        y = net.conv(y, squeezed, norm=False, act=act, name="reduce")
        y = net.conv(y, x.channels, norm=False, act=gate, name="expand")
        return net.scale(x, y)


def inverted_residual(
    net: Net,
    x: Feature,
    out: Value,
    hidden: Value,
    kernel: Value = 3,
    stride: int = 1,
    *,
    act: str = "relu6",
    expand: bool = True,
    squeezed: Value = 0,
    se_act: str = "relu",
    se_gate: str = "hardsigmoid",
    residual: bool = True,
    name: str = "block",
) -> Feature:
    """MBConv: 1x1 expansion, depthwise convolution, channel attention, linear 1x1 projection [1].

    [1] Sandler et al., MobileNetV2, arXiv:1801.04381.
    """
    with net.scope(name):
        y = net.conv(x, hidden, 1, act=act, name="expand") if expand else x
        y = net.depthwise(y, kernel, stride, act=act)
        if some(squeezed):
            y = squeeze_excite(net, y, squeezed, act=se_act, gate=se_gate)
        y = net.conv(y, out, 1, act="none", name="project")
        return net.combine(y, x) if residual else y


def stage(
    net: Net, x: Feature, depth: Value, block: Callable[[Feature, bool], Feature], name: str
) -> Feature:
    """One block that may change the shape, then ``depth - 1`` equal ones.  block(x, first) -> Feature."""
    with net.scope(name):
        with net.scope("0"):
            x = block(x, True)
        if some(depth - 1):
            with net.scope("rest", depth - 1):
                x = block(x, False)
    return x


def mlp(
    net: Net, x: Feature, width: Value, *, act: str = "gelu", bias: bool = True, name: str = "mlp"
) -> Feature:
    """Two linear layers with an activation between them."""
    with net.scope(name):
        y = net.linear(x, width, act=act, bias=bias, name="up")
        return net.linear(y, x.channels, bias=bias, name="down")


def encoder_layer(
    net: Net,
    x: Feature,
    heads: Value,
    width: Value,
    *,
    head_dim: Value | None = None,
    act: str = "gelu",
    qkv_bias: bool = True,
) -> Feature:
    """Pre-norm transformer encoder layer [1].

    [1] Dosovitskiy et al., An Image is Worth 16x16 Words, arXiv:2010.11929.
    """
    x = attention_part(net, x, heads, head_dim=head_dim, qkv_bias=qkv_bias)
    y = mlp(net, net.layer_norm(x, name="norm2"), width, act=act)
    return net.combine(y, x, name="add2")


def attention_part(
    net: Net, x: Feature, heads: Value, *, head_dim: Value | None = None, qkv_bias: bool = True
) -> Feature:
    """Norm, self attention with its projections, addition."""
    head_dim = share_of(heads, x.channels) if head_dim is None else head_dim
    y = net.layer_norm(x, name="norm1")
    y = net.linear(y, 3 * heads * head_dim, bias=qkv_bias, name="qkv")
    y = net.attend(y, heads=heads, head_dim=head_dim)
    return net.combine(net.linear(y, x.channels, name="attention_out"), x, name="add1")


def residual_block(
    net: Net, x: Feature, out: Value, stride: Value, *, inner: Value, groups: Value = 1, basic: bool = False,
    act: str = "relu",
) -> Feature:
    """ResNet block: two 3x3 convolutions, or 1x1, 3x3, 1x1; a 1x1 shortcut where the shape changes [1].

    [1] He et al., Deep Residual Learning, arXiv:1512.03385.
    """
    skip = x
    if not (equal(stride, 1) and equal(x.channels, out)):
        skip = net.conv(x, out, 1, stride, act="none", name="shortcut")
    if basic:
        y = net.conv(x, out, 3, stride, act=act, name="conv1")
        y = net.conv(y, out, 3, act="none", name="conv2")
    else:
        y = net.conv(x, inner, 1, act=act, name="conv1")
        y = net.conv(y, inner, 3, stride, groups=groups, act=act, name="conv2")
        y = net.conv(y, out, 1, act="none", name="conv3")
    return net.combine(y, skip, act=act)


def equal(a: Value, b: Value) -> bool:
    """True if two sizes are the same everywhere: numbers, arrays, or symbols in the same form."""
    return bool(np.all(np.asarray(a) == np.asarray(b)))
