"""Workload from a Hugging Face ``config.json``.

The model type picks a builder: a row in a table for the usual decoders, a small function for the others.  A
field that the file leaves out takes the default of the model's configuration class (``hf_defaults.yaml``),
except the few that say which model it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from perfmodel.errors import ArgumentError, Fault, SpecError, UnknownNameError
from perfmodel.workload.importers import (
    hf_dense,
    hf_encoder,
    hf_gemma,
    hf_general,
    hf_hybrid,
    hf_latent,
    hf_mamba,
    hf_mixed,
    hf_moe,
    hf_special,
    hf_zamba,
)
from perfmodel.workload.importers.hf_config import Config, has_defaults
from perfmodel.workload.workload import Workload

#: modules with builders of decoders; a later one replaces what an earlier one says
DECODERS = (
    hf_dense, hf_special, hf_moe, hf_general, hf_gemma, hf_latent, hf_mamba, hf_zamba, hf_hybrid, hf_mixed,
)

#: types that are read as another one
SAME_AS = {
    "kimi_k2": "deepseek_v3",
    "qwen3_5_text": "qwen3_5",
    "qwen3_5_moe_text": "qwen3_5_moe",
    "gemma4_text": "gemma4",
    "llama4_text": "llama4",
    "step3p7": "step3p5",
    "camembert": "roberta",
    "xlm-roberta": "roberta",
    "mt5": "t5",
    "umt5": "t5",
    "mbart": "bart",
    "qwen3_vl_moe_text": "qwen3_moe",
    "qwen3_omni_moe_text": "qwen3_moe",
    "qwen2_vl": "qwen2_vl_text",
    "qwen2_5_vl": "qwen2_5_vl_text",
    "minicpmv": "qwen2",
    "glm4v_text": "glm4",
    "glm4v_moe_text": "glm4_moe",
    "ministral3_text": "ministral3",
    "gpt-sw3": "gpt2",
    "youtu": "minicpm3",
    "axk1": "deepseek_v3",
    "minimax_text_01": "minimax",
    "minimax_m1": "minimax",
    "minicpmo": "qwen2",
    "phi3_v": "phi3",
    "phi4mm": "phi3",
    "phi4_multimodal": "phi3",
    "RefinedWeb": "falcon",
    "RefinedWebModel": "falcon",
    "stablelm_epoch": "stablelm",
    "hunyuan": "hunyuan_v1_moe",
    "gemma3n_text": "gemma3n",
    "mllama": "mllama_text_model",
    "inkling": "inkling_text",
}

#: types that multiply the logits by a constant
SCALED_LOGITS = (
    "cohere",
    "cohere2",
    "granite",
    "granitemoe",
    "granitemoehybrid",
    "falcon_h1",
    "recurrent_gemma",
    "granite_swa",
    "granitemoe_swa",
    "granitemoeshared",
    "cohere2_moe",
    "nanochat",
    "inkling_text",
)

#: parts of a multimodal configuration that hold the language model
TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config")
SEEING = ("vision_config", "audio_config", "visual")


@cache
def builders() -> Mapping[str, tuple[str, Callable[[Config], Any]]]:
    """Model type -> (family, builder)."""
    found: dict[str, tuple[str, Callable[[Config], Any]]] = {}
    for module in DECODERS:
        found |= {kind: ("decoder", build) for kind, build in module.builders().items()}
    return {**found, **hf_encoder.builders()}


def model_types() -> tuple[str, ...]:
    """Model types that `from_config` reads."""
    return tuple(sorted({*builders(), *SAME_AS}))


def from_config(
    source: str | Path | Mapping[str, Any], *, name: str = "", defaults: bool = False
) -> Workload:
    """Workload of a Hugging Face configuration.

    source    path of a ``config.json`` or its content as a mapping
    name      name of the workload; empty: the file's
    defaults  True: width, depth, heads and vocabulary may come from the class defaults too

    Of a multimodal configuration the language model is counted.
    Raises UnknownNameError for an unknown ``model_type`` (with the known ones), SpecError with every missing
    field by name, ArgumentError if the source cannot be read.
    """
    raw, file = _read(source)
    inner, kind = _language_part(raw, file)
    same = SAME_AS.get(kind, kind)
    if same not in builders():
        raise UnknownModelTypeError(kind, file)
    family, build = builders()[same]
    config = Config(inner, file, kind if has_defaults(kind) else same, defaults)
    try:
        dims = build(config)
    except NONSENSE as error:
        config.check()
        raise _does_not_fit(file, kind, error) from error
    if family == "decoder" and (same in SCALED_LOGITS or config.number("final_logit_softcapping")):
        dims = replace(dims, logit_scale=True)
    config.check()
    label = name or (Path(file).stem if file != "<config>" else kind)
    origin = (
        f"Hugging Face configuration {Path(file).name}"
        if file != "<config>"
        else "Hugging Face configuration"
    )
    seen = [part for part in SEEING if isinstance(raw.get(part), Mapping) and inner is not raw]
    notes = f"language model only; not counted: {', '.join(seen)}" if seen else ""
    found = Workload(label, family, dims, origin, notes=notes)
    try:
        parameters = found.parameters
        found.flops(batch=1, query=2, context=2)
    except NONSENSE as error:
        raise _does_not_fit(file, kind, error) from error
    if not 0 < parameters < float("inf"):
        raise _does_not_fit(file, kind, f"{parameters:g} parameters")
    return found


#: what arithmetic on fields of a wrong type, length or size raises, and layers whose sizes contradict
NONSENSE = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, ArgumentError)


def _does_not_fit(file: str, kind: str, error: object) -> SpecError:
    message = f"the fields of this {kind!r} do not fit together ({error})"
    allowed = "numbers above 0, and lists with one value per layer"
    return SpecError([Fault(file, 1, 1, "", message, allowed)])


class UnknownModelTypeError(UnknownNameError):
    """A ``model_type`` that has no builder."""

    def __init__(self, kind: str, file: str) -> None:
        known = model_types()
        super().__init__("model_type", kind, known)
        self.file = file
        close = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        self.args = (f"{file}: unknown model_type {kind!r}{close}; known: {', '.join(known)}",)

    def __reduce__(self) -> tuple[Any, ...]:
        return (UnknownModelTypeError, (self.name, self.file))


def _read(source: str | Path | Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    if isinstance(source, Mapping):
        return source, "<config>"
    try:
        content = json.loads(Path(source).read_text(encoding="utf-8"))
    except OSError as error:
        raise ArgumentError("source", str(source), f"a readable file ({error.strerror})") from error
    except ValueError as error:
        raise ArgumentError("source", str(source), f"a JSON file ({error})") from error
    if not isinstance(content, Mapping):
        raise ArgumentError("source", str(source), "a JSON object")
    return content, str(source)


def _language_part(raw: Mapping[str, Any], file: str) -> tuple[Mapping[str, Any], str]:
    """The mapping that describes the language model, and its type."""
    outer = raw.get("model_type")
    if isinstance(outer, str) and builders().get(outer, ("decoder",))[0] != "decoder":
        return raw, outer
    for part in TEXT_PARTS:
        nested = raw.get(part)
        if isinstance(nested, Mapping) and not isinstance(raw.get("hidden_size"), (int, float)):
            inner = {"model_type": outer, **nested}
            if isinstance(raw.get("vision_config"), Mapping):
                inner["vision_config"] = raw["vision_config"]
            if "tie_word_embeddings" in raw:
                inner["tie_word_embeddings"] = raw["tie_word_embeddings"]
            return _language_part(inner, file)
    return raw, _kind(raw.get("model_type"), file)


def _kind(kind: Any, file: str) -> str:
    if not isinstance(kind, str) or not kind:
        raise SpecError([Fault(file, 1, 1, "model_type", "required field 'model_type' is missing", "a text")])
    return kind
