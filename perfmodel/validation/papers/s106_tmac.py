"""S106: Wei et al., T-MAC: CPU Renaissance via Table Lookup for Low-Bit LLM Deployment, arXiv:2407.00088.

Profiling tables of the authors' repository.  Decode of one token: lookups divided over the threads, the
stream of the weights, and for every layer what threads do not shorten (barriers between its operations,
element-wise work).  Kernels that dequantise have a rate for each format and are far from the bandwidth.  All
constants of a device come from its other rows.
"""

from __future__ import annotations

import re
from functools import partial

import perfmodel as pm
from perfmodel.engine.lowbit import lookups
from perfmodel.validation.cases import predicts, published, run
from perfmodel.validation.heldout import constants, held_out_cases


def _weights(case: str) -> tuple[float, float, float]:
    """Weights read per token, bits per weight, threads."""
    row = published()[case]
    found = re.search(r"(\d+) threads", row.config)
    threads = float(found.group(1)) if found else 1.0
    if "BitNet" in row.workload:
        return 3.3e9, 2.0, threads  # size from its name
    model = pm.workload("llama-2-7b")
    return float(model.active_parameters), 2.0 if "W2" in row.workload else 4.0, threads


def _layers(case: str) -> float:
    return 26.0 if "BitNet" in published()[case].workload else 32.0


def _lookup(case: str) -> tuple[float, float, float]:
    weights, bits, threads = _weights(case)
    return float(lookups(weights, bits)) / threads / 1e9, weights * bits / 8e9, _layers(case)


def _dequantised(case: str) -> tuple[float, float, float]:
    weights, bits, threads = _weights(case)
    work = weights / threads / 1e9
    return (work, 0.0, _layers(case)) if bits == 2.0 else (0.0, work, _layers(case))


def _rows(device: str, runtime: str) -> list[str]:
    return [
        row.case for row in published().values()
        if row.case.startswith(f"S106-TOKS-{device}") and (runtime in row.quantity or device == "XElite")
    ]


for _device in ("M2Ultra", "AGXOrin", "SurfaceBook3", "XElite"):
    held_out_cases(
        {case: partial(_lookup, case) for case in _rows(_device, "T-MAC")}, items=1.0,
        reason={
            "S106-TOKS-M2Ultra-01": "half more time per lookup than the larger model on the same core; the "
                                    "authors print 30 token/s with another aggregation of the sums",
            "S106-TOKS-XElite-03": "one thread at 2 bits takes 107 ms, from those at 4 bits 74",
        },
    )
for _device in ("M2Ultra", "AGXOrin", "SurfaceBook3"):
    held_out_cases(
        {case: partial(_dequantised, case) for case in _rows(_device, "llama.cpp")}, items=1.0,
    )


@predicts({"S106-ENERGY-ORIN-01": "S106-TOKS-AGXOrin-08", "S106-ENERGY-ORIN-07": "S106-TOKS-AGXOrin-07"},
          fidelity="calibrated")
def orin(case: str) -> float:
    """Decode rate at 12 threads [token/s]: the row of the profiling table, predicted from its others."""
    return run(case).predicted


@predicts("S106-ENERGY-ORIN-04", reason="the 2-bit kernels of the GPU are bound by their dequantisation")
def orin_gpu() -> float:
    """Decode rate of the GPU [token/s] that the memory bandwidth allows."""
    bandwidth = pm.device("jetson-agx-orin").main_memory.bandwidth
    return float(bandwidth) * 8.0 / (2.0 * float(pm.workload("llama-2-7b").active_parameters))


#: measured power by case of the table [W]
_POWER = {"S106-ENERGY-ORIN-03": 15.0, "S106-ENERGY-ORIN-06": 30.8, "S106-ENERGY-ORIN-09": 10.4}


@predicts({
    "S106-ENERGY-ORIN-03": ("S106-ENERGY-ORIN-03", "S106-ENERGY-ORIN-01"),
    "S106-ENERGY-ORIN-06": ("S106-ENERGY-ORIN-06", "S106-ENERGY-ORIN-04"),
    "S106-ENERGY-ORIN-09": ("S106-ENERGY-ORIN-09", "S106-ENERGY-ORIN-07"),
}, fidelity="count")
def energy_per_token(case: str, rate: str) -> float:
    """Energy per token [J] = measured power / measured rate."""
    return _POWER[case] / published()[rate].value


def _threads(case: str) -> tuple[float]:
    return (1.0 / _weights(case)[2],)


held_out_cases({case: partial(_threads, case) for case in ("S106-PREFILL-01", "S106-PREFILL-02")}, items=1.0)


@predicts({"S106-HEAD-01": 1.0, "S106-HEAD-02": 8.0}, fidelity="calibrated")
def laptop(threads: float) -> float:
    """Decode rate of BitNet-3B on an M2 Ultra [token/s], from all rows of its profiling table."""
    rows = _rows("M2Ultra", "T-MAC")
    times = [1.0 / published()[case].value for case in rows]
    per_lookup, per_byte, per_layer = constants([_lookup(case) for case in rows], times)
    computed, moved, layers = _lookup(rows[0])  # one thread
    return float(1.0 / (per_lookup * computed / threads + per_byte * moved + per_layer * layers))
