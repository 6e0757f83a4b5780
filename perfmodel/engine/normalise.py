"""Accelerators of different process nodes on one: what frequency and power become.

References
[1] Stillmaker, Baas, Scaling equations for the accurate prediction of CMOS device performance from 180 nm to
    7 nm, Integration 2017, doi:10.1016/j.vlsi.2017.02.002.
[2] Koilia, Kachris, Hardware Acceleration of LLMs: A comprehensive survey and comparison, arXiv:2409.03384
    (tables extrapolated to 16 nm).
"""

from __future__ import annotations

from perfmodel.algebra import Value


def scaled_frequency(rate: Value, feature: Value, target: Value) -> Value:
    """Rate of the same circuit at another node: gate delay in proportion to the feature size [1, 2]."""
    return rate * feature / target


def scaled_power(
    power: Value, feature: Value, target: Value, voltage: Value = 1.0, target_voltage: Value = 1.0
) -> Value:
    """Dynamic power of the same circuit at its own higher rate: ``C V^2 f``, with ``C ~ L`` and ``f ~ 1/L``.

    Capacitance and frequency cancel, the supplies [V] remain [1].
    """
    capacitance, frequency = target / feature, feature / target
    return power * capacitance * frequency * (target_voltage / voltage) ** 2
