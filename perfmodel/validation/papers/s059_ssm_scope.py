"""S059: Mitra et al., Characterizing SSM and SSM-Transformer Hybrid Language Models, arXiv:2507.12442.

Tables of the authors' repository: one prefill, logits of all positions kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

import perfmodel as pm
from perfmodel.engine.roofline import cost
from perfmodel.formats import precision
from perfmodel.hardware.catalog import system
from perfmodel.validation.cases import predicts, published
from perfmodel.validation.heldout import held_out_cases

GPU = "rtx-4090"
_MODELS = {
    "Qwen/Qwen2.5-0.5B-Instruct": "qwen2.5-0.5b", "Qwen2.5-0.5B-Instruct": "qwen2.5-0.5b",
    "Qwen2.5-0.5B": "qwen2.5-0.5b", "Mamba2-780m": "mamba2-780m", "state-spaces/mamba-790m": "mamba-790m",
    "state-spaces/mamba-1.4b": "mamba-1.4b", "state-spaces/mamba2-780m": "mamba2-780m",
    "tiiuae/Falcon-H1-0.5B-Base": "falcon-h1-0.5b",
}


def _asked(case: str) -> tuple[str, float]:
    """Model and number of tokens of a case."""
    row = published()[case]
    found = re.search(r"(?:seq|prompt) (\d+)", row.config)
    return _MODELS[row.workload], float(found.group(1)) if found else 0.0


def _cases(start: str, quantity: str) -> dict[str, str]:
    return {
        row.case: row.case for row in published().values()
        if row.case.startswith(start) and quantity in row.quantity and row.gate != "report"
    }


@predicts(_cases("S059-MEM", "memory"), reason="buffers of the framework beside the largest operator")
def memory(case: str) -> float:
    """Peak memory [MiB]: weights, cache, and the largest activations, the logits of all positions."""
    model, tokens = _asked(case)
    result = pm.inference(model, GPU, batch=1, input=tokens, output=1, precision="bf16", logits="all")
    return float(result.memory) / 2**20


_FIRST = _cases("S059-GEN", "TTFT")
SCAN = "this framework scans by element-wise kernels, slower than the chunks of Triton that are known"


@predicts(_FIRST, fidelity="calibrated", reason=SCAN)
def first_token(case: str) -> float:
    """Time to the first token [ms]; not below a decode step, whose kernels the host starts one by one too."""
    model, tokens = _asked(case)
    group, _, number = case.rpartition("-")
    return max(1e3 * _first_token(model, tokens), published()[f"{group}-{int(number) + 1:02}"].value)


def _step(case: str) -> tuple[float, float]:
    """Kernels of a decode step, and their roofline [ms]."""
    model, tokens = _asked(case)
    graph, formats = pm.workload(model).graph(batch=1.0, query=1.0, context=tokens), precision("bf16")
    costs = [cost(op, system(GPU), formats) for op in graph.ops]
    kernels = sum(float(op.launches * op.count) for op in graph.ops)
    return kernels, 1e3 * float(sum(c.busy_time for c in costs))


held_out_cases(
    {case: partial(_step, case) for case in _cases("S059-GEN", "TPOT")},
    reason="host-bound steps: operators of the framework per kernel differ between the models",
)


@predicts(_cases("S059-ENERGY", "energy"), fidelity="calibrated", reason={
    "S059-ENERGY-Qwen2-01": "more than 450 W, the limit of the board, over the 14.3 ms of the same prompt: "
                            "what else was read is not said",
    "S059-ENERGY-Mamba2-01": SCAN,
})
def energy(case: str) -> float:
    """Energy of a prefill [J]."""
    model, tokens = _asked(case)
    result = pm.inference(
        model, GPU, batch=1, input=tokens, output=1, precision="bf16", logits="all", fidelity="calibrated"
    )
    return float(result.energy)


#: what the fused kernel of the Mamba library covers; Hymba calls the convolution and the gated scan alone
_SCAN = ("conv1d", "ssm_x", "ssm_dt", "softplus", "scan", "ssm_gate", "ssm_out")
_ALONE = ("conv1d", "softplus", "scan", "ssm_gate")
#: learned tokens that Hymba puts in front of a prompt
_LEARNED = 128.0


@predicts({
    "S059-SHARE-RTX4090-01": (GPU, 1024.0), "S059-SHARE-RTX4090-02": (GPU, 32768.0),
    "S059-SHARE-OrinNano-01": ("jetson-orin-nano", 1024.0),
    "S059-SHARE-OrinNano-02": ("jetson-orin-nano", 32768.0),
    "S059-SHARE-OrinNano-03": ("jetson-orin-nano", 1024.0 + _LEARNED, "hymba-1.5b", _ALONE),
})
def scan_share(
    device: str, tokens: float, model: str = "mamba-130m", parts: Sequence[str] = _SCAN
) -> float:
    """Share of the scan and what is fused with it in the time of all kernels [%]; its table adds the host."""
    graph = pm.workload(model).graph(batch=1.0, query=tokens, context=tokens, logits="all")
    seconds = [(op.name.rpartition(".")[2], float(cost(op, system(device), precision("bf16")).time))
               for op in graph.ops]
    return 100.0 * sum(t for name, t in seconds if name in parts) / sum(t for _, t in seconds)


def _memory(model: str, tokens: float) -> float:
    result = pm.inference(model, GPU, batch=1, input=tokens, output=1, precision="bf16", logits="all")
    return float(result.memory)


def _longest(model: str) -> float:
    """Tokens whose memory, linear in them, fills the GPU."""
    low, high = _memory(model, 8192.0), _memory(model, 16384.0)
    return 8192.0 + (float(pm.device(GPU).main_memory.capacity) - low) / (high - low) * 8192.0


@predicts("S059-HEAD-01")
def longest() -> float:
    """Longest prompt of Mamba-790m on 24 GB, logits of all positions kept."""
    return _longest("mamba-790m")


@predicts("S059-HEAD-02", reason="which Transformer and which runtime buffers is not said")
def longer() -> float:
    """Longest prompt of Mamba-790m over that of a Transformer of its size."""
    return _longest("mamba-790m") / _longest("qwen2.5-0.5b")


def _first_token(model: str, tokens: float) -> float:
    result = pm.inference(
        model, GPU, batch=1, input=tokens, output=1, precision="bf16", logits="all", fidelity="calibrated"
    )
    return float(result.ttft)


@predicts("S059-HEAD-03", fidelity="calibrated", reason=SCAN)
def transformer_ahead() -> float:
    """First token of Mamba-2 over that of a Transformer at 1024 tokens."""
    return _first_token("mamba2-780m", 1024.0) / _first_token("qwen2.5-0.5b", 1024.0)


@predicts("S059-HEAD-04", fidelity="calibrated", reason=SCAN)
def scan_ahead() -> float:
    """First token of a Transformer over that of Mamba-2 at 57344 tokens."""
    return _first_token("qwen2.5-0.5b", 57344.0) / _first_token("mamba2-780m", 57344.0)


@predicts("S059-HEAD-05")
def edge_share() -> float:
    """Share of the scan kernels on the edge GPU [%]: mean of the two prompt lengths above."""
    return (scan_share("jetson-orin-nano", 1024.0) + scan_share("jetson-orin-nano", 32768.0)) / 2.0
