"""S086: LLM-Mesh (SLINFER in its repository), elastic sharing for serverless LLM inference.

The scheduler of the authors looks step times up in tables that they measured: static batches under vLLM on an
A100 of 80 GB (taken as the SXM module) and under OpenVINO on a Xeon; neither part is named further.  The
serving corrections used here were fitted to the measurements of another group (S009).  Their script starts
vLLM with ``--enforce-eager``: every pass lasts at least as long as the host takes to start its kernels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import perfmodel as pm
from perfmodel.errors import PerfmodelError
from perfmodel.scenario.runtime import runtime
from perfmodel.validation.cases import predicts, published, starting
from perfmodel.validation.serving_data import points
from perfmodel.validation.serving_fit import shipped
from perfmodel.validation.serving_score import predictions

START = "the longer of host and device counts; here more requests add time while the host is the longer"
PROMPT = "short prompts: the profile reaches more of the peak at 512 tokens than this engine"
SOCKET = "bandwidth that all cores of a socket sustain, and cores fewer than those of the shipped part"
#: names in the shipped files and of the checkpoints
MODELS: Mapping[str, tuple[str, str]] = {
    "Llama-3.2-3B": ("llama-3.2-3b", "Llama-3.2-3B"), "Llama-2-7B": ("llama-2-7b", "Llama-2-7b-hf"),
    "Llama-3.1-8B": ("llama-3.1-8b", "Llama-3.1-8B"), "Llama-2-13B": ("llama-2-13b", "Llama-2-13b-hf"),
}
KIB, GIB = 2.0**10, 2.0**30
#: memory that the scheduler hands out, and the cache that an instance has at least
GPU_MEMORY, LEAST_TOKENS = 78.0 * GIB, 4096.0


def _cache(model: str) -> float:
    """Cache of a token [B]."""
    return float(pm.workload(MODELS[model][0]).kv_bytes_per_token(precision="fp16"))


def _weights(model: str) -> float:
    """Weights [B]."""
    return 2.0 * float(pm.workload(MODELS[model][0]).parameters)


@predicts(starting("S086-KV"), fidelity="count")
def cache(case: str) -> float:
    """Cache of a token [KiB]."""
    return _cache(published()[case].workload) / KIB


@predicts(starting("S086-WEIGHTS"), fidelity="count")
def weights(case: str) -> float:
    """Weights [GiB]."""
    return _weights(published()[case].workload) / GIB


@predicts(starting("S086-SHARE"), fidelity="count", side="least")
def instances(case: str) -> float:
    """Instances whose weights and least cache fit into one GPU together."""
    model = published()[case].workload
    return GPU_MEMORY // (_weights(model) + LEAST_TOKENS * _cache(model))


def _batch(model: str, context: str, output: float, batch: str) -> float:
    """Time of a static batch under vLLM on an A100 [s]."""
    fit = shipped("batch", "calibrated")
    row = {
        "device": "a100_sxm", "num_devices": "1", "framework": "vLLM", "model_path": MODELS[model][1],
        "isl_tokens": context, "osl_tokens": f"{output:g}", "batch": batch, "latency_s": "nan",
        "avg_power_W": "nan",
    }
    parts, skipped = points([row], fit.fix)
    if not parts:
        raise PerfmodelError("; ".join(skipped))
    return float(predictions(parts[0], fit)["latency"][0][0])


def _asked(case: str) -> tuple[str, str, str]:
    """Model, tokens and batch of a case."""
    row = published()[case]
    tokens = re.search(r"(?:prompt|context) (\d+)", row.config)
    batch = re.search(r"batch (\d+)", row.config)
    if not tokens:
        raise PerfmodelError(f"{case}: no length in {row.config!r}")
    return row.workload, tokens.group(1), batch.group(1) if batch else "1"


def _starts(model: str) -> float:
    """Time of the host for the kernels of a pass without graphs [s]; profile of later versions (`eager`)."""
    ops = pm.workload(MODELS[model][0]).graph(batch=1.0, query=1.0, context=1.0).ops
    return float(runtime("vllm").eager) * sum(float(op.launches * op.count) for op in ops)


@predicts(starting("S086-PREFILL"), fidelity="calibrated", reason=PROMPT)
def prompt(case: str) -> float:
    """Time of one prompt [ms]."""
    model, tokens, batch = _asked(case)
    return 1e3 * max(_batch(model, tokens, 1.0, batch), _starts(model))


@predicts(starting("S086-DECODE"), fidelity="calibrated", reason=START)
def step(case: str) -> float:
    """Time of one decode step [ms]: two steps more, halved."""
    model, tokens, batch = _asked(case)
    on_device = (_batch(model, tokens, 3.0, batch) - _batch(model, tokens, 1.0, batch)) / 2.0
    return 1e3 * max(on_device, _starts(model))


def _on_cpu(case: str) -> pm.Result:
    """One batch on a Xeon of that generation; cores and clock of the measured part are not printed."""
    model, tokens, batch = _asked(case)
    return pm.inference(MODELS[model][0], "xeon-8480-amx", batch=float(batch), input=float(tokens), output=2,
                        precision="bf16")


@predicts(starting("S086-CPU-"), fidelity="roofline", reason=SOCKET)
def step_on_cpu(case: str) -> float:
    """Time of one decode step at the bandwidth of eight channels [ms]."""
    return 1e3 * float(_on_cpu(case).tpot)


@predicts(starting("S086-CPUPROMPT"), fidelity="roofline", side="most")
def prompt_on_cpu(case: str) -> float:
    """Time of one prompt at the peak of 56 cores [ms]."""
    return 1e3 * float(_on_cpu(case).ttft)
