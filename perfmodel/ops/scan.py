"""Recurrences: selective scans, linear attention, delta rules, and the short convolutions before them.

The state has a fixed size per sequence: it is read and written once per pass, however long the context is.

References
[1] Gu, Dao, Mamba, arXiv:2312.00752.
[2] Dao, Gu, Transformers are SSMs (Mamba-2), arXiv:2405.21060.
[3] Katharopoulos et al., Transformers are RNNs, arXiv:2006.16236.
[4] Yang et al., Gated Delta Networks, arXiv:2412.06464.
[5] Kimi Team, Kimi Linear, arXiv:2510.26692.
"""

from __future__ import annotations

from perfmodel.algebra import Value
from perfmodel.ops.attention import attended_pairs
from perfmodel.ops.core import Op, Tensor, Work
from perfmodel.ops.registry import operator


def _state(axes: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """The state, read and written, stored once."""
    return (
        Tensor("state", axes, kind="state"),
        Tensor("new_state", axes, kind="state", output=True, shared=True),
    )


@operator
def causal_conv1d(
    batch: Value, query: Value, channels: Value, kernel: Value = 4, *, bias: bool = True, name: str = ""
) -> Op:
    """Depthwise convolution over time, ``y[t,c] = sum_r w[c,r] x[t-r,c]``; `kernel` columns are kept.

    2 kernel vector operations per element.  State: batch x channels x kernel, as the reference code has it.
    """
    loops = {"b": batch, "s": query, "c": channels, "r": kernel}
    tensors = [
        Tensor("x", ("b", "s", "c")),
        Tensor("w", ("c", "r"), kind="weight"),
        *_state(("b", "c", "r")),
        Tensor("y", ("b", "s", "c"), output=True),
    ]
    if bias:
        tensors.append(Tensor("bias", ("c",), kind="weight"))
    work = (Work("vector", 2.0 * batch * query * channels * kernel),)
    return Op("causal_conv1d", loops, tuple(tensors), work, name)


@operator
def scan(batch: Value, query: Value, channels: Value, state: Value = 16, *, name: str = "") -> Op:
    """Selective scan of Mamba-1 [1]: ``h = exp(dt A) h + dt B x,  y = C h + D x`` per channel and state.

    channels  inner width; state: size of the state of a channel
    Weights: A (channels x state) and D (channels).  Per token, channel and state 7 vector operations
    (dt A, decay, dt B x, sum, C h) and one exponential.
    """
    loops = {"b": batch, "s": query, "c": channels, "n": state}
    cells = batch * query * channels * state
    tensors = (
        Tensor("x", ("b", "s", "c")),
        Tensor("dt", ("b", "s", "c")),
        Tensor("B", ("b", "s", "n")),
        Tensor("C", ("b", "s", "n")),
        Tensor("A", ("c", "n"), kind="weight"),
        Tensor("D", ("c",), kind="weight"),
        *_state(("b", "c", "n")),
        Tensor("y", ("b", "s", "c"), output=True),
    )
    work = (Work("vector", 7.0 * cells + 2.0 * batch * query * channels), Work("special", 1.0 * cells))
    return Op("scan", loops, tensors, work, name)


@operator
def ssd(
    batch: Value,
    query: Value,
    heads: Value,
    head_dim: Value = 64,
    state: Value = 128,
    groups: Value = 1,
    chunk: Value = 256,
    *,
    name: str = "",
) -> Op:
    """State-space dual of Mamba-2 [2], computed in chunks as matrix products.

    heads, head_dim, state  heads of head_dim channels, each with head_dim x state cells
    groups                  heads that share B and C form one group
    chunk                   tokens per chunk

    Per token: update and read-out of the state ``4 heads head_dim state`` FLOP; per pair inside a chunk
    ``2 groups state + 2 heads head_dim``.  Weights per head: A, D and the bias of dt.
    """
    loops = {
        "b": batch, "s": query, "g": groups, "h": heads / groups, "p": head_dim, "n": state,
    }
    tokens, inner = batch * query, heads * head_dim
    pairs = batch * attended_pairs(query, query, chunk=chunk)
    tensors = (
        Tensor("x", ("b", "s", "g", "h", "p")),
        Tensor("dt", ("b", "s", "g", "h")),
        Tensor("B", ("b", "s", "g", "n")),
        Tensor("C", ("b", "s", "g", "n")),
        Tensor("A", ("g", "h"), kind="weight"),
        Tensor("D", ("g", "h"), kind="weight"),
        Tensor("dt_bias", ("g", "h"), kind="weight"),
        *_state(("b", "g", "h", "p", "n")),
        Tensor("y", ("b", "s", "g", "h", "p"), output=True),
    )
    work = (
        Work("matrix", 4.0 * tokens * inner * state + 2.0 * pairs * (groups * state + inner)),
        Work("vector", tokens * (2.0 * inner + 3.0 * heads) + 2.0 * pairs * heads),
        Work("special", 1.0 * tokens * heads + pairs * heads),
    )
    return Op("ssd", loops, tensors, work, name, attributes={"chunk": chunk})


@operator
def linear_attention(
    batch: Value,
    query: Value,
    heads: Value,
    key_dim: Value = 128,
    value_dim: Value = 128,
    chunk: Value = 256,
    *,
    decay: bool = False,
    name: str = "",
) -> Op:
    """Linear attention [3]: ``S = (decay) S + k v^T,  o = q S`` per head, in chunks.

    FLOP per token and head: 4 key_dim value_dim for update and read-out; per pair inside a chunk
    2 (key_dim + value_dim).
    """
    loops = {"b": batch, "s": query, "h": heads, "d": key_dim, "e": value_dim}
    pairs = batch * heads * attended_pairs(query, query, chunk=chunk)
    cells = batch * query * heads * key_dim * value_dim
    tensors = (
        Tensor("q", ("b", "s", "h", "d")),
        Tensor("k", ("b", "s", "h", "d")),
        Tensor("v", ("b", "s", "h", "e")),
        *_state(("b", "h", "d", "e")),
        Tensor("o", ("b", "s", "h", "e"), output=True),
    )
    work = (
        Work("matrix", 4.0 * cells + 2.0 * pairs * (key_dim + value_dim)),
        Work("vector", (2.0 if decay else 1.0) * pairs),
    )
    return Op("linear_attention", loops, tensors, work, name, attributes={"chunk": chunk})


@operator
def gated_delta_rule(
    batch: Value,
    query: Value,
    heads: Value,
    key_dim: Value = 128,
    value_dim: Value = 128,
    key_heads: Value | None = None,
    chunk: Value = 64,
    *,
    channel_decay: bool = False,
    name: str = "",
) -> Op:
    """Gated delta rule [4]: ``S = a S (1 - b k k^T) + b v k^T,  o = S q``; KDA [5] decays per channel.

    heads, key_heads  value heads, key heads (None: as many)
    channel_decay     one decay per key channel (Kimi delta attention) instead of one per head

    FLOP per token and head: ``6 key_dim value_dim`` (recall, update, read-out); per pair inside a chunk
    ``2 (2 key_dim + 2 value_dim)`` (two score matrices, the triangular solve on values, the output).
    """
    key_heads = heads if key_heads is None else key_heads
    loops = {
        "b": batch, "s": query, "h": key_heads, "g": heads / key_heads, "d": key_dim, "e": value_dim,
    }
    pairs = batch * heads * attended_pairs(query, query, chunk=chunk)
    tokens = batch * query * heads
    decay_axes = ("b", "s", "h", "d") if channel_decay else ("b", "s", "h", "g")
    tensors = (
        Tensor("q", ("b", "s", "h", "d")),
        Tensor("k", ("b", "s", "h", "d")),
        Tensor("v", ("b", "s", "h", "g", "e")),
        Tensor("decay", decay_axes),
        Tensor("beta", ("b", "s", "h", "g")),
        *_state(("b", "h", "g", "d", "e")),
        Tensor("o", ("b", "s", "h", "g", "e"), output=True),
    )
    decays = tokens * key_dim if channel_decay else tokens
    work = (
        Work("matrix", 6.0 * tokens * key_dim * value_dim + 4.0 * pairs * (key_dim + value_dim)),
        Work("vector", 2.0 * pairs + 2.0 * decays + 4.0 * tokens * key_dim),
        Work("special", 1.0 * decays),
    )
    return Op("gated_delta_rule", loops, tensors, work, name, attributes={"chunk": chunk})


@operator
def rglru(batch: Value, query: Value, channels: Value, *, name: str = "") -> Op:
    """Real-gated linear recurrent unit, ``h = a h + sqrt(1 - a^2) i x`` per channel (arXiv:2402.19427).

    One state and one stored rate per channel.  Per element 8 vector operations (gate, decay, normaliser,
    recurrence) and 4 special ones (exp, softplus, square root; the sigmoids count with the gates).
    """
    loops = {"b": batch, "s": query, "c": channels}
    cells = batch * query * channels
    tensors = (
        Tensor("x", ("b", "s", "c")),
        Tensor("r", ("b", "s", "c")),
        Tensor("i", ("b", "s", "c")),
        Tensor("rate", ("c",), kind="weight"),
        *_state(("b", "c")),
        Tensor("y", ("b", "s", "c"), output=True),
    )
    return Op("rglru", loops, tensors, (Work("vector", 8.0 * cells), Work("special", 4.0 * cells)), name)


@operator
def wkv(batch: Value, query: Value, channels: Value, *, name: str = "") -> Op:
    """WKV recurrence of RWKV-4: weighted mean of values with a decay per channel (arXiv:2305.13048).

    Three state numbers per channel (numerator, denominator, maximum); stored decay and bonus per channel.
    Per element 12 vector operations and 4 exponentials.
    """
    loops = {"b": batch, "s": query, "c": channels, "n": 3.0}
    cells = batch * query * channels
    tensors = (
        Tensor("k", ("b", "s", "c")),
        Tensor("v", ("b", "s", "c")),
        Tensor("decay", ("c",), kind="weight"),
        Tensor("bonus", ("c",), kind="weight"),
        *_state(("b", "c", "n")),
        Tensor("y", ("b", "s", "c"), output=True),
    )
    return Op("wkv", loops, tensors, (Work("vector", 12.0 * cells), Work("special", 4.0 * cells)), name)
