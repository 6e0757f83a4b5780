"""Decoders whose attention is more than projections and scores: two maps, selectors, convolutions, images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from perfmodel.workload.block import Block
from perfmodel.workload.decoder import Decoder
from perfmodel.workload.importers.hf_config import Config
from perfmodel.workload.importers.hf_layers import attention, mlp
from perfmodel.workload.importers.hf_moe import Build, decoder, experts, latent, sparse_layers
from perfmodel.workload.layers import Attention, ConvolvedAttention, Cross, KimiDelta, Mlp, Moe

BIASED = {"qkv_bias": "?attention_bias", "out_bias": "?attention_bias"}


def differential(config: Config) -> Decoder:
    """DiffLlama: two maps over the same queries and keys, mixed by four learned vectors of one head."""
    core = attention(config, **BIASED)
    part = ConvolvedAttention(core=core, differential=True, learned=4.0 * core.head_dim)
    return decoder(config, [Block(convolved_attention=part, mlp=mlp(config))] * config.layers)


def doge(config: Config) -> Decoder:
    """Doge: values choose the keys, scaled residuals; optionally experts of one row and column."""
    core = attention(config, qk_norm="head", **BIASED)
    part = ConvolvedAttention(core=core, selector=True, learned=core.kv)
    feed = mlp(config, bias="?mlp_bias")
    layer = Block(convolved_attention=part, mlp=feed, residual_scales=2.0)
    if config.flag("is_moe"):
        number = config.need("num_experts")
        # an expert is found by a row key and a column key
        keys = 2.0 * float(int(number**0.5))
        moe = Moe(
            experts=number, top_k=config.need("num_experts_per_tok"), width=1.0, gated=False, shared=feed,
            router_rows=keys,
        )
        layer = replace(layer, mlp=None, moe=moe)
    return decoder(config, [layer] * config.layers)


def mllama(config: Config) -> Decoder:
    """Llama 3.2 Vision: some layers attend to the tiles of an image in place of the text."""
    heads = config.need("num_attention_heads")
    core = attention(config)
    image = config.inner("vision_config")
    side = image.number("image_size", fallback=448.0) // image.number("patch_size", fallback=14.0)
    cross = Cross(
        heads=heads, kv_heads=core.kv, head_dim=core.head_dim, qk_norm=True, gates=2.0,
        tokens=image.number("max_num_tiles", fallback=4.0) * (side * side + 1.0),
    )
    listed = {int(i) for i in config.list("cross_attention_layers")}
    blocks = [
        Block(cross=cross, mlp=mlp(config)) if i in listed else Block(attention=core, mlp=mlp(config))
        for i in range(config.layers)
    ]
    # eight rows more than tokens: the place of an image
    return decoder(config, blocks, extra_rows=8.0)


def zaya(config: Config) -> Decoder:
    """ZAYA: convolutions over queries and keys, a deep router with memory, an expert that does nothing."""
    slides = [kind == "hybrid_sliding" for kind in config.list("layer_types")] or [False] * config.layers
    window = config.number("sliding_window")
    part = experts(config, empty_experts=1.0, shared=None, router_depth=2.0,
                   router_width=config.need("router_hidden_size"))
    blocks = []
    for i, slide in enumerate(slides):
        core = attention(config, qk_norm="unit", rotary=0.5, window=window if slide else None, **BIASED)
        mixer = ConvolvedAttention(
            core=core, depthwise=config.need("cca_time0"), grouped=config.need("cca_time1"), learned=core.kv
        )
        # scale and shift of both sides of two additions; the first layer also scales its input and has no
        # router before it
        blocks.append(Block(
            convolved_attention=mixer, moe=replace(part, router_memory=i > 0),
            residual_scales=8.0 if i else 10.0,
        ))
    return decoder(config, blocks, head_bias=config.flag("lm_head_bias"))


def bailing(config: Config) -> Decoder:
    """Ling 3: Kimi delta layers with full gates, latent attention with a gate per head in every n-th."""
    types, every = config.list("layer_types"), int(config.need("layer_group_size"))
    delta = KimiDelta(
        heads=config.need("num_attention_heads"), head_dim=config.number("head_dim", fallback=128.0),
        kernel=config.number("short_conv_kernel_size", fallback=4.0), full_gates=True,
    )
    core = latent(config, q_rank=None, gate=True)
    part = experts(config)
    blocks = []
    for i, sparse in enumerate(sparse_layers(config)):
        full = types[i] == "full_attention" if types else (i + 1) % every == 0
        blocks.append(Block(
            mla=core if full else None, kimi_delta=None if full else delta,
            moe=part if sparse else None, mlp=None if sparse else mlp(config),
        ))
    return decoder(config, blocks)


def inkling(config: Config) -> Decoder:
    """Inkling: short convolutions everywhere, states of relative position, shared experts that are scored."""
    types, local = config.list("layer_types"), config.get("local_layer_ids")
    dense = config.number("dense_intermediate_size")
    routed = config.need("n_routed_experts")
    width = config.need("intermediate_size" if dense else "moe_intermediate_size")
    number = config.number("n_shared_experts", fallback=0.0)
    part = experts(
        config, width=width, shared=Mlp(width=number * width) if number else None, router_rows=routed + number
    )
    feed = mlp(config, width=dense or config.need("intermediate_size"))
    first, kinds = int(config.number("dense_mlp_idx", fallback=0.0)), config.list("mlp_layer_types")
    blocks = []
    for i in range(config.layers):
        slide = (i in local if local is not None else (i + 1) % 6 != 0)
        if types:
            slide = types[i] == "hybrid_sliding"
        sparse = kinds[i] == "sparse" if kinds else i >= first
        blocks.append(Block(
            convolved_attention=_positioned(config, slide), moe=part if sparse else None,
            mlp=None if sparse else feed, part_conv=config.need("conv_kernel_size", "sconv_kernel_size"),
        ))
    return decoder(config, blocks, embedding_norm=True)


def _positioned(config: Config, slide: bool) -> ConvolvedAttention:
    """Attention of Inkling: its own heads and window in sliding layers."""
    window = config.number("sliding_window_size")
    more: dict[str, Any] = {}
    if slide:
        more = {
            "heads": config.need("swa_num_attention_heads"),
            "kv_heads": config.need("swa_num_key_value_heads"),
            "head_dim": config.need("swa_head_dim"), "window": window,
        }
    core: Attention = attention(config, qk_norm="head", rotary=0.0, **more)
    return ConvolvedAttention(
        core=core, key_value=config.need("conv_kernel_size", "sconv_kernel_size"),
        relative=config.need("d_rel"), extent=window if slide else config.need("rel_extent"), learned=1.0,
    )


def builders() -> dict[str, Build]:
    """Model type -> builder."""
    return {
        "diffllama": differential,
        "doge": doge,
        "mllama_text_model": mllama,
        "zaya": zaya,
        "bailing_hybrid": bailing,
        "inkling_text": inkling,
    }
