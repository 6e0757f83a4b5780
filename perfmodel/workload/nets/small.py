"""Small and streaming workloads: MLP, SVM, spiking network, STREAM, random walk,
tensor network, Gibbs sampler."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.ops.elementwise import elementwise
from perfmodel.ops.matmul import matmul
from perfmodel.ops.stream import STREAM, random_numbers, spiking_layer, stream
from perfmodel.spec import flag, numbers, quantity, text
from perfmodel.workload.graph import Graph
from perfmodel.workload.nets.builder import ACTIVATIONS, Feature, Net
from perfmodel.workload.step import Step


@dataclass(frozen=True, kw_only=True)
class Mlp:
    """Multilayer perceptron: linear layers with an activation between them."""

    widths: tuple[Value, ...] = numbers("count", doc="inputs, hidden layers, outputs")
    bias: bool = flag(default=True, doc="bias vectors")
    act: str = text(default="relu", choices=tuple(ACTIVATIONS), doc="activation of the hidden layers")

    def graph(self, step: Step, name: str = "mlp") -> Graph:
        """Ops of a batch of vectors."""
        net = Net(name, step.batch)
        x = Feature(self.widths[0])
        for index, width in enumerate(self.widths[1:]):
            last = index == len(self.widths) - 2
            x = net.linear(x, width, bias=self.bias, act="none" if last else self.act,
                           name=f"layer{index + 1}")
        return net.graph()


@dataclass(frozen=True, kw_only=True)
class Svm:
    """Support vector classifier: kernel values with all support vectors, weighted sum [1].

    [1] Cortes, Vapnik, doi:10.1007/BF00994018.
    """

    features: Value = quantity("count", doc="features of a sample")
    vectors: Value = quantity("count", doc="support vectors; 1 for a linear machine")
    kernel: str = text(default="linear", choices=("linear", "rbf"), doc="kernel")
    classes: Value = quantity("count", default=1.0, doc="decision functions")

    def graph(self, step: Step, name: str = "svm") -> Graph:
        """Ops of a batch of samples."""
        net = Net(name, step.batch)
        y = net.linear(Feature(self.features), self.vectors, bias=self.kernel == "linear", name="products")
        if self.kernel == "rbf":
            # |x - v|^2 = x.x - 2 x.v + v.v with stored v.v
            distance = elementwise(step.batch * self.vectors, operations=3, special=1,
                                   parameters=self.vectors)
            y = net.push(distance, (y,), y, "kernel")
            net.linear(y, self.classes, name="decision")
        return net.graph()


@dataclass(frozen=True, kw_only=True)
class Spiking:
    """Fully connected spiking network driven by time steps or by events.

    rate   fraction of the neurons that spike in a step
    state  variables per neuron: 1 leaky integrate-and-fire, 3 with an astrocyte trace
    """

    widths: tuple[Value, ...] = numbers("count", doc="inputs, hidden layers, outputs")
    rate: Value = quantity("1", default=0.05, high=1.0, doc="spikes per neuron and step")
    steps: Value = quantity("count", default=10.0, doc="time steps per sample")
    state: Value = quantity("count", default=1.0, doc="state variables per neuron")
    dense: bool = flag(default=False, doc="visit every synapse, spike or not")

    def graph(self, step: Step, name: str = "spiking") -> Graph:
        """Ops of a batch of samples."""
        net = Net(name, step.batch)
        x = Feature(self.widths[0])
        for index, width in enumerate(self.widths[1:]):
            op = spiking_layer(step.batch, x.channels, width, self.rate, self.steps, self.state,
                               dense=self.dense)
            x = net.push(op, (x,), Feature(width), f"layer{index + 1}")
        return net.graph()


@dataclass(frozen=True, kw_only=True)
class Stream:
    """STREAM benchmark; the batch counts repetitions."""

    elements: Value = quantity("count", doc="elements of an array")
    kernels: str = text(default="all", choices=("all", *STREAM), doc="one kernel, or all four")

    def graph(self, step: Step, name: str = "stream") -> Graph:
        """One op per kernel."""
        net = Net(name, 1)
        x = Feature(self.elements)
        with net.scope("run", step.batch, shared=True):
            for kernel in STREAM if self.kernels == "all" else (self.kernels,):
                x = net.push(stream(self.elements, kernel), (x,), x, kernel)
        return net.graph()


@dataclass(frozen=True, kw_only=True)
class RandomWalk:
    """Brownian dynamics: random kicks on particles; the batch counts time steps [1].

    state  bytes of generator state that each particle loads and stores per step: 64 with a stored state,
           0 with a counter-based generator
    [1] Khan et al., OpenRAND, arXiv:2310.19925.
    """

    particles: Value = quantity("count", doc="particles")
    dimensions: Value = quantity("count", default=2.0, doc="components that are kicked")
    components: Value = quantity("count", default=6.0, doc="32-bit numbers of a particle, read and written")
    state: Value = quantity("1", positive=False, low=0, default=0.0, doc="generator state [B]")

    def graph(self, step: Step, name: str = "walk") -> Graph:
        """Random numbers and the update of all particles in one kernel per step."""
        net = Net(name, 1)
        x = Feature(self.components, self.particles)
        with net.scope("step", step.batch, shared=True):
            draw = random_numbers(self.particles * self.dimensions, state=self.state / 4.0 / self.dimensions)
            kicks = net.push(draw, (), Feature(self.dimensions, self.particles), "random")
            move = elementwise(self.particles * self.components, operations=4)
            net.push(move, (x, kicks), x, "move")
        return net.graph()


@dataclass(frozen=True, kw_only=True)
class TensorNetwork:
    """Emulation of a quantum circuit as a matrix product state with bond dimension chi.

    A two-qubit gate contracts a (2 chi x 2 chi) matrix in complex numbers, 8 FLOP per multiply-accumulate,
    and splits it by a singular value decomposition of about 22 (2 chi)^3 real operations times four [1].
    [1] Golub, Van Loan, Matrix Computations, 4th ed., section 8.6 (R-SVD); the constant is recalled.
    """

    qubits: Value = quantity("count", doc="qubits")
    layers: Value = quantity("count", doc="layers of gates on neighbours")
    bond: Value = quantity("count", doc="bond dimension chi")

    def graph(self, step: Step, name: str = "circuit") -> Graph:
        """Ops of a batch of circuits."""
        net = Net(name, step.batch)
        side = 2.0 * self.bond
        x = Feature(side, side)
        with net.scope("gate", self.qubits / 2 * self.layers, shared=True):
            product = matmul(side, side, self.bond, batch=4.0 * step.batch, weight=False)
            y = net.push(product, (x,), x, "contract")
            work = elementwise(step.batch * side * side, operations=88.0 * side)
            net.push(work, (y,), x, "decompose")
        return net.graph()


@dataclass(frozen=True, kw_only=True)
class GibbsSampler:
    """Chain of denoising layers, each sampled by sweeps over binary cells with neighbours [1].

    One update of a cell: weighted sum of its neighbours, sigmoid, comparison with a random number.
    [1] Jelincic et al., An efficient probabilistic hardware architecture for diffusion-like models,
        arXiv:2510.23972.
    """

    layers: Value = quantity("count", doc="denoising layers")
    sweeps: Value = quantity("count", doc="sweeps per layer")
    cells: Value = quantity("count", doc="cells of a layer")
    neighbours: Value = quantity("count", default=12.0, doc="neighbours of a cell")

    def graph(self, step: Step, name: str = "gibbs") -> Graph:
        """Ops of a batch of samples."""
        net = Net(name, step.batch)
        x = Feature(1.0, self.cells)
        with net.scope("layer", self.layers), net.scope("sweep", self.sweeps, shared=True):
            draw = net.push(random_numbers(step.batch * self.cells), (), x, "random")
            update = elementwise(step.batch * self.cells, inputs=2, operations=2 * self.neighbours + 3,
                                 special=1,
                                 parameters=self.cells * self.neighbours)
            net.push(update, (x, draw), x, "update")
        return net.graph()
