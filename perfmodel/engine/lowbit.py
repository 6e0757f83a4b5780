"""Processors of narrow numbers: table lookups in place of products, bit-serial arrays, packed lanes.

References
[1] Wei et al., T-MAC: CPU Renaissance via Table Lookup for Low-Bit LLM Deployment, arXiv:2407.00088.
[2] Conti et al., Marsellus: A Heterogeneous RISC-V AI-IoT End-Node SoC, JSSC 2024, arXiv:2305.08415.
[3] Garofalo et al., XpulpNN, IEEE TETC 2021, arXiv:2011.14325 (packed dot products of 2 to 8 bits).
[4] Cowan et al., Automatic generation of high-performance quantized machine learning kernels, CGO 2020,
    doi:10.1145/3368826.3377912 (bit planes, and, popcount).
[5] Ganji et al., DeepGEMM: Accelerated Ultra Low-Precision Inference on CPU Architectures using Lookup
    Tables, arXiv:2304.09049 (products of 2-bit numbers by byte shuffles).
[6] T-MAN: Enabling End-to-End Low-Bit LLM Inference on NPUs via Unified Table Lookup, 2025.
[7] Zhao et al., Insights into DeepSeek-V3, arXiv:2505.09343, section 3.2 (logarithmic format per tile).
"""

from __future__ import annotations

from perfmodel.algebra import Value, ceil_div, exp, maximum


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


def shuffle_rate(word: Value, instructions: Value) -> Value:
    """Multiply-accumulates per vector instruction where a byte shuffle looks up 16 products [5].

    word          bits of a vector register: one lookup per byte
    instructions  per shuffle, itself, the forming of its indices and the addition included
    """
    return word / 8.0 / instructions


def table_prefill_time(load: Value, dequantise: Value, multiply: Value) -> Value:
    """Time of a product whose weights stream through table dequantisation into a matrix unit [s] [6].

    The stages work on different tiles at the same time: the slowest sets the pace.
    """
    return maximum(load, dequantise, multiply)


def logarithmic_step(low: Value, high: Value, bits: Value) -> Value:
    """Distance of neighbouring codes of LogFMT-n in log space [7]: ``(max - min)/(2^(n-1) - 2)``.

    low, high  least and greatest logarithm of a tile, ``low >= high - ln 2^32``; one code is zero
    """
    return (high - low) / (2.0 ** (bits - 1.0) - 2.0)


def logarithmic_value(code: Value, low: Value, step: Value) -> Value:
    """Magnitude of code K > 0 of a tile [7]: ``exp(min + step (K - 1))``."""
    return exp(low + step * (code - 1.0))
