"""Nodes of an ONNX graph joined into kernels: pointwise epilogues, bias vectors, fused attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from perfmodel.ops.attention import attention
from perfmodel.ops.core import Op, Tensor
from perfmodel.workload.importers.onnx_nodes import Node
from perfmodel.workload.importers.onnx_tables import POINTWISE

#: changes of shape that may stand between the products and the softmax
_VIEWS = ("Reshape", "Squeeze", "Unsqueeze", "Cast")


@dataclass
class Kernel:
    """One op with the nodes that it runs."""

    op: Op
    batch: tuple[str, ...]
    order: int
    after: list[str] = field(default_factory=list)


def fuse(nodes: Sequence[Node], fusion: str) -> list[tuple[Op, tuple[str, ...]]]:
    """Ops with their batch loops and edges."""
    kernels: list[Kernel] = []
    origin: dict[str, Kernel | None] = {}
    skipped = _attention(nodes) if fusion != "none" else {}
    for node in nodes:
        attending = skipped.get(node.name)
        sources: Sequence[Kernel | None] = [origin.get(name) for name in node.activations]
        if node.op is None or (node.name in skipped and attending is None):
            origin.update(dict.fromkeys(node.outputs, _last(node, origin)))
            continue
        target = _target(node, sources, fusion)
        if target is not None and attending is None:
            _join(target, node, sources)
        else:
            if attending is not None:
                target = Kernel(attending, ("b",), len(kernels))
                sources = _reached(node, nodes, skipped, origin)
            else:
                target = Kernel(node.op, node.batch, len(kernels))
            target.after = [s.op.name for s in sources if s is not None]
            kernels.append(target)
        origin.update(dict.fromkeys(node.outputs, target))
    return [(replace(k.op, after=tuple(dict.fromkeys(k.after))), k.batch) for k in kernels]


def _last(node: Node, origin: dict[str, Kernel | None]) -> Kernel | None:
    """Latest kernel behind the inputs of a node that costs nothing."""
    found = [origin.get(name) for name in node.activations]
    return max((k for k in found if k is not None), key=lambda k: k.order, default=None)


def _target(node: Node, sources: Sequence[Kernel | None], fusion: str) -> Kernel | None:
    """Kernel in whose epilogue a pointwise node runs, or None."""
    if fusion == "none" or node.kind not in POINTWISE or all(source is None for source in sources):
        return None
    # a branch comes from an earlier kernel or from the input, so no cycle can close
    newest = max((s for s in sources if s is not None), key=lambda k: k.order)
    others = [s for s in sources if s is not newest]
    if others and fusion != "residual":
        return None
    return (
        newest
        if newest.op.family in ("matmul", "conv1d", "conv2d", "conv_transpose", "elementwise")
        else None
    )


def _join(target: Kernel, node: Node, sources: Sequence[Kernel | None]) -> None:
    """Add the work of a pointwise node, its stored constants and its further branches."""
    op = node.op
    if op is None:
        return
    loops, tensors = dict(target.op.loops), list(target.op.tensors)
    for tensor in op.tensors:
        branch = tensor.kind == "activation" and not tensor.output
        if tensor.kind == "weight":
            label = f"{node.name}.{tensor.name}"
            loops[label] = op.loops[str(tensor.axes[0])]
            tensors.append(replace(tensor, name=label, axes=(label,)))
        elif branch and any(s is not target for s in sources) and f"{node.name}.branch" not in loops:
            label = f"{node.name}.branch"
            loops[label] = op.loops["i"]
            tensors.append(Tensor(label, (label,)))
            target.batch = (*target.batch, label)
    target.after += [s.op.name for s in sources if s is not None and s is not target]
    target.op = replace(target.op, loops=loops, tensors=tuple(tensors), work=(*target.op.work, *op.work))


def _attention(nodes: Sequence[Node]) -> dict[str, Op | None]:
    """Nodes of score-softmax-value chains: the last product becomes the op, the others vanish."""
    made = {output: node for node in nodes for output in node.outputs}
    users: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.inputs:
            users.setdefault(name, []).append(node)
    found: dict[str, Op | None] = {}
    for node in nodes:
        if node.kind != "Softmax":
            continue
        before, scores = _upwards(node, made)
        after, values = _downwards(node, users)
        if scores is None or values is None:
            continue
        found.update({part.name: None for part in (node, *before, *after, scores)})
        found[values.name] = _fused(scores, values, before)
    return found


def _upwards(softmax: Node, made: dict[str, Node]) -> tuple[list[Node], Node | None]:
    """Pointwise nodes and changes of shape before a softmax, and the product of activations behind them."""
    chain: list[Node] = []
    current = made.get(softmax.inputs[0])
    while current is not None and current.kind in (*_VIEWS, "Add", "Mul", "Div", "Where"):
        chain.append(current)
        producers = [made[name] for name in current.activations if name in made]
        current = producers[0] if len(producers) == 1 else None
    if current is None or current.kind != "MatMul" or len(current.activations) != 2:
        return chain, None
    return chain, current


def _downwards(softmax: Node, users: dict[str, list[Node]]) -> tuple[list[Node], Node | None]:
    """Changes of shape behind a softmax, and the product with an activation that they lead to."""
    chain: list[Node] = []
    name = softmax.outputs[0]
    while True:
        following = users.get(name, [])
        if len(following) != 1:
            return chain, None
        node = following[0]
        if node.kind in _VIEWS:
            chain.append(node)
            name = node.outputs[0]
            continue
        right = node.kind == "MatMul" and node.inputs[0] == name and len(node.activations) == 2
        return chain, node if right else None


def _fused(scores: Node, values: Node, before: Sequence[Node]) -> Op:
    """Attention from the shapes of the two products; leading dimensions are batch x heads.

    Stored biases that are added to the scores are read by the same kernel.
    """
    *lead, query, head = scores.shapes[0]
    context, value = values.shapes[1][-2:]
    op = attention(math.prod(lead), query, context, 1, 1, head, causal=False, value_dim=value, cached=False,
                   name=values.name)
    for index, part in enumerate(before):
        stored = sum(size for size in part.stored() if size > 1) if part.kind in POINTWISE else 0
        if stored:
            label = f"bias{index}"
            tensor = Tensor(label, (label,), kind="weight", stored=float(max(stored - part.repeated, 0)))
            op = replace(op, loops={**op.loops, label: stored}, tensors=(*op.tensors, tensor))
    return op


def _reached(
    node: Node, nodes: Sequence[Node], skipped: dict[str, Op | None], origin: dict[str, Kernel | None]
) -> list[Kernel]:
    """Kernels behind the query, key and value of a fused attention."""
    made = {output: other for other in nodes for output in other.outputs}
    found: list[Kernel] = []
    queue = list(node.activations)
    while queue:
        name = queue.pop()
        other = made.get(name)
        if other is not None and other.name in skipped and skipped[other.name] is None:
            queue += other.activations
        else:
            kernel = origin.get(name)
            if kernel is not None and kernel not in found:
                found.append(kernel)
    return found
