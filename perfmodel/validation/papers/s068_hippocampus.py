"""S068: Casanueva-Morato et al., spike-based content-addressable memory on SpiNNaker, arXiv:2310.05868.

An operation takes as long as its last spike: the delays of the synapses on its way, which the text gives,
and the steps for which the input is held.
"""

from __future__ import annotations

from perfmodel.scenario.unconventional import spiking_time
from perfmodel.validation.cases import predicts

PERIOD = 1e-3
#: delays on the way of the last spike: input, structure 1, (gate, structure 2,) merge, output
LEARN, HELD = (1.0, 1.0, 1.0, 1.0, 1.0), 3.0
CUE = (1.0, 1.0, 3.0, 1.0)
CONTENT = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)


def _steps(delays: tuple[float, ...], held: float = 1.0) -> float:
    return held - 1.0 + sum(delays)


def _ms(steps: float) -> float:
    return float(spiking_time(steps, PERIOD)) * 1e3


@predicts({"S068-OPS-01": (LEARN, HELD), "S068-OPS-02": (CUE, 1.0), "S068-OPS-03": (CONTENT, 1.0)},
          fidelity="count")
def operation(delays: tuple[float, ...], held: float) -> float:
    """Time of one operation [ms]."""
    return _ms(_steps(delays, held))


@predicts("S068-RUN-01", fidelity="count")
def test_run() -> float:
    """Nine operations, one every 10 ms; the last is a recall by content [ms]."""
    return _ms(8.0 * 10.0 + _steps(CONTENT))


@predicts("S068-RUN-02", fidelity="count")
def map_of_states() -> float:
    """Four recalls by content [ms]."""
    return _ms(4.0 * _steps(CONTENT))


@predicts("S068-RUN-03", fidelity="count",
          reason="its operations start about every 14 steps, though the text says as often as possible")
def memory_test() -> float:
    """15 learnings, 15 recalls by cue and 30 by content, one after another [ms]."""
    return _ms(15.0 * _steps(LEARN, HELD) + 15.0 * _steps(CUE) + 30.0 * _steps(CONTENT))
