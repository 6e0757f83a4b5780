"""Transforms that shrink a model: number formats, sparsity, pruning, adapters, smaller caches.

References
[1] Frantar et al., GPTQ, arXiv:2210.17323.  Lin et al., AWQ, arXiv:2306.00978 (formats per tensor).
[2] Mishra et al., Accelerating Sparse Deep Neural Networks, arXiv:2104.08378 (2:4 sparsity).
[3] Joo et al., Endor, arXiv:2406.11674 (bitmap format).
[4] Hu et al., LoRA, arXiv:2106.09685.  Dettmers et al., QLoRA, arXiv:2305.14314.
[5] MoKA: Mixture of Kronecker Adapters, 2025 (parameters a1 a2 + b1 b2 per adapter).
[6] Tomar et al., XQuant, arXiv:2508.10395.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from perfmodel.algebra import Value, minimum
from perfmodel.errors import ArgumentError
from perfmodel.formats import LAYOUTS, Sparsity, find_format
from perfmodel.ops.core import Op, Tensor
from perfmodel.ops.matmul import matmul
from perfmodel.workload.graph import Graph
from perfmodel.workload.rewriting import Transform, each, fraction, matches, scaled_work, with_tensors

#: projections that adapters go to unless told otherwise
PROJECTIONS = ("qkv", "attention_out", "up", "down")
#: loop that a projection loses when its inner width is pruned; the others lose outputs
INNER = ("down", "attention_out", "expert_down", "shared_down")


def quantise(
    formats: Mapping[str, str | Sequence[tuple[str, float]]], kind: str = "weight"
) -> Transform:
    """Give tensors of one kind a number format of their own, by op name [1].

    formats  shell pattern on op names -> format, or a list of (format, share of the layers); first hit counts
    kind     weight, activation, kv ...

    ``quantise({"expert_down": [("q6_K", 0.5), ("q4_K", 0.5)], "*": "q4_K"})`` describes a GGUF mixture.
    """
    shares = {
        pattern: [(given, 1.0)] if isinstance(given, str) else list(given)
        for pattern, given in formats.items()
    }
    for parts in shares.values():
        for name, share in parts:
            find_format(name)
            fraction("share", share)

    def change(op: Op) -> Iterable[Op]:
        parts = next((parts for pattern, parts in shares.items() if matches(op, (pattern,))), None)
        if parts is None or not any(t.kind == kind for t in op.tensors):
            return [op]
        made = []
        for i, (name, share) in enumerate(parts):
            part = with_tensors(op, partial(_formatted, kind=kind, name=name))
            made.append(part.repeated(share).named(op.name if i == 0 else f"{op.name}~{i}"))
        return made

    return each(change)


def _formatted(tensor: Tensor, kind: str, name: str) -> Tensor:
    return replace(tensor, format=name) if tensor.kind == kind else tensor


def sparsify(
    layout: str = "n:m",
    density: Value = 0.5,
    targets: Iterable[str] = ("*",),
    *,
    payload: Value = 16.0,
    compute: bool = False,
    m: Value = 4.0,
    block: Value = 256.0,
) -> Transform:
    """Store weights sparse; stored and moved amounts include the index [2, 3].

    layout   ``n:m``, ``bitmap``, ``block`` or ``pruned`` (see formats.Sparsity)
    density  kept share of the weights; payload: bits of a kept weight, against which the index counts [bit]
    compute  the matrix unit skips the zeros too

    With 16-bit weights, half of them kept: 2:4 moves 0.5625, a bitmap 0.5625 of the dense bytes.
    """
    if layout not in LAYOUTS:
        raise ArgumentError("layout", layout, "one of " + ", ".join(LAYOUTS))
    kept = Sparsity(layout, fraction("density", density), m, block)
    ratio = kept.bits_per_element(payload) / payload
    patterns = tuple(targets)

    def change(op: Op) -> Op:
        if not matches(op, patterns) or op.family == "embedding":
            return op

        def one(tensor: Tensor) -> Tensor:
            if tensor.kind != "weight" or len(tensor.axes) < 2:
                return tensor
            return replace(
                tensor, touched=tensor.touched * ratio, stored=_scaled(tensor.stored, ratio)
            )

        changed = with_tensors(op, one)
        return scaled_work(changed, density) if compute and changed is not op else changed

    return each(change)


def _scaled(stored: Value | None, ratio: Value) -> Value | None:
    return None if stored is None else stored * ratio


def prune(ratios: Mapping[str, Value]) -> Transform:
    """Remove a share of the rows or columns of projections, which stay dense [structured pruning].

    ratios  shell pattern on op names -> share removed.  ``down`` and ``attention_out`` lose inputs, all other
            projections outputs; ``activation`` and the like follow their own pattern.
    """
    for pattern, ratio in ratios.items():
        fraction(f"ratio of {pattern}", ratio, one=False)

    def change(op: Op) -> Op:
        hit = next((ratio for pattern, ratio in ratios.items() if matches(op, (pattern,))), None)
        if hit is None or not op.loops:
            return op
        short = op.name.rsplit(".", 1)[-1]
        loop = "k" if short in INNER else next((n for n in ("n", "h", "i", "d") if n in op.loops), "")
        if not loop or loop not in op.loops:
            return op
        loops = {**op.loops, loop: op.loops[loop] * (1.0 - hit)}

        def one(tensor: Tensor) -> Tensor:
            cut = tensor.stored is not None and loop in tensor.axes
            return replace(tensor, stored=_scaled(tensor.stored, 1.0 - hit)) if cut else tensor

        return scaled_work(with_tensors(replace(op, loops=loops), one), 1.0 - hit)

    return each(change)


def adapt(
    rank: Value = 16.0,
    targets: Iterable[str] = PROJECTIONS,
    *,
    kronecker: Sequence[tuple[Value, Value]] = (),
    parts: Mapping[str, Sequence[Value]] | None = None,
) -> Transform:
    """Add adapters beside projections, unmerged [4, 5]; their weights have the role ``adapter``.

    rank       LoRA: ``r (d_in + d_out)`` weights and ``2 r (d_in + d_out)`` FLOP per token
    targets    shell patterns on op names
    kronecker  instead of low rank: shapes (a1, a2) of the first factors of a sum of Kronecker products
               ``A (a1 x a2) ⊗ B (b1 x b2)`` with a1 b1 = d_out, a2 b2 = d_in; weights a1 a2 + b1 b2 each,
               applied in the cheaper order
    parts      op name -> output widths of the parts of a fused projection that have an adapter each, such as
               queries and values of ``qkv``; absent: one adapter for all of it

    QLoRA is this with ``quantise({"*": "nf4"})`` applied first.
    """
    patterns = tuple(targets)

    def change(op: Op) -> Iterable[Op]:
        if op.family != "matmul" or not matches(op, patterns):
            return [op]
        if not any(t.kind == "weight" and len(t.axes) > 1 for t in op.tensors):
            return [op]
        rows, outputs, inputs = op.loops["b"] * op.loops["m"], op.loops["n"], op.loops["k"]
        if not kronecker:
            widths = (parts or {}).get(op.name.rsplit(".", 1)[-1], (outputs,))
            marked = [("", widths[0]), *((str(i), n) for i, n in enumerate(widths[1:], start=1))]
            return [op, *(low for mark, n in marked for low in _low_rank(op, rank, n, mark))]
        terms = [
            _kronecker(rows, outputs, inputs, a1, a2, f"{op.name}_kron{i}")
            for i, (a1, a2) in enumerate(kronecker)
        ]
        return [op, *(term.repeated(op.count) for term in terms)]

    return each(change)


def _low_rank(op: Op, rank: Value, outputs: Value, mark: str) -> tuple[Op, Op]:
    """Both products of one adapter beside a projection."""
    rows, inputs = op.loops["b"] * op.loops["m"], op.loops["k"]
    down = matmul(rows, rank, inputs, role="adapter", name=f"{op.name}_lora_a{mark}")
    up = matmul(rows, outputs, rank, role="adapter", name=f"{op.name}_lora_b{mark}")
    split = op.split.get("tp")
    if split is not None and split.loop == "k":
        down = down.divided(tp="k")
    elif split is not None:
        up = up.divided(tp=split)
    return down.repeated(op.count), up.repeated(op.count)


def _kronecker(rows: Value, outputs: Value, inputs: Value, a1: Value, a2: Value, name: str) -> Op:
    """``(A ⊗ B) x`` as two small products, in the cheaper order: B X A^T, or (A X^T)^T first."""
    b1, b2 = outputs / a1, inputs / a2
    multiplies = kronecker_multiplies(a1, a2, b1, b2)
    first = matmul(rows * a2, b1, b2, role="adapter", name=name)
    factor = Tensor("A", ("x", "y"), kind="weight", role="adapter")
    op = replace(first, loops={**first.loops, "x": a1, "y": a2}, tensors=(*first.tensors, factor))
    return scaled_work(op, rows * multiplies / (rows * a2 * b1 * b2))


def kronecker_multiplies(a1: Value, a2: Value, b1: Value, b2: Value) -> Value:
    """Multiply-accumulates per token of ``(A ⊗ B) x``: the smaller of both orders."""
    return minimum(b1 * b2 * a2 + b1 * a1 * a2, a1 * a2 * b2 + b1 * b2 * a1)


def trainable(graph: Graph) -> Value:
    """Weights of all adapters of a graph [elements]."""
    found: Value = 0.0
    for op in graph.ops:
        for tensor in op.tensors:
            if tensor.role == "adapter":
                found = found + op.count * tensor.storage(op.loops)
    return found


def compress_cache(format_name: str) -> Transform:
    """Keep the key-value cache in another number format; scales and zero points count."""
    return quantise({"*": format_name}, kind="kv")


def rematerialise(format_name: str = "int4_g128", *, latents: bool = False) -> Transform:
    """Cache the layer input instead of keys and values, and compute them again in every pass (XQuant [6]).

    format_name  number format of the cached input
    latents      grouped-query models: cache two projections of the width of the key-value heads instead

    Cached per token: the width of the input, or twice that of the key-value heads, against
    ``2 kv_heads head_dim``.  Extra work per pass: the key and value projection of the whole context.
    """
    find_format(format_name)

    def apply(graph: Graph) -> Graph:
        ops: list[Op] = []
        width: Value | None = None
        for op in graph.ops:
            if op.name.rsplit(".", 1)[-1] == "qkv":
                width = op.loops["k"]
            if op.family == "attention" and width is not None and any(t.kind == "kv" for t in op.tensors):
                ops += _recomputed(op, width, format_name, latents)
            else:
                ops.append(op)
        return graph.with_ops(ops)

    return apply


def _recomputed(op: Op, width: Value, format_name: str, latents: bool) -> list[Op]:
    """Projection of the cached input, then attention on keys and values that are activations."""
    loops = op.loops
    heads = loops["h"] * (loops["d"] + loops["e"])
    rows = loops["b"] * loops["t"]
    inner = heads / 2.0 if latents else width
    project = matmul(rows, heads, inner, shared=True, name=f"{op.name}_rematerialise").divided(tp="n")
    # K from one cached tensor and V from the other where two latents are kept, both from the input else
    cached = Tensor("A", ("m", "x"), kind="kv", format=format_name)
    extent = heads if latents else width
    tensors = tuple(cached if t.name == "A" else t for t in project.tensors)
    project = replace(project, loops={**project.loops, "x": extent}, tensors=tensors).repeated(op.count)
    core = with_tensors(op, lambda t: replace(t, kind="activation", stored=None) if t.kind == "kv" else t)
    return [project, core]
