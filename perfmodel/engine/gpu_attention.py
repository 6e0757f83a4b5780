"""Attention on a GPU: one new token against a cache, many new tokens, one shared latent cache."""

from __future__ import annotations

from functools import partial

import numpy as np

from perfmodel.algebra import Value
from perfmodel.engine.gpu_question import Question, by_point
from perfmodel.engine.kernels.attention_decode import DecodeCorrections, attention_decode_time
from perfmodel.engine.kernels.attention_prefill import PrefillCorrections, attention_prefill_time
from perfmodel.engine.kernels.facts import KernelTime
from perfmodel.engine.kernels.mla import MlaCorrections, mla_decode_time
from perfmodel.engine.kernels.prefill_programs import prefill_program
from perfmodel.engine.kernels.splits import latent_rule, query_copies, resident_blocks, split_rule
from perfmodel.engine.roofline import compute_format
from perfmodel.ops.core import Op


def attention(q: Question) -> KernelTime:
    """One new token per sequence has kernels of its own, and they differ by what the heads share."""
    one = np.asarray(q.op.loops["s"]) == 1.0
    window, shared = np.greater(_window(q.op), 0.0), np.greater(q.op.loops["g"], 1.0)
    modes = {"window": window, "gqa": shared & ~window, "mha": ~shared & ~window}
    decodes = [(one & mask, partial(_decode, mode=mode)) for mode, mask in modes.items()]
    return by_point(q, [(~one, _prefill), *decodes])


def _window(op: Op) -> Value:
    """Tokens of the sliding window; 0 where there is none."""
    window = op.attributes.get("window")
    return 0.0 if window is None else window


def _decode(q: Question, mode: str) -> KernelTime:
    s, facts, window = q.op.loops, q.op.attributes, _window(q.op)
    c = q.corrections("attention_decode", DecodeCorrections, mode)
    kv, heads = q.precision.bytes("kv"), s["h"] * s["g"]
    _, source, _, cache, kind = (*q.origin[-1].group.split("/"), *[""] * 5)[:5] if q.origin else [""] * 5
    rule = split_rule(source, cache, kind, q.gpu)
    return attention_decode_time(
        s["b"],
        facts["context"],
        heads,
        s["h"],
        s["d"],
        window,
        kv,
        q.gpu,
        c,
        rule=rule,
        copies=query_copies(
            source, cache, kind, np.asarray(heads), np.asarray(s["h"]), np.asarray(window), q.gpu
        ),
        resident=resident_blocks(source, cache, kind, s["g"], s["d"], q.gpu),
    )


def _prefill(q: Question) -> KernelTime:
    s, facts, window = q.op.loops, q.op.attributes, _window(q.op)
    kv, heads = q.precision.bytes("kv"), s["h"] * s["g"]
    c = q.corrections("attention_prefill", PrefillCorrections)
    key = "fp8" if compute_format(q.op, q.precision).compute in ("fp8", "fp4") else "bf16"
    _, source, _, cache = (*q.origin[-1].group.split("/"), *[""] * 4)[:4] if q.origin else [""] * 4
    past = np.maximum(facts["context"] - s["s"], 0.0)
    return attention_prefill_time(
        s["b"],
        s["s"],
        past,
        heads,
        s["h"],
        s["d"],
        window,
        q.precision.bytes("activation"),
        kv,
        key,
        q.gpu,
        c,
        s["e"],
        causal=bool(facts.get("causal", True)),
        program=prefill_program(source, key, cache, s["h"], s["d"], q.gpu),
    )


def latent(q: Question) -> KernelTime:
    s, facts = q.op.loops, q.op.attributes
    rank = facts["kv_rank"]
    c = q.corrections("mla_decode", MlaCorrections)
    _, source, _, cache, heads = (*q.origin[-1].group.split("/"), *[""] * 5)[:5] if q.origin else [""] * 5
    rule = latent_rule(source, cache, heads, q.gpu)
    kv = q.precision.bytes("kv")
    return mla_decode_time(s["b"], s["s"], s["t"], s["h"], kv, q.gpu, c, rank, s["l"] - rank, rule=rule)
