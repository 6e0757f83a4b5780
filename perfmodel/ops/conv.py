"""Convolutions: dense, grouped, depthwise and transposed, in one to three dimensions."""

from __future__ import annotations

import math
from typing import TypeAlias

from perfmodel.algebra import Value, floor, maximum
from perfmodel.errors import ArgumentError
from perfmodel.ops.core import Op, Tensor, Window, Work
from perfmodel.ops.registry import operator

#: One size for both axes, or (vertical, horizontal).
Pair: TypeAlias = Value | tuple[Value, Value]


def output_size(
    size: Value, kernel: Value, stride: Value, padding: str | Value, dilation: Value = 1
) -> Value:
    """Output positions of a sliding window.

    size      input positions
    padding   ``same`` (``ceil(size / stride)``), ``valid`` (no padding), or positions added on each side

    ``floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1``
    """
    if isinstance(padding, str) and padding == "same":
        return floor((size - 1) / stride) + 1
    if isinstance(padding, str) and padding != "valid":
        raise ArgumentError("padding", padding, "'same', 'valid', or positions on each side")
    added = 0 if isinstance(padding, str) else padding
    return maximum(floor((size + 2 * added - dilation * (kernel - 1) - 1) / stride) + 1, 0)


@operator
def conv2d(
    batch: Value,
    in_channels: Value,
    out_channels: Value,
    height: Value,
    width: Value,
    kernel: Pair,
    stride: Pair = 1,
    padding: str | Pair = "same",
    groups: Value = 1,
    *,
    dilation: Pair = 1,
    bias: bool = False,
    name: str = "",
) -> Op:
    """Convolution ``O[b,g,k,p,q] = sum I[b,g,c,p s + r,q s + t] W[g,k,c,r,t] (+ bias[g,k])``.

    height, width     INPUT size [elements], without padding
    kernel, stride, dilation  one number or (vertical, horizontal)
    padding           ``same``, ``valid``, elements on each side, or (vertical, horizontal)
    groups            independent channel groups; depthwise: groups = in_channels = out_channels

    Loops: b batch, g group, k output channel and c input channel of a group, p, q output row and column,
    r, s kernel row and column.
    FLOP = 2 b g k c p q r s.  Input traffic counts the positions that a window touches, padding included
    (as the tools of the field do: a padded position is addressed, whether or not it is stored).
    """
    (kernel_r, kernel_s), (stride_p, stride_q) = pair("kernel", kernel), pair("stride", stride)
    (dilation_r, dilation_s), (pad_p, pad_q) = pair("dilation", dilation), pair("padding", padding)
    _divides("in_channels", in_channels, groups)
    _divides("out_channels", out_channels, groups)
    loops = {
        "b": batch, "g": groups, "k": out_channels / groups, "c": in_channels / groups,
        "p": output_size(height, kernel_r, stride_p, pad_p, dilation_r),
        "q": output_size(width, kernel_s, stride_q, pad_q, dilation_s),
        "r": kernel_r, "s": kernel_s,
    }
    rows, columns = Window("p", "r", stride_p, dilation_r), Window("q", "s", stride_q, dilation_s)
    axes = (("b", "g", "c", rows, columns), ("g", "k", "c", "r", "s"), ("b", "g", "k", "p", "q"))
    return _convolution("conv2d", loops, axes, bias, name)


@operator
def conv1d(
    batch: Value,
    in_channels: Value,
    out_channels: Value,
    length: Value,
    kernel: Value,
    stride: Value = 1,
    padding: str | Value = "same",
    groups: Value = 1,
    *,
    dilation: Value = 1,
    bias: bool = False,
    name: str = "",
) -> Op:
    """Convolution along one axis, ``O[b,g,k,q] = sum I[b,g,c,q s + t] W[g,k,c,t] (+ bias[g,k])``.

    length   INPUT size [elements], without padding; the other arguments as in conv2d

    Loops: b, g, k, c, q, s as in conv2d.  FLOP = 2 b g k c q s.
    """
    _divides("in_channels", in_channels, groups)
    _divides("out_channels", out_channels, groups)
    loops = {
        "b": batch, "g": groups, "k": out_channels / groups, "c": in_channels / groups,
        "q": output_size(length, kernel, stride, padding, dilation), "s": kernel,
    }
    window = Window("q", "s", stride, dilation)
    axes = (("b", "g", "c", window), ("g", "k", "c", "s"), ("b", "g", "k", "q"))
    return _convolution("conv1d", loops, axes, bias, name)


@operator
def conv3d(
    batch: Value,
    in_channels: Value,
    out_channels: Value,
    depth: Value,
    height: Value,
    width: Value,
    kernel: Value,
    stride: Value = 1,
    padding: str | Value = "same",
    groups: Value = 1,
    *,
    dilation: Value = 1,
    bias: bool = False,
    name: str = "",
) -> Op:
    """Convolution over depth, height and width, each with the same kernel, stride, padding and dilation.

    depth, height, width   INPUT size [elements], without padding; the other arguments as in conv2d

    Loops: b, g, k, c as in conv2d, d, p, q output positions, u, r, s kernel positions.
    FLOP = 2 b g k c d p q u r s.
    """
    _divides("in_channels", in_channels, groups)
    _divides("out_channels", out_channels, groups)
    sizes = {"d": depth, "p": height, "q": width}
    loops = {"b": batch, "g": groups, "k": out_channels / groups, "c": in_channels / groups}
    loops |= {loop: output_size(size, kernel, stride, padding, dilation) for loop, size in sizes.items()}
    loops |= {"u": kernel, "r": kernel, "s": kernel}
    windows = tuple(Window(out, inner, stride, dilation) for out, inner in zip("dpq", "urs", strict=True))
    axes: tuple[tuple[str | Window, ...], ...]
    axes = (("b", "g", "c", *windows), ("g", "k", "c", "u", "r", "s"), ("b", "g", "k", "d", "p", "q"))
    return _convolution("conv3d", loops, axes, bias, name)


@operator
def conv_transpose2d(
    batch: Value,
    in_channels: Value,
    out_channels: Value,
    height: Value,
    width: Value,
    kernel: Pair,
    stride: Pair = 1,
    groups: Value = 1,
    *,
    bias: bool = False,
    name: str = "",
) -> Op:
    """Transposed convolution: every input position adds a kernel to the output, without cropping.

    height, width   INPUT size [elements]; the output has ``(size - 1) stride + kernel`` positions

    Loops: b, g, k, c as in conv2d, p, q INPUT positions, r, s kernel positions; the output is the window.
    FLOP = 2 b g k c p q r s.
    """
    (kernel_r, kernel_s), (stride_p, stride_q) = pair("kernel", kernel), pair("stride", stride)
    _divides("in_channels", in_channels, groups)
    _divides("out_channels", out_channels, groups)
    loops = {
        "b": batch, "g": groups, "k": out_channels / groups, "c": in_channels / groups,
        "p": height, "q": width, "r": kernel_r, "s": kernel_s,
    }
    rows, columns = Window("p", "r", stride_p), Window("q", "s", stride_q)
    axes = (("b", "g", "c", "p", "q"), ("g", "k", "c", "r", "s"), ("b", "g", "k", rows, columns))
    return _convolution("conv_transpose2d", loops, axes, bias, name)


def _convolution(
    family: str, loops: dict[str, Value], axes: tuple[tuple[str | Window, ...], ...], bias: bool, name: str
) -> Op:
    inputs, weights, outputs = axes
    tensors = [
        Tensor("I", inputs), Tensor("W", weights, kind="weight"), Tensor("O", outputs, output=True),
    ]
    if bias:
        tensors.append(Tensor("bias", ("g", "k"), kind="weight"))
    macs: Value = 1.0
    for bound in loops.values():
        macs = macs * bound
    return Op(family, loops, tuple(tensors), (Work("matrix", 2.0 * macs),), name)


def pair(field: str, value: str | Pair) -> tuple[Value, Value]:
    """(vertical, horizontal) of one value for both, or of a pair.  Raises ArgumentError."""
    if not isinstance(value, (tuple, list)):
        return value, value
    if len(value) != 2:
        raise ArgumentError(field, value, "one value or a pair (vertical, horizontal)")
    return value[0], value[1]


def _divides(field: str, channels: Value, groups: Value) -> None:
    """Refuse channel numbers that the groups do not divide; arrays and symbols pass."""
    if isinstance(channels, (int, float)) and isinstance(groups, (int, float)):
        ratio = channels / groups if groups else math.nan
        if not math.isfinite(ratio) or ratio != int(ratio) or ratio < 1:
            raise ArgumentError(field, channels, f"a multiple of groups = {groups}")
