"""How latent attention takes a query into the latent space: three ways to multiply the same matrices.

The low-rank query x (q_rank) becomes a latent query of kv_rank per head through W_q (q_rank x nope) and
W_k (nope x kv_rank).  The product W = W_q W_k of each head can be

reuse       formed once, kept in memory and read in every pass: more bytes, no extra operations
recompute   formed on the chip in every pass: fewer bytes, operations that do not depend on the batch
two_step    never formed: x W_q first, then times W_k, what serving engines do

References
[1] Geens, Verhelst, Hardware-centric analysis of DeepSeek's multi-head latent attention, arXiv:2506.02523
    (reuse and recompute).
[2] DeepSeek-AI, DeepSeek-V2, arXiv:2405.04434 (absorption).
"""

from __future__ import annotations

from perfmodel.algebra import Value
from perfmodel.errors import UnknownNameError
from perfmodel.ops.core import Op, Tensor, Work
from perfmodel.ops.matmul import matmul

SCHEMES = ("reuse", "recompute", "two_step")


def latent_query(
    scheme: str, tokens: Value, heads: Value, q_rank: Value, kv_rank: Value, nope_dim: Value
) -> tuple[Op, ...]:
    """Ops that take `tokens` low-rank queries into the latent space of each head.

    FLOP: reuse ``2 T H q c``; recompute the same plus ``2 H q n c``; two_step ``2 T H n (q + c)``.
    Weights read [elements]: reuse ``H q c``; the others ``H n (q + c)``.
    """
    if scheme == "reuse":
        return (matmul(tokens, heads * kv_rank, q_rank, name="latent_query"),)
    if scheme == "two_step":
        return (
            matmul(tokens, heads * nope_dim, q_rank, name="query_up"),
            matmul(tokens, kv_rank, nope_dim, heads, name="absorb_query"),
        )
    if scheme != "recompute":
        raise UnknownNameError("scheme", scheme, SCHEMES)
    loops = {"h": heads, "m": tokens, "q": q_rank, "n": nope_dim, "c": kv_rank}
    tensors = (
        Tensor("x", ("m", "q")),
        Tensor("W_q", ("h", "q", "n"), kind="weight"),
        Tensor("W_k", ("h", "n", "c"), kind="weight"),
        Tensor("y", ("h", "m", "c"), output=True),
    )
    form = 2.0 * heads * q_rank * nope_dim * kv_rank
    apply = 2.0 * tokens * heads * q_rank * kv_rank
    return (Op("mla_recompute", loops, tensors, (Work("matrix", form + apply),), "latent_query"),)


def crossover_intensity(nope_dim: Value, bytes_per_element: Value) -> Value:
    """Ridge point of a device above which recomputing beats reusing, for few tokens: ``2 n / b`` [FLOP/B].

    Reuse waits for ``b H q c`` bytes.  Recompute spends ``2 H q n c`` operations while ``b H n (q + c)``
    bytes arrive, fewer as long as ``n (q + c) < q c``.  With compute and memory overlapped, peak F and
    bandwidth W, recompute is faster where ``2 H q n c / F < b H q c / W``, so where ``F / W > 2 n / b``:
    heads, ranks and batch cancel.
    """
    return 2.0 * nope_dim / bytes_per_element


def crossover_context(
    query: Value, kv_rank: Value, rope_dim: Value, nope_dim: Value, v_dim: Value
) -> Value:
    """Context above which absorbed attention needs fewer operations than expanding the cache [1, 2].

    Absorbed ``h q (A + c (2 r + d_r))``, expanded ``h (c A + q c (d_n + d_r + d_v))`` multiply-accumulates,
    ``A = r (d_n + d_v)``, for `query` new tokens a step.  Equal at ``c* = q A / (A - q (2 r - d_n - d_v))``;
    infinite or negative from ``q >= A / (2 r - d_n - d_v)`` on (prefill): expanding is never dearer.
    """
    absorbed = kv_rank * (nope_dim + v_dim)
    return query * absorbed / (absorbed - query * (2.0 * kv_rank - nope_dim - v_dim)) + 0.0 * rope_dim
