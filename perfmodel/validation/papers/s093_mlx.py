"""S093: Ajayi, Odunayo, Benchmarking On-Device Machine Learning on Apple Silicon with MLX, arXiv:2510.18921.

Operations on an M1, one of the paper's devices, in the tables of the benchmark whose code the paper ran: a
start and an efficiency of the device from the other operations.
"""

from __future__ import annotations

import re
from functools import partial
from math import prod
from typing import Any

import perfmodel as pm
from perfmodel.engine.roofline import cost
from perfmodel.validation.cases import published
from perfmodel.validation.heldout import held_out_cases


def _op(text: str) -> Any:
    """Operation of a row such as ``MatMul dim=1000x64x256 dim=256x32``."""
    first, *more = ([float(x) for x in shape.split("x")] for shape in re.findall(r"dim=([\dx]+)", text))
    if text.startswith("Softmax"):
        return pm.op.softmax(prod(first[:-1]), first[-1])
    if text.startswith("Linear") or len(more[0]) == 2:
        return pm.op.matmul(m=prod(first[:-1]), n=more[0][-1], k=first[-1])
    return pm.op.matmul(m=first[-2], n=more[0][-1], k=first[-1], batch=first[0])


def _features(case: str) -> tuple[float, float]:
    """One operation, and the time of its roofline [ms]."""
    op = _op(published()[case].workload)
    return 1.0, 1e3 * float(cost(op, pm.system("apple-m1"), pm.precision("fp32")).busy_time)


held_out_cases(
    {case: partial(_features, case) for case in published() if case.startswith("S093-")},
    reason="one efficiency for all operations: short sums, one long sum and rows of eight elements differ",
)
