"""Training step: counted by hand, and against published memory."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

import pytest

import perfmodel as pm
from perfmodel.errors import ArgumentError, InfeasibleError
from perfmodel.workload.importers.hf import from_config


def megatron(hidden: int, layers: int, heads: int) -> pm.Workload:
    """GPT of the Megatron papers, vocabulary padded to 51,200."""
    return from_config(
        {
            "model_type": "gpt2",
            "n_embd": hidden,
            "n_layer": layers,
            "n_head": heads,
            "n_inner": 4 * hidden,
            "vocab_size": 51200,
            "n_positions": 2048,
            "activation_function": "gelu_new",
            "tie_word_embeddings": True,
        }
    )


def test_compute_is_three_forward_products() -> None:
    """One device, no launch cost, batch so large that the matrix unit bounds every product."""
    node = pm.system("a100-sxm-80gb").vary({"device.memory.hbm.capacity": "10 TiB"})
    result = pm.training("gpt3-125m", node, batch=512, sequence=1024, micro_batch=512)
    flops = 3 * pm.workload("gpt3-125m").flops(batch=512, query=1024, context=1024)
    assert result.flops == pytest.approx(flops)
    assert result.step_time >= flops / 312e12
    assert result.mfu == pytest.approx(flops / result.step_time / 312e12)


def test_bubble() -> None:
    """pp stages with m micro-batches wait (pp - 1)/m of the time; interleaving divides that."""
    node = pm.system("a100-sxm-80gb", count=8).vary({"device.memory.hbm.capacity": "10 TiB"})
    one = pm.training("llama-2-7b", node, batch=64, sequence=512)
    pipe, interleaved = (
        pm.training("llama-2-7b", node, batch=64, sequence=512, pp=8, interleave=v) for v in (1, 4)
    )
    optimiser = 6738415616 * (24 + 6) / 2.039e12
    work = one.step_time - optimiser
    assert pipe.step_time == pytest.approx(work / 64 * (64 + 7) / 8 + optimiser / 8, rel=1e-6)
    assert interleaved.step_time == pytest.approx(work / 64 * (64 + 7 / 4) / 8 + optimiser / 8, rel=1e-6)


@pytest.mark.parametrize(
    ("hidden", "layers", "heads", "tp", "pp", "interleave", "micro"),
    [(6144, 48, 64, 8, 1, 1, 4), (12288, 96, 96, 8, 8, 3, 1)],
)
def test_shared_memory_of_megatron(
    shared: Path, hidden: int, layers: int, heads: int, tp: int, pp: int, interleave: int, micro: int
) -> None:
    """Korthikanti et al., arXiv:2205.05198: the model keeps no dropout masks, 2 of their 34 bytes."""
    name = "22B" if hidden == 6144 else "175B"
    text = (shared / "data/megatron_training/memory.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    published = {row["quantity"]: float(row["value"]) for row in rows if row["model"] == name}
    model, node = megatron(hidden, layers, heads), pm.system("a100-sxm-80gb", count=64)

    def step(recompute: str, sequence: bool, attention: str = "fused") -> pm.Result:
        varied = node.vary({"device.memory.hbm.capacity": "10 TiB"})
        return pm.training(
            model,
            varied,
            batch=64,
            sequence=2048,
            tp=tp,
            pp=pp,
            micro_batch=micro,
            interleave=interleave,
            recompute=recompute,
            sequence_parallel=sequence,
            attention=attention,
            precision="fp16",
        )

    gib = 2**30
    assert step("none", False).weights / gib == pytest.approx(published["params_and_optimizer"], rel=0.03)
    lean = step("selective", True, "eager").activations / gib
    assert lean == pytest.approx(published["activations_selective+sequence_parallel"], rel=0.07)
    none = published["activations_no_recompute"]
    full = published["relative_activations_full"] / 100 * none
    assert step("full", False).activations / gib == pytest.approx(full, rel=0.02)


def test_zero_shards_and_more_devices_help() -> None:
    node = pm.system("h100-sxm5", count=8)
    sizes = [
        pm.training("llama-3.2-1b", node, batch=64, sequence=512, dp=8, zero=z).weights for z in (0, 1, 2, 3)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == pytest.approx(8 * sizes[3], rel=1e-9)
    times = pm.training("llama-3.2-1b", node, batch=64, sequence=512, dp=[1, 2, 4, 8]).step_time
    assert all(a > b for a, b in pairwise(times))


def test_refusals() -> None:
    with pytest.raises(InfeasibleError, match="GiB too much"):
        pm.training("llama-3.1-70b", "h100-sxm5", batch=1, sequence=4096)
    with pytest.raises(ArgumentError, match="divide the batch"):
        pm.training("gpt3-125m", "h100-sxm5:8", batch=9, sequence=128, dp=8)
    with pytest.raises(ArgumentError, match="zero"):
        pm.training("gpt3-125m", "h100-sxm5", batch=8, sequence=128, zero=4)
    with pytest.raises(ArgumentError, match="recompute"):
        pm.training("gpt3-125m", "h100-sxm5", batch=8, sequence=128, recompute="ful")
