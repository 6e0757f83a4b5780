"""Transforms of how often and how wide a pass runs: fusion, recomputation, verification, iteration, chunks.

References
[1] Niu et al., DNNFusion, arXiv:2108.13342 (element-wise chains).
[2] Korthikanti et al., arXiv:2205.05198 (selective and full recomputation).
[3] Leviathan et al., arXiv:2211.17192 (speculative decoding).
[4] Ho et al., arXiv:2006.11239 (denoising steps).
[5] Agrawal et al., Sarathi, arXiv:2308.16369 (chunked prefill).
"""

from __future__ import annotations

from dataclasses import replace

from perfmodel.algebra import Value, minimum
from perfmodel.errors import ArgumentError
from perfmodel.ops.core import Op, Tensor, Window
from perfmodel.workload.graph import Graph
from perfmodel.workload.rewriting import StepTransform, Transform, each, scaled_work
from perfmodel.workload.step import Step

#: Families that another op can take into its epilogue.
FUSABLE = ("elementwise", "softmax")
#: Loop over tokens or positions, by preference.
TOKEN_LOOPS = ("m", "r", "i", "t", "s", "p", "q")


def fuse(families: tuple[str, ...] = FUSABLE) -> Transform:
    """Take element-wise ops into the op before them: the tensor between the two stays on the chip [1].

    Saves one write and one read of what both touch, and a kernel launch.  Operations stay.  An op after a
    collective, or repeated another number of times, is left alone.
    """

    def apply(graph: Graph) -> Graph:
        ops: list[Op] = []
        for op in graph.ops:
            before = ops[-1] if ops else None
            if before is not None and op.family in families and _joins(before, op):
                ops[-1], op = _join(before, op)
            ops.append(op)
        return graph.with_ops(ops)

    return apply


def _joins(before: Op, op: Op) -> bool:
    plain = isinstance(before.count, (int, float)) and isinstance(op.count, (int, float))
    same = before.count is op.count or (plain and before.count == op.count)
    reads = any(not t.output and t.kind == "activation" for t in op.tensors)
    writes = any(t.output and t.kind == "activation" for t in before.tensors)
    return same and before.exchange is None and reads and writes and op.family != before.family


def _join(before: Op, op: Op) -> tuple[Op, Op]:
    """Both ops without the bytes between them: the first output, and the first input of the second."""
    out = next(t for t in before.tensors if t.output and t.kind == "activation")
    into = next(t for t in op.tensors if not t.output and t.kind == "activation")
    written, read = out.footprint(before.loops), into.footprint(op.loops)
    # an op with several equal inputs reads as many parts of what was written (gate and up projection)
    parts = sum(1.0 for t in op.tensors if not t.output and t.axes == into.axes and t.kind == "activation")
    inputs = parts * read
    shared = minimum(written, inputs)

    def slimmer(tensor: Tensor, full: Value) -> Tensor:
        return replace(tensor, touched=tensor.touched * (1.0 - shared / full))

    first = tuple(slimmer(t, written) if t is out else t for t in before.tensors)
    second = tuple(
        slimmer(t, inputs) if not t.output and t.axes == into.axes and t.kind == "activation" else t
        for t in op.tensors
    )
    return replace(before, tensors=first), replace(op, tensors=second, launches=0.0)


def recompute(mode: str = "full") -> Transform:
    """Run a part of the forward pass a second time, as training does to save activation memory [2].

    mode  ``full``: everything; ``selective``: attention scores alone.  The repeated ops are called
          ``recompute.<name>``; their weights are not stored again.
    """
    if mode not in ("full", "selective"):
        raise ArgumentError("mode", mode, "full or selective")
    scores = ("attention", "attention_scores", "softmax", "attention_values", "mla")

    def apply(graph: Graph) -> Graph:
        chosen = [op for op in graph.ops if mode == "full" or op.family in scores]
        again = [
            replace(
                op, name=f"recompute.{op.name}",
                tensors=tuple(replace(t, shared=True) for t in op.tensors),
            )
            for op in chosen
        ]
        return graph.with_ops([*graph.ops, *again])

    return apply


def speculative(width: Value) -> StepTransform:
    """Verify `width` tokens per sequence in one pass: a chain of width - 1 drafted tokens, or a tree [3].

    The last of them attends to width - 1 tokens more than a plain step.
    """

    def step(given: Step) -> Step:
        return replace(given, query=given.query * width, context=given.context + width - 1.0, logits="all")

    return StepTransform(step)


def iterate(times: Value) -> Transform:
    """Run the pass `times` times, e.g. once per denoising step [4]; weights are stored once."""

    def change(op: Op) -> Op:
        tensors = tuple(replace(t, stored=t.storage(op.loops) / times) for t in op.tensors)
        return replace(op, count=op.count * times, tensors=tensors)

    return each(change)


def chunk(parts: Value) -> Transform:
    """Run every op in `parts` passes over a share of its tokens or positions [5].

    Live activations shrink by `parts`; weights are read again for each part.
    """

    def change(op: Op) -> Op:
        loop = next((name for name in TOKEN_LOOPS if name in op.loops and _is_token(op, name)), "")
        if not loop:
            return op
        loops = {**op.loops, loop: op.loops[loop] / parts}
        tensors = tuple(replace(t, stored=t.storage(op.loops) / parts) for t in op.tensors)
        return scaled_work(replace(op, loops=loops, tensors=tensors, count=op.count * parts), 1.0 / parts)

    return each(change)


def _is_token(op: Op, loop: str) -> bool:
    """Whether the loop runs over outputs and not over weights."""

    def has(tensor: Tensor) -> bool:
        return any(axis == loop or (isinstance(axis, Window) and axis.out == loop) for axis in tensor.axes)

    outputs = [t for t in op.tensors if t.output]
    stored = [t for t in op.tensors if t.kind in ("weight", "kv", "state") and t.stored is None]
    return bool(outputs) and all(has(t) for t in outputs) and not any(has(t) for t in stored)
