"""Reading Hugging Face configurations: further architectures, what is refused, and what the errors say."""

import csv
import json
import pickle
from pathlib import Path

import pytest

import perfmodel as pm
from perfmodel.errors import ArgumentError, SpecError, UnknownNameError
from perfmodel.workload.importers.hf import builders, from_config, model_types
from perfmodel.workload.step import Step

FACTS = Path(__file__).parent / "facts"
CLASS_DEFAULTS = list(csv.DictReader((FACTS / "class_defaults.csv").read_text(encoding="utf-8").splitlines()))


@pytest.mark.parametrize("row", CLASS_DEFAULTS, ids=[row["model_type"] for row in CLASS_DEFAULTS])
def test_class_defaults(row):
    """A bare file is the model of the class defaults (transformers 5.23 on the meta device)."""
    model = from_config({"model_type": row["model_type"]}, defaults=True)
    assert model.parameters == int(row["parameters"])


#: FLOP of 128 tokens on the full square: class defaults of transformers 5.23, torch.utils.flop_counter; short
#: convolutions (vector work here) are left out
COUNTED = {"diffllama": 295_950_090_240, "doge": 96_703_873_024, "inkling_text": 10_239_241_879_552}


@pytest.mark.parametrize("kind", COUNTED)
def test_counted_operations_of_mixed_attention(kind):
    model = from_config({"model_type": kind}, defaults=True)
    assert model.flops(query=128, causal=False) == pytest.approx(COUNTED[kind], rel=1e-9)


def test_experts_found_by_two_keys():
    model = from_config({"model_type": "doge", "is_moe": True}, defaults=True)
    assert model.parameters == 1_485_186_304
    router = next(op for op in model.graph(batch=1, query=1, context=1).ops if op.name.endswith("router"))
    assert router.loops["n"] == 2 * 128


def test_image_tiles_are_projected_with_the_prompt_alone():
    text = {
        "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 128, "vocab_size": 100, "cross_attention_layers": [1],
    }
    image = {"image_size": 28, "patch_size": 14, "max_num_tiles": 3}
    model = from_config({"model_type": "mllama", "text_config": text, "vision_config": image})
    prompt, step = (
        model.graph(model.pass_step(Step(batch=1, query=q, context=8), 8, decode))
        for q, decode in ((8, False), (1, True))
    )
    kv = next(op for op in prompt.ops if op.name.endswith("cross_kv"))
    assert kv.flops == 2 * 3 * (2 * 2 + 1) * 64 * (2 * 2 * 16)  # 15 positions to keys and values
    assert not any(op.name.endswith("cross_kv") for op in step.ops)


#: published parameter counts of files whose classes are not part of transformers
PUBLISHED = [
    # THUDM/glm-4-9b-chat and chatglm3-6b
    ({"model_type": "chatglm", "num_layers": 40, "hidden_size": 4096, "num_attention_heads": 32,
      "ffn_hidden_size": 13696, "padded_vocab_size": 151552, "kv_channels": 128, "multi_query_attention": True,
      "multi_query_group_num": 2, "add_qkv_bias": True, "add_bias_linear": False}, 9_399_951_360),
    ({"model_type": "chatglm", "num_layers": 28, "hidden_size": 4096, "num_attention_heads": 32,
      "ffn_hidden_size": 13696, "padded_vocab_size": 65024, "kv_channels": 128, "multi_query_attention": True,
      "multi_query_group_num": 2, "add_qkv_bias": True, "add_bias_linear": False}, 6_243_584_000),
    # internlm/internlm2-7b
    ({"model_type": "internlm2", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
      "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 92544, "bias": False,
      "tie_word_embeddings": False}, 7_737_708_544),
    # Qwen/Qwen-7B
    ({"model_type": "qwen", "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32,
      "num_attention_heads": 32, "vocab_size": 151936}, 7_721_324_544),
    # deepseek-ai/deepseek-moe-16b-base
    ({"model_type": "deepseek", "hidden_size": 2048, "intermediate_size": 10944, "moe_intermediate_size": 1408,
      "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 16, "n_shared_experts": 2,
      "n_routed_experts": 64, "num_experts_per_tok": 6, "first_k_dense_replace": 1, "vocab_size": 102400,
      "tie_word_embeddings": False}, 16_375_728_128),
    # LGAI-EXAONE/EXAONE-3.0-7.8B-Instruct
    ({"model_type": "exaone", "hidden_size": 4096, "intermediate_size": 14336, "num_layers": 32,
      "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 102400, "tie_word_embeddings": False},
     7_818_448_896),
    # openbmb/MiniCPM-2B-sft-bf16
    ({"model_type": "minicpm", "hidden_size": 2304, "intermediate_size": 5760, "num_hidden_layers": 40,
      "num_attention_heads": 36, "num_key_value_heads": 36, "vocab_size": 122753, "tie_word_embeddings": True},
     2_724_880_896),
    # inclusionAI/Ling-lite
    ({"model_type": "bailing_moe", "hidden_size": 2048, "num_hidden_layers": 28, "num_attention_heads": 16,
      "num_key_value_heads": 4, "head_dim": 128, "intermediate_size": 5632, "moe_intermediate_size": 1408,
      "num_experts": 64, "num_experts_per_tok": 6, "num_shared_experts": 2, "vocab_size": 126464,
      "first_k_dense_replace": 0, "tie_word_embeddings": False}, 16_801_974_272),
]


@pytest.mark.parametrize(("config", "parameters"), PUBLISHED, ids=[c["model_type"] for c, _ in PUBLISHED])
def test_published_counts(config, parameters):
    assert from_config(config).parameters == parameters


def test_language_part_of_a_multimodal_file():
    text = {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
            "sliding_window": 1024}
    model = from_config({"model_type": "gemma3", "text_config": text, "vision_config": {"hidden_size": 1152}})
    assert model.parameters == 3_880_263_168  # heads, vocabulary and head width are those of the class
    assert "vision_config" in model.notes


def test_unknown_type_lists_the_known_ones(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_type": "lama", "hidden_size": 8}), encoding="utf-8")
    with pytest.raises(UnknownNameError) as caught:
        pm.workload(str(file))
    message = str(caught.value)
    assert str(file) in message
    assert "'llama'" in message
    assert all(kind in message for kind in ("deepseek_v3", "mamba2", "whisper"))
    assert str(pickle.loads(pickle.dumps(caught.value))) == message


def test_missing_fields_are_named_with_the_file(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_type": "llama", "hidden_size": 4096, "vocab_size": 0}), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        pm.workload(file)
    named = {fault.path for fault in caught.value.faults}
    assert named == {"num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"}
    assert all(fault.file == str(file) for fault in caught.value.faults)


@pytest.mark.parametrize("value", ["32", True, -1, 0, None, [1, 2]])
def test_a_size_must_be_a_number(value):
    config = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
              "num_attention_heads": value, "vocab_size": 100}
    with pytest.raises(SpecError, match="num_attention_heads"):
        from_config(config)


def test_type_is_required():
    with pytest.raises(SpecError, match="model_type"):
        from_config({"hidden_size": 64})


@pytest.mark.parametrize("content", ["{", "[1, 2]", "3"])
def test_no_json_object(tmp_path, content):
    file = tmp_path / "config.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ArgumentError, match="JSON"):
        from_config(file)


def test_every_listed_type_has_a_builder():
    assert len(model_types()) >= 100
    assert set(builders()) <= set(model_types())


def test_one_value_per_layer():
    """Hunyuan-A13B lists one width per layer: 80 B in all, 13 B active (its model card)."""
    config = {"model_type": "hunyuan_v1_moe", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
              "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 3072,
              "moe_intermediate_size": [3072] * 32, "num_experts": 64, "moe_topk": [8] * 32,
              "num_shared_expert": [1] * 32, "vocab_size": 128167, "use_qk_norm": True, "tie_word_embeddings": True}
    model = from_config(config)
    assert model.parameters == pytest.approx(80e9, rel=0.01)
    assert model.active_parameters == pytest.approx(13e9, rel=0.03)


def test_language_part_two_levels_down():
    text = {"model_type": "qwen3_omni_moe_text", "hidden_size": 2048, "intermediate_size": 768,
            "moe_intermediate_size": 768, "num_hidden_layers": 48, "num_attention_heads": 32,
            "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8,
            "vocab_size": 151936}
    model = from_config({"model_type": "qwen3_omni_moe", "thinker_config": {"text_config": text}})
    assert model.parameters == pm.workload("qwen3-30b-a3b").parameters


def test_layers_found_by_search():
    """Two of three layers without attention or with a narrow inner width: counted one by one."""
    blocks = [
        {"attention": {"n_heads_in_group": 8}, "ffn": {"ffn_mult": 2.625}},
        {"attention": {"no_op": True}, "ffn": {"ffn_mult": 1.3125}},
        {"attention": {"n_heads_in_group": 8}, "ffn": {"no_op": True}},
    ]
    config = {"model_type": "nemotron-nas", "hidden_size": 8192, "num_attention_heads": 64, "vocab_size": 128256,
              "block_configs": blocks}
    attention = 8192 * (8192 + 2 * 1024) + 8192 * 8192 + 8192
    assert from_config(config).parameters == (
        2 * 128256 * 8192 + 8192 + 2 * attention + 3 * 8192 * (14336 + 7168) + 2 * 8192
    )


@pytest.mark.parametrize("how", [{"max_window_layers": 3}, {"layer_types": ["full_attention"] * 3 + ["sliding_attention"]}])
def test_qwen_windows(how):
    """The window holds from layer 3 on, whichever way the file says it."""
    config = {"model_type": "qwen2", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4,
              "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 100, "use_sliding_window": True, "sliding_window": 16, **how}
    blocks = from_config(config).dims.blocks
    assert [(b.repeat, b.attention.window) for b in blocks] == [(3.0, None), (1.0, 16.0)]
