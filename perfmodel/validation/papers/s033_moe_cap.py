"""S033: Jiang et al., MoE-CAP, NeurIPS 2025, arXiv:2412.07067."""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts

#: prompt tokens that TTFT x prefill throughput implies for the rows of Table 4
PROMPT = 250.0


@predicts({"S033-ACT-01": "deepseek-v2-lite", "S033-ACT-02": "qwen1.5-moe-a2.7b",
           "S033-ACT-03": "deepseek-r1"},
          fidelity="count")
def activated(model: str) -> float:
    """Share of the parameters that a decode step of 8 sequences reads [%], uniform routing."""
    net = pm.workload(model)
    graph = net.graph(batch=8.0, query=1.0, context=512.0)
    read = sum(op.count * op.elements(kind="weight") for op in graph.ops)
    return 100.0 * float(read / net.parameters)


@predicts("S033-MBU-01", fidelity="count", side="least")
def overestimate() -> float:
    """How much too high the utilisation is if all parameters count as read [%], one sequence."""
    net = pm.workload("mixtral-8x7b")
    graph = net.graph(batch=1.0, query=1.0, context=512.0)
    read = sum(op.count * op.elements(kind="weight") for op in graph.ops)
    return 100.0 * float(net.parameters / read - 1.0)


#: row -> model, device, number of devices
_TABLE = {
    "01": ("qwen1.5-moe-a2.7b", "a100-sxm-80gb", 1), "03": ("dbrx", "a100-pcie-80gb", 8),
    "05": ("mixtral-8x22b", "a100-pcie-80gb", 8), "07": ("mixtral-8x7b", "a100-sxm-80gb", 8),
    "09": ("mixtral-8x7b", "a100-sxm-80gb", 2),
}


@predicts({f"S033-T4-A100-{row}": what for row, what in _TABLE.items()}, fidelity="calibrated",
          reason="the host loop over experts of the frameworks is not in the device model")
def first_token(model: str, device: str, count: int) -> float:
    """Time to the first token of one prompt [s]."""
    node = pm.system(device, count=count)
    result = pm.inference(
        model, node, batch=1, input=PROMPT, output=2, tp=count, precision="bf16", fidelity="calibrated"
    )
    return float(result.ttft)


@predicts({f"S033-T4-A100-{int(row) + 1:02}": what for row, what in _TABLE.items()}, fidelity="calibrated",
          reason="the host loop over experts of the frameworks is not in the device model")
def prefill_rate(model: str, device: str, count: int) -> float:
    """Prompt tokens per second of one prompt."""
    return PROMPT / first_token(model, device, count)
