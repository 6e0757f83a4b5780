"""Dense decoders that need more than a row of the table in ``hf_dense``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from perfmodel.workload.block import Block
from perfmodel.workload.decoder import Decoder
from perfmodel.workload.importers.hf_config import Config
from perfmodel.workload.importers.hf_dense import TABLE, Traits, build
from perfmodel.workload.importers.hf_layers import attention, mlp, stack, windows


def with_window(block: Block, window: float | None) -> Block:
    """The layer with a sliding window."""
    return (
        block
        if block.attention is None
        else replace(block, attention=replace(block.attention, window=window))
    )


def qwen_windows(config: Config, traits: Traits) -> Decoder:
    """Qwen: the window, where it is used at all, holds from layer `max_window_layers` on."""
    model = build(config, traits)
    if not config.flag("use_sliding_window"):
        return model
    block = replace(model.blocks[0], repeat=1.0)
    if config.list("layer_types"):
        return replace(model, blocks=stack([with_window(block, span) for span in windows(config)]))
    first = int(config.number("max_window_layers", fallback=config.layers))
    sliding = with_window(block, config.number("sliding_window"))
    return replace(
        model,
        blocks=stack([replace(block if i < first else sliding, repeat=1.0) for i in range(config.layers)]),
    )


def gpt_neo(config: Config, traits: Traits) -> Decoder:
    """GPT-Neo: `attention_types` lists global and local layers."""
    model = build(config, traits)
    kinds = [kind for kinds, times in config.list("attention_types") for _ in range(times) for kind in kinds]
    block = replace(model.blocks[0], repeat=1.0)
    local = with_window(block, config.number("window_size"))
    layers = [local if kinds and kinds[i % len(kinds)] == "local" else block for i in range(config.layers)]
    return replace(model, blocks=stack(layers))


def opt(config: Config, traits: Traits) -> Decoder:
    """OPT: the 350M model normalises after each part and projects a narrow embedding."""
    model = build(config, traits)
    width = config.number("word_embed_proj_dim", fallback=model.hidden)
    first = config.flag("do_layer_norm_before", fallback=True)
    block = replace(model.blocks[0], pre_norms=first, post_norms=not first)
    return replace(
        model,
        blocks=(block,),
        final_norm=first,
        embedding_width=None if width == model.hidden else width,
    )


def falcon(config: Config, traits: Traits) -> Decoder:
    """Falcon: multi-query (7B) or grouped (40B, 180B), parallel parts with one or two norms."""
    hidden, heads = config.need("hidden_size"), config.need("num_attention_heads")
    new, parallel = config.flag("new_decoder_architecture"), config.flag("parallel_attn")
    kv = 1.0 if config.flag("multi_query") else heads
    if new:
        kv = config.number("num_kv_heads", fallback=heads)
    bias = config.flag("bias")
    norms = config.number("num_ln_in_parallel_attn", fallback=2.0 if new else 1.0)
    block = Block(
        repeat=float(config.layers),
        parallel=parallel or new,
        two_norms=new and norms == 2.0,
        attention=attention(
            config, kv_heads=kv, qkv_bias=bias, out_bias=bias, rotary=0.0 if config.flag("alibi") else 1.0
        ),
        mlp=mlp(
            config, width=config.number("ffn_hidden_size", fallback=4.0 * hidden), gated=False, bias=bias
        ),
    )
    return Decoder(
        hidden=hidden,
        vocabulary=config.need("vocab_size"),
        tied=config.flag("tie_word_embeddings"),
        norm="layer",
        blocks=(block,),
    )


def mpt(config: Config, traits: Traits) -> Decoder:
    """MPT: linear biases instead of positions, no bias anywhere."""
    hidden, inner = config.need("d_model"), config.inner("attn_config")
    heads = config.need("n_heads")
    bias = not config.flag("no_bias", fallback=True)
    block = Block(
        repeat=config.need("n_layers"),
        attention=attention(
            config,
            heads=heads,
            head_dim=hidden // heads,
            kv_heads=inner.number("kv_n_heads"),
            qkv_bias=bias,
            out_bias=bias,
            rotary=0.0,
        ),
        mlp=mlp(
            config,
            width=config.number("expansion_ratio", fallback=4.0) * hidden,
            gated=False,
            bias=bias,
            activation="gelu",
        ),
    )
    return Decoder(
        hidden=hidden,
        vocabulary=config.need("vocab_size"),
        tied=True,
        norm="layer",
        norm_bias=bias,
        blocks=(block,),
    )


def chatglm(config: Config, traits: Traits) -> Decoder:
    """ChatGLM 2, 3 and GLM-4 in their first form: field names of their own, fused projections."""
    hidden, heads = config.need("hidden_size"), config.need("num_attention_heads")
    kv = (
        config.number("multi_query_group_num")
        if config.flag("multi_query_attention", fallback=True)
        else heads
    )
    bias = config.flag("add_bias_linear")
    core = attention(
        config,
        kv_heads=kv,
        head_dim=config.number("kv_channels", fallback=hidden // heads),
        rotary=0.5,
        qkv_bias=bias or config.flag("add_qkv_bias", fallback=True),
        out_bias=bias,
    )
    block = Block(
        repeat=config.need("num_layers", "num_hidden_layers"),
        attention=core,
        mlp=mlp(config, width=config.need("ffn_hidden_size"), bias=bias),
    )
    return Decoder(
        hidden=hidden,
        vocabulary=config.need("padded_vocab_size", "vocab_size"),
        blocks=(block,),
        norm="rms" if config.flag("rmsnorm", fallback=True) else "layer",
        tied=config.flag("tie_word_embeddings", fallback=False),
    )


def qwen1(config: Config, traits: Traits) -> Decoder:
    """Qwen (first generation): the file gives twice the inner width."""
    half = config.need("intermediate_size") / 2.0
    block = Block(
        repeat=float(config.layers), attention=attention(config, qkv_bias=True), mlp=mlp(config, width=half)
    )
    return Decoder(
        hidden=config.need("hidden_size"),
        vocabulary=config.need("vocab_size"),
        blocks=(block,),
        tied=config.flag("tie_word_embeddings", fallback=False),
    )


def nemotron_nas(config: Config, traits: Traits) -> Decoder:
    """Llama Nemotron: layers found by search, some without attention or with another inner width."""
    hidden, heads = config.need("hidden_size"), config.need("num_attention_heads")
    blocks = []
    for entry in config.list("block_configs"):
        mixer, feed = entry.get("attention", {}), entry.get("ffn", {})
        core = None
        if not mixer.get("no_op") and not mixer.get("replace_with_linear"):
            core = attention(
                config, kv_heads=heads / float(mixer["n_heads_in_group"]), head_dim=hidden // heads
            )
        part = None
        if not feed.get("no_op") and feed.get("ffn_mult"):
            # the model rounds two thirds of the multiple up to whole 256
            part = mlp(config, width=256.0 * -(-int(2 * feed["ffn_mult"] * hidden / 3) // 256))
        blocks.append(Block(attention=core, mlp=part))
    if not blocks:
        config.missing.append("block_configs")
    return Decoder(
        hidden=hidden,
        vocabulary=config.need("vocab_size"),
        blocks=stack(blocks),
        tied=config.flag("tie_word_embeddings", fallback=False),
    )


#: model types that need more than a row of the table
SPECIAL: dict[str, Callable[[Config, Traits], Decoder]] = {
    **dict.fromkeys(("qwen2", "qwen3", "qwen2_vl_text", "qwen2_5_vl_text"), qwen_windows),
    "gpt_neo": gpt_neo,
    "opt": opt,
    "falcon": falcon,
    "mpt": mpt,
    "chatglm": chatglm,
    "nemotron-nas": nemotron_nas,
    "qwen": qwen1,
}


def builders() -> dict[str, Callable[[Config], Decoder]]:
    """Model type -> builder."""

    def bound(kind: str) -> Callable[[Config], Decoder]:
        return lambda config: SPECIAL[kind](config, TABLE.get(kind, {}))

    return {kind: bound(kind) for kind in SPECIAL}
