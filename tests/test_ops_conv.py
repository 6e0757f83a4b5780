"""Convolutions counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from perfmodel.errors import ArgumentError
from perfmodel.ops.conv import conv1d, conv2d, output_size


def _footprints(op):
    return {tensor.name: float(tensor.footprint(op.loops)) for tensor in op.tensors}


def test_dense_convolution_by_hand():
    op = conv2d(1, 64, 64, 56, 56, 3)
    assert op.flops == 2 * 64 * 64 * 56 * 56 * 9  # 2 k c p q r s
    assert _footprints(op) == {
        "I": 64 * 58 * 58,  # one position of padding on each side is addressed
        "W": 64 * 64 * 9,
        "O": 64 * 56 * 56,
    }


def test_stride_valid_and_pairs():
    op = conv2d(4, 3, 96, 227, 227, 11, 4, "valid")
    assert (op.loops["p"], op.loops["q"]) == (55, 55)  # (227 - 11) / 4 + 1
    assert _footprints(op)["I"] == 4 * 3 * 227 * 227
    op = conv2d(1, 8, 8, 10, 20, (3, 1), (1, 2), (1, 0))
    assert (op.loops["p"], op.loops["q"]) == (10, 10)
    # a 1-wide kernel with stride 2 samples every other column: 10, not 19
    assert _footprints(op)["I"] == 8 * 12 * 10


def test_depthwise_by_hand():
    op = conv2d(1, 32, 32, 112, 112, 3, groups=32, bias=True)
    assert op.flops == 2 * 32 * 112 * 112 * 9
    assert _footprints(op) == {"I": 32 * 114 * 114, "W": 32 * 9, "O": 32 * 112 * 112, "bias": 32}


def test_one_dimension_by_hand():
    op = conv1d(1, 1, 1, 18, 3, padding="valid")
    assert (op.flops, op.loops["q"]) == (2 * 16 * 3, 16)
    assert _footprints(op) == {"I": 18, "W": 3, "O": 16}


def test_arrays_equal_scalars():
    sizes = np.array([7.0, 14.0, 56.0])
    op = conv2d(1, 64, 128, sizes, sizes, 3, 2)
    single = [conv2d(1, 64, 128, size, size, 3, 2).flops for size in sizes]
    np.testing.assert_array_equal(op.flops, single)


def test_dilation_widens_the_window():
    assert output_size(20, 3, 1, "valid", 4) == 20 - 8
    assert _footprints(conv1d(1, 1, 1, 20, 3, padding="valid", dilation=4))["I"] == 20


def test_bad_arguments_are_refused():
    with pytest.raises(ArgumentError, match="in_channels"):
        conv2d(1, 30, 32, 8, 8, 3, groups=4)
    with pytest.raises(ArgumentError, match="padding"):
        conv2d(1, 32, 32, 8, 8, 3, padding="full")
    with pytest.raises(ArgumentError, match="kernel"):
        conv2d(1, 32, 32, 8, 8, (3, 3, 3))
