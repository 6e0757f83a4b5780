"""Latency of single requests: FasterTransformer tables, time to the first token of a batch, GPU energy of
a prefill, throughput per GPU of a service."""

from __future__ import annotations

import re
from typing import Any

from perfmodel.errors import ArgumentError
from perfmodel.explore.kernel_tables import number_or_nan
from perfmodel.validation.measured.rows import each, scored
from perfmodel.validation.measured.tables import Table

NAME = "requests"
SPLIT = {"model", "device", "dtype", "tp", "batch", "isl_tokens", "osl_tokens", "prefill_ms",
         "decode_ms_per_token", "total_ms"}
FIRST = {"device", "num_devices", "framework", "model_path", "isl_tokens", "batch", "ttft_s", "end_to_end_s"}
ENERGY = {"device", "model", "batch", "isl_tokens", "prefill_energy_J"}
OPERATORS = {"device", "model", "batch", "seq_tokens", "op_class", "gpu_time_us", "calls"}
SERVICE = {"model", "device", "phase", "measured_tok_per_s_per_gpu", "config"}
#: metric, that of an inference, column
SPLIT_METRICS = (("prefill", "ttft", "prefill_ms"), ("decode", "tpot", "decode_ms_per_token"),
                 ("total", "latency", "total_ms"))
#: classes that hold all operators of a pass, and the passes that a row sums
WHOLE, PASSES = ("gemm", "ssm_scan", "non_gemm"), 10.0
#: software of a table -> runtime of the calibration
RUNTIMES = {"vLLM": "vllm", "TensorRT-LLM": "trtllm", "SGLang": "sglang"}


def recognises(header: frozenset[str]) -> bool:
    """True for tables of prefill and decode time, of the first token, or of prefill energy."""
    return header >= SPLIT or header >= FIRST or header >= ENERGY or (
        header >= OPERATORS or header >= SERVICE)


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Errors by device and model."""
    kind = fidelity or "calibrated"
    if table.header >= SPLIT:
        return _split(table, kind)
    if table.header >= OPERATORS:
        return _operators(table, kind)
    if table.header >= SERVICE:
        return _service(table, kind)
    return _first(table, kind) if table.header >= FIRST else _energy(table, kind)


def _split(table: Table, fidelity: str) -> dict[str, Any]:
    from perfmodel.scenario.inference import inference
    from perfmodel.validation.names import hardware_name

    value = {name: table.numbers(name) for name in ("tp", "batch", "isl_tokens", "osl_tokens")}

    def model(text: str) -> str:
        # a GPT of 13 billion parameters has 40 layers of 5,120, as this one of another family
        size = re.match(r"(\d+)B", text)
        known = {"7": "llama-7b", "13": "llama-13b", "30": "llama-30b", "65": "llama-65b"}
        if size is None or size[1] not in known:
            raise ArgumentError("model", text, ", ".join(f"{k}B" for k in known))
        return known[size[1]]

    def answer(metric: str, i: int) -> float:
        from perfmodel.hardware.catalog import system

        at = {name: float(column[i]) for name, column in value.items()}
        name = table.columns["device"][i]
        device = "a100-sxm-40gb" if name == "A100-40GB" else hardware_name(name)
        found = inference(
            model(table.columns["model"][i]), system(device, count=int(at["tp"])), batch=at["batch"],
            input=at["isl_tokens"], output=at["osl_tokens"], tp=at["tp"], precision=table.columns["dtype"][i],
            fidelity=fidelity,
        )
        return float(getattr(found, metric)) * 1e3

    count = len(value["tp"])
    metrics = {
        name: (each(count, lambda i, m=metric: answer(m, i)), table.numbers(column))  # type: ignore[misc]
        for name, metric, column in SPLIT_METRICS
    }
    return scored(metrics, {"device": table.texts("device"), "tp": table.texts("tp")}, fidelity)


def _first(table: Table, fidelity: str) -> dict[str, Any]:
    if fidelity == "calibrated":
        return _served_first(table)
    from perfmodel.hardware.catalog import system
    from perfmodel.scenario.inference import inference
    from perfmodel.validation.names import hardware_name, served_workload

    value = {name: table.numbers(name) for name in ("num_devices", "batch", "isl_tokens")}

    def ttft(i: int) -> float:
        at = {name: float(column[i]) for name, column in value.items()}
        found = inference(
            served_workload(table.columns["model_path"][i]),
            system(hardware_name(table.columns["device"][i]), count=int(at["num_devices"])),
            batch=at["batch"], input=at["isl_tokens"], output=1, tp=at["num_devices"], precision="fp16",
            fidelity=fidelity, runtime=RUNTIMES.get(table.columns["framework"][i], "vllm"),
        )
        return float(found.ttft)

    metrics = {"ttft": (each(len(value["batch"]), ttft), table.numbers("ttft_s"))}
    labels = {name: table.texts(name) for name in ("framework", "device", "model_path")}
    return scored(metrics, labels, fidelity)


def _served_first(table: Table) -> dict[str, Any]:
    """First tokens as batches with one output token, through the profiles of their engines."""
    import numpy as np

    from perfmodel.validation.names import config_folders
    from perfmodel.validation.serving_data import points
    from perfmodel.validation.serving_fit import shipped

    names = tuple(table.columns)
    rows = [dict(zip(names, values, strict=True)) for values in zip(*table.columns.values(), strict=True)]
    fit = shipped("batch")
    parts, skipped = points([{**row, "latency_s": row["ttft_s"]} for row in rows], fit.fix, config_folders())
    if not parts:
        raise ArgumentError("data", "; ".join(skipped), "a table with at least one known model and device")
    found = parts[0]
    metrics = {"ttft": (np.asarray(fit.predict(found)["latency"]), found.column("latency_s"))}
    labels = {n: found.labels(n).tolist() for n in ("framework", "device", "model_path")}
    answer = scored(metrics, labels, "calibrated")
    return {**answer, "skipped": {**skipped, **answer["skipped"]}}


def _energy(table: Table, fidelity: str) -> dict[str, Any]:
    from perfmodel.scenario.forward import forward
    from perfmodel.validation.measured.ssm_scope import device_of, workload_of

    value = {name: table.numbers(name) for name in ("batch", "isl_tokens")}

    def joule(i: int) -> float:
        device, model = device_of(table.columns["device"][i]), workload_of(table.columns["model"][i])
        if not device or not model:
            named = f"{table.columns['model'][i]} on {table.columns['device'][i]}"
            raise ArgumentError("model, device", named, "a model and device with a description")
        found = forward(model, device, batch=float(value["batch"][i]),
                        query=float(value["isl_tokens"][i]), precision="bf16", fidelity=fidelity)
        return float(found.energy)

    metrics = {"energy": (each(len(value["batch"]), joule), table.numbers("prefill_energy_J"))}
    return scored(metrics, {"device": table.texts("device"), "model": table.texts("model")}, fidelity)


def _operators(table: Table, fidelity: str) -> dict[str, Any]:
    from perfmodel.scenario.forward import forward
    from perfmodel.validation.measured.ssm_scope import device_of, workload_of

    spent: dict[tuple[str, ...], float] = {}
    keys = ("device", "model", "batch", "seq_tokens")
    columns = [table.columns[k] for k in (*keys, "op_class", "gpu_time_us")]
    for *key, kind, micros in zip(*columns, strict=True):
        if kind in WHOLE:
            spent[tuple(key)] = spent.get(tuple(key), 0.0) + number_or_nan(micros)
    passes = list(spent)

    def time(i: int) -> float:
        name, kind, batch, tokens = passes[i]
        device, model = device_of(name), workload_of(kind)
        if not device or not model:
            raise ArgumentError("model, device", f"{kind} on {name}", "a model and device with a description")
        found = forward(model, device, batch=float(batch), query=float(tokens), precision="bf16",
                        fidelity=fidelity, attention="eager")
        return float(found.latency) * 1e6

    metrics = {"gpu_time": (each(len(passes), time), [spent[key] / PASSES for key in passes])}
    labels = {"device": [key[0] for key in passes], "model": [key[1] for key in passes]}
    return scored(metrics, labels, fidelity)


def _service(table: Table, fidelity: str) -> dict[str, Any]:
    from perfmodel.hardware.catalog import system
    from perfmodel.scenario.serve import serving
    from perfmodel.validation.names import hardware_name, served_workload

    def rate(i: int) -> float:
        text = table.columns["config"][i]
        found = {name: re.search(pattern, text) for name, pattern in (
            ("ep", r"EP(\d+)"), ("batch", r"batch (\d+)"), ("isl", r"isl (\d+)"), ("osl", r"osl (\d+)"))}
        stated = {name: float(match[1]) for name, match in found.items() if match}
        if table.columns["phase"][i] != "decode" or not stated.keys() >= {"batch", "isl", "osl"}:
            raise ArgumentError("config", text, "decode with its batch, isl and osl")
        gpus = stated.get("ep", 1.0)
        answer = serving(
            served_workload(table.columns["model"][i].split()[0]),
            system(hardware_name(table.columns["device"][i]), count=2 * int(gpus)),
            concurrency=stated["batch"] * gpus, prefill_workers=1,
            input=stated["isl"], output=stated["osl"], dp=gpus, precision="fp8", runtime="sglang",
            fidelity=fidelity,
        )
        # the prompts run elsewhere: a token of each request per step
        return stated["batch"] / float(answer.tpot)

    real = table.numbers("measured_tok_per_s_per_gpu")
    metrics = {"rate": (each(len(real), rate), real)}
    return scored(metrics, {n: table.texts(n) for n in ("device", "model", "phase")}, fidelity)
