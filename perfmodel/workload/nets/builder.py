"""Net: a network under construction, with the shape of every tensor and the names of the ops behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from perfmodel.algebra import Value, is_symbolic, total
from perfmodel.errors import ArgumentError, GraphError
from perfmodel.ops.attention import attention
from perfmodel.ops.conv import Pair, conv2d
from perfmodel.ops.core import Op, Tensor, Work
from perfmodel.ops.elementwise import elementwise, embedding, norm
from perfmodel.ops.matmul import matmul
from perfmodel.ops.pool import pool2d, resample
from perfmodel.workload.graph import Graph

#: activation -> (vector, special-function) operations per element
ACTIVATIONS = {
    "none": (0, 0), "relu": (1, 0), "relu6": (2, 0), "leaky_relu": (2, 0), "prelu": (2, 0),
    "hardswish": (4, 0), "hardsigmoid": (3, 0), "clip": (2, 0), "silu": (3, 1), "sigmoid": (2, 1),
    "tanh": (2, 1), "gelu": (4, 1), "softplus": (2, 2), "sin": (0, 1), "exp": (0, 1),
}

#: What runs as one kernel.  ``none``: each operator on its own, as an eager framework does; ``activation``:
#: convolution or linear layer + batch norm + activation; ``residual``: the addition behind it too.
FUSIONS = ("none", "activation", "residual")


@dataclass(frozen=True)
class Feature:
    """Tensor between ops: channels x height x width per sample.  A sequence has its length as height.

    producers  names of the ops that wrote it; empty: the input of the network
    """

    channels: Value
    height: Value = 1.0
    width: Value = 1.0
    producers: tuple[str, ...] = ()

    @property
    def positions(self) -> Value:
        """Height x width."""
        return self.height * self.width

    @property
    def elements(self) -> Value:
        """Elements of one sample."""
        return self.channels * self.height * self.width

    def reshaped(self, channels: Value, height: Value = 1.0, width: Value = 1.0) -> Feature:
        """The same data seen in another shape, or a slice of it; costs nothing."""
        return Feature(channels, height, width, self.producers)

    def tokens(self) -> Feature:
        """Positions as one sequence; costs nothing."""
        return self.reshaped(self.channels, self.positions)

    def flat(self) -> Feature:
        """All elements as one vector; costs nothing."""
        return self.reshaped(self.elements)


class Net:
    """Collects the ops of a network.

    Every method takes the Feature it works on and returns the Feature it makes, so shapes are inferred and
    edges follow from use.  ``scope`` gives names a prefix and repeats what is built inside it.
    """

    def __init__(self, name: str, batch: Value, fusion: str = "activation") -> None:
        self.name, self.batch, self.fusion = name, batch, fusion
        self.ops: list[Op] = []
        self._taken: set[str] = set()
        self._prefix = ""
        self._times: Value = 1.0
        self._shared: Value = 1.0

    def graph(self) -> Graph:
        """The finished graph."""
        return Graph(self.name, tuple(self.ops))

    @contextmanager
    def scope(self, name: str, repeat: Value = 1.0, *, shared: bool = False) -> Iterator[None]:
        """Prefix the names of the ops inside by `name`, and run them `repeat` times.

        shared  the repetitions use the same weights (time steps, denoising steps); else each stores its own

        A repeated part must give back the shape it took; `repeat` may be an array (a depth, or a mask of 0
        and 1 that says where the part is present).
        """
        before = self._prefix, self._times, self._shared
        self._prefix = f"{self._prefix}{name}."
        self._times = self._times * repeat
        self._shared = self._shared * repeat if shared else self._shared
        try:
            yield
        finally:
            self._prefix, self._times, self._shared = before

    @contextmanager
    def samples(self, number: Value) -> Iterator[None]:
        """Inside, every item of the batch counts `number` times (regions of an image, points of a ray)."""
        batch = self.batch
        self.batch = batch * number
        try:
            yield
        finally:
            self.batch = batch

    def push(self, op: Op, sources: tuple[Feature, ...], shape: Feature, name: str) -> Feature:
        """Append an op that reads `sources` and makes `shape`."""
        full = self._prefix + name
        label, number = full, 1
        while label in self._taken:
            number += 1
            label = f"{full}_{number}"
        self._taken.add(label)
        _refuse_empty(self.name, label, shape)
        before = tuple(dict.fromkeys(p for source in sources for p in source.producers))
        if not one(self._shared):
            op = replace(op, tensors=tuple(
                replace(t, stored=t.storage(op.loops) / self._shared) if t.kind in ("weight", "state") else t
                for t in op.tensors))
        self.ops.append(replace(op, name=label, after=before).repeated(self._times))
        return replace(shape, producers=(label,))

    def conv(
        self,
        x: Feature,
        out: Value,
        kernel: Pair = 1,
        stride: Pair = 1,
        *,
        padding: str | Pair = "same",
        groups: Value = 1,
        dilation: Pair = 1,
        bias: bool | None = None,
        norm: bool = True,
        act: str = "relu",
        name: str = "conv",
    ) -> Feature:
        """Convolution, batch norm and activation.  bias: None means where there is no norm."""
        bias = (not norm) if bias is None else bias
        op = conv2d(self.batch, x.channels, out, x.height, x.width, kernel, stride, padding, groups,
                    dilation=dilation, bias=bias)
        return self._finish(op, x, Feature(out, op.loops["p"], op.loops["q"]), norm, act, name)

    def depthwise(
        self, x: Feature, kernel: Pair, stride: Pair = 1, *, act: str = "relu", name: str = "depthwise",
        padding: str | Pair = "same", norm: bool = True, bias: bool | None = None,
    ) -> Feature:
        """Convolution of every channel on its own."""
        return self.conv(x, x.channels, kernel, stride, groups=x.channels, act=act, name=name,
                         padding=padding, norm=norm, bias=bias)

    def upconv(
        self, x: Feature, out: Value, kernel: int = 2, *, bias: bool = True, norm: bool = False,
        act: str = "none", name: str = "upconv",
    ) -> Feature:
        """Transposed convolution with stride = kernel: a product per position and kernel element."""
        op = matmul(self.batch * x.positions, out * kernel * kernel, x.channels)
        if bias:
            op = replace(op, loops={**op.loops, "o": out},
                         tensors=(*op.tensors, Tensor("bias", ("o",), kind="weight")))
        return self._finish(op, x, Feature(out, x.height * kernel, x.width * kernel), norm, act, name)

    def linear(
        self, x: Feature, out: Value, *, bias: bool = True, act: str = "none", norm: bool = False,
        shared: bool = False, name: str = "linear",
    ) -> Feature:
        """Matrix product with stored weights on every position."""
        op = matmul(self.batch * x.positions, out, x.channels, bias=bias, shared=shared)
        return self._finish(op, x, replace(x, channels=out), norm, act, name)

    def product(
        self, x: Feature, other: Feature, out: Value, inner: Value, *, batch: Value = 1, name: str = "product"
    ) -> Feature:
        """Product of two activations: per sample `batch` times (rows x inner) by (inner x out)."""
        rows = x.elements / (batch * inner)
        op = matmul(rows, out, inner, batch=self.batch * batch, weight=False)
        return self.push(op, (x, other), Feature(out, rows, batch), name)

    def _finish(self, op: Op, x: Feature, shape: Feature, norm: bool, act: str, name: str) -> Feature:
        """Batch norm and activation behind an op, in its kernel or as kernels of their own."""
        elements = self.batch * shape.elements
        if self.fusion == "none":
            y = self.push(op, (x,), shape, name)
            y = self.batch_norm(y, name=f"{name}_norm") if norm else y
            return self.act(y, act, name=f"{name}_{act}")
        if norm:
            # folded into the weights at inference: one bias per channel is read, two parameters are stored
            bias = Tensor("norm", ("out",), kind="weight", stored=2.0 * shape.channels)
            op = replace(op, loops={**op.loops, "out": shape.channels}, tensors=(*op.tensors, bias))
        return self.push(with_activation(op, act, elements), (x,), shape, name)

    def stored_sets(self, sets: Value) -> None:
        """Store `sets` copies of the weights of the last op, of which a pass reads one."""
        op = self.ops[-1]
        self.ops[-1] = replace(op, tensors=tuple(
            replace(t, stored=t.storage(op.loops) * sets) if t.kind == "weight" else t for t in op.tensors))

    def batch_norm(self, x: Feature, act: str = "none", *, name: str = "norm") -> Feature:
        """Batch norm that no convolution precedes: scale and shift, weight and bias per channel."""
        op = elementwise(self.batch * x.elements, operations=2, parameters=2.0 * x.channels)
        if self.fusion == "none":
            return self.act(self.push(op, (x,), x, name), act, name=f"{name}_{act}")
        return self.push(with_activation(op, act, self.batch * x.elements), (x,), x, name)

    def layer_norm(
        self, x: Feature, *, affine: bool = True, bias: bool = True, rms: bool = False, name: str = "norm"
    ) -> Feature:
        """Normalisation over the channels of every position."""
        kind = "rms" if rms else "layer"
        op = norm(self.batch * x.positions, x.channels, kind=kind, affine=affine, bias=bias and affine)
        return self.push(op, (x,), x, name)

    def group_norm(self, x: Feature, act: str = "none", *, name: str = "norm") -> Feature:
        """Group norm, with the activation in the same kernel unless nothing is fused."""
        op = elementwise(self.batch * x.elements, operations=8, parameters=2.0 * x.channels)
        if self.fusion == "none":
            return self.act(self.push(op, (x,), x, name), act, name=f"{name}_{act}")
        return self.push(with_activation(op, act, self.batch * x.elements), (x,), x, name)

    def act(self, x: Feature, act: str, *, parameters: Value = 0, name: str = "activation") -> Feature:
        """Activation as a kernel of its own; ``none`` costs nothing."""
        if act == "none":
            return x
        vector, special = ACTIVATIONS[act]
        op = elementwise(self.batch * x.elements, operations=vector, special=special, parameters=parameters)
        return self.push(op, (x,), x, name)

    def combine(
        self, *parts: Feature, act: str = "none", parameters: Value = 0, operations: Value | None = None,
        name: str = "add",
    ) -> Feature:
        """Elementwise sum or product of equal shapes (residual addition, gate), then the activation."""
        first = parts[0]
        elements = self.batch * first.elements
        work = len(parts) - 1 if operations is None else operations
        if self.fusion == "residual" and len(parts) == 2 and self._ends_in(first):
            self._absorb(elements, act)
            return first
        op = elementwise(elements, inputs=len(parts), operations=work, parameters=parameters)
        return self.push(with_activation(op, act, elements), parts, first, name)

    def _ends_in(self, x: Feature) -> bool:
        """True if the last op is the matrix product that made `x`."""
        if not self.ops or x.producers != (self.ops[-1].name,):
            return False
        return any(work.unit == "matrix" for work in self.ops[-1].work)

    def _absorb(self, elements: Value, act: str) -> None:
        last = self.ops[-1]
        extra = Tensor("residual", ("elements",))
        op = replace(last, loops={**last.loops, "elements": elements}, tensors=(*last.tensors, extra),
                     work=(*last.work, Work("vector", 1.0 * elements)))
        self.ops[-1] = with_activation(op, act, elements)

    def scale(
        self, x: Feature, by: Feature | None = None, *, parameters: Value = 0, operations: Value = 1,
        name: str = "scale",
    ) -> Feature:
        """Multiply every channel by a number, from `by` (channel attention) or stored (layer scale)."""
        op = elementwise(self.batch * x.elements, operations=operations, parameters=parameters)
        if by is not None:
            loops = {**op.loops, "s": self.batch * by.elements}
            op = replace(op, loops=loops, tensors=(Tensor("s", ("s",)), *op.tensors))
        return self.push(op, (x,) if by is None else (x, by), x, name)

    def pool(
        self, x: Feature, kernel: Pair, stride: Pair = 1, *, padding: str | Pair = "same",
        ceil_mode: bool = False, name: str = "pool",
    ) -> Feature:
        """Maximum or mean over sliding windows."""
        op = pool2d(self.batch, x.channels, x.height, x.width, kernel, stride, padding, ceil_mode=ceil_mode)
        return self.push(op, (x,), Feature(x.channels, op.loops["p"], op.loops["q"]), name)

    def global_pool(self, x: Feature, *, name: str = "global_pool") -> Feature:
        """Mean over all positions."""
        op = pool2d(self.batch, x.channels, x.height, x.width, (x.height, x.width), 1, "valid")
        return self.push(op, (x,), Feature(x.channels), name)

    def concat(self, *parts: Feature, name: str = "concat") -> Feature:
        """Join along the channels: a copy where nothing is fused, else the producers write in place."""
        channels = total([part.channels for part in parts])
        joined = Feature(channels, parts[0].height, parts[0].width,
                         tuple(dict.fromkeys(p for part in parts for p in part.producers)))
        return self.copy(joined, name=name) if self.fusion == "none" else joined

    def copy(self, x: Feature, shape: Feature | None = None, operations: Value = 0, *, name: str) -> Feature:
        """Read and write once: shuffle, roll, depth to space, upsampling."""
        shape = x if shape is None else shape
        op = resample(self.batch * x.elements, self.batch * shape.elements, operations)
        return self.push(op, (x,), shape, name)

    def upsample(
        self, x: Feature, factor: Value = 2, *, bilinear: bool = False, name: str = "upsample"
    ) -> Feature:
        """Nearest or bilinear enlargement."""
        shape = replace(x, height=x.height * factor, width=x.width * factor)
        return self.copy(x, shape, 7 if bilinear else 0, name=name)

    def depth_to_space(self, x: Feature, factor: Value, *, name: str = "depth_to_space") -> Feature:
        """Pixel shuffle: factor^2 channels become factor x factor positions."""
        shape = Feature(x.channels / factor**2, x.height * factor, x.width * factor)
        return self.copy(x, shape, name=name)

    def lookup(self, rows: Value, vocabulary: Value, width: Value, *, name: str = "embedding") -> Feature:
        """Rows of a stored table, `rows` per sample."""
        return self.push(embedding(self.batch * rows, vocabulary, width), (), Feature(width, rows), name)

    def table(self, x: Feature, elements: Value, *, name: str) -> Feature:
        """Add a stored table (positions, class tokens) that is broadcast over the batch."""
        op = elementwise(self.batch * x.elements, operations=1, parameters=elements)
        return self.push(op, (x,), x, name)

    def attend(
        self, query: Feature, key: Feature | None = None, *, heads: Value, head_dim: Value,
        value_dim: Value | None = None, groups: Value = 1, operands: tuple[Feature, ...] = (),
        table: Value = 0, name: str = "attention",
    ) -> Feature:
        """Bidirectional attention between projected tensors; the softmax stays on the chip.

        key      sequence that is attended to (None: the query's own)
        groups   windows or areas that attend within themselves: batch x groups sequences of 1/groups length
        table    stored position biases that are added to the scores [elements]
        """
        key = query if key is None else key
        value_dim = head_dim if value_dim is None else value_dim
        op = attention(self.batch * groups, query.positions / groups, key.positions / groups, heads, heads,
                       head_dim, causal=False, value_dim=value_dim, cached=False)
        if not (isinstance(table, (int, float)) and table == 0):
            op = replace(op, loops={**op.loops, "bias": table},
                         tensors=(*op.tensors, Tensor("bias", ("bias",), kind="weight")))
        shape = Feature(heads * value_dim, query.height, query.width)
        return self.push(op, (query, key, *operands), shape, name)


def _refuse_empty(net: str, label: str, shape: Feature) -> None:
    """Raise GraphError if a layer has no output position or channel left, at any point of a sweep."""
    for word, size in (("channels", shape.channels), ("rows", shape.height), ("columns", shape.width)):
        if not is_symbolic(size) and np.min(size) < 1:
            raise GraphError(f"{net}: layer {label!r} has no {word} left; its input is too small")


def share_of(heads: Value, width: Value) -> Value:
    """Width of one head.  Raises ArgumentError unless the heads divide the model width everywhere."""
    head = width / heads
    if not is_symbolic(head) and np.any(np.asarray(head) != np.floor(head)):
        raise ArgumentError("heads", heads, f"a divisor of the width {width}")
    return head


def one(value: Value) -> bool:
    """True for the plain number 1."""
    return isinstance(value, (int, float)) and value == 1


def with_activation(op: Op, act: str, elements: Value) -> Op:
    """The op with an activation of `elements` outputs in its epilogue."""
    if act not in ACTIVATIONS:
        raise GraphError(f"activation {act!r} is unknown; known: {', '.join(ACTIVATIONS)}")
    vector, special = ACTIVATIONS[act]
    work = op.work + ((Work("vector", 1.0 * vector * elements),) if vector else ())
    work += (Work("special", 1.0 * special * elements),) if special else ()
    return op if act == "none" else replace(op, work=work, attributes={**op.attributes, "activation": act})
