"""One grouped product of a mixture of experts, as an op of its own.

The model of the whole expert layer (``moe``) adds routing and movement; here only the product counts.
"""

from __future__ import annotations

import numpy as np

from perfmodel.algebra import Value
from perfmodel.engine.kernels.expert_programs import ExpertProgram, block_rows
from perfmodel.engine.kernels.facts import GpuFacts, KernelTime, column, facts_column, fastest
from perfmodel.engine.kernels.gemm import Storage
from perfmodel.engine.kernels.moe import ROWS, MoeCorrections, _product, as_computed

#: kernels of an expert layer that share its fixed time: two products and the movement around them
KERNELS_PER_LAYER = 3.0


def grouped_time(
    rows: Value, n: Value, k: Value, experts: Value, storage: Storage, gpu: GpuFacts,
    c: MoeCorrections | None = None, program: ExpertProgram | None = None,
) -> KernelTime:
    """Time of ``C[e,m,n] = A[e,m,k] B[e,n,k]`` [s].

    rows     mean rows m of each touched expert; experts: touched experts e, may be an expectation
    program  what is known of the kernel
    """
    c, program = c or MoeCorrections(), program or ExpertProgram()
    storage, gpu = as_computed(program, storage, gpu)
    rows, n, k, experts = (column(value) for value in (rows, n, k, experts))
    blocks = experts * np.ceil(rows / ROWS)
    hw = facts_column(gpu)
    cold = 1.0  # in a network the weights of all other layers pass before it runs again
    compute, memory, work, waves = _product(n, k, blocks, experts, experts * rows, cold, storage, hw, c,
                                           program)
    launch = 10e-6 * c.launch / KERNELS_PER_LAYER
    kernel = launch + work
    taken = np.where(block_rows(program, ROWS, rows), kernel, np.inf)
    return KernelTime(**fastest(taken, seconds=kernel, compute=compute, memory=memory, waves=waves,
                                launch=launch + 0.0 * kernel, rows=ROWS, columns=program.columns))
