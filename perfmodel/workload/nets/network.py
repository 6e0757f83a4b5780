"""Any network as a list of layers in a workload file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np

from perfmodel.algebra import Value
from perfmodel.errors import ArgumentError, GraphError, PerfmodelError, did_you_mean
from perfmodel.spec import FrozenMap, block, many, quantity, table, text
from perfmodel.workload.expression import check, evaluate
from perfmodel.workload.graph import Graph
from perfmodel.workload.nets import network_layers as parts
from perfmodel.workload.nets.blocks import equal
from perfmodel.workload.nets.builder import FUSIONS, Feature, Net
from perfmodel.workload.nets.image import some
from perfmodel.workload.nets.network_layers import size
from perfmodel.workload.step import Step

#: name of the input in `inputs`
INPUT = "input"


@dataclass(frozen=True, kw_only=True)
class Input:
    """Shape of one sample."""

    channels: Value = quantity("count", doc="channels")
    height: Value = quantity("count", default=1.0, doc="rows, or the length of a sequence")
    width: Value = quantity("count", default=1.0, doc="columns")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer: exactly one kind, a name, and what it reads."""

    name: str = text(default="", doc="name that later layers can read from; absent: kind and number")
    inputs: tuple[str, ...] | None = many(text(), default=None, doc="layers it reads; absent: the one before")
    repeat: str = size("1", "equal layers in a row; from the second on the stride is 1")
    conv: parts.Conv | None = block(parts.Conv, default=None, doc="convolution, norm, activation")
    linear: parts.Linear | None = block(parts.Linear, default=None, doc="matrix product on every position")
    pool: parts.Pool | None = block(parts.Pool, default=None, doc="maximum or mean over windows")
    global_pool: parts.GlobalPool | None = block(parts.GlobalPool, default=None, doc="mean of all positions")
    norm: parts.Norm | None = block(parts.Norm, default=None, doc="normalisation on its own")
    act: parts.Activation | None = block(parts.Activation, default=None, doc="activation on its own")
    add: parts.Combine | None = block(parts.Combine, default=None, doc="sum of the inputs")
    multiply: parts.Combine | None = block(parts.Combine, default=None, doc="product of the inputs")
    concat: parts.Concat | None = block(parts.Concat, default=None, doc="inputs side by side")
    resize: parts.Resize | None = block(parts.Resize, default=None, doc="upsampling or pixel shuffle")
    reshape: parts.Reshape | None = block(parts.Reshape, default=None, doc="free change of shape")
    attention: parts.Attention | None = block(parts.Attention, default=None, doc="self attention")
    squeeze_excite: parts.SqueezeExcite | None = block(
        parts.SqueezeExcite, default=None, doc="channel attention")
    residual: parts.Residual | None = block(parts.Residual, default=None, doc="ResNet block")
    mbconv: parts.MBConv | None = block(parts.MBConv, default=None, doc="inverted residual")
    csp: parts.Csp | None = block(parts.Csp, default=None, doc="cross-stage partial block")
    encoder: parts.Encoder | None = block(parts.Encoder, default=None, doc="transformer encoder layer")
    use: str = text(default="", doc="name of a block of the file")
    sizes: FrozenMap[str] = table(text(), default={}, doc="values for the names that the block uses")

    def __post_init__(self) -> None:
        check(self.repeat)
        given = [name for name in KINDS if getattr(self, name) is not None] + (["use"] if self.use else [])
        if len(given) != 1:
            allowed = "exactly one of " + ", ".join((*KINDS, "use"))
            raise ArgumentError("layer", ", ".join(given) or "nothing", allowed)

    @property
    def kind(self) -> str:
        """Which field holds the layer."""
        return self.use or next(name for name in KINDS if getattr(self, name) is not None)


KINDS = tuple(
    item.name for item in fields(Layer) if item.name not in ("name", "inputs", "repeat", "use", "sizes")
)


@dataclass(frozen=True, kw_only=True)
class Network:
    """Any network as a list of layers; of a Step only the batch counts.

    Sizes are expressions over `let`, so one file describes a family of widths and depths.
    """

    input: Input = block(Input, doc="shape of one sample")
    let: FrozenMap[Value] = table(
        quantity("1", positive=False), default={}, doc="variables of the expressions")
    blocks: FrozenMap[tuple[Layer, ...]] = table(
        many(Layer), default={}, doc="lists of layers to `use` under a name")
    layers: tuple[Layer, ...] = many(Layer, doc="layers, in order")
    fusion: str = text(default="activation", choices=FUSIONS, doc="what runs as one kernel")

    def graph(self, step: Step, name: str = "network") -> Graph:
        """Ops of one pass."""
        net = Net(name, step.batch, self.fusion)
        x = Feature(self.input.channels, self.input.height, self.input.width)
        _Builder(net, self.blocks).run(self.layers, x, dict(self.let), "layers")
        return net.graph()

    def check(self, place: Callable[[str], str]) -> None:
        """Build once for nothing.  Raises GraphError with the place of the layer at fault.

        place  turns the path of a value into ``file:line``
        """
        try:
            self.graph(Step())
        except LayerError as error:
            raise GraphError(f"{place(error.path)}: {error}") from error


class LayerError(GraphError):
    """A layer cannot be built; `path` says which."""

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        super().__init__(message)


class _Builder:
    """Builds lists of layers; `open_blocks` guards against a block that uses itself."""

    def __init__(self, net: Net, blocks: Mapping[str, tuple[Layer, ...]]) -> None:
        self.net, self.blocks = net, blocks
        self.open_blocks: tuple[str, ...] = ()

    def run(self, layers: tuple[Layer, ...], x: Feature, names: dict[str, Value], path: str) -> Feature:
        """Append the layers one after the other; returns the last output."""
        known = {INPUT: x}
        later = {layer.name for layer in layers if layer.name}
        for index, layer in enumerate(layers):
            here = f"{path}.{index}"
            label = layer.name or f"{layer.kind}{index + 1}"
            if label in known:
                raise LayerError(f"{here}.name", f"the name {label!r} is given twice")
            reads = self.inputs(layer, label, x, known, later, here)
            try:
                x = self.layer(layer, label, reads, names, here)
            except LayerError:
                raise
            except PerfmodelError as error:
                raise LayerError(here, f"layer {label!r}: {error}") from error
            known[label] = x
        return x

    def inputs(
        self, layer: Layer, label: str, x: Feature, known: Mapping[str, Feature], later: set[str], path: str
    ) -> tuple[Feature, ...]:
        """Features that the layer reads."""
        if layer.inputs is None:
            return (x,)
        found = []
        for position, name in enumerate(layer.inputs):
            if name not in known:
                why = "comes later, so the two would depend on each other in a cycle" if name in later else (
                    "does not exist" + did_you_mean(name, known))
                raise LayerError(f"{path}.inputs.{position}", f"layer {label!r} reads {name!r}, which {why}")
            found.append(known[name])
        if not found:
            raise LayerError(f"{path}.inputs", f"layer {label!r} reads nothing")
        if layer.kind in ("add", "multiply"):
            _refuse_unequal(found, label, path)
        return tuple(found)

    def layer(
        self, layer: Layer, label: str, reads: tuple[Feature, ...], names: dict[str, Value], path: str
    ) -> Feature:
        """The layer, once or `repeat` times."""
        times = evaluate(layer.repeat, _scope(names, reads[0]))
        first = self.once(layer, label, reads, names, path, first=True)
        if not some(times - 1):
            return first
        with self.net.scope(f"{label}.rest", times - 1):
            again = self.once(layer, layer.kind, (first,), names, path, first=False)
        if not all(equal(a, b) for a, b in zip(_shape(first), _shape(again), strict=True)):
            raise LayerError(path, f"layer {label!r} is repeated but does not give back the shape it takes")
        return first.__class__(*_shape(again), again.producers)

    def once(
        self, layer: Layer, label: str, reads: tuple[Feature, ...], names: dict[str, Value], path: str,
        *, first: bool,
    ) -> Feature:
        """One repetition: a part, or the layers of a block."""
        if not layer.use:
            part = getattr(layer, layer.kind)
            part = part if first else part.unstrided()
            scope = _scope(names, reads[0])
            built: Feature = part.build(self.net, reads, lambda text: evaluate(text, scope), label)
            return built
        if layer.use not in self.blocks:
            close = did_you_mean(layer.use, self.blocks)
            raise LayerError(f"{path}.use", f"block {layer.use!r} does not exist{close}")
        if layer.use in self.open_blocks:
            raise LayerError(f"{path}.use", f"block {layer.use!r} uses itself in a cycle")
        outer = _scope(names, reads[0])
        inner = {**names, **{key: evaluate(value, outer) for key, value in layer.sizes.items()}}
        if not first and "stride" in inner:
            inner["stride"] = 1.0
        before, self.open_blocks = self.open_blocks, (*self.open_blocks, layer.use)
        with self.net.scope(label):
            built = self.run(self.blocks[layer.use], reads[0], inner, f"blocks.{layer.use}")
        self.open_blocks = before
        return built


def _scope(names: Mapping[str, Value], x: Feature) -> dict[str, Value]:
    return {"channels": x.channels, "height": x.height, "width": x.width, **names}


def _shape(x: Feature) -> tuple[Value, Value, Value]:
    return x.channels, x.height, x.width


def _refuse_unequal(found: list[Feature], label: str, path: str) -> None:
    for other in found[1:]:
        pairs = zip(_shape(found[0]), _shape(other), strict=True)
        if not all(equal(a, b) for a, b in pairs):
            shapes = f"{_text(found[0])} and {_text(other)}"
            raise LayerError(f"{path}.inputs", f"layer {label!r} combines the shapes {shapes}")


def _text(x: Feature) -> str:
    return " x ".join(f"{value:g}" if np.ndim(value) == 0 else str(value) for value in _shape(x))
