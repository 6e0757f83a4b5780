"""What training adds to a pass: dropout, the loss, and the ops that compute gradients.

References
[1] Korthikanti et al., Reducing activation recomputation, arXiv:2205.05198 (dropout, what backward keeps).
[2] Shoeybi et al., Megatron-LM, arXiv:1909.08053 (loss over a divided vocabulary).
[3] Dao, FlashAttention-2, arXiv:2307.08691 (five products backward for two forward).
[4] Hugging Face Transformers 4.44, modeling_llama.py, LlamaForCausalLM.forward: logits widened to fp32, then
    copied without the last position (recalled).
[5] Qwen, finetune/finetune_qlora_single_gpu.sh (github.com/QwenLM/Qwen): fp16 throughout, the loss included.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from perfmodel.algebra import Value, product
from perfmodel.ops.core import Op, Split, Tensor, Work
from perfmodel.workload.graph import Graph
from perfmodel.workload.rewriting import each

#: a mask takes a byte per element [1]
MASK = "int8"
#: name endings of what this module adds
DROPOUT, LOSS = "dropout", "loss"
#: bytes of a logit that the backward pass starts with.  Fused: probabilities in fp32.  Code of a framework
#: holds four such tensors: the logits, the logarithm of their softmax, and the gradients of both [4, 5]
LOGIT_BYTES = {"fused": 4.0, "eager": 4 * 4.0, "eager16": 4 * 2.0}
#: products of fused attention backward over forward [3]
ATTENTION_BACKWARD = 2.5


def with_dropout(graph: Graph) -> Graph:
    """Dropout of the probabilities of eager attention, and before every residual addition [1].

    Fused attention draws its random numbers again instead of storing a mask.
    """

    def change(op: Op) -> Iterable[Op]:
        if op.name.endswith("attention_softmax"):
            elements = product(op.loops.values())
            split = {"tp": Split("i")} if "tp" in op.split else {}
            return [op, replace(_dropout(elements, f"{op.name}_{DROPOUT}", op.count), split=split)]
        if op.family == "norm" and any(tensor.name == "residual" for tensor in op.tensors):
            rest = tuple(t for t in op.tensors if t.name not in ("residual", "sum"))
            added = _dropout(product(op.loops.values()), f"{op.name}_{DROPOUT}", op.count, residual=True)
            return [added, replace(op, tensors=rest)]
        return [op]

    return each(change)(graph)


def _dropout(elements: Value, name: str, count: Value, *, residual: bool = False) -> Op:
    """``y = x mask/(1 - p) (+ residual)``: x read, y and a byte of mask written, the residual read."""
    tensors = [Tensor("x", ("i",)), Tensor("y", ("i",), output=True),
               Tensor("mask", ("i",), output=True, format=MASK)]
    if residual:
        tensors.append(Tensor("residual", ("i",)))
    work = (Work("vector", (3.0 if residual else 2.0) * elements),)
    return Op("elementwise", {"i": elements, "p": 0.0}, tuple(tensors), work, name, count)


def with_loss(graph: Graph, loss: str = "fused") -> Graph:
    """Cross-entropy over the logits; each device keeps its part of the vocabulary [2].

    loss  ``fused``: in fp32 from the logits; ``eager``: these are widened to fp32 and copied first [4];
          ``eager16``: copied and summed in the 16 bits that they have [5]
    """

    def change(op: Op) -> Iterable[Op]:
        out = next((t for t in op.tensors if t.output and t.kind == "logits"), None)
        if out is None or op.family != "matmul":
            return [op]
        split = op.split.get("tp")
        ways = {} if split is None else {"tp": Split("i")}
        kept = op if split is None else op.divided(tp=replace(split, gather=False))
        elements = out.footprint(op.loops)
        read = Tensor("logits", ("i",), kind="logits")
        copy = replace(read, name="copy", format="fp32" if loss == "eager" else "")
        probabilities = Tensor("p", ("i",), output=True, format="" if loss == "eager16" else "fp32")
        tensors = (read if loss == "fused" else copy, probabilities)
        work = (Work("vector", 4.0 * elements), Work("special", 1.0 * elements))
        name, loops = f"{op.name}_{LOSS}", {"i": elements, "p": 0.0}
        made = Op("elementwise", loops, tensors, work, name, op.count, split=ways)
        if loss == "fused":
            return [kept, made]
        passes = 2 if loss == "eager" else 1  # widened, then copied
        copies = [read, replace(copy, output=True, touched=2.0 * passes - 1.0)]
        return [kept, replace(made, tensors=tuple(copies), work=(), name=f"{op.name}_copies"), made]

    return each(change)(graph)


def fixed(op: Op) -> bool:
    """A product with weights that are not an adapter's: where there are adapters, they alone learn."""
    weights = [t for t in op.tensors if t.kind == "weight"]
    return op.family == "matmul" and bool(weights) and all(t.role != "adapter" for t in weights)


def backward(op: Op, *, frozen: bool = False) -> tuple[Op, ...]:
    """Ops that compute the gradients of what `op` read, from those of what it wrote.

    A product with weights becomes two, that of the weights is added up in fp32; an op that streams reads its
    inputs and the gradients of its outputs and writes the gradients of its inputs; messages are the same.
    Other ops take twice their forward cost.

    frozen  weights outside adapters do not learn: their products have the gradient of the inputs only
    """
    if op.exchange is not None:
        return (op.named(f"{op.name}_grad"),)
    if op.family == "matmul" and any(t.kind == "weight" for t in op.tensors):
        return _product_gradients(op)[:1] if frozen and fixed(op) else _product_gradients(op)
    if op.family == "norm":
        return (_norm_gradient(op),)
    if op.family in ("elementwise", "softmax"):
        return (_stream_gradient(op),)
    if op.family == "attention":
        return (op.repeated(ATTENTION_BACKWARD).named(f"{op.name}_grad"),)
    return (op.repeated(2.0).named(f"{op.name}_grad"),)


def _product_gradients(op: Op) -> tuple[Op, ...]:
    """dA = dC B^T and dB += A^T dC of C = A B, as products m x n x k of their own."""
    b, m, n, k = (op.loops[name] for name in "bmnk")
    operands = (Tensor("A", ("b", "m", "k")), Tensor("B", ("b", "k", "n")))
    inputs = replace(
        op, name=f"{op.name}_grad_input", loops={"b": b, "m": m, "n": k, "k": n},
        tensors=(operands[0], replace(operands[1], kind="weight", stored=0.0),
                 Tensor("C", ("b", "m", "n"), output=True)),
    )
    weights = replace(
        op, name=f"{op.name}_grad_weight", loops={"b": b, "m": k, "n": n, "k": m},
        # the sum of earlier micro-batches is read, and written again
        tensors=(*operands, Tensor("C", ("b", "m", "n"), kind="accumulator", output=True, touched=2.0)),
    )
    return inputs, weights


def _norm_gradient(op: Op) -> Op:
    """Reads what was normalised and the gradients of all outputs, writes one gradient."""
    outputs = [t for t in op.tensors if t.output]
    reads = tuple(Tensor(f"d{t.name}", ("r", "d")) for t in outputs)
    tensors = (Tensor("x", ("r", "d")), *reads, Tensor("dx", ("r", "d"), output=True))
    return _doubled(op, tensors)


def _stream_gradient(op: Op) -> Op:
    if op.name.endswith(LOSS):  # probabilities minus one at the token that came
        tensors = (Tensor("p", ("i",), format="fp32"), Tensor("dlogits", ("i",), output=True))
        return _doubled(op, tensors)
    if op.name.endswith(DROPOUT):  # the gradient of the residual is that of the sum
        return _doubled(op, (Tensor("dy", ("i",)), Tensor("mask", ("i",), format=MASK),
                             Tensor("dx", ("i",), output=True)))
    read = tuple(t for t in op.tensors if not t.output and t.kind == "activation")
    grads = tuple(replace(t, name=f"d{t.name}", output=not t.output) for t in (*read, *_written(op)))
    return _doubled(op, (*read, *grads))


def _written(op: Op) -> tuple[Tensor, ...]:
    return tuple(t for t in op.tensors if t.output)


def _doubled(op: Op, tensors: tuple[Tensor, ...]) -> Op:
    work = tuple(replace(part, operations=2.0 * part.operations) for part in op.work)
    return replace(op, name=f"{op.name}_grad", tensors=tensors, work=work)
