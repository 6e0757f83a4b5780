"""S080: Hu et al., HipKittens: Fast and Furious AMD Kernels, arXiv:2511.08083; files of the repository.

The kernel models of the package at fidelity ``dataflow``, and two constants per kernel from its other sizes:
a start and the efficiency over the documented reference.
"""

from __future__ import annotations

import re
from functools import partial

import perfmodel as pm
from perfmodel.validation.cases import published
from perfmodel.validation.heldout import held_out_cases

DEVICE = "mi355x"


def _size(case: str) -> float:
    found = re.search(r"N=(?:K=)?(\d+)", published()[case].quantity)
    return float(found.group(1)) if found else 0.0


def _rows(start: str, baseline: bool = False) -> list[str]:
    """Rows of a kernel, or of the vendor's library beside it."""
    found = [row for row in published().values() if row.case.startswith(start)]
    return [row.case for row in found if ("AITER" in row.quantity) == baseline]


def _per_work(op: object, work: float, precision: str, fidelity: str = "dataflow") -> tuple[float, float]:
    """Features of 1/rate: a start and the modelled time, both over the work of the kernel [s/TFLOP]."""
    time = float(pm.kernel(op, DEVICE, precision=precision, fidelity=fidelity).latency)
    return 1e12 / work, time * 1e12 / work


def _gemm(precision: str, case: str) -> tuple[float, float]:
    n = _size(case)
    return _per_work(pm.op.matmul(m=n, n=n, k=n), 2.0 * n**3, precision)


def _attention(causal: bool, passes: float, case: str) -> tuple[float, float]:
    """Grouped-query attention; backward counts 2.5 times the FLOP of the forward pass."""
    n = _size(case)
    op = pm.op.attention(
        batch=16, query=n, context=n, heads=64, kv_heads=8, head_dim=128, causal=causal
    )
    work = 4.0 * 16.0 * 64.0 * 128.0 * n * n * (0.5 if causal else 1.0)
    return _per_work(op, passes * work, "bf16")


def _norm(case: str) -> tuple[float, float]:
    op = pm.op.norm(16.0 * _size(case), 2048.0, kind="layer", residual=True, bias=True)
    return 1.0, float(pm.kernel(op, DEVICE, precision="bf16").latency) * 1e3


#: why a size may lie outside
_TILES = "tiles and schedule of this kernel at small sizes differ from the reference kernel"

# six-bit products have no peak of their own in the description: the eight-bit model and its constant
for _name, _format in (("BF16", "bf16"), ("FP8", "fp8"), ("FP6", "fp8")):
    held_out_cases(
        {case: partial(_gemm, _format, case) for case in _rows(f"S080-{_name}")}, items=1.0, reason=_TILES
    )
for _name, _causal, _passes in (("causal", True, 1.0), ("noncausal", False, 1.0), ("bwd", True, 2.5)):
    for _baseline in (False, True):
        _cases = _rows(f"S080-ATT-{_name}", _baseline)
        held_out_cases(
            {case: partial(_attention, _causal, _passes, case) for case in _cases}, items=1.0, reason=_TILES
        )
held_out_cases(
    {case: partial(_norm, case) for case in _rows("S080-LN")},
    reason="at 1024 rows the four tensors stay in the 256 MB cache",
)
