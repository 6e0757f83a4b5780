"""S021: Zhan et al., Video Diffusion Using Streamlined Inference, arXiv:2411.01171."""

from __future__ import annotations

import perfmodel as pm
from perfmodel.engine.capacity import chunked_peak
from perfmodel.validation.cases import predicts

#: chunks of the published script
TEMPORAL, SPATIAL = 8.0, 16.0


def _peak(chunks: float, kept: float) -> float:
    """Weights, largest live activations of an unfused step cut into chunks, and features kept whole [B]."""
    formats = pm.precision("fp16")
    graph = pm.workload("animatediff").graph(batch=1.0)
    maps = [op.loops for op in graph.ops if op.family == "attention"]
    scores = [m["b"] * m["h"] * m["s"] * m["t"] for m in maps]
    live = float(max(scores)) * formats.bytes("activation")
    return float(chunked_peak(graph.bytes("weight", formats), live, chunks, kept))


@predicts("S021-HEAD-01")
def before() -> float:
    """Peak memory with the scores of all frames at once [GB]."""
    return _peak(1.0, 0.0) / 1e9


@predicts("S021-HEAD-02", reason="what the chunked groups keep at full size is not printed")
def after() -> float:
    """Peak memory in chunks of frames and rows [GB]; the outputs of all down blocks stay whole."""
    formats = pm.precision("fp16")
    graph = pm.workload("animatediff").graph(batch=1.0)
    # the last op of each block: "step.down0.1.…"
    blocks = {op.name.split(".")[1] + op.name.split(".")[2]: op for op in graph.ops if ".down" in op.name}
    kept = sum(float(op.elements(output=True)) for op in blocks.values()) * formats.bytes("activation")
    return _peak(TEMPORAL * SPATIAL, kept) / 1e9
