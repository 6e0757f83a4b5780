"""Decoders with a mixture of experts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from perfmodel.workload.block import Block
from perfmodel.workload.decoder import Decoder
from perfmodel.workload.importers.hf_config import Config
from perfmodel.workload.importers.hf_layers import attention, mlp, stack, windows
from perfmodel.workload.layers import Attention, ExpertAttention, Mla, Mlp, Moe

Build = Callable[[Config], Decoder]


def decoder(config: Config, blocks: Sequence[Block], **traits: Any) -> Decoder:
    """Decoder of single layers."""
    return Decoder(
        hidden=config.need("hidden_size"),
        vocabulary=config.need("vocab_size"),
        tied=config.flag("tie_word_embeddings"),
        blocks=stack(blocks),
        **traits,
    )


def experts(config: Config, **traits: Any) -> Moe:
    """Routed and shared experts from the usual fields."""
    if "width" not in traits:
        traits["width"] = config.need("moe_intermediate_size", "expert_ffn_hidden_size", "intermediate_size")
    if "shared" not in traits:
        traits["shared"] = shared(config, traits["width"])
    names = (
        "num_experts_per_tok",
        "num_experts_per_token",
        "moe_topk",
        "moe_top_k",
        "moe_k",
        "top_k_experts",
    )
    return Moe(
        experts=config.need("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts"),
        top_k=config.need(*names),
        groups=groups(config, "n_group"),
        group_limit=groups(config, "topk_group"),
        **traits,
    )


def shared(config: Config, width: float) -> Mlp | None:
    """Shared experts as one part of their joint width."""
    number = config.number(
        "n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts"
    )
    return Mlp(width=number * width) if number else None


def groups(config: Config, name: str) -> float | None:
    """Group limits of the router, where there is more than one group."""
    count = config.number("n_group", fallback=1.0)
    value = config.number(name)
    return float(value) if value is not None and count > 1.0 else None


def sparse_layers(config: Config) -> list[bool]:
    """Which layers have experts: from a list, or all but the first few, or every n-th."""
    layers = config.layers
    types = config.list("mlp_layer_types")
    if types:
        return [types[i] == "sparse" for i in range(layers)]
    every = config.get("moe_layer_freq", fallback=1)
    if isinstance(every, (list, tuple)):
        return [bool(every[i]) for i in range(layers)]
    first = int(config.number("first_k_dense_replace", fallback=0.0))
    return [i >= first and i % int(every) == 0 for i in range(layers)]


def plain(
    all_sparse: bool = True,
    norm: str = "rms",
    moe: dict[str, Any] | None = None,
    head_bias: str = "",
    **traits: Any,
) -> Build:
    """Builder of a decoder whose layers differ from Llama's in the feed-forward part alone."""

    def build(config: Config) -> Decoder:
        spans = windows(config) if config.get("sliding_window") is not None else [None] * config.layers
        sparse = [True] * config.layers if all_sparse else sparse_layers(config)
        part = experts(config, **(moe or {}))
        blocks = [
            Block(
                attention=attention(config, window=span, **traits),
                moe=part if has else None,
                mlp=None if has else mlp(config),
            )
            for span, has in zip(spans, sparse, strict=True)
        ]
        return decoder(config, blocks, norm=norm, head_bias=bool(head_bias) and config.flag(head_bias))

    return build


def qwen_moe(config: Config, **traits: Any) -> Decoder:
    """Qwen2 and Qwen3 MoE: dense layers listed or every n-th, gated shared expert in Qwen2."""
    step = int(config.number("decoder_sparse_step", fallback=1.0))
    dense = {int(i) for i in config.list("mlp_only_layers")}
    part = qwen_experts(config)
    blocks = []
    for i in range(config.layers):
        has = i not in dense and (i + 1) % step == 0
        blocks.append(
            Block(
                attention=attention(config, **traits),
                moe=part if has else None,
                mlp=None if has else mlp(config),
            )
        )
    return decoder(config, blocks)


def qwen_experts(config: Config) -> Moe:
    """Experts of Qwen, with a gated shared expert where the file gives its width."""
    width = config.number("shared_expert_intermediate_size")
    return experts(config, shared=Mlp(width=width) if width else None, shared_gate=bool(width))


def latent(config: Config, **traits: Any) -> Mla:
    """Latent attention from the usual fields."""
    usual = {
        "heads": config.need("num_attention_heads"),
        "q_rank": config.number("q_lora_rank"),
        "kv_rank": config.need("kv_lora_rank"),
        "rope_dim": config.need("qk_rope_head_dim"),
        "nope_dim": config.need("qk_nope_head_dim"),
        "v_dim": config.number(
            "v_head_dim", fallback=config.need("hidden_size") // config.need("num_attention_heads")
        ),
        "bias": config.flag("attention_bias"),
    }
    return Mla(**{**usual, **traits})


def glm_moe(config: Config) -> Decoder:
    """GLM-4.5 and later: grouped-query attention with biases, first layers dense."""
    norm = "head" if config.flag("use_qk_norm") else "none"
    blocks = [
        Block(
            attention=attention(config, qkv_bias=config.flag("attention_bias"), qk_norm=norm),
            moe=experts(config) if has else None,
            mlp=None if has else mlp(config),
        )
        for has in sparse_layers(config)
    ]
    return decoder(config, blocks)


def gpt_oss(config: Config) -> Decoder:
    """gpt-oss: biases, attention sinks, alternating windows."""
    bias = config.flag("attention_bias")
    part = experts(config, bias=True, router_bias=True)
    blocks = [
        Block(attention=attention(config, window=span, qkv_bias=bias, out_bias=bias, sinks=True), moe=part)
        for span in windows(config, (True, False))
    ]
    return decoder(config, blocks)


def mimo(config: Config) -> Decoder:
    """MiMo-V2: window layers have more key-value heads and sinks; queries wider than values."""
    window = config.number("sliding_window_size", "sliding_window")
    types, pattern = config.list("layer_types"), config.list("hybrid_layer_pattern")
    blocks = []
    for i, has in enumerate(sparse_layers_mimo(config)):
        if pattern:
            slides = bool(pattern[i])
        elif types:
            slides = types[i] == "sliding_attention"
        else:
            slides = not (i == 0 or (i + 1) % 6 == 0)
        kv = config.need("num_key_value_heads")
        if slides:
            kv = config.number("swa_num_key_value_heads", fallback=2.0 * kv)
        core = attention(
            config,
            kv_heads=kv,
            value_dim=config.need("v_head_dim"),
            window=window if slides else None,
            sinks=slides,
            qkv_bias=config.flag("attention_bias"),
        )
        blocks.append(
            Block(attention=core, moe=experts(config) if has else None, mlp=None if has else mlp(config))
        )
    return decoder(config, blocks)


def sparse_layers_mimo(config: Config) -> list[bool]:
    """MiMo: as listed; all but the first where nothing is listed."""
    if config.list("moe_layer_freq") or config.list("mlp_layer_types"):
        return sparse_layers(config)
    return [i > 0 for i in range(config.layers)]


def step(config: Config) -> Decoder:
    """Step 3.5 and 3.7: gate per head, normalised queries and keys, first layers dense."""
    width = config.number("share_expert_dim", fallback=0.0)
    window, types = config.number("sliding_window"), config.list("layer_types")
    sliding_heads = config.number("num_sliding_attention_heads")
    enumerated = config.text("moe_layers_enum")
    sparse = sparse_layers(config)
    if enumerated:
        listed = {int(i) for i in enumerated.split(",")}
        sparse = [i in listed for i in range(config.layers)]
    part = experts(config, shared=Mlp(width=width) if width else None)
    blocks = []
    for i, has in enumerate(sparse):
        slides = bool(types) and types[i] == "sliding_attention"
        more = {"heads": sliding_heads} if slides and sliding_heads else {}
        core = attention(config, window=window if slides else None, qk_norm="head", gate="head", **more)
        blocks.append(Block(attention=core, moe=part if has else None, mlp=None if has else mlp(config)))
    return decoder(config, blocks)


def ernie(config: Config) -> Decoder:
    """ERNIE 4.5 MoE: experts between a first and a last layer, with a stored correction per expert."""
    bias = config.flag("use_bias")
    first = int(config.number("moe_layer_start_index", fallback=0.0))
    last = int(config.number("moe_layer_end_index", fallback=-1.0))
    every = int(config.number("moe_layer_interval", fallback=1.0))
    last = config.layers - 1 if last < 0 else last
    blocks = []
    for i in range(config.layers):
        has = first <= i <= last and (i + 1) % every == 0
        blocks.append(
            Block(
                attention=attention(config, qkv_bias=bias, out_bias=bias),
                moe=experts(config, router_bias=True) if has else None,
                mlp=None if has else mlp(config, bias=bias),
            )
        )
    return decoder(config, blocks, head_bias=bias)


def dbrx(config: Config) -> Decoder:
    """DBRX: dimensions in two nested mappings."""
    inner, feed = config.inner("attn_config"), config.inner("ffn_config")
    hidden, heads = config.need("d_model"), config.need("n_heads")
    block = Block(
        attention=Attention(heads=heads, kv_heads=inner.need("kv_n_heads"), head_dim=hidden // heads),
        moe=Moe(
            experts=feed.need("moe_num_experts"),
            top_k=feed.need("moe_top_k"),
            width=feed.need("ffn_hidden_size"),
        ),
    )
    layers = int(config.need("n_layers"))
    return Decoder(
        hidden=hidden,
        vocabulary=config.need("vocab_size"),
        tied=config.flag("tie_word_embeddings"),
        norm="layer",
        norm_bias=False,
        blocks=stack([block] * layers),
    )


def llama4(config: Config) -> Decoder:
    """Llama 4: chunked attention with rotation in three of four layers, one routed and one shared expert."""
    every = int(config.number("interleave_moe_layer_step", fallback=1.0))
    width, dense = config.need("intermediate_size"), config.need("intermediate_size_mlp")
    chunk = config.number("attention_chunk_size")
    rotated = list(config.list("no_rope_layers"))
    period = int(config.number("no_rope_layer_interval", fallback=4.0))
    norm = "unit" if config.flag("use_qk_norm") else "none"
    bias = config.flag("attention_bias")
    part = experts(config, width=width, shared=Mlp(width=width))
    blocks = []
    for i in range(config.layers):
        local = bool(rotated[i]) if len(rotated) == config.layers else (i + 1) % period != 0
        core = attention(
            config,
            chunk=chunk if local else None,
            rotary=1.0 if local else 0.0,
            qk_norm=norm if local else "none",
            qkv_bias=bias,
            out_bias=bias,
        )
        has = (i + 1) % every == 0
        blocks.append(Block(attention=core, moe=part if has else None, mlp=None if has else Mlp(width=dense)))
    return decoder(config, blocks)


def jetmoe(config: Config) -> Decoder:
    """JetMoE: query and output projections are experts too."""
    heads = config.need("num_key_value_heads")
    part = experts(config, width=config.need("intermediate_size"), out_bias=True)
    core = ExpertAttention(
        experts=part.experts,
        top_k=part.top_k,
        kv_heads=heads,
        head_dim=config.need("kv_channels", "head_dim"),
    )
    return decoder(config, [Block(expert_attention=core, moe=part)] * config.layers)


def builders() -> dict[str, Build]:
    """Model type -> builder."""
    return {
        "mixtral": plain(),
        "phimoe": plain(
            norm="layer", head_bias="lm_head_bias", qkv_bias="?attention_bias", out_bias="?attention_bias"
        ),
        "olmoe": plain(qk_norm="all", qkv_bias="?attention_bias", out_bias="?attention_bias"),
        "granitemoe": plain(qkv_bias="?attention_bias", out_bias="?attention_bias"),
        "minimax_m2": plain(qk_norm="all"),
        "dots1": plain(
            all_sparse=False, qk_norm="head", qkv_bias="?attention_bias", out_bias="?attention_bias"
        ),
        "qwen2_moe": lambda config: qwen_moe(config, qkv_bias=config.flag("qkv_bias", fallback=True)),
        "qwen3_moe": lambda config: qwen_moe(
            config, qk_norm="head", qkv_bias="?attention_bias", out_bias="?attention_bias"
        ),
        "glm4_moe": glm_moe,
        "gpt_oss": gpt_oss,
        "mimo_v2_flash": mimo,
        "step3p5": step,
        "ernie4_5_moe": ernie,
        "dbrx": dbrx,
        "llama4": llama4,
        "jetmoe": jetmoe,
    }
