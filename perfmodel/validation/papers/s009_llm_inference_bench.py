"""S009: Chitty-Venkata et al., LLM-Inference-Bench, SC 2024, arXiv:2411.00136.

Static batches under two engines of 2024.  The corrections and runtime profiles that predict these rows were
fitted to the data set they come from; errors on models and devices left out of the fit are in the
calibration file (``hardware_specs/calibrations/serving.yaml``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

import numpy as np

import perfmodel as pm
from perfmodel.engine.fidelity import cost_model
from perfmodel.scenario.expert_parallel import busiest
from perfmodel.scenario.speculative import chain_tokens
from perfmodel.validation.cases import predicts, published, starting
from perfmodel.validation.serving_data import points
from perfmodel.validation.serving_fit import shipped
from perfmodel.validation.serving_predict import equipped
from perfmodel.validation.serving_score import predictions
from perfmodel.workload.transforms import tensor_parallel


def _row(case: str) -> Mapping[str, str]:
    """The case as a row of the tables that the serving model scores."""
    row = published()[case]
    text = f"{row.hardware} {row.config}"
    count = re.match(r"(\d+) ?x", row.hardware)
    length = re.search(r"(?:in/out|prompt) (\d+)", row.config)
    tokens = length.group(1) if length else "1024"
    batch = re.search(r"batch (\d+)", row.config)
    model = row.workload if "-hf" in row.workload else row.workload.replace("Llama-2-7B", "Llama-2-7b-hf")
    return {
        "device": f"Nvidia {'H100' if 'H100' in text else 'A100'} GPU",
        "num_devices": count.group(1) if count else "1",
        "framework": "TensorRT-LLM" if "T-LLM" in text else "vLLM",
        "model_path": model.replace("Llama-3-8B", "Meta-Llama-3-8B").replace("Meta-Meta-", "Meta-"),
        "isl_tokens": tokens, "osl_tokens": "1" if row.quantity == "TTFT" else tokens,
        "batch": batch.group(1) if batch else "1", "latency_s": "nan", "avg_power_W": "nan",
    }


@cache
def predicted(case: str, fidelity: str = "calibrated") -> dict[str, float]:
    """Latency [s] and power [W] of a static batch."""
    fit = shipped("batch", fidelity)
    parts, skipped = points([_row(case)], fit.fix)
    if not parts:
        raise pm.PerfmodelError("; ".join(skipped))
    found = predictions(parts[0], fit, power=True)
    return {name: float(values[0][0]) for name, values in found.items()}


_TIMES = {**starting("S009-LAT"), **starting("S009-TTFT"), "S009-SPEC-01": "S009-SPEC-01"}


@predicts(_TIMES, fidelity="calibrated",
          reason="host time per step of this engine varies more between releases than between devices")
def latency(case: str) -> float:
    """Time of a batch of equal requests [s]; with one output token, the time to the first token."""
    return predicted(case)["latency"]


@predicts(starting("S009-POWER"), fidelity="calibrated",
          reason="its power rises with the traffic of the cache more than the fitted shares say")
def power(case: str) -> float:
    """Mean board power [W]."""
    return predicted(case)["power"]


#: case -> tensor-parallel devices, and groups of devices that hold different experts
_WAYS = {
    "S009-PARALLEL-01": (4, 1), "S009-PARALLEL-02": (1, 1), "S009-PARALLEL-03": (4, 4),
    "S009-PARALLEL-04": (4, 2),
}
LENGTH, EXPERTS, CHOSEN = 1024.0, 8, 2


@predicts(_WAYS, fidelity="dataflow", reason="no host time between the kernels")
def parallel(tp: int, groups: int) -> float:
    """Latency of one sequence through Mixtral on four devices [s], no engine overhead.

    Stages of a pipeline work one after the other for one sequence, so they take the time of one device.
    """
    node, formats, cost = pm.system("a100-sxm-40gb", count=4), pm.precision("fp16"), cost_model("dataflow")
    # each device reads busiest/(4/groups) experts in place of chosen/4
    uneven = busiest(CHOSEN, EXPERTS, groups) * groups / CHOSEN

    def time(query: float, context: float) -> float:
        graph = pm.workload("mixtral-8x7b").graph(batch=1.0, query=query, context=context, logits="last")
        costs = [cost(op, node, formats) for op in tensor_parallel(float(tp))(graph).ops]
        factors = [uneven if c.op.family == "grouped_matmul" and query == 1.0 else 1.0 for c in costs]
        return float(sum(c.time * factor for c, factor in zip(costs, factors, strict=True)))

    return time(LENGTH, LENGTH) + (LENGTH - 1.0) * time(1.0, 1.5 * LENGTH)


#: drafted tokens, and probability that the first choice of the 68 M draft model is kept by the 7 B model
#: (rank 1 of the acceptance vector published with arXiv:2402.12374)
DRAFTED, ACCEPTANCE = 3.0, 0.63418293


@predicts("S009-SPEC-02", fidelity="calibrated", reason="acceptance on other texts than those served")
def speculative_latency() -> float:
    """Latency of 64 requests with drafts [s]; each drafted token was verified as a sequence of its own.

    The draft model costs the host as much per pass as the target model, and next to nothing on the device.
    """
    fit, row = shipped("batch"), _row("S009-SPEC-01")
    part = points([row], fit.fix)[0][0]
    cost = equipped(part.cost, part.runtimes, fit.profiles, fit.fix)
    batch, output = float(row["batch"]), float(row["osl_tokens"])

    def step(sequences: float) -> float:
        return float(np.asarray(cost(np.array([sequences]), np.zeros(1)))[0])

    host = float(np.asarray(cost.runtime.step + batch * cost.runtime.request)[0])
    round_time = step(batch * (DRAFTED + 1.0)) + DRAFTED * host
    prefill = latency("S009-SPEC-01") - (output - 1.0) * step(batch)
    return prefill + (output - 1.0) / float(chain_tokens(ACCEPTANCE, DRAFTED)) * round_time
