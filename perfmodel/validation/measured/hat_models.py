"""Published HAT sub-transformers: parameters and operations counted; latency from the others of the device.

[1] Wang et al., HAT, ACL 2020, arXiv:2005.14187.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from perfmodel.validation.measured.left_out import one_left_out
from perfmodel.validation.measured.rows import scored
from perfmodel.validation.measured.tables import Table
from perfmodel.workload.block import Block
from perfmodel.workload.encoder_decoder import EncoderDecoder
from perfmodel.workload.layers.attention import Attention
from perfmodel.workload.layers.cross import Cross
from perfmodel.workload.layers.mlp import Mlp
from perfmodel.workload.workload import Workload

NAME = "hat_models"
COLUMNS = {"enc_ffn", "dec_ffn", "enc_layers", "dec_layers", "dec_arbitrary_attn", "qkv_dim", "tokens",
           "params_M_excl_embedding", "flop_G_excl_output", "latency_ms"}


def recognises(header: frozenset[str]) -> bool:
    """True for sub-transformers with all dimensions."""
    return header >= COLUMNS


def sub_transformer(
    name: str, *, encoder_width: float, decoder_width: float, inner: float, encoder_ffn: Sequence[float],
    encoder_heads: Sequence[float], decoder_ffn: Sequence[float], decoder_heads: Sequence[float],
    cross_heads: Sequence[float], span: Sequence[float],
) -> Workload:
    """Encoder-decoder of [1] without embedding and output product, which the published counts leave out.

    Each sequence has one entry per layer; `inner` is the width of all heads together, `span` the number of
    encoder layers that a decoder layer attends to.
    """
    def attention(heads: float) -> Attention:
        return Attention(heads=heads, head_dim=inner / heads, qkv_bias=True, out_bias=True, rotary=0.0)

    def mlp(width: float) -> Mlp:
        return Mlp(width=width, gated=False, bias=True, activation="relu")

    encoder = tuple(
        Block(attention=attention(heads), mlp=mlp(width))
        for heads, width in zip(encoder_heads, encoder_ffn, strict=True)
    )
    decoder = tuple(
        Block(
            attention=attention(heads), mlp=mlp(width), cross=Cross(
                heads=cross, head_dim=inner / cross, source_width=encoder_width, span=layers, bias=True
            ),
        )
        for heads, cross, layers, width in zip(decoder_heads, cross_heads, span, decoder_ffn, strict=True)
    )
    dims = EncoderDecoder(
        hidden=decoder_width, encoder_hidden=encoder_width, vocabulary=0.0, head=False, final_norm=False,
        encoder=encoder, decoder=decoder,
    )
    return Workload(name, "encoder_decoder", dims, "arXiv:2005.14187")


def layers_attended(codes: Sequence[float]) -> tuple[float, ...]:
    """Encoder layers attended to: code -1 is the last one, 1 and 2 the last two and three."""
    return tuple(max(code, 0.0) + 1.0 for code in codes)


def _model(table: Table, i: int) -> Workload:
    def layers(column: str, count: str) -> tuple[float, ...]:
        return tuple(float(x) for x in table.columns[column][i].split())[: int(table.columns[count][i])]

    return sub_transformer(
        str(table.columns["model"][i]),
        encoder_width=float(table.columns["enc_dim"][i]), decoder_width=float(table.columns["dec_dim"][i]),
        inner=float(table.columns["qkv_dim"][i]),
        encoder_ffn=layers("enc_ffn", "enc_layers"), encoder_heads=layers("enc_heads", "enc_layers"),
        decoder_ffn=layers("dec_ffn", "dec_layers"), decoder_heads=layers("dec_self_heads", "dec_layers"),
        cross_heads=layers("dec_cross_heads", "dec_layers"),
        span=layers_attended(layers("dec_arbitrary_attn", "dec_layers")),
    )


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
    return scored(metrics, labels, "calibrated", "counts: nothing fitted; latency: one model left out",
                  otherwise="fewer than 4 rows of the device to learn from")
