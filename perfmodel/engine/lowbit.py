"""Processors of narrow numbers: table lookups in place of products, bit-serial arrays, packed lanes.

References
[1] Wei et al., T-MAC: CPU Renaissance via Table Lookup for Low-Bit LLM Deployment, arXiv:2407.00088.
[2] Conti et al., Marsellus: A Heterogeneous RISC-V AI-IoT End-Node SoC, JSSC 2024, arXiv:2305.08415.
[3] Garofalo et al., XpulpNN, IEEE TETC 2021, arXiv:2011.14325 (packed dot products of 2 to 8 bits).
[4] Cowan et al., Automatic generation of high-performance quantized machine learning kernels, CGO 2020,
    doi:10.1145/3368826.3377912 (bit planes, and, popcount).
"""

from __future__ import annotations

from perfmodel.algebra import Value, ceil_div, maximum


def lookups(weights: Value, bits: Value, group: Value = 4.0) -> Value:
    """Table lookups of a matrix-vector product [1]: one per bit plane and group of weights, ``bits MK/g``."""
    return bits * weights / group


def table_entries(inputs: Value, group: Value = 4.0) -> Value:
    """Table entries built per activation vector of `inputs` elements [1]: ``(K/g) 2^g``."""
    return inputs / group * 2.0**group


def lookup_time(
    weights: Value, bits: Value, rate: Value, bandwidth: Value, overhead: Value = 0.0, group: Value = 4.0
) -> Value:
    """Time of a matrix-vector product by lookups [s] [1]: the longer of lookups and weight traffic.

    weights  elements; bits per weight; overhead: scale bits per weight
    rate     lookups per second; bandwidth [B/s]
    """
    moved = weights * (bits + overhead) / 8.0
    return maximum(lookups(weights, bits, group) / rate, moved / bandwidth)


def bit_products(blocks: Value, columns: Value, lanes: Value) -> Value:
    """One-bit products per clock of an array of blocks, each of `columns` columns of `lanes` [2]."""
    return blocks * columns * lanes


def bit_serial_rate(products: Value, weight_bits: Value, input_bits: Value, parallel: Value = 4.0) -> Value:
    """Multiply-accumulates per clock of a bit-serial array [2]: ``P/(parallel QW ceil(QA/parallel))``.

    products  one-bit products per clock; `parallel` input bits are processed at once
    """
    return products / parallel / (weight_bits * ceil_div(input_bits, parallel))


def packed_rate(word: Value, bits: Value) -> Value:
    """Multiply-accumulates per clock of a core whose words hold several operands [3]: ``word/bits``."""
    return word / bits


def popcount_rate(word: Value, weight_bits: Value, input_bits: Value, instructions: Value = 3.0) -> Value:
    """Multiply-accumulates per vector instruction of bit-serial products [4]: ``word/(QW QA instructions)``.

    word          bits of a vector register
    instructions  per pair of bit planes: and, count of ones, addition
    """
    return word / (weight_bits * input_bits * instructions)
