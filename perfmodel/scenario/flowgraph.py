"""Rate-based data-flow graphs: items flow through stages that merge, filter and spend energy.

A stage receives items at a rate, each the sum of what its predecessors send, works on each item, lets one of
`ratio` pass and sends it on.  Power is energy per item times rate, summed over stages and links.

References
[1] Olin-Ammentorp, Wu, Chien, Modeling Performance of Data Collection Systems for High-Energy Physics, 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from perfmodel.algebra import Value, exp, maximum, total
from perfmodel.errors import GraphError


def no_work(size: Value) -> Value:
    """Energy of an item in a stage that does nothing [J]."""
    return 0.0 * size


@dataclass(frozen=True)
class Stage:
    """One stage of a flow.

    after     stages that send to it; none for a source
    size      bytes that it adds to each item (all bytes of a source) [B]
    rate      items per second of a source [1/s]
    ratio     one of `ratio` items passes
    energy    energy of the work on one item, as a function of its size [B] -> [J]
    link      energy of sending on, per bit [J/bit]
    """

    name: str
    after: tuple[str, ...] = ()
    size: Value = 0.0
    rate: Value = 0.0
    ratio: Value = 1.0
    energy: Callable[[Value], Value] = no_work
    link: Value = 0.0


@dataclass(frozen=True)
class Flow:
    """State of one stage.

    arriving, leaving  items per second; size [B] of an item; work, transport: power [W]
    """

    arriving: Value
    leaving: Value
    size: Value
    work: Value
    transport: Value


def flow(stages: Sequence[Stage]) -> Mapping[str, Flow]:
    """State of each stage [1]; a stage comes after those that it names.

    rate in = largest of the predecessors' (they carry parts of the same item), size = their sum + own,
    rate out = rate in/ratio, work = energy(size) rate in, transport = 8 size link rate out.
    Raises GraphError for a predecessor that is unknown or comes later.
    """
    done: dict[str, Flow] = {}
    for stage in stages:
        missing = [name for name in stage.after if name not in done]
        if missing or stage.name in done:
            raise GraphError(f"stage {stage.name!r}: {missing or stage.name!r} must come once, and before it")
        before = [done[name] for name in stage.after]
        arriving = maximum(*(b.leaving for b in before)) if before else stage.rate
        size = stage.size + total(b.size for b in before)
        leaving = arriving / stage.ratio
        done[stage.name] = Flow(
            arriving, leaving, size, stage.energy(size) * arriving, 8.0 * size * stage.link * leaving
        )
    return done


def flow_power(state: Mapping[str, Flow]) -> Value:
    """Power of all stages and links [W]."""
    return total(flow.work + flow.transport for flow in state.values())


def productivity(quality: Value, accepted: Value, power: Value) -> Value:
    """Useful items per energy [1/J] [1]: ``quality x accepted rate / power``, quality e.g. an F1 score."""
    return quality * accepted / power


def technology_gain(years: Value, rate: Value = 0.18717361) -> Value:
    """Factor by which energy per operation falls in some years [1]: ``exp(rate years)``, 2 in 3.7 years."""
    return exp(rate * years)
