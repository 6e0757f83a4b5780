"""Corrections of a device that was not measured, from measured devices of the nearest architectures.

    distance = sum of the weights of differing traits + weight x difference of generations
    score    = likeness of the group of kernels - 4 x distance
    value    = start^0.2 x mean^0.8; mean: geometric, over the donors, of their values x what a correction is
               worth on the one kind of chip over the other; weight exp(-0.3 x score below the best), three
               times that for a donor that knows the kernel, none 4 below the best

Fixed times, latencies and rates that rows tell well (`whole`) are the mean itself.  Where no donor knows the
kernel, others say little of it: start^0.6 x mean^0.4 for all of them.  The start is multiplied by what the
correction is worth, too.  What a caller costs is that of a backend: fixed times come from donors that know
it, if any does; a floor of another one is not lent.

Architectures, traits, weights and worths are data (``hardware_specs/calibrations/lineage.yaml``); the errors
and the interval of what is passed on are those on measured devices whose own file was left out
(``transfer.yaml``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache
from typing import Any

from perfmodel import shipped
from perfmodel.spec import FrozenMap, Provenance, anything, load, many, text

#: likeness that one unit of distance costs; scores this far below the best do not count; weight by score
PER_DISTANCE, REACH, FADING = 4.0, 4.0, 0.3
#: fixed times above this multiple of the least are those of a slow caller, not of the kernel
SLOW_CALLER = 8.0
#: weight of a donor that knows the kernel over one that lends the mean of others
KNOWS = 3.0
#: share of a lent correction, the rest being the documented start: of a kernel that a donor knows, of another
KEPT, GUESSED = 0.8, 0.4


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Architectures of GPUs and how much their traits separate them."""

    sources_required = False

    data: str = text(doc="where the traits come from")
    date: str = text(doc="day of the last change")
    weights: Any = anything(doc="trait -> distance of two architectures that differ in it")
    scales: Any = anything(doc="correction -> rules: trait, worth by value of the trait, kernels (not) meant")
    whole: tuple[str, ...] = many(text(), doc="corrections lent as they are, not drawn to their start")
    alike: tuple[str, ...] = many(text(), doc="families whose other kernels tell as much as the same one")
    architectures: Any = anything(doc="name -> devices (patterns) and traits")
    provenance: FrozenMap[Provenance] = field(default_factory=FrozenMap, compare=False, repr=False)


@cache
def lineage() -> Lineage:
    """The shipped lineage."""
    return load(Lineage, shipped.folder("hardware_specs") / "calibrations" / "lineage.yaml")


def architecture(device: str) -> str:
    """Name of the architecture of a device; empty where it is not known."""
    for name, traits in lineage().architectures.items():
        if any(fnmatch(device, pattern) for pattern in traits["devices"]):
            return str(name)
    return ""


def distance(one: str, other: str) -> float:
    """Distance of the architectures of two devices; that of an unknown architecture is the same to all."""
    known = lineage()
    names = architecture(one), architecture(other)
    if "" in names:
        return float(sum(known.weights.values()))
    mine, theirs = (known.architectures[name] for name in names)
    return float(sum(
        weight * (abs(mine[trait] - theirs[trait]) if trait == "generation" else mine[trait] != theirs[trait])
        for trait, weight in known.weights.items()
    ))


def worth(correction: str, kernel: str, device: str) -> float:
    """What a correction is on the kind of chip of a device, over that on the kind of its documented start.

    kernel  ``family/group``; a rule names beginnings of it
    """
    known, name, found = lineage(), architecture(device), 1.0
    for rule in known.scales.get(correction, ()) if name else ():
        meant, others = (any(fnmatch(kernel, one + "*") for one in rule.get(key, default))
                         for key, default in (("for", ("",)), ("except", ())))
        if meant and not others:
            found *= rule["worth"].get(known.architectures[name].get(rule["trait"]), 1.0)
    return found


def scale(correction: str, kernel: str, donor: str, device: str) -> float:
    """What a correction of a donor is multiplied by on a device."""
    if "" in (architecture(donor), architecture(device)):
        return 1.0
    return worth(correction, kernel, device) / worth(correction, kernel, donor)


def likeness(asked: str, candidate: str) -> tuple[float, float]:
    """How alike two groups are: in number formats and mode, and in source and backend."""
    mine, other = asked.split("/"), candidate.split("/")
    origin = sum(weight * _alike(a, b) for weight, a, b in zip((1.0, 2.0), mine[:2], other[:2], strict=False))
    rest, wanted = other[2:], [part for part in mine[2:] if part not in ("", "any")]
    kind = sum(4.0 if part in rest else -1.0 for part in wanted)
    kind += sum(1.0 for a, b in zip(mine[2:], rest, strict=False) if a == b)
    return kind - 0.1 * len([part for part in rest if part not in wanted]), origin


def _alike(mine: str, other: str) -> float:
    if "any" in (mine, other):  # a wish for any source is met by each, and best by none that is pooled
        return 0.4
    if mine == other:
        return 1.0
    return 0.5 if mine in other or other in mine else 0.0


def nearest(group: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
    """The known group closest to the asked one: formats and mode count most, then source, then backend.

    Where nothing tells two groups apart, the better known and faster one is taken.
    """
    if group in known:
        return group

    def score(candidate: str) -> float:
        entry = known[candidate] if isinstance(known, Mapping) else {}
        # the error of rows that were fitted says little of a group too small to hold any out
        error = float(entry.get("held_out", {}).get("mape", 30.0 if entry else 0.0))
        values = entry.get("values", {})
        fixed, rate = float(values.get("launch", 0.0)), float(values.get("compute", 0.0))
        # a kernel that the runtime seldom calls has few rows, and they fit well
        rows = 0.2 * math.log10(max(float(entry.get("rows", 1.0)), 1.0))
        better = rows - 0.02 * min(error, 30.0) - 0.02 * min(fixed, 20.0) + 0.2 * min(rate, 1.5)
        return sum(likeness(group, candidate)) + better

    return max(known, key=score)


def stand_ins(group: str, known: Mapping[str, Any], family: str = "") -> dict[str, float]:
    """Groups of a donor that stand in for a group, with weights.

    Its own kernel; for a wish for any source the nearest; else all of the same formats and mode, since the
    mean of unlike kernels is less wrong than one of them picked by its name.  Products (`alike`) that the
    floor of another backend hides tell nothing.
    """
    if group in known or "any" in group.split("/")[1:2]:
        return {nearest(group, known): 1.0}
    scores = {name: likeness(group, name) for name in known}
    kind = max(score[0] for score in scores.values())
    same = {name: score[1] for name, score in scores.items() if score[0] >= kind - 0.15}  # any mode
    own = {name: score for name, score in same.items() if _same_kernel(group, name)}
    if own:
        return {name: 1.0 for name, score in own.items() if score == max(own.values())}
    fixed = {name: float(known[name]["values"].get("launch", 0.0)) for name in same}
    for name in fixed if family in lineage().alike else ():
        if name.split("/")[0] != group.split("/")[0]:
            fixed[name] = max(fixed[name], float(known[name]["values"].get("host", 0.0)))
    limit = SLOW_CALLER * max(min(fixed.values()), 0.3)
    return {name: math.exp(score) for name, score in same.items() if fixed[name] <= limit}


def _same_kernel(one: str, other: str) -> bool:
    """Whether two groups name the same kernel source."""
    return one.split("/")[1:2] == other.split("/")[1:2] != ["any"]


@dataclass(frozen=True)
class PassedOn:
    """Corrections that stand in for those of a device that was not measured."""

    values: Mapping[str, float]
    donors: tuple[str, ...]  #: nearest first
    group: str  #: of the nearest donor
    same_kernel: bool  #: a donor knows the source that was asked for


def pass_on(device: str, family: str, group: str, donors: Mapping[str, Mapping[str, Any]],
            defaults: Mapping[str, float]) -> PassedOn:
    """Corrections for a group of kernels of a family on a device.

    donors    measured device -> group -> entry with ``values`` of the family, none empty
    defaults  name of every correction and its value where a donor does not state it
    """
    offers, kernel = [], f"{family}/{group}"
    alike = family in lineage().alike
    for name, entries in (_same_formats(group, donors) if alike else donors).items():
        chosen = stand_ins(group, entries, family)
        nearest = max(chosen, key=lambda one: chosen[one])
        kind, origin = likeness(group, nearest)
        score = kind + origin - PER_DISTANCE * distance(device, name)
        each = [_without_caller(entries[one]["values"], group, one, defaults) for one in chosen]
        starts = {one: start * worth(one, kernel, name) for one, start in defaults.items()}
        values = _mean(each, list(chosen.values()), starts)
        scaled = {one: value * scale(one, kernel, name, device) for one, value in values.items()}
        offers.append((score, name, nearest, _same_kernel(group, nearest), scaled))
    offers.sort(key=lambda offer: -offer[0])
    best = offers[0][0]
    used = offers if alike else [offer for offer in offers if offer[0] >= best - REACH]
    weights = [math.exp(FADING * (offer[0] - best)) * (KNOWS if offer[3] else 1.0) for offer in used]
    same = any(offer[3] for offer in used)
    whole, kept = (lineage().whole, KEPT) if same or alike else (("host",), GUESSED)
    mean = _mean([offer[4] for offer in used], weights, defaults)
    backend = [weight * (offer[2].split("/")[0] == group.split("/")[0])
               for weight, offer in zip(weights, used, strict=True)]
    if any(backend):
        fixed = {one: start for one, start in defaults.items() if one == "launch"}
        mean |= _mean([offer[4] for offer in used], backend, fixed)
    values = {}
    for one, value in mean.items():
        start = defaults[one] * worth(one, kernel, device)
        values[one] = value if one in whole else value**kept * start ** (1.0 - kept)
    return PassedOn(values, tuple(offer[1] for offer in used), offers[0][2], same)


def _same_formats(group: str, donors: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """Donors and their groups with the number format of a group; all where none has it."""
    wanted = group.split("/")[2:3]
    found = {name: {one: entry for one, entry in known.items() if one.split("/")[2:3] == wanted}
             for name, known in donors.items()}
    return {name: known for name, known in found.items() if known} or donors


def _without_caller(values: Mapping[str, Any], asked: str, group: str,
                    defaults: Mapping[str, float]) -> Mapping[str, Any]:
    """Values of a group without the floor of its caller where another backend is asked for."""
    if "host" not in values or asked.split("/")[0] == group.split("/")[0]:
        return values
    return {**values, "host": min(float(values["host"]), defaults.get("host", math.inf))}


def _mean(values: Sequence[Mapping[str, Any]], weights: Sequence[float],
          defaults: Mapping[str, float]) -> dict[str, float]:
    """Weighted geometric mean of every correction."""
    total = sum(weights)
    return {
        name: math.exp(sum(weight * math.log(max(float(one.get(name, default)), 1e-12))
                           for weight, one in zip(weights, values, strict=True)) / total)
        for name, default in defaults.items()
    }
