"""Area of arithmetic units by the width of their numbers, from one unit of the same technology.

To first order an adder is a row of cells and an array multiplier a square of them.  A floating-point
multiplier multiplies the significands (hidden bit included) and adds the exponents.

References
[1] Weste, Harris, CMOS VLSI Design, 4th ed., chapter 11 (carry-ripple adders, array multipliers).
[2] Liu et al., LLM-FP4, arXiv:2310.16836, section 5.4 (integer and floating-point units side by side).
"""

from __future__ import annotations

from perfmodel.algebra import Value


def adder_area(bits: Value, known: Value, known_bits: Value) -> Value:
    """Area of an adder [m2] [1]: ``A n / n0`` from the area A of one of n0 bits."""
    return known * bits / known_bits


def multiplier_area(bits: Value, known: Value, known_bits: Value) -> Value:
    """Area of an integer multiplier [m2] [1]: ``A (n / n0)^2`` from the area A of one of n0 bits."""
    return known * (bits / known_bits) ** 2


def float_multiplier_area(
    exponent: Value, mantissa: Value, multiplier: Value, adder: Value, known_bits: Value
) -> Value:
    """Area of a floating-point multiplier [m2] [2]: significands multiplied, exponents added.

    exponent, mantissa  stored bits; multiplier, adder: areas of integer units of `known_bits`
    """
    significand = multiplier_area(mantissa + 1.0, multiplier, known_bits)
    return significand + adder_area(exponent, adder, known_bits)
