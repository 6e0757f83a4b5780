"""Board power of a GPU from what it keeps busy.

``P = P_limit (s + m u_memory + c u_compute)``, not above the limit: s static and clocked logic while any
kernel runs, m a memory system at full bandwidth, c the matrix units at full rate.  Utilisations are of the
nominal rates over the whole run.  The constants are fractions of the board limit and shared by all boards.
"""

from __future__ import annotations

from perfmodel.algebra import Value, maximum, minimum
from perfmodel.scenario.corrections import calibration
from perfmodel.scenario.serving import waves
from perfmodel.scenario.serving_cost import WIDE, StepCost


def board_power(
    limit: Value, memory: Value, compute: Value, shares: tuple[Value, Value, Value] | None = None
) -> Value:
    """Mean board power [W].

    limit            board limit [W]
    memory, compute  utilisation of nominal bandwidth and matrix peak [0..1]
    shares           (s, m, c); None: the shipped fit
    """
    static, moving, working = power_shares() if shares is None else shares
    return limit * minimum(static + moving * memory + working * compute, 1.0)


def power_shares(name: str = "batch") -> tuple[float, float, float]:
    """Shipped fractions (s, m, c) of the board limit."""
    fitted = (calibration().power or {})[name]
    return float(fitted["static"]), float(fitted["memory"]), float(fitted["compute"])


def utilisation(
    cost: StepCost, batch: Value, input: Value, output: Value, latency: Value
) -> tuple[Value, Value]:
    """Mean share of nominal bandwidth and matrix peak over a batch that took `latency` [s]."""
    counts, numbers = cost.counts, cost.numbers
    rounds = waves(batch, cost.slots(input + output), cost.runtime.whole_waves)
    together = batch / rounds
    active = counts.dense + counts.expert * counts.top_k / cost.layout.devices
    moved = rounds * output * (
        active * numbers.dense_bytes + counts.head * WIDE + together * counts.cache * numbers.cache_bytes
    )
    work = batch * (
        2.0 * active * (input + output) + counts.prompt_mixing + output * counts.decode_mixing
    )
    span = maximum(latency, 1e-12)
    return moved / span / cost.hardware.bandwidth, work / span / numbers.wide_peak


def energy_per_token(power: Value, latency: Value, tokens: Value) -> Value:
    """Energy of a token [J]: power of all boards [W] times latency [s] over the tokens served."""
    return power * latency / tokens
