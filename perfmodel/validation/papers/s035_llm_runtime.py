"""S035: Zhang et al., Dissecting the Runtime Performance of the Training, Fine-tuning, and Inference of LLMs.

Its tables could not be read.  These were measured by another group on its best platform (eight A800) with the
same techniques: ZeRO 2 and 3, recomputation, micro-batches.  Offloading to the host is not modelled.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

import perfmodel as pm
from perfmodel.validation.cases import predicts, published, starting
from perfmodel.validation.heldout import held_out_cases

TOKENS = 4096.0


@cache
def _step(config: str) -> pm.Result:
    """One optimiser step at the rates of the kernels."""
    found = re.match(r"ZeRO (\d), recompute (\w+), micro-batch (\d+), batch (\d+)", config)
    if not found:
        raise pm.PerfmodelError(f"cannot read {config!r}")
    zero, recompute, micro, batch = found.groups()
    return pm.training("llama-7b", "a800-node", batch=float(batch), sequence=TOKENS, dp=8,
                       micro_batch=float(micro), recompute=recompute, zero=int(zero), loss="eager",
                       fidelity="calibrated")


def _features(case: str) -> Callable[[], tuple[float]]:
    """Time of a sequence on the kernels: the one constant is what the training code adds."""
    return lambda: (TOKENS / float(_step(published()[case].config).throughput),)


held_out_cases(
    {case: _features(case) for case in starting("S035-SPEED")}, items=1.0,
    reason={"S035-SPEED-04": "what the framework loses to collecting weights layer by layer (ZeRO 3)"},
)


@predicts(starting("S035-MEMORY"), fidelity="count",
          reason={"S035-MEMORY-04": "twice the activations of the first row, which is met: not explained",
                  "S035-MEMORY-07": "25 GiB more than with half of the batch: the size of whole gradients"})
def memory(case: str) -> float:
    """Memory of a GPU [GiB]."""
    return float(_step(published()[case].config).memory) / 2.0**30
