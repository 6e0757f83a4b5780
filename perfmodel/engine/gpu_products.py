"""Products on a GPU: dense, of experts, and the implicit ones of convolutions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perfmodel.engine.gpu_question import Question
from perfmodel.engine.gpu_streams import streamed
from perfmodel.engine.kernels.expert_programs import expert_program
from perfmodel.engine.kernels.facts import MATRIX_SHARE, KernelTime, either
from perfmodel.engine.kernels.gemm import GemmCorrections, gemm_time
from perfmodel.engine.kernels.grouped import grouped_time
from perfmodel.engine.kernels.moe import MoeCorrections
from perfmodel.engine.products import as_product


def dense(q: Question) -> KernelTime:
    """A matrix product; a batch is one with as many times the columns: blocks and weights are the same."""
    sizes = q.op.loops
    c = q.corrections("gemm", GemmCorrections)
    return gemm_time(sizes["m"], sizes["n"] * sizes["b"], sizes["k"], q.storage(), q.gpu, c)


def of_experts(q: Question) -> KernelTime:
    """One product per expert."""
    sizes = q.op.loops
    c = q.corrections("moe", MoeCorrections)
    program = expert_program(q.origin[-1].group, q.gpu) if q.origin else None
    return grouped_time(sizes["m"], sizes["n"], sizes["k"], sizes["e"], q.storage(), q.gpu, c, program)


def implicit(q: Question) -> KernelTime:
    """A convolution, or another nest of two operands, by the tiles of a product; each group is one.

    Groups so narrow that a tile is mostly empty (depthwise) are left to the general lanes.
    Networks of images quantise once, in the kernel before, and write what the next one reads.
    """
    p = as_product(q.op)
    if p is None:
        return streamed(q)
    c = replace(q.corrections("gemm", GemmCorrections), quantise=0.0)
    written = next(q.precision.of(tensor).bytes for tensor in q.op.tensors if tensor.output)
    storage = q.storage()._replace(c=written)
    tiled = gemm_time(p.m, p.n, p.k, storage, q.gpu, c, p.batch, distinct=p.distinct)
    if q.gpu.vector is None or np.all(np.asarray(p.batch) == 1.0):
        return tiled
    direct = streamed(q, p.batch * p.m * p.n * p.k / (MATRIX_SHARE * q.gpu.lanes))
    return either(np.asarray(direct.seconds) < np.asarray(tiled.seconds), direct, tiled)
