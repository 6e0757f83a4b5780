"""Models with linear attention or another recurrent state than Mamba's."""

from __future__ import annotations

from math import ceil

from perfmodel.workload.block import Block
from perfmodel.workload.decoder import Decoder
from perfmodel.workload.importers.hf_config import Config
from perfmodel.workload.importers.hf_layers import attention, mlp
from perfmodel.workload.importers.hf_moe import Build, decoder, experts, latent, qwen_experts, sparse_layers
from perfmodel.workload.layers import (
    ChannelMix,
    GatedDelta,
    KimiDelta,
    LinearAttention,
    Mlp,
    Rglru,
    ShortConv,
    TimeMix,
)


def minimax(config: Config) -> Decoder:
    """MiniMax-Text-01: lightning attention in seven of eight layers, experts everywhere."""
    types = config.list("layer_types")
    flags = config.list("attn_type_list")
    softmax = [bool(f) for f in flags] if flags else [k == "full_attention" for k in types]
    if not softmax:
        softmax = [(i + 1) % 2 == 0 for i in range(config.layers)]
    heads = config.need("num_attention_heads")
    linear = LinearAttention(
        heads=heads,
        head_dim=config.number("head_dim", fallback=config.need("hidden_size") // heads),
        chunk=config.number("block_size", fallback=256.0),
    )
    part = experts(config, width=config.need("intermediate_size"), shared=None)
    blocks = [
        Block(
            attention=attention(config) if full else None, linear_attention=None if full else linear, moe=part
        )
        for full in softmax
    ]
    return decoder(config, blocks)


def qwen_next(config: Config) -> Decoder:
    """Qwen3-Next and Qwen3.5: gated delta networks, gated attention in every fourth layer."""
    delta = delta_network(config)
    every = int(config.number("full_attention_interval", fallback=4.0))
    types = config.list("layer_types") or [
        "linear_attention" if (i + 1) % every else "full_attention" for i in range(config.layers)
    ]
    has_experts = bool(config.number("num_experts", fallback=0.0))
    step = int(config.number("decoder_sparse_step", fallback=1.0))
    dense = {int(i) for i in config.list("mlp_only_layers")}
    blocks = []
    for i, kind in enumerate(types):
        full = kind == "full_attention"
        sparse = has_experts and i not in dense and (i + 1) % step == 0
        core = (
            attention(
                config, gate="element", qk_norm="head", qkv_bias="?attention_bias", out_bias="?attention_bias"
            )
            if full
            else None
        )
        blocks.append(
            Block(
                attention=core,
                gated_delta=None if full else delta,
                moe=qwen_experts(config) if sparse else None,
                mlp=None if sparse else mlp(config),
            )
        )
    return decoder(config, blocks)


def olmo_hybrid(config: Config) -> Decoder:
    """OLMo hybrid: gated delta networks with norms before, attention with norms after its parts."""
    delta = delta_network(config)
    types = config.list("layer_types") or [
        "linear_attention" if (i + 1) % 4 else "full_attention" for i in range(config.layers)
    ]
    full = Block(
        attention=attention(config, qk_norm="all", qkv_bias="?attention_bias", out_bias="?attention_bias"),
        mlp=mlp(config),
        pre_norms=False,
        post_norms=True,
    )
    linear = Block(gated_delta=delta, mlp=mlp(config))
    return decoder(config, [full if kind == "full_attention" else linear for kind in types])


def delta_network(config: Config) -> GatedDelta:
    """Gated delta network from the usual fields."""
    return GatedDelta(
        key_heads=config.need("linear_num_key_heads"),
        value_heads=config.need("linear_num_value_heads"),
        key_dim=config.need("linear_key_head_dim"),
        value_dim=config.need("linear_value_head_dim"),
        kernel=config.need("linear_conv_kernel_dim"),
    )


def kimi_linear(config: Config) -> Decoder:
    """Kimi Linear: Kimi delta attention, latent attention in every fourth layer."""
    inner = config.inner("linear_attn_config")
    delta = KimiDelta(
        heads=config.number("linear_num_heads", fallback=inner.number("num_heads", fallback=32.0)),
        head_dim=config.number("linear_head_dim", fallback=inner.number("head_dim", fallback=128.0)),
        kernel=config.number(
            "linear_conv_kernel_dim", fallback=inner.number("short_conv_kernel_size", fallback=4.0)
        ),
    )
    full = {int(i) - 1 for i in inner.list("full_attn_layers")} or {
        i for i in range(config.layers) if i and i % 4 == 0
    }
    first = int(config.number("first_k_dense_replace", fallback=1.0))
    sparse = (
        sparse_layers(config)
        if config.list("mlp_layer_types")
        else [i >= first for i in range(config.layers)]
    )
    blocks = [
        Block(
            mla=latent(config) if i in full else None,
            kimi_delta=None if i in full else delta,
            moe=experts(config) if sparse[i] else None,
            mlp=None if sparse[i] else mlp(config),
        )
        for i in range(config.layers)
    ]
    return decoder(config, blocks)


def lfm2(config: Config) -> Decoder:
    """LFM2: short convolutions, attention at listed layers, inner width rounded as the model does."""
    types = config.list("layer_types")
    listed = {int(i) for i in config.list("full_attn_idxs")}
    if not types:
        types = ["full_attention" if not listed or i in listed else "conv" for i in range(config.layers)]
    width = config.number("block_ff_dim", fallback=config.need("intermediate_size"))
    if config.flag("block_auto_adjust_ff_dim", fallback=True):
        multiple = config.number("block_multiple_of", fallback=256.0)
        scaled = int(config.number("block_ffn_dim_multiplier", fallback=1.0) * int(2 * width / 3))
        width = multiple * ceil(scaled / multiple)
    conv = ShortConv(kernel=config.need("conv_L_cache"), bias=config.flag("conv_bias"))
    number = config.number("num_experts", fallback=0.0)
    dense_first = int(config.number("num_dense_layers", fallback=0.0))
    blocks = []
    for i, kind in enumerate(types):
        full = kind == "full_attention"
        sparse = bool(number) and i >= dense_first
        blocks.append(
            Block(
                attention=attention(config, qk_norm="head") if full else None,
                short_conv=None if full else conv,
                moe=experts(config, shared=None) if sparse else None,
                mlp=None if sparse else Mlp(width=width),
            )
        )
    return decoder(config, blocks)


def recurrent_gemma(config: Config) -> Decoder:
    """RecurrentGemma: two recurrent blocks, then local attention."""
    pattern = config.list("block_types", "layers_block_type")
    width = config.number("lru_width", fallback=config.need("hidden_size"))
    bias = config.flag("attention_bias")
    local = attention(
        config,
        qkv_bias=bias,
        out_bias=True,
        window=config.need("attention_window_size"),
        rotary=0.5,
        kv_heads=config.number("num_key_value_heads", fallback=config.need("num_attention_heads")),
    )
    recurrent = Rglru(
        width=width, blocks=config.need("num_attention_heads"), kernel=config.need("conv1d_width")
    )
    feed = Mlp(width=config.need("intermediate_size") // 2, bias=True, activation="gelu")
    blocks = []
    for i in range(config.layers):
        attends = pattern[i % len(pattern)] == "attention" if pattern else (i + 1) % 3 == 0
        blocks.append(
            Block(attention=local if attends else None, rglru=None if attends else recurrent, mlp=feed)
        )
    return decoder(config, blocks)


def rwkv(config: Config) -> Decoder:
    """RWKV-4: time mixing and channel mixing."""
    hidden = config.need("hidden_size")
    block = Block(
        time_mix=TimeMix(width=config.number("attention_hidden_size", fallback=hidden)),
        channel_mix=ChannelMix(width=config.number("intermediate_size", fallback=4.0 * hidden)),
    )
    return decoder(config, [block] * config.layers, norm="layer", embedding_norm=True)


def builders() -> dict[str, Build]:
    """Model type -> builder."""
    return {
        "minimax": minimax,
        **dict.fromkeys(("qwen3_next", "qwen3_5", "qwen3_5_moe"), qwen_next),
        "kimi_linear": kimi_linear,
        "olmo_hybrid": olmo_hybrid,
        "lfm2": lfm2,
        "lfm2_moe": lfm2,
        "recurrent_gemma": recurrent_gemma,
        "rwkv": rwkv,
    }
