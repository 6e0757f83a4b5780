"""Training step: counted by hand, and against published memory."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

import pytest

import perfmodel as pm
from perfmodel.engine.roofline import moved_bytes
from perfmodel.errors import ArgumentError, InfeasibleError
from perfmodel.formats import precision
from perfmodel.ops.core import Op
from perfmodel.workload.importers.hf import from_config
from perfmodel.workload.learning import backward, with_dropout, with_loss


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
    # gradient twice, copy, two moments read; gradient, copy, moments written in fp32, weights in bf16
    optimiser = 6738415616 * (5 * 4 + 4 * 4 + 2) / 2.039e12
    work = one.step_time - optimiser
    assert pipe.step_time == pytest.approx(work / 64 * (64 + 7) / 8 + optimiser / 8, rel=1e-5)
    assert interleaved.step_time == pytest.approx(work / 64 * (64 + 7 / 4) / 8 + optimiser / 8, rel=1e-5)


def test_stages_that_do_not_divide_the_layers_wait_for_the_largest():
    """32 layers on 5 stages: 7 in the largest, as 35 layers would have."""
    node = pm.system("a100-sxm-80gb", count=8)
    uneven, even = (pm.training("llama-2-7b", node, batch=64, sequence=512, pp=pp) for pp in (5, 8))
    assert uneven.weights / even.weights == pytest.approx(7 / 4)
    # 64 micro-batches and pp - 1 to fill, each of 7 or 4 layers
    assert uneven.step_time / even.step_time == pytest.approx((64 + 4) * 7 / ((64 + 7) * 4), rel=0.02)


@pytest.mark.parametrize(
    ("hidden", "layers", "heads", "tp", "pp", "interleave", "micro"),
    [(6144, 48, 64, 8, 1, 1, 4), (12288, 96, 96, 8, 8, 3, 1)],
)
def test_shared_memory_of_megatron(
    shared: Path, hidden: int, layers: int, heads: int, tp: int, pp: int, interleave: int, micro: int
) -> None:
    """Korthikanti et al., arXiv:2205.05198, whose figures leave out the fp32 probabilities of the loss."""
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
            dropout=True,
            precision="fp16",
        )

    loss = 4 * micro * 2048 * 51200 / tp if pp == 1 else 0.0
    gib = 2**30
    assert step("none", False).weights / gib == pytest.approx(published["params_and_optimizer"], rel=0.03)
    lean = (step("selective", True, "eager").activations - loss) / gib
    assert lean == pytest.approx(published["activations_selective+sequence_parallel"], rel=0.01)
    none = published["activations_no_recompute"]
    assert (step("none", False, "eager").activations - loss) / gib == pytest.approx(none, rel=0.01)
    full = published["relative_activations_full"] / 100 * none
    assert (step("full", False).activations - loss) / gib == pytest.approx(full, rel=0.01)


def test_shared_step_time_of_megatron(shared: Path) -> None:
    """Nothing fitted: a calibrated step is within 12 % of each published one, and 8 % on average."""
    score = pm.validate(data=str(shared / "data/megatron_training/step_time.csv")).to_dict()
    assert score["summary"]["step_time"]["mape"] < 0.08
    assert all(abs(group["bias"]) < 0.12 for group in score["groups"])


def test_gradients_of_a_product() -> None:
    """C[8,4] = A[8,16] B[16,4]: dA = dC B^T is 8 x 16 over 4, dB = A^T dC is 16 x 4 over 8, in fp32."""
    op = pm.op.matmul(8, 4, 16, name="up")
    inputs, weights = backward(op)
    assert inputs.flops == weights.flops == op.flops == 2 * 8 * 4 * 16
    assert [inputs.loops[i] for i in "mnk"] == [8, 16, 4]
    assert [weights.loops[i] for i in "mnk"] == [16, 4, 8]
    assert moved_bytes(inputs, precision("bf16")) == 2 * (8 * 4 + 4 * 16 + 8 * 16)
    assert moved_bytes(weights, precision("bf16")) == 2 * (16 * 8 + 8 * 4) + 4 * 2 * 16 * 4  # sum read, written


def test_gradients_of_streams() -> None:
    """Bytes of bf16 tensors of 6 elements: forward and backward."""
    bf16 = precision("bf16")

    def moved(op: Op) -> tuple[float, float]:
        return moved_bytes(op, bf16), sum(moved_bytes(made, bf16) for made in backward(op))

    assert moved(pm.op.softmax(2, 3)) == (2 * 12, 3 * 12)  # y and dy read, dx written
    assert moved(pm.op.elementwise(6, inputs=2)) == (3 * 12, 5 * 12)  # a, b, dy read, da, db written
    assert moved(pm.op.norm(2, 3, residual=True, affine=False)) == (4 * 12, 4 * 12)  # sum, dy, dsum; dx


def test_dropout_and_loss_of_a_pass() -> None:
    """Masks of a byte; probabilities of the loss in fp32; matrix work does not change."""
    graph = pm.workload("gpt3-125m").graph(batch=1, query=8, context=8, logits="all", attention="eager")
    learns = with_loss(with_dropout(graph))
    assert learns.flops == graph.flops
    added = {op.name: op for op in learns.ops if op.name not in {o.name for o in graph.ops}}
    probabilities = added["block.attention_softmax_dropout"]
    assert moved_bytes(probabilities, precision("bf16")) == 12 * 8 * 8 * (2 + 2 + 1)
    joined = added["block.mlp_norm_dropout"]
    assert moved_bytes(joined, precision("bf16")) == 8 * 768 * (2 + 2 + 2 + 1)
    assert moved_bytes(added["head_loss"], precision("bf16")) == 8 * 50257 * (2 + 4)


def test_loss_of_a_framework_moves_and_keeps_more() -> None:
    """Per logit: read, widened (2 + 4), copied (4 + 4), read, probabilities written (4 + 4); 16 bytes stay."""
    graph = pm.workload("gpt3-125m").graph(batch=1, query=8, context=8, logits="all")
    bf16, logits = precision("bf16"), 8 * 50257
    for loss, copied, last in (("eager", 2 + 4 + 4 + 4, 4 + 4), ("eager16", 2 + 2, 2 + 2)):
        ops = {op.name: op for op in with_loss(graph, loss).ops}
        assert moved_bytes(ops["head_copies"], bf16) == logits * copied
        assert moved_bytes(ops["head_loss"], bf16) == logits * last

    def kept(loss: str) -> float:
        step = pm.training("gpt3-125m", "a100-sxm-80gb", batch=1, sequence=8, loss=loss)
        return float(step.activations)

    assert kept("eager") - kept("fused") == pytest.approx(logits * (16 - 4))
    assert kept("eager16") - kept("fused") == pytest.approx(logits * (8 - 4))


def test_recomputation_costs_what_it_repeats() -> None:
    node = pm.system("a100-sxm-80gb").vary({"device.memory.hbm.capacity": "10 TiB"})

    def step(recompute: str) -> pm.Result:
        return pm.training("gpt3-125m", node, batch=8, sequence=1024, recompute=recompute, attention="eager")

    none, some, full = step("none"), step("selective"), step("full")
    forward = sum(float(cost.time) for cost in none.costs()["forward"])
    assert full.step_time - none.step_time == pytest.approx(8 * forward)
    assert none.step_time < some.step_time < full.step_time
    assert none.activations > some.activations > full.activations
    assert none.energy < some.energy < full.energy


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


def test_adapters_learn_alone() -> None:
    """Frozen products have no gradient of weights; only adapters have gradient, copy and two moments."""
    node = pm.system("a100-sxm-80gb").vary({"device.memory.hbm.capacity": "10 TiB"})
    base = pm.workload("llama-2-7b")
    whole = pm.training(base, node, batch=1, sequence=512)
    tuned = pm.training(base.apply(pm.transform.adapt(8, ("qkv",))), node, batch=1, sequence=512)
    adapters = 32 * 8 * (4096 + 3 * 4096)
    assert whole.weights == pytest.approx(6738415616 * 18)
    assert tuned.weights == pytest.approx(6738415616 * 2 + adapters * 18)
    products = 2 * 512 * (6738415616 - 32000 * 4096 - 65 * 4096)  # not the embedding, not the norms
    attention = pm.workload("llama-2-7b").flops(batch=1, query=512, context=512) - products
    assert tuned.flops == pytest.approx(2 * products + 3 * attention + 3 * 2 * 512 * adapters, rel=1e-6)
    narrow = base.apply(pm.transform.quantise({"block*": "int8"})).apply(pm.transform.adapt(8, ("qkv",)))
    layers = 6738415616 - 2 * 32000 * 4096 - 4096  # not embedding, head and the last norm
    assert tuned.weights - pm.training(narrow, node, batch=1, sequence=512).weights == pytest.approx(layers)
    assert tuned.activations < whole.activations
    qkv = next(op for op in base.graph(batch=1, query=4, context=4).ops if op.name == "block.qkv")
    assert [op.name for op in backward(qkv, frozen=True)] == ["block.qkv_grad_input"]


def test_experts_are_shared_out():
    """Mixtral on two nodes of eight: an expert a device, exchanged in the node; its gradients with the other node."""
    node = pm.system("dgx-h100", count=16)
    kept, shared = (pm.training("mixtral-8x7b", node, batch=16, sequence=512, dp=16, ep=ep, zero=1) for ep in ([1], [8]))
    experts = 32 * 8 * 3 * 4096 * 14336
    dense = pm.workload("mixtral-8x7b").parameters - experts
    # per parameter two bytes, a fp32 gradient, and twelve of the optimiser that are divided over the copies
    assert float(kept.weights[0]) == pytest.approx((dense + experts) * (6 + 12 / 16))
    assert float(shared.weights[0]) == pytest.approx(dense * (6 + 12 / 16) + experts / 8 * (6 + 12 / 2))
    assert shared.flops == pytest.approx(kept.flops)
    fits = pm.training("mixtral-8x7b", node, batch=16, sequence=512, dp=16, ep=8, zero=2, recompute="full")
    sent = [row for row in fits.breakdown().rows if "all_to_all" in str(row)]
    assert len(sent) >= 4  # two exchanges forward, two backward


@pytest.mark.parametrize("ep", [3, 16])
def test_experts_that_cannot_be_shared_out_are_refused(ep):
    """16 does not divide 8 experts, 3 not 16 replicas."""
    with pytest.raises(pm.PerfmodelError, match="ep must divide dp and the experts"):
        pm.training("mixtral-8x7b", pm.system("h200-sxm", count=16), batch=16, sequence=512, dp=16, ep=ep, zero=3)


def test_sharded_weights_are_collected_once_each_way():
    """Seven eighths of 6.7e9 weights of two bytes twice a micro-batch, where that takes longer than the products."""
    slow = pm.system("a100-sxm-80gb", count=8).vary({"device.links.nvlink.bandwidth": "1 GB/s"})
    whole, sharded = (pm.training("llama-7b", slow, batch=16, sequence=128, dp=8, zero=zero) for zero in (2, 3))
    gathers = 2 * 2 * 7 / 8 * 2 * pm.workload("llama-7b").parameters / 1e9  # two micro-batches, two bytes
    fast = pm.training("llama-7b", pm.system("a100-sxm-80gb", count=8), batch=16, sequence=128, dp=8, zero=1)
    assert sharded.step_time - whole.step_time == pytest.approx(gathers, abs=float(fast.step_time))


def test_context_is_shared_out():
    """Four devices hold a quarter of the tokens: the same products, a quarter each, and keys that go round."""
    node = pm.system("h200-sxm", count=4)
    one, four = (
        pm.training("llama-3.2-1b", node, batch=8, sequence=8192, cp=cp, recompute="selective") for cp in (1, 4)
    )
    assert float(four.flops) == float(one.flops)
    assert float(one.activations) / 4 == pytest.approx(float(four.activations))
    sent = [row for row in four.breakdown().rows if "ring_all_gather" in str(row)]
    assert len(sent) >= 2  # forward, and again backward
    quarter = float(one.step_time) / 4
    assert quarter < float(four.step_time) < 1.3 * quarter
    hidden = pm.training(
        "llama-3.2-1b", node, batch=8, sequence=8192, cp=[1, 4], recompute="selective", overlap=True
    )
    assert float(hidden.step_time[0]) == pytest.approx(float(one.step_time))
    assert quarter < float(hidden.step_time[1]) < float(four.step_time)


def test_context_that_cannot_be_shared_out_is_refused():
    node = pm.system("h200-sxm", count=8)
    with pytest.raises(pm.PerfmodelError, match="2 cp must divide the sequence"):
        pm.training("llama-3.2-1b", node, batch=8, sequence=1000, cp=8)
    with pytest.raises(ArgumentError, match="fused attention"):
        pm.training("llama-3.2-1b", node, batch=8, sequence=1024, cp=8, attention="eager")
    with pytest.raises(ArgumentError, match="fused attention"):
        pm.training("mamba2-2.7b", node, batch=8, sequence=1024, cp=8)
