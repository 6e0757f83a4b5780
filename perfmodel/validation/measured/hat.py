"""HAT: encoder and decoder latency of random translation transformers on a GPU and a CPU.

Wang et al., arXiv:2005.14187.  The decoder makes one token at a time, so its features are per token; kernels
come with layers, operations with layer x width x hidden width, the cross attention with its context.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from perfmodel.validation.measured.protocol import Task, few_shot
from perfmodel.validation.measured.statistics import averaged, errors
from perfmodel.validation.measured.tables import Table

NAME = "hat"
#: width of queries, keys and values together over all heads in the published space
ATTENTION = 512.0
TOKENS = {"iwslt14deen": 23.0}
COLUMNS = {
    "task",
    "device",
    "enc_layers",
    "dec_layers",
    "enc_ffn_avg",
    "dec_ffn_avg",
    "encoder_ms",
    "decoder_ms",
}


def recognises(header: frozenset[str]) -> bool:
    """True for the tables of random sub-transformers."""
    return header >= COLUMNS


def encoder(table: Table, rows: Any) -> Task:
    """Constant, layers, attention and feed-forward operations, heads."""
    width, layers, hidden, heads = (
        table.numbers(f"enc_{n}")[rows] for n in ("dim", "layers", "ffn_avg", "heads_avg")
    )
    tokens = np.array([TOKENS.get(t, 30.0) for t in table.texts("task")[rows]])
    return Task(
        "hat_encoder",
        {
            "constant": np.ones(len(layers)),
            "layers": layers,
            "attention operations": layers * 4.0 * width * ATTENTION * tokens,
            "feed-forward operations": layers * 2.0 * width * hidden * tokens,
            "heads": layers * heads,
        },
        form="positive",
    )


def decoder(table: Table, rows: Any) -> Task:
    """As the encoder, with attention to itself and to the encoder layers, and the head of the model."""
    width, layers, hidden, own, cross, context = (
        table.numbers(f"dec_{n}")[rows]
        for n in ("dim", "layers", "ffn_avg", "self_heads_avg", "cross_heads_avg", "arbitrary_attn_avg")
    )
    tokens = np.array([TOKENS.get(t, 30.0) for t in table.texts("task")[rows]])
    return Task(
        "hat_decoder",
        {
            "tokens": tokens,
            "layers": layers * tokens,
            "attention operations": layers * 6.0 * width * ATTENTION * tokens,
            "feed-forward operations": layers * 2.0 * width * hidden * tokens,
            "heads": layers * (own + cross) * tokens,
            "encoder layers attended to": layers * context * tokens,
            "output operations": width * tokens,
        },
        form="positive",
    )


def rows_of(table: Table) -> Mapping[tuple[str, str], Any]:
    """Rows of each (task, device)."""
    tasks, devices = table.texts("task"), table.texts("device")
    return {
        (str(t), str(d)): np.flatnonzero((tasks == t) & (devices == d))
        for t in np.unique(tasks)
        for d in np.unique(devices)
        if np.any((tasks == t) & (devices == d))
    }


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Errors by translation task and device: encoder, decoder and their sum (ten samples each)."""
    groups: list[dict[str, Any]] = []
    for (name, device), rows in rows_of(table).items():
        found = {}
        for part, made in (("encoder", encoder(table, rows)), ("decoder", decoder(table, rows))):
            times = table.numbers(f"{part}_ms")[rows]
            scored, found[part] = few_shot(made, device, times)
            groups.append({"metric": part, "task": name, "device": device, **scored})
        groups.append({"metric": "total", "task": name, "device": device, **_total(table, rows, found)})
    summary = {
        part: averaged(g for g in groups if g["metric"] == part) for part in ("total", "encoder", "decoder")
    }
    return {"fidelity": "calibrated", "summary": summary, "groups": groups}


def _total(table: Table, rows: Any, found: Mapping[str, Any]) -> dict[str, Any]:
    first, second = found["encoder"], found["decoder"]
    both, one, two = np.intersect1d(first[0], second[0], return_indices=True)
    real = (table.numbers("encoder_ms") + table.numbers("decoder_ms"))[rows][both]
    middle, low, high = (first[i][one] + second[i][two] for i in (1, 2, 3))
    # the slow moments of a machine hit both parts, so their deviations add
    return {"samples": 10, **errors(middle, real, low, high)}
