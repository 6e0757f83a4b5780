"""Area of arithmetic units by width, counted by hand."""

import numpy as np
import pytest

from perfmodel.engine.unit_area import adder_area, float_multiplier_area, multiplier_area


def test_adders_grow_with_the_width_and_multipliers_with_its_square():
    assert adder_area(6.0, 93.0, 4.0) == pytest.approx(93 * 6 / 4)
    assert multiplier_area(6.0, 182.0, 4.0) == pytest.approx(182 * 36 / 16)
    assert multiplier_area(np.array([4.0, 8.0]), 182.0, 4.0) == pytest.approx([182.0, 4 * 182.0])


def test_a_float_multiplies_significands_and_adds_exponents():
    # E2M1: two bits with the hidden one, (2/4)^2 of an INT4 multiplier; two bits of exponent, half an adder
    assert float_multiplier_area(2.0, 1.0, 182.0, 93.0, 4.0) == pytest.approx(182 / 4 + 93 / 2)
