"""S001: Wang et al., HAT: Hardware-Aware Transformers for Efficient NLP, ACL 2020, arXiv:2005.14187.

44 published sub-transformers (``data/hat_submodels.csv``, MIT licence, repository of the authors).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import perfmodel as pm
from perfmodel.validation.cases import predicts, published
from perfmodel.validation.heldout import held_out
from perfmodel.validation.measured.hat_models import layers_attended, sub_transformer
from perfmodel.workload.workload import Workload

_DATA = Path(__file__).parents[1] / "data" / "hat_submodels.csv"


def _cases(quantity: str, gate: str) -> dict[str, str]:
    """Case -> sub-transformer of one quantity."""
    return {
        name: row.workload for name, row in published().items()
        if row.paper == "S001" and row.gate == gate and row.quantity.startswith(quantity)
    }


@cache
def _rows() -> Mapping[str, Mapping[str, str]]:
    with _DATA.open(encoding="utf-8", newline="") as lines:
        return {row["name"]: row for row in csv.DictReader(lines)}


@cache
def _model(name: str) -> Workload:
    row = _rows()[name]

    def layers(column: str, count: str) -> tuple[float, ...]:
        return tuple(float(x) for x in row[column].split())[: int(row[count])]

    return sub_transformer(
        name,
        encoder_width=float(row["enc_embed"]), decoder_width=float(row["dec_embed"]),
        inner=float(row["qkv_dim"]),
        encoder_ffn=layers("enc_ffn", "enc_layers"), encoder_heads=layers("enc_self_heads", "enc_layers"),
        decoder_ffn=layers("dec_ffn", "dec_layers"), decoder_heads=layers("dec_self_heads", "dec_layers"),
        cross_heads=layers("dec_ende_heads", "dec_layers"),
        span=layers_attended(layers("dec_arbitrary_ende", "dec_layers")),
    )


def _flops(name: str) -> float:
    tokens = float(_rows()[name]["tokens"])
    return float(_model(name).flops(query=tokens, context=tokens, causal=False))


@predicts(_cases("parameters", "exact"), fidelity="count")
def parameters(name: str) -> float:
    """Parameters beside embedding and output [M]."""
    return float(_model(name).parameters) / 1e6


@predicts(_cases("FLOPs", "exact"), fidelity="count")
def operations(name: str) -> float:
    """FLOP of a sentence, output product apart [GFLOP]."""
    return _flops(name) / 1e9


_LATENCY = {case: (case,) for case in _cases("latency", "tolerance")}


@predicts(_LATENCY, fidelity="calibrated", reason={
    "S001-wmt14enfr-TitanXp-03": "the smallest model of this task, outside the range of the others",
})
def latency(case: str) -> float:
    """Latency of a sentence [ms]: constant + a x decoder steps + b x FLOP, fitted to the other models."""
    device = published()[case].hardware
    rows = {name: published()[name] for name in _LATENCY if published()[name].hardware == device}
    features = {}
    for name, row in rows.items():
        dims = _rows()[row.workload]
        # each target token passes the decoder layers one after the other
        features[name] = (1.0, float(dims["dec_layers"]) * float(dims["tokens"]), _flops(row.workload))
    return held_out(features, {name: row.value for name, row in rows.items()}, case)


#: the largest model for the Raspberry Pi, and the baseline of Vaswani et al., arXiv:1706.03762, table 3
FOUND, TOKENS, VOCABULARY = "HAT_wmt14ende_raspberrypi_a", 30.0, 32768.0


@cache
def _transformer_big() -> Workload:
    heads, ffn = (16.0,) * 6, (4096.0,) * 6
    return sub_transformer(
        "transformer-big", encoder_width=1024.0, decoder_width=1024.0, inner=1024.0, encoder_ffn=ffn,
        encoder_heads=heads, decoder_ffn=ffn, decoder_heads=heads, cross_heads=heads, span=(1.0,) * 6,
    )


def _sentence(net: Workload) -> float:
    """Time of a sentence word by word, with the output product [s]."""
    whole = replace(net, dims=replace(net.dims, vocabulary=VOCABULARY, head=True))
    result = pm.inference(whole, "raspberry-pi-4", batch=1, input=TOKENS, output=TOKENS, precision="fp32")
    return float(result.latency)


@predicts("S001-HEAD-01")
def faster() -> float:
    """Latency of Transformer-Big over that of the network found."""
    return _sentence(_transformer_big()) / _sentence(_model(FOUND))


@predicts("S001-HEAD-02", fidelity="count")
def smaller() -> float:
    """Parameters of Transformer-Big over those of the network found, embeddings apart."""
    return float(_transformer_big().parameters / _model(FOUND).parameters)
