"""Gemma 3n and Gemma 4: shared caches, per-layer embeddings, alternating updates, experts beside the MLP."""

from __future__ import annotations

from perfmodel.workload.block import Block
from perfmodel.workload.decoder import Decoder
from perfmodel.workload.importers.hf_config import Config
from perfmodel.workload.importers.hf_layers import attention, mlp
from perfmodel.workload.importers.hf_moe import Build, decoder, experts
from perfmodel.workload.layers import AltUp, Attention, PerLayerInput, PerLayerTable


def per_layer_table(config: Config) -> PerLayerTable | None:
    """Second embedding table, where the model has one."""
    width = config.number("hidden_size_per_layer_input")
    if not width:
        return None
    rows = config.number("vocab_size_per_layer_input", fallback=config.need("vocab_size"))
    return PerLayerTable(vocabulary=rows, width=width, layers=float(config.layers))


def slides(config: Config, layer: int, every: int) -> bool:
    """Whether a layer has a window; every n-th has none where nothing is listed."""
    types = config.list("layer_types")
    return bool(types[layer] == "sliding_attention") if types else (layer + 1) % every != 0


def gemma4_attention(config: Config, layer: int) -> Attention:
    """Window layers, and wide global layers whose values may be their keys."""
    local, bias = slides(config, layer, 6), config.flag("attention_bias")
    heads, wide = config.need("num_key_value_heads"), config.need("head_dim")
    same = config.flag("attention_k_eq_v") and not local
    if same:
        heads = config.number("num_global_key_value_heads", fallback=heads)
    if not local:
        wide = config.number("global_head_dim", fallback=512.0)  # default of the class
    sharing = int(config.number("num_kv_shared_layers", fallback=0.0))
    return attention(
        config,
        window=config.number("sliding_window") if local else None,
        qk_norm="head",
        value_is_key=same,
        kv_heads=heads,
        head_dim=wide,
        shared_kv=layer >= config.layers - sharing,
        qkv_bias=bias,
        out_bias=bias,
    )


def gemma4(config: Config) -> Decoder:
    """Gemma 4."""
    with_experts, table = config.flag("enable_moe_block"), per_layer_table(config)
    sharing = int(config.number("num_kv_shared_layers", fallback=0.0))
    width = config.need("intermediate_size")
    blocks = []
    for i in range(config.layers):
        part = None
        if with_experts:
            part = experts(config, shared=None, router_scale=True, expert_scale=True, activation="gelu")
        double = config.flag("use_double_wide_mlp") and i >= config.layers - sharing
        blocks.append(
            Block(
                attention=gemma4_attention(config, i),
                mlp=mlp(config, width=2.0 * width if double else width),
                moe=part,
                per_layer=None if table is None else PerLayerInput(width=table.width),
                post_norms=True,
                extra_norms=3.0 if with_experts else None,
            )
        )
    return decoder(config, blocks, per_layer=table)


def gemma3n(config: Config) -> Decoder:
    """Gemma 3n."""
    table, bias = per_layer_table(config), config.flag("attention_bias")
    sharing = int(config.number("num_kv_shared_layers", fallback=0.0))
    updates = AltUp(streams=config.need("altup_num_inputs"), laurel_rank=config.need("laurel_rank"))
    widths = config.list("intermediate_size") or [config.need("intermediate_size")]
    blocks = []
    for i in range(config.layers):
        core = attention(
            config,
            window=config.number("sliding_window") if slides(config, i, 5) else None,
            qk_norm="head",
            shared_kv=i >= config.layers - sharing,
            qkv_bias=bias,
            out_bias=bias,
        )
        blocks.append(
            Block(
                attention=core,
                mlp=mlp(config, width=float(widths[i % len(widths)])),
                per_layer=None if table is None else PerLayerInput(width=table.width),
                altup=updates,
                post_norms=True,
            )
        )
    return decoder(config, blocks, per_layer=table)


def builders() -> dict[str, Build]:
    """Model type -> builder."""
    return {"gemma4": gemma4, "gemma3n": gemma3n}
