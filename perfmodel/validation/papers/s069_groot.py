"""S069: NVIDIA, GR00T N1: An Open Foundation Model for Generalist Humanoid Robots, arXiv:2503.14734."""

from __future__ import annotations

import perfmodel as pm
from perfmodel.scenario.control import chunk_latency
from perfmodel.validation.cases import predicts, published
from perfmodel.validation.heldout import held_out_cases

STEPS = 4.0


@predicts("S069-CHUNK-01", side="most")
def floor() -> float:
    """Least time of a chunk of 16 actions on an L40 [ms]: the roofline lies below the measurement."""
    return float(pm.forward("gr00t-n1", "l40", batch=1, precision="bf16").latency) * 1e3


def _kernels(part: str) -> tuple[float]:
    """Kernels of the vision-language part, or of one denoising step."""
    ops = pm.workload("gr00t-n1").graph(batch=1.0).ops
    action = sum(float(op.launches * op.count) for op in ops if op.name.startswith("action."))
    every = sum(float(op.launches * op.count) for op in ops)
    return (action / STEPS if part == "step" else every - action,)


held_out_cases(
    {"S069-SPLIT-01": lambda: _kernels("language"), "S069-SPLIT-02": lambda: _kernels("step")},
    reason="host-bound: two parts of different code, one constant from the other part",
)


@predicts("S069-SPLIT-03", fidelity="count")
def chunk() -> float:
    """Time of a chunk [ms] from the measured parts: one backbone pass and four denoising steps."""
    backbone, step = (published()[f"S069-SPLIT-0{i}"].value for i in (1, 2))
    return float(chunk_latency(backbone, step, STEPS))
