"""Dense decoders.  A row of TABLE says what a type does beyond the usual fields; ``"?x"`` reads flag x."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from perfmodel.workload.block import Block
from perfmodel.workload.decoder import Decoder
from perfmodel.workload.importers.hf_config import Config
from perfmodel.workload.importers.hf_layers import attention, mlp, resolve, stack, windows

Traits = Mapping[str, Any]

ALL_BIASED: Traits = {"qkv_bias": True, "out_bias": True}
LLAMA: Traits = {
    "attention": {"qkv_bias": "?attention_bias", "out_bias": "?attention_bias"},
    "mlp": {"bias": "?mlp_bias"},
}
PLAIN: Traits = {"gated": False, "bias": True}
GPT: Traits = {
    "attention": {**ALL_BIASED, "rotary": 0.0},
    "mlp": PLAIN,
    "decoder": {"norm": "layer"},
    "positions": 0.0,
}
ONE_NORM: Traits = {"parallel": True}
TWO_NORMS: Traits = {"parallel": True, "two_norms": True}
ALTERNATE = (True, False)
THREE_OF_FOUR = (True, True, True, False)
FIVE_OF_SIX = (True, True, True, True, True, False)

#: model type -> traits: attention, mlp, block and decoder fields; positions: rows added to the table;
#: windows: which layers slide where the file does not say
TABLE: dict[str, Traits] = {
    "llama": LLAMA,
    "mistral": {"windows": (True,)},
    "ministral": {"windows": (True,)},
    "mistral3_text": {},
    "ministral3": {},
    "smollm3": LLAMA,
    "granite": LLAMA,
    "helium": LLAMA,
    "arcee": {**LLAMA, "mlp": {"gated": False, "bias": "?mlp_bias"}},
    "cwm": LLAMA,
    "iquestcoder": LLAMA,
    "vaultgemma": {**LLAMA, "windows": (True, False)},
    "hyperclovax": {**LLAMA, "post_norms": "use_post_norm"},
    "granite_swa": {**LLAMA, "attention": {**LLAMA["attention"], "sinks": True}, "windows": THREE_OF_FOUR},
    "bitnet": {
        "attention": {"qkv_bias": "?attention_bias", "out_bias": "?attention_bias", "out_norm": True},
        "mlp": {"inner_norm": True},
    },
    "nanochat": {
        "attention": {"qk_norm": "unit"},
        "mlp": {"gated": False},
        "decoder": {"norm_affine": False},
    },
    "jais2": {**LLAMA, "mlp": {"gated": False, "bias": "?mlp_bias"}, "decoder": {"norm": "layer"}},
    "aquila": LLAMA,
    "orion": {**LLAMA, "decoder": {"norm": "layer"}},
    "xverse": LLAMA,
    "minicpm": {},
    "exaone": {},
    "yi": LLAMA,
    "baichuan": {},
    "internlm": LLAMA,
    "internlm2": {"attention": {"qkv_bias": "?bias", "out_bias": "?bias"}},
    "internlm3": {"attention": {"qkv_bias": "?qkv_bias", "out_bias": "?bias"}, "mlp": {"bias": "?bias"}},
    "qwen2": {"attention": {"qkv_bias": True}},
    "qwen2_vl_text": {"attention": {"qkv_bias": True}},
    "qwen2_5_vl_text": {"attention": {"qkv_bias": True}},
    "qwen3": {"attention": {**LLAMA["attention"], "qk_norm": "head"}},
    "qwen3_vl_text": {"attention": {**LLAMA["attention"], "qk_norm": "head"}},
    "seed_oss": {
        "attention": {"qkv_bias": "?attention_bias", "out_bias": "?attention_out_bias"},
        "mlp": {"bias": "?mlp_bias"},
    },
    "ernie4_5": {
        "attention": {"qkv_bias": "?use_bias", "out_bias": "?use_bias"},
        "mlp": {"bias": "?use_bias"},
    },
    "hunyuan_v1_dense": {"attention": {**LLAMA["attention"], "qk_norm": "head"}},
    "exaone4": {
        "attention": {"qk_norm": "head"},
        "block": {"pre_norms": False, "post_norms": True},
        "windows": THREE_OF_FOUR,
    },
    "olmo": {"attention": LLAMA["attention"], "decoder": {"norm": "layer", "norm_affine": False}},
    "olmo2": {
        "attention": {**LLAMA["attention"], "qk_norm": "all"},
        "block": {"pre_norms": False, "post_norms": True},
    },
    "olmo3": {
        "attention": {**LLAMA["attention"], "qk_norm": "all"},
        "block": {"pre_norms": False, "post_norms": True},
        "windows": THREE_OF_FOUR,
    },
    "gemma": LLAMA,
    "gemma2": {**LLAMA, "block": {"post_norms": True}, "windows": ALTERNATE},
    "gemma3_text": {
        "attention": {**LLAMA["attention"], "qk_norm": "head"},
        "block": {"post_norms": True},
        "windows": FIVE_OF_SIX,
    },
    "glm": {"attention": {"qkv_bias": "?attention_bias"}},
    "glm4": {"attention": {"qkv_bias": "?attention_bias"}, "block": {"post_norms": True}},
    "phi3": {"windows": (True,)},
    "cohere": {
        "attention": LLAMA["attention"],
        "block": ONE_NORM,
        "decoder": {"norm": "layer", "norm_bias": False},
        "per_head_norm": "use_qk_norm",
    },
    "cohere2": {
        "attention": LLAMA["attention"],
        "block": ONE_NORM,
        "decoder": {"norm": "layer", "norm_bias": False},
        "windows": THREE_OF_FOUR,
    },
    "stablelm": {
        "attention": {"qkv_bias": "?use_qkv_bias"},
        "parallel": "use_parallel_residual",
        "decoder": {"norm": "layer"},
        "per_head_norm": "qk_layernorm",
    },
    "starcoder2": {
        "attention": {"qkv_bias": "?use_bias", "out_bias": "?use_bias"},
        "mlp": {"gated": False, "bias": "?use_bias"},
        "decoder": {"norm": "layer"},
        "windows": (True,),
    },
    "nemotron": {
        "attention": LLAMA["attention"],
        "mlp": {"gated": False, "bias": "?mlp_bias"},
        "decoder": {"norm": "layer"},
    },
    "persimmon": {
        "attention": ALL_BIASED,
        "mlp": PLAIN,
        "decoder": {"norm": "layer"},
        "head_norm": "qk_layernorm",
    },
    "phi": {
        "attention": ALL_BIASED,
        "mlp": PLAIN,
        "block": ONE_NORM,
        "decoder": {"norm": "layer", "head_bias": True},
        "head_norm": "qk_layernorm",
    },
    "gptj": {
        "attention": {},
        "mlp": PLAIN,
        "block": ONE_NORM,
        "decoder": {"norm": "layer", "head_bias": True},
        "inner": "n_inner",
    },
    "codegen": {
        "attention": {},
        "mlp": PLAIN,
        "block": ONE_NORM,
        "decoder": {"norm": "layer", "head_bias": True},
        "inner": "n_inner",
    },
    "gpt_neox": {
        "attention": {"qkv_bias": "?attention_bias", "out_bias": "?attention_bias"},
        "mlp": PLAIN,
        "block": TWO_NORMS,
        "decoder": {"norm": "layer"},
    },
    "gpt2": {**GPT, "inner": "n_inner"},
    "gpt_bigcode": {**GPT, "inner": "n_inner", "multi_query": True},
    "gpt_neo": {**GPT, "attention": {"out_bias": True, "rotary": 0.0}, "inner": "intermediate_size"},
    "opt": {**GPT, "positions": 2.0, "inner": "ffn_dim"},
    "biogpt": {**GPT, "positions": 2.0},
    "xglm": {**GPT, "positions": None, "inner": "ffn_dim"},
    "bloom": {
        **GPT,
        "positions": None,
        "decoder": {"norm": "layer", "embedding_norm": True},
        "inner": "n_inner",
    },
    "apertus": {
        "attention": {**LLAMA["attention"], "qk_norm": "head"},
        "mlp": {"gated": False, "bias": "?mlp_bias", "learned": 2.0},
    },
}


def build(config: Config, traits: Traits) -> Decoder:
    """Decoder of one row of the table."""
    hidden = config.need("hidden_size")
    block_traits = resolve(config, traits.get("block", {}))
    if "post_norms" in traits and config.flag(traits["post_norms"]):
        block_traits["post_norms"] = True
    if "parallel" in traits and config.flag(traits["parallel"]):
        block_traits["parallel"] = True
    attention_traits = dict(traits.get("attention", {}))
    if traits.get("multi_query") and config.flag("multi_query", fallback=True):
        attention_traits["kv_heads"] = 1.0
    if "per_head_norm" in traits and config.flag(traits["per_head_norm"]):
        attention_traits["qk_norm"] = "per_head"
    if "head_norm" in traits and config.flag(traits["head_norm"]):
        attention_traits |= {"qk_norm": "head", "qk_norm_bias": True}
    mlp_traits = dict(traits.get("mlp", {}))
    if "inner" in traits:
        mlp_traits["width"] = config.number(traits["inner"], fallback=4.0 * hidden)
    core, feed = attention(config, **attention_traits), mlp(config, **mlp_traits)
    spans = windows(config, traits["windows"]) if "windows" in traits else [None] * config.layers
    blocks = [Block(attention=replace(core, window=span), mlp=feed, **block_traits) for span in spans]
    extra = dict(traits.get("decoder", {}))
    if traits.get("positions") is not None:
        extra["positions"] = config.need("max_position_embeddings") + traits["positions"]
    return Decoder(
        hidden=hidden,
        vocabulary=config.need("vocab_size"),
        tied=config.flag("tie_word_embeddings", fallback=True),
        blocks=stack(blocks),
        **extra,
    )


def builders() -> dict[str, Callable[[Config], Decoder]]:
    """Model type -> builder."""
    return {kind: partial(build, traits=traits) for kind, traits in TABLE.items()}
