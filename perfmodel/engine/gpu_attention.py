"""Attention on a GPU: one new token against a cache, many new tokens, one shared latent cache."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perfmodel.algebra import where
from perfmodel.engine.gpu_question import Question
from perfmodel.engine.kernels.attention_decode import DecodeCorrections, attention_decode_time
from perfmodel.engine.kernels.attention_prefill import PrefillCorrections, attention_prefill_time
from perfmodel.engine.kernels.facts import KernelTime, either
from perfmodel.engine.kernels.mla import MlaCorrections, mla_decode_time
from perfmodel.engine.kernels.prefill_programs import prefill_program
from perfmodel.engine.kernels.splits import latent_rule, query_copies, resident_blocks, split_rule
from perfmodel.engine.roofline import compute_format


def attention(q: Question) -> KernelTime:
    """One new token per sequence has kernels of its own; each point of an axis gets the kernel it needs."""
    one = np.asarray(q.op.loops["s"]) == 1.0
    if np.all(one):
        return _decode(q)
    prefill = _prefill(q)
    if not np.any(one):
        return prefill
    decode = _decode(q)
    if len(q.origin) == 2:
        many, single = q.origin
        low, high = where(one, single.low, many.low), where(one, single.high, many.high)
        q.origin.append(replace(many, low=low, high=high))
    return either(one, decode, prefill)


def _decode(q: Question) -> KernelTime:
    s, facts = q.op.loops, q.op.attributes
    window = 0.0 if facts.get("window") is None else facts["window"]
    mode = "window" if np.any(np.asarray(window) > 0) else "gqa" if np.any(np.asarray(s["g"]) > 1) else "mha"
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
    s, facts = q.op.loops, q.op.attributes
    window = 0.0 if facts.get("window") is None else facts["window"]
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
