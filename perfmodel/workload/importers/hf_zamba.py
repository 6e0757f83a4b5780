"""Zamba: transformer blocks whose weights are shared between Mamba layers."""

from __future__ import annotations

from perfmodel.workload.block import Block
from perfmodel.workload.decoder import Decoder
from perfmodel.workload.importers.hf_config import Config
from perfmodel.workload.importers.hf_layers import attention, stack
from perfmodel.workload.importers.hf_mamba import mamba1, mamba2_layer
from perfmodel.workload.importers.hf_moe import Build
from perfmodel.workload.layers import Mlp


def zamba_pattern(config: Config) -> tuple[str, ...]:
    """Which layers call the shared transformer, where the file does not list it."""
    listed = config.list("layers_block_type", "layer_types")
    if listed:
        return tuple("hybrid" if kind == "hybrid" else "mamba" for kind in listed)
    if config.kind == "zamba2":
        six = ("mamba",) * 5 + ("hybrid",)
        return ("mamba", *six * 7, *("mamba",) * 4, "hybrid", *("mamba",) * 3, "hybrid", *("mamba",) * 2)
    period, offset = int(config.need("attn_layer_period")), int(config.need("attn_layer_offset"))
    rest = tuple("hybrid" if i % period == offset else "mamba" for i in range(config.layers - 3))
    return ("mamba", "mamba", "hybrid", *rest)


def zamba(config: Config) -> Decoder:
    """Zamba: Mamba layers and one or two transformer blocks called repeatedly on state and embedding."""
    hidden, second = config.need("hidden_size"), config.kind == "zamba2"
    kinds = zamba_pattern(config)
    calls = float(sum(kind == "hybrid" for kind in kinds))
    heads = config.need("num_attention_heads")
    feed = Mlp(
        width=config.number("intermediate_size", fallback=4.0 * hidden),
        activation="gelu",
        bias=second and config.flag("add_bias_linear"),
    )
    core = attention(
        config,
        input_width=2.0 * hidden,
        head_dim=2.0 * hidden // heads,
        rotary=1.0 if config.flag("use_mem_rope") else 0.0,
    )
    adapter = config.need("adapter_rank") if second else None
    shared = Block(
        repeat=calls,
        copies=config.number("num_mem_blocks", fallback=1.0),
        attention=core,
        mlp=feed,
        out_projection=True,
        mlp_adapter=adapter,
        attention_adapter=adapter if config.flag("use_shared_attention_adapter") else None,
    )
    if second:
        bias = config.flag("add_bias_linear")
        mixer = Block(mamba2=mamba2_layer(config, bias=bias))
    else:
        mixer = Block(mamba=mamba1(config, "mamba_", heads=config.need("n_mamba_heads")))
    layers = stack([mixer] * len(kinds))
    return Decoder(
        hidden=hidden,
        vocabulary=config.need("vocab_size"),
        tied=config.flag("tie_word_embeddings"),
        blocks=(*layers, shared),
    )


def builders() -> dict[str, Build]:
    """Model type -> builder."""
    return {"zamba": zamba, "zamba2": zamba}
