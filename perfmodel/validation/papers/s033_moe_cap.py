"""S033: Jiang et al., MoE-CAP, NeurIPS 2025, arXiv:2412.07067."""

from __future__ import annotations

import perfmodel as pm
from perfmodel.scenario.runtime import runtime
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


#: row -> model, device, number of devices, engine
_TABLE = {
    "01": ("qwen1.5-moe-a2.7b", "a100-sxm-80gb", 1, "hf"), "03": ("dbrx", "a100-pcie-80gb", 8, "vllm"),
    "05": ("mixtral-8x22b", "a100-pcie-80gb", 8, "vllm"), "07": ("mixtral-8x7b", "a100-sxm-80gb", 8, "vllm"),
    "09": ("mixtral-8x7b", "a100-sxm-80gb", 2, "hf"),
}
LOOP = "transformers calls the experts of a layer one after the other, 7,200 products where there are 60"


def _starts(model: str) -> float:
    """Time of the host for the kernels of a prompt, which no graph held in 2024 [s]."""
    engine = runtime("vllm")
    ops = pm.workload(model).graph(batch=1.0, query=PROMPT, context=PROMPT).ops
    return float(sum(
        float(op.launches * op.count) * float(engine.eager_experts if "expert" in op.name else engine.eager)
        for op in ops
    ))


@predicts({f"S033-T4-A100-{row}": what for row, what in _TABLE.items()}, fidelity="calibrated", reason=LOOP)
def first_token(model: str, device: str, count: int, engine: str) -> float:
    """Time to the first token of one prompt [s]; transformers runs the layers of several devices in turn."""
    node, width = pm.system(device, count=count), count
    if engine == "hf":
        room = count * float(pm.device(device).main_memory.capacity)
        node, width = pm.system(device).vary({"device.memory.hbm.capacity": room}), 1
    result = pm.inference(
        model, node, batch=1, input=PROMPT, output=2, tp=width, precision="bf16", fidelity="calibrated"
    )
    return max(float(result.ttft), _starts(model) if engine == "vllm" else 0.0)


@predicts({f"S033-T4-A100-{int(row) + 1:02}": what for row, what in _TABLE.items()}, fidelity="calibrated",
          reason=LOOP)
def prefill_rate(model: str, device: str, count: int, engine: str) -> float:
    """Prompt tokens per second of one prompt."""
    return PROMPT / first_token(model, device, count, engine)
