"""What an ONNX node costs: one constructor per operator of the standard."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from perfmodel.errors import GraphError
from perfmodel.ops.conv import conv1d, conv2d, conv3d
from perfmodel.ops.core import Op, Tensor, Work
from perfmodel.ops.elementwise import elementwise, embedding, norm, softmax
from perfmodel.ops.lookup import top_k
from perfmodel.ops.matmul import matmul
from perfmodel.ops.pool import pool2d, resample
from perfmodel.ops.pool import reduction as reduced
from perfmodel.workload.importers.onnx_tables import FREE, POINTWISE, REDUCTIONS

Shape = tuple[int, ...]


@dataclass
class Node:
    """A node with shapes; `op` is None where it costs nothing.

    batch     loops of the op that grow with the batch
    repeated  constant inputs whose storage another node counts [elements]
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    shapes: list[Shape]
    out_shapes: list[Shape]
    constant: list[bool]
    values: list[Any]
    op: Op | None = None
    batch: tuple[str, ...] = field(default=())
    repeated: int = 0

    def build(self) -> None:
        """Set the op."""
        slices = self.kind == "Gather" and self.constant[1] and not self.constant[0]
        if self.kind in FREE or (slices and math.prod(self.shapes[1]) == 1):
            return
        if self.kind in POINTWISE:
            self.op, self.batch = pointwise(self), ("i",)
        elif self.kind in REDUCTIONS:
            self.op, self.batch = reduction(self), ("r",)
        else:
            self.op, self.batch = BUILDERS[self.kind](self)
        if self.repeated and self.op is not None:
            self.op = replace(self.op, tensors=tuple(without(self.op, self.repeated)))

    @property
    def activations(self) -> list[str]:
        """Inputs that are computed at run time."""
        return [n for n, fixed in zip(self.inputs, self.constant, strict=True) if n and not fixed]

    def stored(self) -> list[int]:
        """Elements of the constant inputs."""
        return [math.prod(s) for s, fixed in zip(self.shapes, self.constant, strict=True) if fixed]

    def get(self, name: str, default: Any) -> Any:
        """Attribute or default."""
        return self.attributes.get(name, default)

    def given(self, index: int) -> bool:
        """True if the optional input is there."""
        return index < len(self.inputs) and bool(self.inputs[index])


def without(op: Op, elements: float) -> list[Tensor]:
    """Tensors of an op with `elements` fewer stored weights, taken from the first ones."""
    found = []
    for tensor in op.tensors:
        if tensor.kind == "weight" and elements > 0:
            kept = tensor.storage(op.loops)
            taken = min(kept, elements)
            elements -= taken
            tensor = replace(tensor, stored=kept - taken)
        found.append(tensor)
    return found


def pointwise(node: Node) -> Op:
    """Elementwise map; constants of more than one element are stored weights."""
    vector, special = POINTWISE[node.kind]
    elements = math.prod(node.out_shapes[0])
    stored = sum(size for size in node.stored() if size > 1)
    if node.kind == "BatchNormalization":
        stored = 2 * node.shapes[1][0]  # running mean and variance are folded
    reads = max(len(node.activations), 1)
    op = elementwise(
        elements, inputs=reads, operations=vector, special=special, parameters=stored, name=node.name
    )
    small = [math.prod(s) for s, fixed in zip(node.shapes, node.constant, strict=True) if not fixed]
    if any(size != elements for size in small):  # broadcast inputs are read once
        loops = {**op.loops, **{f"i{index}": size for index, size in enumerate(small)}}
        inputs = tuple(Tensor(f"x{index + 1}", (f"i{index}",)) for index in range(len(small)))
        op = replace(
            op, loops=loops, tensors=(*inputs, *(t for t in op.tensors if not t.name.startswith("x")))
        )
    return op


def reduction(node: Node) -> Op:
    """Sum, mean, maximum ... over some axes: one operation per input element."""
    elements = math.prod(node.shapes[0])
    rows = max(math.prod(node.out_shapes[0]), 1)
    return reduced(rows, elements / rows, name=node.name)


def convolution(node: Node) -> tuple[Op, tuple[str, ...]]:
    """Conv and its quantised forms in one and two dimensions."""
    weight = node.shapes[3] if node.kind == "QLinearConv" else node.shapes[1]
    bias = node.given(8) if node.kind == "QLinearConv" else node.kind == "Conv" and node.given(2)
    space = len(weight) - 2
    image = node.shapes[0]
    groups = node.get("group", 1)
    stride, dilation = node.get("strides", [1] * space), node.get("dilations", [1] * space)
    pads, kernel = node.get("pads", [0] * 2 * space), list(weight[2:])
    padding = [(pads[i] + pads[i + space]) / 2 for i in range(space)]
    if node.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER"):
        padding = ["same"] * space
    if space == 1:
        op = conv1d(
            image[0],
            image[1],
            weight[0],
            image[2],
            kernel[0],
            stride[0],
            padding[0],
            groups,
            dilation=dilation[0],
            bias=bias,
            name=node.name,
        )
    elif space == 2:
        op = conv2d(
            image[0],
            image[1],
            weight[0],
            image[2],
            image[3],
            tuple(kernel),
            tuple(stride),
            tuple(padding),
            groups,
            dilation=tuple(dilation),
            bias=bias,
            name=node.name,
        )
    elif space == 3 and all(len({*given}) == 1 for given in (kernel, stride, padding, dilation)):
        op = conv3d(image[0], image[1], weight[0], image[2], image[3], image[4], kernel[0], stride[0],
                    padding[0], groups, dilation=dilation[0], bias=bias, name=node.name)
    else:
        raise GraphError(f"node {node.name}: convolution in {space} dimensions is not supported")
    return op, ("b",)


def transposed(node: Node) -> tuple[Op, tuple[str, ...]]:
    """ConvTranspose: every input position times the kernel."""
    image, weight = node.shapes[0], node.shapes[1]
    groups, out = node.get("group", 1), math.prod(node.out_shapes[0][2:])
    places, window = math.prod(image[2:]), math.prod(weight[2:])
    loops = {
        "b": image[0],
        "g": groups,
        "c": image[1] / groups,
        "k": weight[1],
        "i": places,
        "r": window,
        "o": out,
        "f": groups * weight[1],
    }
    tensors = [
        Tensor("I", ("b", "g", "c", "i")),
        Tensor("W", ("g", "c", "k", "r"), kind="weight"),
        Tensor("O", ("b", "g", "k", "o"), output=True),
    ]
    if node.given(2):
        tensors.append(Tensor("bias", ("f",), kind="weight"))
    macs = image[0] * image[1] * weight[1] * places * window
    return Op("conv_transpose", loops, tuple(tensors), (Work("matrix", 2.0 * macs),), node.name), ("b",)


def gemm(node: Node) -> tuple[Op, tuple[str, ...]]:
    """Gemm: rows times a stored (or computed) matrix."""
    m, k = node.shapes[0][:: -1 if node.get("transA", 0) else 1]
    n = node.out_shapes[0][1]
    return matmul(m, n, k, weight=node.constant[1], bias=node.given(2), name=node.name), ("m",)


def product(node: Node) -> tuple[Op, tuple[str, ...]]:
    """MatMul: with a stored matrix the leading dimensions are rows, else batches."""
    second = 3 if node.kind == "QLinearMatMul" else 1
    a, b = node.shapes[0], node.shapes[second]
    k = a[-1]
    n = b[-1] if len(b) > 1 else 1
    rows = math.prod(node.out_shapes[0]) // n
    if node.constant[0] and not node.constant[second]:
        columns = math.prod(b[:-2]) * n
        return matmul(columns, a[-2] if len(a) > 1 else 1, k, name=node.name), ("m",)
    if node.constant[second] and len(b) <= 2:
        return matmul(rows, n, k, name=node.name), ("m",)
    batch = math.prod(node.out_shapes[0][:-2])
    op = matmul(rows / batch, n, k, batch=batch, weight=node.constant[second], name=node.name)
    return op, ("m",) if node.constant[second] else ("b",)


def normalisation(node: Node) -> tuple[Op, tuple[str, ...]]:
    """Layer, RMS, group, instance and lp norm."""
    shape = node.shapes[0]
    rms = node.kind in ("RMSNormalization", "LpNormalization")
    if node.kind in ("LayerNormalization", "RMSNormalization"):
        axis = node.get("axis", -1) % len(shape)
        width = math.prod(shape[axis:])
    else:
        width = math.prod(shape[2:]) if node.kind == "InstanceNormalization" else shape[-1]
    op = norm(math.prod(shape) / width, width, kind="rms" if rms else "layer", affine=False, name=node.name)
    stored = sum(node.stored())
    if stored:
        op = replace(
            op,
            loops={**op.loops, "w": stored},
            tensors=(*op.tensors, Tensor("weight", ("w",), kind="weight")),
        )
    return op, ("r",)


def soft(node: Node) -> tuple[Op, tuple[str, ...]]:
    """Softmax over one axis."""
    shape = node.shapes[0]
    width = shape[node.get("axis", -1)]
    return softmax(math.prod(shape) / width, width, name=node.name), ("r",)


def pooling(node: Node) -> tuple[Op, tuple[str, ...]]:
    """Maximum and average pooling; the output size is the inferred one."""
    image, out = node.shapes[0], node.out_shapes[0]
    kernel = (*node.get("kernel_shape", [1, 1]), 1)[:2]
    stride = (*node.get("strides", [1] * len(kernel)), 1)[:2]
    op = pool2d(
        image[0], image[1], image[2], image[3] if len(image) > 3 else 1, kernel, stride, name=node.name
    )
    loops = {**op.loops, "p": out[2], "q": out[3] if len(out) > 3 else 1}
    return replace(op, loops=loops, work=(Work("vector", 1.0 * math.prod(out) * math.prod(kernel)),)), ("b",)


def gather(node: Node) -> tuple[Op, tuple[str, ...]]:
    """Rows of a table; a constant table is stored."""
    table, count = node.shapes[0], max(math.prod(node.shapes[1]), 1)
    if not node.constant[0]:
        elements = math.prod(node.out_shapes[0])
        return resample(elements, elements, name=node.name), ("i", "o")
    width = math.prod(table) / table[node.get("axis", 0)]
    return embedding(count, table[node.get("axis", 0)], width, name=node.name), ("t",)


def moved(node: Node) -> tuple[Op, tuple[str, ...]]:
    """Copies that change the shape."""
    linear = node.kind in ("Resize", "Upsample") and node.get("mode", b"nearest") == b"linear"
    elements = math.prod(node.out_shapes[0])
    return resample(min(math.prod(node.shapes[0]), elements), elements, 7 if linear else 0, name=node.name), (
        "i",
        "o",
    )


def recurrent(node: Node) -> tuple[Op, tuple[str, ...]]:
    """LSTM, GRU and RNN: all time steps as one op whose weights are read at every step."""
    length, batch, width = node.shapes[0]
    directions, rows, state = node.shapes[2]
    gates = rows / state
    loops = {
        "t": length,
        "b": batch,
        "d": directions,
        "g": gates,
        "h": state,
        "i": width,
        "s": state,
        "w": 2 * gates,
    }
    tensors = [
        Tensor("X", ("t", "b", "i")),
        Tensor("W", ("d", "g", "h", "i"), kind="weight"),
        Tensor("R", ("t", "d", "g", "h", "s"), kind="weight", stored=float(directions * rows * state)),
        Tensor("Y", ("t", "b", "d", "h"), output=True),
    ]
    if node.given(3):
        tensors.append(Tensor("B", ("d", "w", "h"), kind="weight"))
    cells = length * batch * directions * state
    work = (
        Work("matrix", 2.0 * cells * gates * (width + state)),
        Work("vector", 3.0 * cells * gates),
        Work("special", (gates + 1.0) * cells),
    )
    return replace(Op("recurrent", loops, tuple(tensors), work, node.name), launches=1.0 * length), ("b",)


def best(node: Node) -> tuple[Op, tuple[str, ...]]:
    """TopK along one axis."""
    width = node.shapes[0][node.get("axis", -1)]
    kept = math.prod(node.out_shapes[0]) / (math.prod(node.shapes[0]) / width)
    return top_k(math.prod(node.shapes[0]) / width, width, kept, name=node.name), ("r",)


BUILDERS: dict[str, Callable[[Node], tuple[Op, tuple[str, ...]]]] = {
    "Conv": convolution,
    "QLinearConv": convolution,
    "ConvInteger": convolution,
    "ConvTranspose": transposed,
    "Gemm": gemm,
    "MatMul": product,
    "QLinearMatMul": product,
    "MatMulInteger": product,
    "LayerNormalization": normalisation,
    "RMSNormalization": normalisation,
    "GroupNormalization": normalisation,
    "InstanceNormalization": normalisation,
    "LpNormalization": normalisation,
    "Softmax": soft,
    "LogSoftmax": soft,
    "MaxPool": pooling,
    "AveragePool": pooling,
    "LpPool": pooling,
    "Gather": gather,
    "GatherElements": moved,
    "GatherND": moved,
    "ScatterND": moved,
    "ScatterElements": moved,
    "Pad": moved,
    "Tile": moved,
    "Resize": moved,
    "Upsample": moved,
    "DepthToSpace": moved,
    "SpaceToDepth": moved,
    "LSTM": recurrent,
    "GRU": recurrent,
    "RNN": recurrent,
    "TopK": best,
}
KNOWN = frozenset(FREE) | frozenset(POINTWISE) | REDUCTIONS | frozenset(BUILDERS) | {"Constant"}
