"""Encoders and encoder-decoders: BERT and relatives, T5, BART, Whisper, ViT, CLIP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from perfmodel.workload.block import Block
from perfmodel.workload.encoder import DualEncoder, Encoder, Patches
from perfmodel.workload.encoder_decoder import EncoderDecoder, Frames
from perfmodel.workload.importers.hf_config import Config
from perfmodel.workload.importers.hf_layers import stack
from perfmodel.workload.layers import Attention, Cross, Mlp


def biased(heads: float, hidden: float, inner: float, head_dim: float | None = None, **traits: Any) -> Block:
    """Layer with biases everywhere and a plain feed-forward part; `traits` are fields of Block."""
    core = Attention(
        heads=heads,
        head_dim=hidden // heads if head_dim is None else head_dim,
        qkv_bias=True,
        out_bias=True,
        rotary=0.0,
    )
    return Block(attention=core, mlp=Mlp(width=inner, gated=False, bias=True, activation="gelu"), **traits)


def bert(config: Config) -> Encoder:
    """BERT, RoBERTa, ELECTRA, ALBERT: norms after the parts."""
    hidden = config.need("hidden_size")
    layer = biased(
        config.need("num_attention_heads"),
        hidden,
        config.need("intermediate_size"),
        pre_norms=False,
        post_norms=True,
    )
    narrow = config.number("embedding_size", fallback=hidden)
    groups = config.number("num_hidden_groups")
    layers = float(config.layers)
    return Encoder(
        hidden=hidden,
        vocabulary=config.need("vocab_size"),
        types=config.need("type_vocab_size"),
        positions=config.need("max_position_embeddings"),
        embedding_norm=True,
        embedding_width=None if narrow == hidden else narrow,
        pooler=config.kind != "electra",
        blocks=(replace(layer, repeat=layers, copies=groups),),
    )


def distilbert(config: Config) -> Encoder:
    """DistilBERT: BERT without token types and pooler."""
    hidden = config.need("dim")
    layer = biased(
        config.need("n_heads"),
        hidden,
        config.need("hidden_dim"),
        repeat=config.need("n_layers"),
        pre_norms=False,
        post_norms=True,
    )
    return Encoder(
        hidden=hidden,
        vocabulary=config.need("vocab_size"),
        embedding_norm=True,
        positions=config.need("max_position_embeddings"),
        blocks=(layer,),
    )


def modernbert(config: Config) -> Encoder:
    """ModernBERT: gated parts, rotation, local layers, no norm before the first attention."""
    hidden, heads = config.need("hidden_size"), config.need("num_attention_heads")
    every = int(config.number("global_attn_every_n_layers", fallback=3.0))
    types = config.list("layer_types")
    window = config.number("local_attention")
    bias = config.flag("attention_bias")
    blocks = []
    for i in range(config.layers):
        slides = types[i] == "sliding_attention" if types else bool(i % every)
        core = Attention(
            heads=heads,
            head_dim=hidden // heads,
            qkv_bias=bias,
            out_bias=bias,
            window=window if slides else None,
        )
        feed = Mlp(width=config.need("intermediate_size"), bias=config.flag("mlp_bias"), activation="gelu")
        blocks.append(Block(attention=core, mlp=feed))
    # the first layer has no attention norm of its own: it reads the embedding norm
    return Encoder(
        hidden=hidden,
        vocabulary=config.need("vocab_size"),
        norm_bias=config.flag("norm_bias"),
        final_norm=True,
        blocks=stack(blocks),
    )


def vit(config: Config) -> Encoder:
    """ViT and DeiT: patches, class tokens, a classifier on each of them."""
    hidden = config.need("hidden_size")
    tokens = 2.0 if config.kind == "deit" else 1.0
    patches = Patches(
        image=config.need("image_size"),
        size=config.need("patch_size"),
        channels=config.need("num_channels"),
        class_tokens=tokens,
    )
    layer = biased(
        config.need("num_attention_heads"),
        hidden,
        config.need("intermediate_size"),
        repeat=float(config.layers),
    )
    labels = config.get("id2label")
    classes = config.number("num_labels", fallback=float(len(labels)) if labels else 1000.0)
    return Encoder(hidden=hidden, image=patches, blocks=(layer,), final_norm=True, classes=classes)


def clip(config: Config) -> DualEncoder:
    """CLIP: a causal text encoder and a ViT without patch bias, projected to one space."""

    def layers(part: Config) -> tuple[Block, ...]:
        return (
            biased(
                part.need("num_attention_heads"),
                part.need("hidden_size"),
                part.need("intermediate_size"),
                repeat=float(part.layers),
            ),
        )

    words, picture = config.inner("text_config"), config.inner("vision_config")
    image = Patches(
        image=picture.need("image_size"), size=picture.need("patch_size"), bias=False, class_tokens=1.0
    )
    return DualEncoder(
        text=Encoder(
            hidden=words.need("hidden_size"),
            vocabulary=words.need("vocab_size"),
            causal=True,
            final_norm=True,
            positions=words.need("max_position_embeddings"),
            blocks=layers(words),
        ),
        image=Encoder(
            hidden=picture.need("hidden_size"),
            image=image,
            embedding_norm=True,
            final_norm=True,
            blocks=layers(picture),
        ),
        projection=config.need("projection_dim"),
    )


def t5(config: Config) -> EncoderDecoder:
    """T5: RMS norms, no biases, a relative position table in the first layer of each stack."""
    hidden, heads, width = config.need("d_model"), config.need("num_heads"), config.need("d_kv")
    gated = config.text("feed_forward_proj", fallback="relu").startswith("gated")
    feed = Mlp(width=config.need("d_ff"), gated=gated, activation="gelu" if gated else "relu")
    buckets = config.need("relative_attention_num_buckets")
    core = Attention(heads=heads, head_dim=width, rotary=0.0)
    first = replace(core, relative_buckets=buckets)
    cross = Cross(heads=heads, head_dim=width)

    def layers(count: float, other: Cross | None) -> tuple[Block, ...]:
        return (
            Block(attention=first, cross=other, mlp=feed),
            Block(repeat=count - 1.0, attention=core, cross=other, mlp=feed),
        )

    encoders = config.need("num_layers")
    return EncoderDecoder(
        hidden=hidden,
        vocabulary=config.need("vocab_size"),
        norm="rms",
        tied=config.flag("tie_word_embeddings", fallback=True),
        encoder=layers(encoders, None),
        decoder=layers(config.number("num_decoder_layers", fallback=encoders), cross),
    )


def bart(config: Config) -> EncoderDecoder:
    """BART: learned positions with two spare rows, norms after the parts."""
    hidden, rows = config.need("d_model"), config.need("max_position_embeddings") + 2.0
    order = {"pre_norms": False, "post_norms": True}
    heads = config.need("decoder_attention_heads")
    encoder = biased(
        config.need("encoder_attention_heads"),
        hidden,
        config.need("encoder_ffn_dim"),
        repeat=config.need("encoder_layers"),
        **order,
    )
    decoder = biased(
        heads,
        hidden,
        config.need("decoder_ffn_dim"),
        repeat=config.need("decoder_layers"),
        cross=Cross(heads=heads, head_dim=hidden // heads, bias=True),
        **order,
    )
    return EncoderDecoder(
        hidden=hidden,
        vocabulary=config.need("vocab_size"),
        positions=rows,
        source_positions=rows,
        embedding_norm=True,
        final_norm=False,
        encoder=(encoder,),
        decoder=(decoder,),
    )


def whisper(config: Config) -> EncoderDecoder:
    """Whisper: convolutions over the spectrogram, keys without bias."""
    hidden = config.need("d_model")

    def layer(heads: float, inner: float, count: float, **traits: Any) -> Block:
        plain = biased(heads, hidden, inner, repeat=count, **traits)
        core = Attention(
            heads=heads, head_dim=hidden // heads, q_bias=True, v_bias=True, out_bias=True, rotary=0.0
        )
        return replace(plain, attention=core)

    heads = config.need("decoder_attention_heads")
    cross = Cross(heads=heads, head_dim=hidden // heads, bias=True, key_bias=False)
    return EncoderDecoder(
        hidden=hidden,
        vocabulary=config.need("vocab_size"),
        positions=config.need("max_target_positions"),
        frames=Frames(bins=config.need("num_mel_bins"), length=2.0 * config.need("max_source_positions")),
        encoder=(
            layer(
                config.need("encoder_attention_heads"),
                config.need("encoder_ffn_dim"),
                config.need("encoder_layers"),
            ),
        ),
        decoder=(layer(heads, config.need("decoder_ffn_dim"), config.need("decoder_layers"), cross=cross),),
    )


def builders() -> dict[str, tuple[str, Callable[[Config], Any]]]:
    """Model type -> (family, builder)."""
    encoders = {
        "bert": bert,
        "roberta": bert,
        "electra": bert,
        "albert": bert,
        "distilbert": distilbert,
        "modernbert": modernbert,
        "vit": vit,
        "deit": vit,
    }
    both: dict[str, Callable[[Config], Any]] = {"t5": t5, "bart": bart, "whisper": whisper}
    return {
        **{kind: ("encoder", build) for kind, build in encoders.items()},
        **{kind: ("encoder_decoder", build) for kind, build in both.items()},
        "clip": ("dual_encoder", clip),
    }
