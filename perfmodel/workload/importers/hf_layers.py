"""Shared steps of the importers: attention from a configuration, windows per layer, equal layers together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from perfmodel.workload.block import Block
from perfmodel.workload.importers.hf_config import Config
from perfmodel.workload.layers import Attention, Mlp


def resolve(config: Config, traits: Mapping[str, Any]) -> dict[str, Any]:
    """Traits with ``"?field"`` replaced by that flag of the configuration."""
    return {
        name: config.flag(value[1:]) if isinstance(value, str) and value.startswith("?") else value
        for name, value in traits.items()
    }


def stack(blocks: Iterable[Block]) -> tuple[Block, ...]:
    """Equal layers as one block with a count, in order of their first appearance."""
    counts: dict[Block, float] = {}
    for block in blocks:
        counts[block] = counts.get(block, 0.0) + 1.0
    return tuple(replace(block, repeat=count) for block, count in counts.items())


def rotary_share(config: Config) -> float:
    """Share of a head that is rotated."""
    rope = config.get("rope_parameters", fallback={})
    if isinstance(rope, Mapping) and isinstance(rope.get("full_attention"), Mapping):
        rope = rope["full_attention"]
    given = rope.get("partial_rotary_factor") if isinstance(rope, Mapping) else None
    if given is None:
        given = config.number("partial_rotary_factor", "rotary_pct", "rope_pct", fallback=1.0)
    return float(given)


def attention(config: Config, **traits: Any) -> Attention:
    """Attention from the usual fields; `traits` are fields of Attention and win."""
    heads = config.need("num_attention_heads")
    kv = config.number("num_key_value_heads", fallback=heads)
    hidden = config.need("hidden_size")
    usual: dict[str, Any] = {
        "heads": heads,
        "kv_heads": None if kv == heads else kv,
        "head_dim": config.number("head_dim", fallback=hidden // heads),
    }
    if "rotary" not in traits:
        usual["rotary"] = rotary_share(config)
    return Attention(**{**usual, **resolve(config, traits)})


def mlp(config: Config, **traits: Any) -> Mlp:
    """Dense feed-forward part from the usual fields."""
    width = traits.pop("width", None)
    usual = {
        "width": config.need("intermediate_size") if width is None else width,
        "activation": config.text("hidden_act", "hidden_activation", "activation_function", fallback="silu"),
    }
    return Mlp(**{**usual, **resolve(config, traits)})


def windows(config: Config, pattern: Sequence[bool] | None = None) -> list[float | None]:
    """Sliding window of each layer, None for full attention.

    `layer_types` decides where the file gives it; else every n-th layer is full for a
    `sliding_window_pattern` of n; else `pattern` (True = sliding), repeated; else every layer slides, if
    there is a window at all.
    """
    layers = config.layers
    window = config.number("sliding_window", "sliding_window_size")
    types = config.list("layer_types")
    every = config.number("sliding_window_pattern")
    if window is None:
        return [None] * layers
    if types:
        return [window if types[i % len(types)] == "sliding_attention" else None for i in range(layers)]
    if every is not None and ("sliding_window_pattern" in config.raw or pattern is None):
        return [None if (i + 1) % int(every) == 0 else window for i in range(layers)]
    if pattern is not None:
        return [window if pattern[i % len(pattern)] else None for i in range(layers)]
    return [window] * layers
