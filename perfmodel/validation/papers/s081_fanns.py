"""S081: Jiang et al., Co-design Hardware and Algorithm for Vector Search (FANNS), SC 2023, arXiv:2306.11182.

Indices and units of each design are those of the configuration files in the authors' repository.
"""

from __future__ import annotations

from functools import partial

from perfmodel.scenario.pipeline import slowest_of
from perfmodel.scenario.vector_search import Index, Units, imbalance, search_pipeline
from perfmodel.validation.cases import predicts, published
from perfmodel.validation.heldout import held_out, held_out_cases

CLOCK = 140e6

#: design -> index and units
_PREDICTED = {
    "S081-QPS-U280-01": (Index(1e8, 4096.0, 6.0, 10.0), Units(10.0, 6.0, 36.0, 2.0)),
    "S081-QPS-U280-02": (Index(1e8, 16384.0, 34.0, 100.0), Units(7.0, 5.0, 9.0)),
}
_MEASURED = {
    1: (Index(1e8, 4096.0, 4.0, 1.0), Units(12.0, 4.0, 24.0, 2.0)),
    10: (Index(1e8, 8192.0, 17.0, 10.0), Units(9.0, 6.0, 27.0, 2.0)),
    100: (Index(1e8, 16384.0, 33.0, 100.0), Units(5.0, 3.0, 5.0)),
}
_MEDIAN = {1: "S081-RT-SIFT100M-01", 10: "S081-RT-SIFT100M-03", 100: "S081-RT-SIFT100M-05"}
_HIGH = {1: "S081-RT-SIFT100M-02", 10: "S081-RT-SIFT100M-04", 100: "S081-RT-SIFT100M-06"}


@predicts(_PREDICTED, fidelity="dataflow")
def throughput(index: Index, units: Units) -> float:
    """Queries per second: the slowest of the six stages."""
    return float(search_pipeline(index, units, CLOCK).throughput)


def _response(cases: dict[int, str], results: int) -> float:
    """Response time [ms] of a design: a x stage times + fixed time, constants from the two other designs."""
    features = {
        cases[k]: (float(search_pipeline(*design, CLOCK).latency) * 1e3, 1.0)
        for k, design in _MEASURED.items()
    }
    return held_out(features, {name: published()[name].value for name in features}, cases[results])


@predicts({name: results for results, name in _MEDIAN.items()}, fidelity="calibrated")
def median_response(results: int) -> float:
    """Median response time over TCP [ms]."""
    return _response(_MEDIAN, results)


@predicts({name: results for results, name in _HIGH.items()}, fidelity="calibrated")
def high_response(results: int) -> float:
    """95th percentile of the response time over TCP [ms]."""
    return _response(_HIGH, results)


_SCALE = {
    f"S081-SCALE-{what}-0{n}": (float(n), q)
    for what, q in (("median", 0.5), ("P95", 0.95)) for n in (1, 2, 3, 4)
}


@predicts(_SCALE, fidelity="calibrated")
def broadcast(servers: float, quantile: float) -> float:
    """Response time when the slowest of several servers counts [ms]; one server as predicted above."""
    return float(slowest_of(servers, _response(_MEDIAN, 10), _response(_HIGH, 10), quantile))


#: instance -> physical cores
_CORES = {"S081-CPU-01": 8.0, "S081-CPU-02": 32.0}


def _codes_per_core(case: str) -> tuple[float]:
    """Codes that a core scans per query, in millions: 17 of 8192 cells of 100 M vectors, 16 lookups each."""
    return (float(imbalance(8192.0)) * 17.0 * 1e8 / 8192.0 * 16.0 / _CORES[case] / 1e6,)


held_out_cases({case: partial(_codes_per_core, case) for case in _CORES}, items=1.0)
