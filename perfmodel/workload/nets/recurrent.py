"""Recurrent networks with time-step batching: RNN, LSTM and GRU."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.ops.core import Op, Tensor, Work
from perfmodel.spec import flag, quantity, text
from perfmodel.workload.graph import Graph
from perfmodel.workload.nets.builder import FUSIONS, Feature, Net
from perfmodel.workload.nets.image import some
from perfmodel.workload.step import Step

#: cell -> gates, vector and special operations per hidden element and step
CELLS = {"rnn": (1, 2, 1), "gru": (3, 9, 3), "lstm": (4, 9, 5)}


@dataclass(frozen=True, kw_only=True)
class Recurrent:
    """Stack of recurrent layers; a batch of sequences advances one time step together [1].

    The input products of all steps run as one matrix product; the recurrent product of a step waits for the
    step before, with `batch` rows.  The weights are stored once and asked for at every step.
    [1] Silfa et al., E-BATCH, arXiv:2009.10656.
    """

    cell: str = text(default="lstm", choices=tuple(CELLS), doc="cell")
    inputs: Value = quantity("count", doc="width of the input")
    hidden: Value = quantity("count", doc="width of the state")
    layers: Value = quantity("count", default=1.0, doc="layers")
    length: Value = quantity("count", default=1.0, doc="time steps of a pass")
    bidirectional: bool = flag(default=False, doc="a second set of layers runs backwards")
    projection: Value | None = quantity("count", default=None, doc="width of a projected state (LSTMP)")
    biases: Value = quantity("1", positive=False, low=0, default=2.0,
                             doc="bias vectors per gate; PyTorch: 2")
    vocabulary: Value = quantity("1", positive=False, low=0, default=0.0,
                                 doc="rows of an embedding; 0: none")
    outputs: Value = quantity("1", positive=False, low=0, default=0.0, doc="classes per step; 0: none")
    fusion: str = text(default="activation", choices=FUSIONS, doc="what runs as one kernel")

    def graph(self, step: Step, name: str = "recurrent") -> Graph:
        """Ops of `length` time steps."""
        net = Net(name, step.batch, self.fusion)
        x = Feature(self.inputs, self.length)
        if some(self.vocabulary):
            x = net.lookup(self.length, self.vocabulary, self.inputs)
        directions = ("", "backward.") if self.bidirectional else ("",)
        with net.scope("layer0"):
            x = self.layer(net, x, directions)
        if some(self.layers - 1):
            with net.scope("layer", self.layers - 1):
                x = self.layer(net, x, directions)
        if some(self.outputs):
            net.linear(x, self.outputs, name="head")
        return net.graph()

    def layer(self, net: Net, x: Feature, directions: tuple[str, ...]) -> Feature:
        """One layer in one or both directions."""
        gates, vector, special = CELLS[self.cell]
        made = []
        for prefix in directions:
            y = net.linear(x, gates * self.hidden, bias=False, name=f"{prefix}input")
            state = self.hidden if self.projection is None else self.projection
            with net.scope(f"{prefix}step", self.length, shared=True):
                one = Feature(state, 1.0, 1.0, y.producers)
                h = net.linear(one, gates * self.hidden, bias=False, name="recurrent")
                h = net.push(self.update(net.batch, gates, vector, special),
                (h,), Feature(self.hidden), "cell")
                if self.projection is not None:
                    h = net.linear(h, self.projection, bias=False, name="project")
            made.append(Feature(state, self.length, 1.0, h.producers))
        return net.concat(*made)

    def update(self, batch: Value, gates: int, vector: int, special: int) -> Op:
        """Gates to state: reads the gate sums and the state, writes the state."""
        loops = {"b": batch, "h": self.hidden, "g": gates, "s": self.biases * gates}
        cells = 2 if self.cell == "lstm" else 1
        tensors = [Tensor("gates", ("b", "g", "h")), Tensor("input", ("b", "g", "h"))]
        for index in range(cells):
            tensors.append(Tensor(f"state{index}", ("b", "h"), kind="state"))
            tensors.append(Tensor(f"state{index}_out", ("b", "h"), kind="state", output=True, stored=0.0))
        if some(self.biases):
            tensors.append(Tensor("bias", ("s", "h"), kind="weight"))
        work = (Work("vector", (vector + gates) * batch * self.hidden),
                Work("special", special * batch * self.hidden))
        return Op("recurrent_cell", loops, tuple(tensors), work)
