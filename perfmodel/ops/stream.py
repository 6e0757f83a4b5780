"""Operators that stream data once: STREAM kernels, counter-based random numbers, spiking neurons."""

from __future__ import annotations

from perfmodel.algebra import Value, minimum
from perfmodel.errors import UnknownNameError
from perfmodel.ops.core import Op, Tensor, Work
from perfmodel.ops.elementwise import elementwise
from perfmodel.ops.registry import operator

#: kernel -> arrays read, arrays written, operations per element
STREAM = {"copy": (1, 1, 0), "scale": (1, 1, 1), "add": (2, 1, 1), "triad": (2, 1, 2)}


@operator
def stream(elements: Value, kernel: str = "triad", *, name: str = "") -> Op:
    """One STREAM kernel on arrays of `elements`: copy, scale, add or triad ``a = b + s c`` [1].

    Bytes count each array once, without the write-allocate read that a CPU cache may add.
    [1] McCalpin, Memory Bandwidth and Machine Balance, https://www.cs.virginia.edu/stream/.
    """
    if kernel not in STREAM:
        raise UnknownNameError("STREAM kernel", kernel, STREAM)
    read, written, operations = STREAM[kernel]
    return elementwise(elements, read, written, operations, name=name or kernel)


@operator
def random_numbers(numbers: Value, rounds: Value = 10, state: Value = 0, *, name: str = "") -> Op:
    """32-bit random numbers of a counter-based generator (Philox 4x32) [1], or of one with stored state.

    numbers  numbers drawn
    rounds   rounds of the generator; one makes four numbers with 10 integer operations (two wide products
             count two each, four exclusive-or, two key additions)
    state    32-bit words of state loaded and stored per number, 0 for a counter-based generator

    [1] Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, doi:10.1145/2063384.2063405.
    """
    loops = {"i": numbers, "s": state}
    tensors: tuple[Tensor, ...] = (Tensor("y", ("i",), output=True),)
    if not (isinstance(state, (int, float)) and state == 0):
        tensors += (Tensor("state", ("i", "s"), kind="index"),
                    Tensor("state_out", ("i", "s"), kind="index", output=True))
    return Op("random_numbers", loops, tensors, (Work("vector", numbers * rounds * 10.0 / 4.0),), name)


@operator
def spiking_layer(
    batch: Value, inputs: Value, outputs: Value, rate: Value, steps: Value = 1, state: Value = 1,
    *, dense: bool = False, name: str = "",
) -> Op:
    """Fully connected spiking layer: synaptic events and a neuron update per time step.

    batch, inputs, outputs  samples, neurons before and in the layer
    rate                    fraction of the inputs that spike in a step
    steps                   time steps
    state                   state variables per neuron (1: leaky integrate-and-fire; 3: astrocyte trace)
    dense                   every synapse is visited although it does not spike

    Events = batch x steps x inputs x outputs x rate, one addition each (vector); a neuron update takes 3
    operations per state variable (leak, add, compare).  State is read and written each step; of the
    weights only rows with at least one spike are read, at most all.
    """
    active = 1.0 if dense else rate
    loops = {"b": batch, "t": steps, "i": inputs, "o": outputs, "s": state}
    tensors = (
        Tensor("spikes", ("b", "t", "i"), kind="index", touched=1.0 / 32.0),
        Tensor("weights", ("i", "o"), kind="weight", stored=1.0 * inputs * outputs,
               touched=minimum(1.0, active * batch * steps)),
        Tensor("state", ("b", "t", "o", "s"), kind="state", stored=1.0 * batch * outputs * state),
        Tensor("state_out", ("b", "t", "o", "s"), kind="state", output=True, stored=0.0),
        Tensor("fired", ("b", "t", "o"), kind="index", output=True, touched=1.0 / 32.0),
    )
    events = batch * steps * inputs * outputs * active
    updates = 3.0 * batch * steps * outputs * state
    return Op("spiking_layer", loops, tensors, (Work("vector", events + updates),), name)
