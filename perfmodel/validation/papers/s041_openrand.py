"""S041: Khan et al., OpenRAND: A Performance Portable, Reproducible RNG Library, arXiv:2310.19925."""

from __future__ import annotations

from perfmodel.formats import precision
from perfmodel.validation.cases import predicts, published
from perfmodel.workload.nets.small import RandomWalk
from perfmodel.workload.step import Step

#: state of a stateful Philox generator [B]
STATE = 64.0
_STATE = {"S041-BROWN-V100-01": STATE, "S041-BROWN-V100-02": 0.0, "S041-BROWN-V100-03": 0.0}


def _moved(state: float, particles: float = 1e6) -> float:
    """Bytes that one step of the walk reads and writes."""
    walk = RandomWalk(particles=particles, state=state).graph(Step(), "walk")
    return float(sum(
        op.count * tensor.footprint(op.loops) * precision("fp32").of(tensor).bytes
        for op in walk for tensor in op.tensors
    ))


@predicts("S041-MEM-01", fidelity="count")
def saved() -> float:
    """Generator state that a counter-based generator does not keep [MB per million particles]."""
    return STATE * 1e6 / 1e6


@predicts({name: name for name in _STATE}, fidelity="calibrated",
          reason="traffic alone: the stored state also saves work that the counter-based generators repeat")
def brownian(case: str) -> float:
    """Wall time [s] by the traffic of a step; steps x particles from the two other generators."""
    others = [name for name in _STATE if name != case]
    scale = sum(published()[name].value / _moved(_STATE[name]) for name in others) / len(others)
    return scale * _moved(_STATE[case])
