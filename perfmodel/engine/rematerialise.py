"""Caches that keep the quantised input of a layer and compute keys and values again.

Reference
[1] Tomar et al., XQuant: Breaking the Memory Wall for LLM Inference with KV Cache Rematerialization,
    arXiv:2508.10395.
"""

from __future__ import annotations

from perfmodel.algebra import Value


def stored_bits(bits: Value, group: Value, scale: Value = 16.0, zero: Value = 0.0) -> Value:
    """Bits per element with a scale and a zero point per group: ``b + (scale + zero)/group``."""
    return bits + (scale + zero) / group


def input_cache_saving(
    bits: Value, cache_bits: Value = 16.0, width: Value = 1.0, kv_width: Value = 1.0
) -> Value:
    """Size of a key-value cache over a cache of layer inputs [1]: ``2 w_kv 16/(w b)``.

    bits             stored bits per element of the input
    width, kv_width  model width, and width of keys (or values) of all heads; equal in multi-head attention
    """
    return 2.0 * kv_width * cache_bits / (width * bits)


def rematerialised_flops(tokens: Value, width: Value, kv_width: Value) -> Value:
    """FLOP to compute keys and values of the cached tokens again, per layer [1]: ``2 t d 2 w_kv``."""
    return 4.0 * tokens * width * kv_width
