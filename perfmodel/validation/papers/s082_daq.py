"""S082: Olin-Ammentorp, Wu, Chien, Modeling Performance of Data Collection Systems for High-Energy Physics.

Sizes, rates and energies of the CMS detector: configuration sheets of the authors' repository (BSD).
"""

from __future__ import annotations

from functools import partial

from perfmodel.scenario.flowgraph import Flow, Stage, flow, flow_power, productivity, technology_gain
from perfmodel.validation.cases import predicts, published

COLLISIONS = 40e6  #: [1/s]
FRONT_END, LINK = 22.2e-12, 25e-12  #: [J/bit]
#: bytes of an event by detector group: tracker without its inner part, inner tracker, all others [B]
_RUN3 = {"outer": 206666.67 + 126666.67 + 10000.0, "inner": 436666.67,
         "other": 76666.67 + 136666.67 + 510000.0 + 56666.67 + 143333.33 + 666.67 + 26666.67 + 10000.0}
_RUN5 = {"outer": 720e3 + 430e3 + 10e3, "inner": 1440e3,
         "other": 240e3 + 440e3 + 600e3 + 330e3 + 3200e3 + 150e3 + 470e3 + 3e3 + 2e3 + 120e3 + 10e3}
TRIGGER_DATA = 260e3  #: added at the first level [B]


def _wall_time(size: float) -> float:
    """Relative time of the high-level trigger on an event of `size` [B], cubic fit of the authors."""
    return 2.2274e-20 * size**3 + 1.8833e-13 * size**2 + 1.4117e-7 * size


def _system(sizes: dict[str, float], ratio: float, graphics: bool, tracker: float) -> list[Stage]:
    sources = [
        Stage(name, size=size * (tracker if name == "inner" else 1.0), rate=COLLISIONS, link=FRONT_END)
        for name, size in sizes.items()
    ]
    # processors halve the time of the high-level trigger with GPUs
    speed = 0.5 if graphics else 1.0
    return [
        *sources,
        Stage("merge", tuple(sizes), link=LINK),
        Stage("level1", ("merge",), size=TRIGGER_DATA, ratio=ratio, energy=lambda s: 3e-3 * s / 2e6,
              link=LINK),
        Stage("high", ("level1",), ratio=100.0, energy=lambda s: 16.0 * speed * _wall_time(s), link=LINK),
    ]


#: first case of each scenario -> state of the system
_SCENARIOS = {
    1: partial(_system, _RUN3, 400.0, False, 1.0),
    4: partial(_system, _RUN5, 53.3, False, 1.0),
    7: partial(_system, _RUN5, 53.3, True, 1.0),
    10: partial(_system, _RUN5, 53.3, False, 1.0),  # a better first level changes what passes, not how much
    13: partial(_system, _RUN5, 53.3, False, 0.46),
    16: partial(_system, _RUN5, 53.3, True, 1.0),
}


def _state(first: int) -> tuple[float, Flow]:
    state = flow(_SCENARIOS[first]())
    # technology of 2032: ten years on
    return float(flow_power(state) / technology_gain(10.0)), state["high"]


@predicts({f"S082-DAQ-{first:02}": first for first in _SCENARIOS}, fidelity="count")
def power(first: int) -> float:
    """Power of the data acquisition [W], scaled to 2032."""
    return _state(first)[0]


@predicts({f"S082-DAQ-{first + 2:02}": first for first in _SCENARIOS}, fidelity="count", reason={
    "S082-DAQ-18": "its threshold search stopped where 5987 samples/s pass, all relevant (notebook of "
                   "the authors, precision 1.0); the stated ratios of the filters pass 7504",
})
def samples_per_energy(first: int) -> float:
    """Relevant samples per energy [1/J]; the F1 score of the classifiers is an input."""
    watts, high = _state(first)
    return float(productivity(published()[f"S082-DAQ-{first + 1:02}"].value, high.leaving, watts))


@predicts("S082-HEAD-01", fidelity="count")
def saving() -> float:
    """Power saved by GPUs, tracking at the first level and smaller tracker data, over the baseline [%]."""
    best = flow_power(flow(_system(_RUN5, 53.3, True, 0.46)))
    return float(100.0 * (1.0 - best / flow_power(flow(_SCENARIOS[4]()))))


@predicts({"S082-HEAD-02": (False, 1.0, "S082-DAQ-05"), "S082-HEAD-03": (True, 0.46, "S082-DAQ-17")},
          fidelity="count")
def per_kilojoule(graphics: bool, tracker: float, score: str) -> float:
    """Relevant samples per energy [1/kJ] of the baseline and of all three changes; the F1 score is an input.

    Tracking at the first level changes what passes, a smaller tracker does not, so its score is that without.
    """
    state = flow(_system(_RUN5, 53.3, graphics, tracker))
    watts = flow_power(state) / technology_gain(10.0)
    return float(1e3 * productivity(published()[score].value, state["high"].leaving, watts))
