"""Machines that are no processors: spiking cores, stochastic samplers, quantum devices and their emulation.

References
[1] Furber et al., The SpiNNaker Project, Proc. IEEE 2014, doi:10.1109/JPROC.2014.2304638 (time steps).
[2] Jelincic et al., An efficient probabilistic hardware architecture for diffusion-like models,
    arXiv:2510.23972 (denoising layers of Gibbs sweeps).
[3] Jaschke, Montangero, Is quantum computing green?, arXiv:2205.12092 (energy at equal fidelity).
[4] Schollwoeck, The density-matrix renormalization group in the age of matrix product states,
    doi:10.1016/j.aop.2010.09.012 (truncated weight of the singular values).
"""

from __future__ import annotations

from perfmodel.algebra import Value


def spiking_energy(spikes: Value, synapse: Value, neurons: Value, steps: Value, update: Value) -> Value:
    """Energy of a spiking network [J]: ``spikes E_syn + neurons steps E_upd``.

    spikes   synaptic events; synapse: energy of one [J]
    update   energy of one neuron in one time step [J]
    """
    return spikes * synapse + neurons * steps * update


def spiking_time(steps: Value, period: Value) -> Value:
    """Time of a network that advances by the clock of its simulation [s] [1]: ``steps x period``."""
    return steps * period


def cell_energy(random: Value, bias: Value, clock: Value, communication: Value) -> Value:
    """Energy of one update of a sampling cell [J] [2]: random bits, bias, clock, bits of neighbours."""
    return random + bias + clock + communication


def sampler_energy(layers: Value, sweeps: Value, cells: Value, cell: Value) -> Value:
    """Energy of a sample [J] [2]: ``T K N E_cell`` for T denoising layers of K sweeps over N cells."""
    return layers * sweeps * cells * cell


def truncated_weight(bond: Value, exponent: Value) -> Value:
    """Share of the weight that a bond dimension cuts off if singular values fall as ``i^-a`` [3, 4].

    ``sum_{i > x} i^-2a / sum_i i^-2a``, both sums as integrals from half an index below:
    ``(2x + 1)^(1 - 2a)`` for a > 1/2.
    """
    return (2.0 * bond + 1.0) ** (1.0 - 2.0 * exponent)


def bond_dimension(weight: Value, exponent: Value) -> Value:
    """Bond dimension that cuts off no more than this weight: the inverse of `truncated_weight`."""
    return (weight ** (1.0 / (1.0 - 2.0 * exponent)) - 1.0) / 2.0


def quantum_energy(power: Value, time: Value, shots: Value) -> Value:
    """Energy of a quantum device [J] [3]: power [W] x time of a run [s] x runs."""
    return power * time * shots


def emulation_energy(operations: Value, bond: Value, per_operation: Value) -> Value:
    """Energy of the emulation by a tensor network [J] [3]: ``c x^3`` FLOP at so many J each.

    operations  c, FLOP per cube of the bond dimension: gates x constant of contraction and decomposition
    """
    return operations * bond**3 * per_operation
