"""Pooling and resampling of feature maps, and reductions."""

from __future__ import annotations

from perfmodel.algebra import Value, ceil
from perfmodel.ops.conv import Pair, output_size, pair
from perfmodel.ops.core import Op, Tensor, Window, Work
from perfmodel.ops.registry import operator


@operator
def pool2d(
    batch: Value,
    channels: Value,
    height: Value,
    width: Value,
    kernel: Pair,
    stride: Pair = 1,
    padding: str | Pair = "same",
    *,
    ceil_mode: bool = False,
    name: str = "",
) -> Op:
    """Maximum or mean over sliding windows, ``O[b,c,p,q] = reduce I[b,c,p s + r,q s + t]``.

    height, width  input size [elements]; kernel, stride, padding: one number or (vertical, horizontal)
    ceil_mode      a last window that is only partly inside also counts

    One vector operation per window position.
    """
    (kernel_r, kernel_s), (stride_p, stride_q) = pair("kernel", kernel), pair("stride", stride)
    pad_p, pad_q = pair("padding", padding)
    loops = {
        "b": batch, "c": channels,
        "p": _positions(height, kernel_r, stride_p, pad_p, ceil_mode),
        "q": _positions(width, kernel_s, stride_q, pad_q, ceil_mode),
        "r": kernel_r, "s": kernel_s,
    }
    axes = ("b", "c", Window("p", "r", stride_p), Window("q", "s", stride_q))
    tensors = (Tensor("I", axes), Tensor("O", ("b", "c", "p", "q"), output=True))
    windows = batch * channels * loops["p"] * loops["q"]
    return Op("pool2d", loops, tensors, (Work("vector", 1.0 * windows * kernel_r * kernel_s),), name)


@operator
def resample(elements_in: Value, elements_out: Value, operations: Value = 0, *, name: str = "") -> Op:
    """Copy that changes the shape: nearest or bilinear upsampling, pixel shuffle, padding, roll.

    operations  vector operations per output element (bilinear: 7 = 4 products and 3 sums)
    """
    tensors = (Tensor("x", ("i",)), Tensor("y", ("o",), output=True))
    work = (Work("vector", 1.0 * elements_out * operations),)
    return Op("resample", {"i": elements_in, "o": elements_out}, tensors, work, name)


@operator
def reduction(rows: Value, width: Value, *, operations: Value = 1, name: str = "") -> Op:
    """Sum, mean, maximum ... of `width` elements for each of `rows` results.

    operations  vector operations per input element (1: sum; 2: mean square)
    """
    tensors = (Tensor("x", ("r", "w")), Tensor("y", ("r",), output=True))
    work = (Work("vector", 1.0 * rows * width * operations),)
    return Op("reduction", {"r": rows, "w": width}, tensors, work, name)


def _positions(size: Value, kernel: Value, stride: Value, padding: str | Value, ceil_mode: bool) -> Value:
    if not ceil_mode or isinstance(padding, str):
        return output_size(size, kernel, stride, padding)
    return ceil((size + 2 * padding - kernel) / stride) + 1
