"""Models with a recurrent state: Mamba, hybrids with attention, linear attention, RWKV, RG-LRU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

from perfmodel.workload.block import Block
from perfmodel.workload.decoder import Decoder
from perfmodel.workload.importers.hf_config import Config
from perfmodel.workload.importers.hf_layers import attention, mlp, stack
from perfmodel.workload.importers.hf_moe import Build, decoder, experts, latent, qwen_experts, sparse_layers
from perfmodel.workload.layers import (
    ChannelMix,
    GatedDelta,
    KimiDelta,
    LinearAttention,
    Mamba,
    Mamba2,
    Mlp,
    Rglru,
    ShortConv,
    TimeMix,
)

#: words that mark a layer with attention
ATTENTION = ("full_attention", "attention", "hybrid")


def rank(config: Config, *names: str) -> float:
    """Rank of the step-size projection: a number, or ``auto`` for a 16th of the width, rounded up."""
    value = config.number(*names)
    return float(ceil(config.need("hidden_size") / 16)) if value is None else float(value)


def mamba1(config: Config, prefix: str = "", inner: float | None = None, **traits: Any) -> Mamba:
    """Mamba-1 layer; `prefix` starts the field names in hybrids."""
    expand = config.number(prefix + "expand", fallback=2.0)
    return Mamba(**{
        "inner": expand * config.need("hidden_size") if inner is None else inner,
        "state": config.need(prefix + "d_state" if prefix else "state_size"),
        "kernel": config.need(prefix + "d_conv" if prefix else "conv_kernel"),
        "dt_rank": rank(config, prefix + "dt_rank" if prefix else "time_step_rank"),
        "bias": config.flag(prefix + "proj_bias" if prefix else "use_bias"),
        "conv_bias": config.flag(prefix + "conv_bias" if prefix else "use_conv_bias", fallback=True), **traits,
    })


def mamba(config: Config) -> Decoder:
    """Mamba and Falcon-Mamba: one mixer per layer."""
    return decoder(config, [Block(mamba=mamba1(config))] * config.layers)


def mamba2_layer(config: Config, prefix: str = "mamba_", **traits: Any) -> Mamba2:
    """Mamba-2 layer of a hybrid."""
    heads = config.need(prefix + "n_heads", prefix + "num_heads", "num_heads", "n_mamba_heads")
    inner = config.number(prefix + "d_ssm", fallback=config.number(prefix + "expand", "expand", fallback=2.0)
                          * config.need("hidden_size"))
    head_dim = config.number(prefix + "d_head", prefix + "head_dim", "mamba_headdim", fallback=inner // heads)
    return Mamba2(**{
        "heads": heads, "head_dim": head_dim,
        "state": config.need(prefix + "d_state", "ssm_state_size", "state_size"),
        "groups": config.need(prefix + "n_groups", prefix + "ngroups", "n_groups"),
        "kernel": config.need(prefix + "d_conv", "conv_kernel"),
        "chunk": config.number(prefix + "chunk_size", "chunk_size", fallback=256.0),
        "bias": config.flag(prefix + "proj_bias", "use_bias"),
        "conv_bias": config.flag(prefix + "conv_bias", "use_conv_bias", fallback=True), **traits,
    })


def mamba2(config: Config) -> Decoder:
    """Mamba-2: one mixer per layer."""
    layer = mamba2_layer(config, prefix="", head_dim=config.need("head_dim"), bias=config.flag("use_bias"))
    return decoder(config, [Block(mamba2=layer)] * config.layers)


def jamba(config: Config) -> Decoder:
    """Jamba: attention and experts at fixed periods, norms on dt, B and C."""
    period, offset = int(config.need("attn_layer_period")), int(config.number("attn_layer_offset", fallback=0.0))
    every, first = int(config.need("expert_layer_period")), int(config.number("expert_layer_offset", fallback=0.0))
    mixer = mamba1(config, "mamba_", inner_norms=True)
    part = experts(config, width=config.need("intermediate_size"), shared=None)
    blocks = []
    for i in range(config.layers):
        attends, sparse = i % period == offset, i % every == first
        blocks.append(Block(
            attention=attention(config, rotary=0.0) if attends else None, mamba=None if attends else mixer,
            moe=part if sparse else None, mlp=None if sparse else mlp(config),
        ))
    return decoder(config, blocks)


def bamba(config: Config) -> Decoder:
    """Bamba: Mamba-2 with attention at listed layers, a dense part everywhere."""
    listed = {int(i) for i in config.list("attn_layer_indices")}
    bias = config.flag("attention_bias")
    blocks = [
        Block(attention=attention(config, qkv_bias=bias, out_bias=bias) if i in listed else None,
              mamba2=None if i in listed else mamba2_layer(config), mlp=mlp(config, bias="?mlp_bias"))
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
        blocks.append(Block(
            attention=attention(config) if attends else None, mamba2=None if attends else mamba2_layer(config),
            moe=part, mlp=None if part else dense,
        ))
    return decoder(config, blocks)


def falcon_h1(config: Config) -> Decoder:
    """Falcon-H1: attention and Mamba-2 side by side on one input."""
    bias, projections = config.flag("attention_bias"), config.flag("projectors_bias")
    block = Block(
        attention=attention(config, qkv_bias=bias, out_bias=bias),
        mamba2=mamba2_layer(config, bias=config.flag("mamba_proj_bias") or projections,
                            gated_norm=config.flag("mamba_rms_norm")),
        mlp=mlp(config, bias="?mlp_bias"),
    )
    return decoder(config, [block] * config.layers)


def nemotron_h(config: Config) -> Decoder:
    """Nemotron-H: each layer is one of M (Mamba-2), * (attention), - (dense part), E (experts)."""
    pattern: Sequence[str] = config.text("hybrid_override_pattern")
    if not pattern:
        short = {"mamba": "M", "linear_attention": "M", "attention": "*", "full_attention": "*", "mlp": "-", "moe": "E"}
        pattern = [short.get(str(kind), "M") for kind in config.list("layers_block_type", "layer_types")]
    bias = config.flag("attention_bias")
    feed = {"gated": False, "bias": config.flag("mlp_bias"), "activation": config.text("mlp_hidden_act")}

    def block(kind: str) -> Block:
        if kind == "*":
            core = attention(config, head_dim=config.need("head_dim", "attention_head_dim"), qkv_bias=bias,
                             out_bias=bias, rotary=0.0)
            return Block(attention=core)
        if kind == "-":
            return Block(mlp=mlp(config, **feed))
        if kind == "E":
            shared = Mlp(width=config.need("moe_shared_expert_intermediate_size"), **feed)
            part = experts(config, shared=shared, gated=False, activation="relu2", bias=feed["bias"],
                           latent=config.number("moe_latent_size"))
            return Block(moe=part)
        return Block(mamba2=mamba2_layer(config))

    return decoder(config, [block(kind) for kind in pattern])


def minimax(config: Config) -> Decoder:
    """MiniMax-Text-01: lightning attention in seven of eight layers, experts everywhere."""
    types = config.list("layer_types")
    flags = config.list("attn_type_list")
    softmax = [bool(f) for f in flags] if flags else [k == "full_attention" for k in types]
    if not softmax:
        softmax = [(i + 1) % 2 == 0 for i in range(config.layers)]
    heads = config.need("num_attention_heads")
    linear = LinearAttention(heads=heads, head_dim=config.number("head_dim", fallback=config.need("hidden_size") // heads),
                             chunk=config.number("block_size", fallback=256.0))
    part = experts(config, width=config.need("intermediate_size"), shared=None)
    blocks = [
        Block(attention=attention(config) if full else None, linear_attention=None if full else linear, moe=part)
        for full in softmax
    ]
    return decoder(config, blocks)


def qwen_next(config: Config) -> Decoder:
    """Qwen3-Next and Qwen3.5: gated delta networks, gated attention in every fourth layer."""
    delta = GatedDelta(
        key_heads=config.need("linear_num_key_heads"), value_heads=config.need("linear_num_value_heads"),
        key_dim=config.need("linear_key_head_dim"), value_dim=config.need("linear_value_head_dim"),
        kernel=config.need("linear_conv_kernel_dim"),
    )
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
        core = attention(config, gate="element", qk_norm="head", qkv_bias="?attention_bias",
                         out_bias="?attention_bias") if full else None
        blocks.append(Block(
            attention=core, gated_delta=None if full else delta,
            moe=qwen_experts(config) if sparse else None, mlp=None if sparse else mlp(config),
        ))
    return decoder(config, blocks)


def kimi_linear(config: Config) -> Decoder:
    """Kimi Linear: Kimi delta attention, latent attention in every fourth layer."""
    inner = config.inner("linear_attn_config")
    delta = KimiDelta(
        heads=config.number("linear_num_heads", fallback=inner.number("num_heads", fallback=32.0)),
        head_dim=config.number("linear_head_dim", fallback=inner.number("head_dim", fallback=128.0)),
        kernel=config.number("linear_conv_kernel_dim", fallback=inner.number("short_conv_kernel_size", fallback=4.0)),
    )
    full = {int(i) - 1 for i in inner.list("full_attn_layers")} or {i for i in range(config.layers) if i and i % 4 == 0}
    first = int(config.number("first_k_dense_replace", fallback=1.0))
    sparse = sparse_layers(config) if config.list("mlp_layer_types") else [i >= first for i in range(config.layers)]
    blocks = [
        Block(mla=latent(config) if i in full else None, kimi_delta=None if i in full else delta,
              moe=experts(config) if sparse[i] else None, mlp=None if sparse[i] else mlp(config))
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
        blocks.append(Block(
            attention=attention(config, qk_norm="head") if full else None, short_conv=None if full else conv,
            moe=experts(config, shared=None) if sparse else None, mlp=None if sparse else Mlp(width=width),
        ))
    return decoder(config, blocks)


def recurrent_gemma(config: Config) -> Decoder:
    """RecurrentGemma: two recurrent blocks, then local attention."""
    pattern = config.list("block_types", "layers_block_type")
    width = config.number("lru_width", fallback=config.need("hidden_size"))
    bias = config.flag("attention_bias")
    local = attention(config, qkv_bias=bias, out_bias=True, window=config.need("attention_window_size"), rotary=0.5,
                      kv_heads=config.number("num_key_value_heads", fallback=config.need("num_attention_heads")))
    recurrent = Rglru(width=width, blocks=config.need("num_attention_heads"), kernel=config.need("conv1d_width"))
    feed = Mlp(width=config.need("intermediate_size") // 2, bias=True, activation="gelu")
    blocks = []
    for i in range(config.layers):
        attends = pattern[i % len(pattern)] == "attention" if pattern else (i + 1) % 3 == 0
        blocks.append(Block(attention=local if attends else None, rglru=None if attends else recurrent, mlp=feed))
    return decoder(config, blocks)


def rwkv(config: Config) -> Decoder:
    """RWKV-4: time mixing and channel mixing."""
    hidden = config.need("hidden_size")
    block = Block(
        time_mix=TimeMix(width=config.number("attention_hidden_size", fallback=hidden)),
        channel_mix=ChannelMix(width=config.number("intermediate_size", fallback=4.0 * hidden)),
    )
    return decoder(config, [block] * config.layers, norm="layer", embedding_norm=True)


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
    """Zamba: Mamba layers and one or two transformer blocks, called again and again on state and embedding."""
    hidden, second = config.need("hidden_size"), config.kind == "zamba2"
    kinds = zamba_pattern(config)
    calls = float(sum(kind == "hybrid" for kind in kinds))
    heads = config.need("num_attention_heads")
    feed = Mlp(width=config.number("intermediate_size", fallback=4.0 * hidden), activation="gelu",
               bias=second and config.flag("add_bias_linear"))
    core = attention(
        config, input_width=2.0 * hidden, head_dim=2.0 * hidden // heads,
        rotary=1.0 if config.flag("use_mem_rope") else 0.0,
    )
    adapter = config.need("adapter_rank") if second else None
    shared = Block(
        repeat=calls, copies=config.number("num_mem_blocks", fallback=1.0), attention=core, mlp=feed,
        out_projection=True, mlp_adapter=adapter,
        attention_adapter=adapter if config.flag("use_shared_attention_adapter") else None,
    )
    if second:
        bias = config.flag("add_bias_linear")
        mixer = Block(mamba2=mamba2_layer(config, bias=bias))
    else:
        mixer = Block(mamba=mamba1(config, "mamba_", heads=config.need("n_mamba_heads")))
    layers = stack([mixer] * len(kinds))
    return Decoder(hidden=hidden, vocabulary=config.need("vocab_size"), tied=config.flag("tie_word_embeddings"),
                   blocks=(*layers, shared))


def builders() -> dict[str, Build]:
    """Model type -> builder."""
    found: dict[str, Callable[[Config], Decoder]] = {
        "mamba": mamba, "falcon_mamba": mamba, "mamba2": mamba2, "jamba": jamba, "bamba": bamba,
        "granitemoehybrid": granite_hybrid, "falcon_h1": falcon_h1, "nemotron_h": nemotron_h, "minimax": minimax,
        **dict.fromkeys(("qwen3_next", "qwen3_5", "qwen3_5_moe"), qwen_next),
        "kimi_linear": kimi_linear, "lfm2": lfm2, "lfm2_moe": lfm2, "recurrent_gemma": recurrent_gemma,
        "rwkv": rwkv, "zamba": zamba, "zamba2": zamba,
    }
    return found


