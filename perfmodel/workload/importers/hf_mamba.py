"""Mamba models and their hybrids with attention: Jamba, Bamba, Granite 4, Falcon-H1, Nemotron-H."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

from perfmodel.workload.block import Block
from perfmodel.workload.decoder import Decoder
from perfmodel.workload.importers.hf_config import Config
from perfmodel.workload.importers.hf_layers import attention, mlp
from perfmodel.workload.importers.hf_moe import Build, decoder, experts
from perfmodel.workload.layers import Mamba, Mamba2, Mlp

#: words that mark a layer with attention
ATTENTION = ("full_attention", "attention", "hybrid")


def rank(config: Config, *names: str) -> float:
    """Rank of the step-size projection: a number, or ``auto`` for a 16th of the width, rounded up."""
    value = config.number(*names)
    return float(ceil(config.need("hidden_size") / 16)) if value is None else float(value)


def mamba1(config: Config, prefix: str = "", inner: float | None = None, **traits: Any) -> Mamba:
    """Mamba-1 layer; `prefix` starts the field names in hybrids."""
    expand = config.number(prefix + "expand", fallback=2.0)
    return Mamba(
        **{
            "inner": expand * config.need("hidden_size") if inner is None else inner,
            "state": config.need(prefix + "d_state" if prefix else "state_size"),
            "kernel": config.need(prefix + "d_conv" if prefix else "conv_kernel"),
            "dt_rank": rank(config, prefix + "dt_rank" if prefix else "time_step_rank"),
            "bias": config.flag(prefix + "proj_bias" if prefix else "use_bias"),
            "conv_bias": config.flag(prefix + "conv_bias" if prefix else "use_conv_bias", fallback=True),
            **traits,
        }
    )


def mamba(config: Config) -> Decoder:
    """Mamba and Falcon-Mamba: one mixer per layer."""
    return decoder(config, [Block(mamba=mamba1(config))] * config.layers)


def mamba2_layer(config: Config, prefix: str = "mamba_", **traits: Any) -> Mamba2:
    """Mamba-2 layer of a hybrid."""
    heads = config.need(prefix + "n_heads", prefix + "num_heads", "num_heads", "n_mamba_heads")
    inner = config.number(
        prefix + "d_ssm",
        fallback=config.number(prefix + "expand", "expand", fallback=2.0) * config.need("hidden_size"),
    )
    head_dim = config.number(prefix + "d_head", prefix + "head_dim", "mamba_headdim", fallback=inner // heads)
    return Mamba2(
        **{
            "heads": heads,
            "head_dim": head_dim,
            "state": config.need(prefix + "d_state", "ssm_state_size", "state_size"),
            "groups": config.need(prefix + "n_groups", prefix + "ngroups", "n_groups"),
            "kernel": config.need(prefix + "d_conv", "conv_kernel"),
            "chunk": config.number(prefix + "chunk_size", "chunk_size", fallback=256.0),
            "bias": config.flag(prefix + "proj_bias", "use_bias"),
            "conv_bias": config.flag(prefix + "conv_bias", "use_conv_bias", fallback=True),
            **traits,
        }
    )


def mamba2(config: Config) -> Decoder:
    """Mamba-2: one mixer per layer."""
    layer = mamba2_layer(config, prefix="", head_dim=config.need("head_dim"), bias=config.flag("use_bias"))
    return decoder(config, [Block(mamba2=layer)] * config.layers)


def jamba(config: Config) -> Decoder:
    """Jamba: attention and experts at fixed periods, norms on dt, B and C."""
    period, offset = (
        int(config.need("attn_layer_period")),
        int(config.number("attn_layer_offset", fallback=0.0)),
    )
    every, first = (
        int(config.need("expert_layer_period")),
        int(config.number("expert_layer_offset", fallback=0.0)),
    )
    mixer = mamba1(config, "mamba_", inner_norms=True)
    part = experts(config, width=config.need("intermediate_size"), shared=None)
    blocks = []
    for i in range(config.layers):
        attends, sparse = i % period == offset, i % every == first
        blocks.append(
            Block(
                attention=attention(config, rotary=0.0) if attends else None,
                mamba=None if attends else mixer,
                moe=part if sparse else None,
                mlp=None if sparse else mlp(config),
            )
        )
    return decoder(config, blocks)


def bamba(config: Config) -> Decoder:
    """Bamba: Mamba-2 with attention at listed layers, a dense part everywhere."""
    listed = {int(i) for i in config.list("attn_layer_indices")}
    bias = config.flag("attention_bias")
    blocks = [
        Block(
            attention=attention(config, qkv_bias=bias, out_bias=bias) if i in listed else None,
            mamba2=None if i in listed else mamba2_layer(config),
            mlp=mlp(config, bias="?mlp_bias"),
        )
        for i in range(config.layers)
    ]
    return decoder(config, blocks)


def granite_hybrid(config: Config) -> Decoder:
    """Granite 4: Mamba-2 or attention, experts (if any) with a shared one."""
    types = config.list("layer_types", "layers_block_type") or ["mamba"] * config.layers
    number = config.number("num_local_experts", fallback=0.0)
    dense = Mlp(width=config.need("shared_intermediate_size"))
    part = experts(config, width=config.need("intermediate_size"), shared=dense) if number else None
    blocks = []
    for kind in types:
        attends = kind in ATTENTION
        blocks.append(
            Block(
                attention=attention(config) if attends else None,
                mamba2=None if attends else mamba2_layer(config),
                moe=part,
                mlp=None if part else dense,
            )
        )
    return decoder(config, blocks)


def falcon_h1(config: Config) -> Decoder:
    """Falcon-H1: attention and Mamba-2 side by side on one input."""
    bias, projections = config.flag("attention_bias"), config.flag("projectors_bias")
    block = Block(
        attention=attention(config, qkv_bias=bias, out_bias=bias),
        mamba2=mamba2_layer(
            config,
            bias=config.flag("mamba_proj_bias") or projections,
            gated_norm=config.flag("mamba_rms_norm"),
        ),
        mlp=mlp(config, bias="?mlp_bias"),
    )
    return decoder(config, [block] * config.layers)


def nemotron_h(config: Config) -> Decoder:
    """Nemotron-H: each layer is one of M (Mamba-2), * (attention), - (dense part), E (experts)."""
    pattern: Sequence[str] = config.text("hybrid_override_pattern")
    if not pattern:
        short = {
            "mamba": "M",
            "linear_attention": "M",
            "attention": "*",
            "full_attention": "*",
            "mlp": "-",
            "moe": "E",
        }
        pattern = [short.get(str(kind), "M") for kind in config.list("layers_block_type", "layer_types")]
    bias = config.flag("attention_bias")
    feed: dict[str, Any] = {
        "gated": False,
        "bias": config.flag("mlp_bias"),
        "activation": config.text("mlp_hidden_act"),
    }

    def block(kind: str) -> Block:
        if kind == "*":
            core = attention(
                config,
                head_dim=config.need("head_dim", "attention_head_dim"),
                qkv_bias=bias,
                out_bias=bias,
                rotary=0.0,
            )
            return Block(attention=core)
        if kind == "-":
            return Block(mlp=mlp(config, **feed))
        if kind == "E":
            shared = Mlp(width=config.need("moe_shared_expert_intermediate_size"), **feed)
            part = experts(
                config,
                shared=shared,
                gated=False,
                activation="relu2",
                bias=feed["bias"],
                latent=config.number("moe_latent_size"),
            )
            return Block(moe=part)
        return Block(mamba2=mamba2_layer(config))

    return decoder(config, [block(kind) for kind in pattern])


def builders() -> dict[str, Build]:
    """Model type -> builder."""
    return {
        "mamba": mamba,
        "falcon_mamba": mamba,
        "mamba2": mamba2,
        "jamba": jamba,
        "bamba": bamba,
        "granitemoehybrid": granite_hybrid,
        "falcon_h1": falcon_h1,
        "nemotron_h": nemotron_h,
    }
