"""Published HAT sub-transformers: parameters and operations counted; latency from the others of the device.

[1] Wang et al., HAT, ACL 2020, arXiv:2005.14187.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from perfmodel.validation.measured.left_out import one_left_out
from perfmodel.validation.measured.rows import scored
from perfmodel.validation.measured.tables import Table
from perfmodel.workload.translation import Translator, translator
from perfmodel.workload.workload import Workload

NAME = "hat_models"
COLUMNS = {"enc_ffn", "dec_ffn", "enc_layers", "dec_layers", "dec_arbitrary_attn", "qkv_dim", "tokens",
           "params_M_excl_embedding", "flop_G_excl_output", "latency_ms"}


def recognises(header: frozenset[str]) -> bool:
    """True for sub-transformers with all dimensions."""
    return header >= COLUMNS


def _model(table: Table, i: int) -> Workload:
    def layers(column: str, count: str) -> tuple[float, ...]:
        return tuple(float(x) for x in table.columns[column][i].split())[: int(table.columns[count][i])]

    dims = Translator(
        encoder_width=float(table.columns["enc_dim"][i]), decoder_width=float(table.columns["dec_dim"][i]),
        inner=float(table.columns["qkv_dim"][i]),
        encoder_ffn=layers("enc_ffn", "enc_layers"), encoder_heads=layers("enc_heads", "enc_layers"),
        decoder_ffn=layers("dec_ffn", "dec_layers"), decoder_heads=layers("dec_self_heads", "dec_layers"),
        cross_heads=layers("dec_cross_heads", "dec_layers"),
        # -1: the last encoder layer; 1 and 2: the last two and three
        attended=tuple(max(x, 0.0) + 1.0 for x in layers("dec_arbitrary_attn", "dec_layers")),
    )
    return translator(str(table.columns["model"][i]), dims, "arXiv:2005.14187")


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Errors of parameters, operations and latency by device and task."""
    models = [_model(table, i) for i in range(len(table.columns["model"]))]
    tokens = table.numbers("tokens")
    flops = np.array([float(m.flops(query=float(t), context=float(t), causal=False))
                      for m, t in zip(models, tokens, strict=True)])
    measured, devices = table.numbers("latency_ms"), table.texts("device")
    # each target token passes the decoder layers one after the other
    features = {"start": np.ones(len(flops)), "steps": table.numbers("dec_layers") * tokens, "flops": flops}
    guess = np.full(len(flops), np.nan)
    for device in np.unique(devices):
        mine = np.flatnonzero((devices == device) & np.isfinite(measured))
        if len(mine) >= 4:
            guess[mine] = one_left_out({k: v[mine] for k, v in features.items()}, measured[mine])[0]
    metrics = {
        "parameters": (np.array([float(m.parameters) for m in models]) / 1e6,
                       table.numbers("params_M_excl_embedding")),
        "flops": (flops / 1e9, table.numbers("flop_G_excl_output")),
        "latency": (guess, measured),
    }
    labels = {"device": devices, "task": table.texts("task")}
    return scored(metrics, labels, "calibrated", "counts: nothing fitted; latency: one model left out")
