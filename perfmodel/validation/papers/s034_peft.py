"""S034: Han et al., Parameter-Efficient Fine-Tuning for Large Models, arXiv:2403.14608.

The survey has no measurements of its own.  Counted is its best-known family on its best-known model; memory
and time are those that the authors of Qwen measured for LoRA and Q-LoRA on one A100.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache

import perfmodel as pm
from perfmodel.errors import PerfmodelError
from perfmodel.validation.cases import Published, predicts, published, starting
from perfmodel.validation.heldout import held_out_cases
from perfmodel.workload.importers.hf import from_config

RANK, WIDTH = 8.0, 4096.0
#: hidden width, layers, heads, width of the MLP, vocabulary; rank and accumulated batches of its script
QWEN: Mapping[str, tuple[int, int, int, int, int]] = {
    "Qwen-1.8B": (2048, 24, 16, 5504, 151936), "Qwen-7B": (4096, 32, 32, 11008, 151936),
    "Qwen-14B": (5120, 40, 40, 13696, 152064),
}
QWEN_RANK, BATCHES = 64.0, 8.0


def _adapted() -> pm.Workload:
    parts = {"qkv": (WIDTH, WIDTH)}  # queries and values
    return pm.workload("llama-7b").apply(pm.transform.adapt(RANK, ("qkv",), parts=parts))


@predicts("S034-LORA-01", fidelity="count")
def trainable() -> float:
    """Parameters of the adapters."""
    return float(pm.transform.trainable(_adapted().graph(batch=1.0, query=1.0, context=1.0)))


@predicts("S034-LORA-02", fidelity="count")
def parameters() -> float:
    """Parameters of model and adapters."""
    return float(_adapted().parameters)


@cache
def _qwen(name: str, narrow: bool) -> pm.Workload:
    """Model with adapters on all projections; if narrow, its layers in 4 bit and the rest widened to 32, as
    its training code prepares it [peft, prepare_model_for_kbit_training: recalled]."""
    hidden, layers, heads, width, vocabulary = QWEN[name]
    net = from_config({
        "model_type": "qwen2", "hidden_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": heads, "intermediate_size": width,
        "vocab_size": vocabulary, "max_position_embeddings": 8192, "tie_word_embeddings": False,
    })
    if narrow:
        net = net.apply(pm.transform.quantise({"block*": "int4_g128", "*": "fp32"}))
    return net.apply(pm.transform.adapt(QWEN_RANK, parts={"up": (width, width)}))


@cache
def _tuned(case: str) -> pm.Result:
    """One optimiser step."""
    row = published()[case]
    narrow = "Q-LoRA" in row.config
    return pm.training(_qwen(row.workload, narrow), "a100-sxm-80gb", batch=BATCHES, sequence=_tokens(row),
                       recompute="full", loss="eager16" if narrow else "eager", fidelity="calibrated")


def _tokens(row: Published) -> float:
    found = re.search(r"(\d+) tokens", row.config)
    if not found:
        raise PerfmodelError(f"{row.case}: no length in {row.config!r}")
    return float(found.group(1))


@predicts({**starting("S034-LORAMEM"), **starting("S034-QLORAMEM")}, fidelity="count")
def memory(case: str) -> float:
    """Memory of weights, adapters, their optimiser, kept activations and logits [GB].

    LoRA runs in bf16 with the loss in fp32, Q-LoRA in fp16 throughout: the scripts of its authors.
    """
    return float(_tuned(case).memory) / 1e9


def _features(case: str) -> Callable[[], tuple[float, ...]]:
    """Layers and passes that the host starts, kernels, and, if narrow, what widening adds per weight."""

    def ask() -> tuple[float, ...]:
        row = published()[case]
        layers = float(QWEN[row.workload][1])
        time = float(_tuned(case).step_time)
        if "Q-LoRA" not in row.config:
            return BATCHES * layers, time
        return BATCHES * layers, time, BATCHES * float(_qwen(row.workload, True).parameters)

    return ask


for _group in ("S034-LORATIME", "S034-QLORATIME"):
    held_out_cases(
        {case: _features(case) for case in starting(_group)}, overlap=True,
        reason="4 bits: at 1024 tokens the device comes out too long, which hides how long the host takes",
    )
