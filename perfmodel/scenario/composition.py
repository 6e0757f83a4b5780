"""Systems of unequal parts: accelerated shares, skipped frames, gated sensors, energy per pixel.

References
[1] Amdahl, Validity of the single processor approach, AFIPS 1967, doi:10.1145/1465482.1465560.
[2] Mubarik et al., Hardware Acceleration of Neural Graphics, ISCA 2023, arXiv:2303.05735 (the rest is fused).
[3] Zhu et al., Euphrates: Algorithm-SoC Co-Design for Mobile Continuous Vision, ISCA 2018, arXiv:1803.11232.
[4] Chen et al., CARMA: Context-Aware Runtime Reconfiguration, 2023 (gated sensors and branches).
[5] Cai, Zhu, Han, ProxylessNAS, arXiv:1812.00332 (latency of a network whose choices are still open).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perfmodel.algebra import Value, total


def accelerated(share: Value, speedup: Value, rest: Value = 1.0) -> Value:
    """Speed-up of a whole of which `share` runs `speedup` times faster and the rest `rest` times [1, 2].

    ``1/((1 - f)/s_rest + f/s)``
    """
    return 1.0 / ((1.0 - share) / rest + share / speedup)


def skipped(every: Value, extrapolation: Value = 0.0) -> Value:
    """Work saved where only one of `every` frames is inferred and the others are extrapolated [3].

    extrapolation  cost of an extrapolated frame over an inferred one; ``1/(1/k + (1 - 1/k) e)``
    """
    return 1.0 / (1.0 / every + (1.0 - 1.0 / every) * extrapolation)


def skipping_saves(share: Value, every: Value) -> Value:
    """Share of the system energy saved by skipping frames in a part that takes `share` of it [3]."""
    return share * (1.0 - 1.0 / every)


def pixel_budget(power: Value, width: Value, height: Value, rate: Value) -> Value:
    """Energy that a power leaves per pixel [J] [3]: ``P/(w h fps)``; power [W], rate [frames/s]."""
    return power / (width * height * rate)


def gated_energy(
    branches: Mapping[str, tuple[Value, Value]], contexts: Sequence[tuple[Value, Sequence[str]]]
) -> Value:
    """Energy per item of a system that runs the branches its context asks for [J] [4].

    branches  name -> (power of sensor and branch [W], time [s])
    contexts  (share of the items, branches that run)
    """
    return total(
        share * total(branches[name][0] * branches[name][1] for name in active) for share, active in contexts
    )


def expected_latency(choices: Sequence[tuple[Value, Value]]) -> Value:
    """Latency of a block whose operation is open [s] [5]: ``sum_j p_j t_j`` of (probability, latency)."""
    return total(probability * latency for probability, latency in choices)
