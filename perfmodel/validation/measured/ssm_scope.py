"""SSM-Scope: time and peak memory of state-space and attention models on a consumer GPU.

Times of prefill come from corrections that other GPUs lend or the datasheet, memory is counted: nothing is
fitted.  One token takes as long as an eager framework needs to start its kernels; the time per kernel is that
of the other models.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from perfmodel.errors import UnknownNameError
from perfmodel.validation.measured.networks import workload_name
from perfmodel.validation.measured.rows import counted
from perfmodel.validation.measured.statistics import averaged, errors
from perfmodel.validation.measured.tables import Table
from perfmodel.validation.names import candidates, hardware_name

NAME = "ssm_scope"
LATENCY = {"device", "model", "batch", "isl_tokens", "osl_tokens", "prefill_s", "decode_s", "tpot_ms"}
MEMORY = {"device", "model_name", "context_tokens", "batch", "weights_MiB", "activations_MiB", "total_MiB"}
#: model of the tables -> workload
WORKLOADS = {
    "qwen25-instruct": "qwen2.5-0.5b",
    "mamba2": "mamba2-780m",
    "mamba2-780m": "mamba2-780m",
    "mamba-1.4b": "mamba-1.4b",
    "mamba-790m": "mamba-790m",
    "falcon-h1-0.5b": "falcon-h1-0.5b",
    "tinyllama": "tinyllama-1.1b",
}
#: host time per kernel of an eager framework [s]: median time per token over kernels of the pass, of this
#: data set
HOST = {"qwen2.5-0.5b": 46.6e-6, "mamba2-780m": 41.5e-6}


def recognises(header: frozenset[str]) -> bool:
    """True for the tables of latency or memory."""
    return header >= LATENCY or header >= MEMORY


def workload_of(model: str) -> str:
    """Workload of a model of the tables; empty where none is described."""
    found = (workload_name(name) for name in candidates(model))
    return WORKLOADS.get(model) or next(filter(None, found), "")


def device_of(name: str) -> str:
    """Device of the tables, which name its memory too; empty where none is described."""
    try:
        return hardware_name(name)
    except UnknownNameError:
        return ""


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Errors by model: prefill and time per token, or peak memory."""
    column = "model" if table.header >= LATENCY else "model_name"
    models, devices = table.texts(column), table.texts("device")
    known = np.array([bool(workload_of(m) and device_of(d)) for m, d in zip(models, devices, strict=True)])
    part = _latency if table.header >= LATENCY else _memory
    groups = []
    for model in np.unique(models[known]):
        groups += part(table, np.flatnonzero((models == model) & known), str(model), fidelity or "calibrated")
    metrics = list(dict.fromkeys(g["metric"] for g in groups))
    summary = {m: averaged(g for g in groups if g["metric"] == m) for m in metrics}
    return {
        "fidelity": fidelity or "calibrated",
        "split": "model left out",
        "groups": groups,
        "summary": summary,
        "skipped": counted(
            "model or device without a description",
            [f"{m} on {d}" for m, d in zip(models[~known], devices[~known], strict=True)],
        ),
    }


def _latency(table: Table, rows: Any, model: str, fidelity: str) -> list[dict[str, Any]]:
    from perfmodel.scenario.inference import inference

    prefill: list[float] = []
    decode: list[float] = []
    for i in rows:
        answer = inference(
            workload_of(model),
            device_of(table.texts("device")[i]),
            batch=table.numbers("batch")[i],
            input=table.numbers("isl_tokens")[i],
            output=table.numbers("osl_tokens")[i],
            precision="bf16",
            fidelity=fidelity,
            runtime="pytorch-eager",
        )
        prefill.append(float(answer.ttft))
        decode.append(float(answer.tpot))
    if fidelity == "calibrated":
        decode = [max(value, _host(workload_of(model))) for value in decode]
    real = table.numbers("prefill_s")[rows], table.numbers("tpot_ms")[rows] * 1e-3
    return [
        {"metric": name, "model": model, **errors(guess, measured)}
        for name, guess, measured in zip(("prefill", "tpot"), (prefill, decode), real, strict=True)
    ]


def _host(name: str) -> float:
    """Host time of one token from the time per kernel of the other models [s]."""
    from perfmodel.workload.step import Step
    from perfmodel.workload.workload import workload

    graph = workload(name).graph(Step(1.0, 1.0, 1024.0, attention="eager"))
    kernels = sum(float(op.count * op.launches) for op in graph.ops)
    return kernels * float(np.mean([value for other, value in HOST.items() if other != name]))


def _memory(table: Table, rows: Any, model: str, fidelity: str) -> list[dict[str, Any]]:
    from perfmodel.scenario.forward import forward

    guess = [
        float(
            forward(
                workload_of(model),
                device_of(table.texts("device")[i]),
                batch=table.numbers("batch")[i],
                query=table.numbers("context_tokens")[i],
                precision="bf16",
            ).memory
        )
        for i in rows
    ]
    return [{"metric": "memory", "model": model, **errors(guess, table.numbers("total_MiB")[rows] * 2**20)}]
