"""Decoders with experts that differ from each other in a few choices: one row of TABLE each.

A row may give fields of the attention, the block, the decoder and the experts (``"?x"`` reads flag x), the
name of the width of dense layers (``dense``), and a window pattern for files that list no layer types.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from perfmodel.workload.block import Block
from perfmodel.workload.decoder import Decoder
from perfmodel.workload.importers.hf_config import Config
from perfmodel.workload.importers.hf_layers import attention, mlp, resolve, windows
from perfmodel.workload.importers.hf_moe import Build, decoder, experts, sparse_layers
from perfmodel.workload.layers import Mlp

Traits = Mapping[str, Any]

BIASED: Traits = {"qkv_bias": "?attention_bias", "out_bias": "?attention_bias"}
QK: Traits = {**BIASED, "qk_norm": "head"}
POST: Traits = {"post_norms": True}
POST_ONLY: Traits = {"pre_norms": False, "post_norms": True}
ONE_NORM: Traits = {"parallel": True}

#: names under which files give the joint width of the shared experts
SHARED_WIDTHS = (
    "shared_expert_intermediate_size",
    "shared_intermediate_size",
    "share_expert_dim",
    "moe_shared_expert_intermediate_size",
)

TABLE: dict[str, Traits] = {
    "exaone_moe": {"attention": QK},
    "hy_v3": {"first_dense": 1, "attention": QK},
    "hunyuan_v1_moe": {"attention": BIASED, "qk_flag": "use_qk_norm"},
    "flex_olmo": {"attention": {**BIASED, "qk_norm": "all"}, "block": POST_ONLY},
    "solar_open": {"attention": BIASED},
    "mellum": {"attention": QK},
    "kolibri1": {"attention": QK, "block": POST},
    "flint": {"first_dense": 2, "attention": {**QK, "sinks": True}},
    "laguna": {"first_dense": 1, "attention": {**QK, "gate": "head"}, "moe": {"router_bias": True}},
    "minimax_m3_vl_text": {"attention": QK, "dense": "dense_intermediate_size"},
    "granitemoeshared": {"attention": BIASED},
    "granitemoe_swa": {"attention": {**BIASED, "sinks": True}},
    "afmoe": {"attention": {**QK, "gate": "element"}, "block": POST, "moe": {"router_bias": True}},
    "cohere2_moe": {
        "attention": BIASED,
        "block": ONE_NORM,
        "decoder": {"norm": "layer", "norm_bias": False},
        "dense": "prefix_dense_intermediate_size",
    },
    "deepseek": {"attention": BIASED},
    "grok-1": {"block": POST},
    "bailing_moe": {
        "attention": {"qkv_bias": "?use_qkv_bias", "out_bias": "?use_bias"},
        "qk_flag": "use_qk_norm",
    },
    "bailing_moe_v2": {
        "attention": {"qkv_bias": "?use_qkv_bias", "out_bias": "?use_bias"},
        "qk_flag": "use_qk_norm",
    },
}


def dense_part(config: Config, traits: Traits) -> Mlp:
    """Feed-forward part of the layers without experts."""
    width = config.number(traits["dense"]) if "dense" in traits else None
    return mlp(config) if width is None else mlp(config, width=width)


def sparse(config: Config, first_dense: int = 0) -> list[bool]:
    """Which layers have experts; `first_dense` layers have none where the file says nothing."""
    dense = {int(i) for i in config.list("mlp_only_layers")}
    said = (
        "mlp_layer_types",
        "first_k_dense_replace",
        "num_dense_layers",
        "mlp_only_layers",
        "moe_layer_freq",
    )
    if first_dense and not any(config.get(name) is not None for name in said):
        return [i >= first_dense for i in range(config.layers)]
    first = config.number("num_dense_layers")
    if first is not None:
        return [i >= first for i in range(config.layers)]
    return [has and i not in dense for i, has in enumerate(sparse_layers(config))]


def shared_width(config: Config) -> dict[str, Any]:
    """Shared experts by their joint width, where the file gives it."""
    width = next((config.number(name) for name in SHARED_WIDTHS if config.number(name)), None)
    return {} if width is None else {"shared": Mlp(width=width)}


def build(config: Config, traits: Traits) -> Decoder:
    """Decoder of one row."""
    core_traits = resolve(config, traits.get("attention", {}))
    if "qk_flag" in traits and config.flag(traits["qk_flag"]):
        core_traits["qk_norm"] = "head"
    heads = config.list("num_attention_heads_per_layer")
    part = experts(config, **{**shared_width(config), **traits.get("moe", {})})
    layers = sparse(config, int(traits.get("first_dense", 0)))
    feed = None if all(layers) else dense_part(config, traits)
    blocks = []
    for i, (has, span) in enumerate(zip(layers, windows(config), strict=True)):
        more = {"heads": float(heads[i])} if heads else {}
        blocks.append(
            Block(
                attention=attention(config, window=span, **core_traits, **more),
                moe=part if has else None,
                mlp=None if has else feed,
                **traits.get("block", {}),
            )
        )
    return decoder(config, blocks, **traits.get("decoder", {}))


def builders() -> dict[str, Build]:
    """Model type -> builder."""
    return {kind: partial(build, traits=traits) for kind, traits in TABLE.items()}
