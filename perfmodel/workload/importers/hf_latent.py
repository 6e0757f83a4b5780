"""Decoders with latent or compressed attention: DeepSeek V2 to V4, Kimi K2, GLM-5, MiniCPM3, LongCat."""

from __future__ import annotations

from perfmodel.workload.block import Block
from perfmodel.workload.decoder import Decoder
from perfmodel.workload.importers.hf_config import Config
from perfmodel.workload.importers.hf_layers import mlp
from perfmodel.workload.importers.hf_moe import Build, decoder, experts, latent, sparse_layers
from perfmodel.workload.layers import CompressedAttention, Indexer, Mlp


def deepseek(config: Config) -> Decoder:
    """DeepSeek V2, V3, V3.2, Kimi K2, GLM-5: latent attention, first layers dense."""
    index_heads = config.number("index_n_heads")
    picker = None
    if index_heads is not None:
        picker = Indexer(
            heads=index_heads, head_dim=config.need("index_head_dim"), top_k=config.need("index_topk")
        )
    core = latent(config, indexer=picker)
    after = 1.0 if config.text("model_type") == "axk1" else None  # A.X K1 has a norm after the experts
    blocks = [
        Block(
            mla=core,
            moe=experts(config) if has else None,
            mlp=None if has else mlp(config),
            extra_norms=after if has else None,
        )
        for has in sparse_layers(config)
    ]
    return decoder(config, blocks)


def dense_latent(config: Config) -> Decoder:
    """MiniCPM3: latent attention and a dense feed-forward part in every layer."""
    block = Block(mla=latent(config), mlp=mlp(config))
    return decoder(config, [block] * config.layers)


def longcat(config: Config) -> Decoder:
    """LongCat-Flash: a layer is two latent attentions and two dense parts, with experts beside the first."""
    core, dense = latent(config), Mlp(width=config.need("ffn_hidden_size", "intermediate_size"))
    part = experts(
        config,
        empty_experts=config.number("zero_expert_num"),
        router_bias=config.flag("router_bias"),
        shared=None,
    )
    pair = [Block(mla=core, mlp=dense, moe=part), Block(mla=core, mlp=dense)]
    return decoder(config, pair * config.layers)


def deepseek_v4(config: Config) -> Decoder:
    """DeepSeek-V4: window layers, layers with few and with many tokens per entry, hyper-connections."""
    ratios = [int(r) for r in config.list("compress_ratios")][: config.layers]
    if not ratios:
        short = {"compressed_sparse_attention": 4, "heavily_compressed_attention": 128}
        ratios = [short.get(str(kind), 0) for kind in config.list("layer_types")]
    if not ratios:
        ratios = [128, 128, *(4 if i % 2 else 128 for i in range(config.layers - 2))]
    streams = config.need("hc_mult")
    picker = Indexer(
        heads=config.need("index_n_heads"),
        head_dim=config.need("index_head_dim"),
        top_k=config.need("index_topk"),
    )
    part = experts(config, activation="silu")
    blocks = []
    for ratio in ratios:
        core = CompressedAttention(
            heads=config.need("num_attention_heads"),
            head_dim=config.need("head_dim"),
            q_rank=config.need("q_lora_rank"),
            rope_dim=config.number("qk_rope_head_dim", fallback=64.0),
            window=config.need("sliding_window"),
            ratio=float(ratio) if ratio else None,
            indexer=picker if 0 < ratio < 128 else None,
            out_groups=config.need("o_groups"),
            out_rank=config.need("o_lora_rank"),
        )
        blocks.append(Block(compressed_attention=core, moe=part, streams=streams))
    return decoder(config, blocks, streams=streams)


def builders() -> dict[str, Build]:
    """Model type -> builder."""
    deep = ("deepseek_v2", "deepseek_v3", "deepseek_v32", "glm_moe_dsa", "glm4_moe_lite", "mistral4")
    return {
        **dict.fromkeys(deep, deepseek),
        "minicpm3": dense_latent,
        "longcat_flash": longcat,
        "deepseek_v4": deepseek_v4,
    }
