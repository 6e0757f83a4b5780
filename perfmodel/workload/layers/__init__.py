"""Parts of a layer: token mixers and feed-forward parts, and the ops they become.

Each part is a small dataclass (its YAML form) with a method ``ops(hidden, step)``.  A new kind of layer is
one more dataclass in a module of its own, and one more optional field of ``Block``.
"""

from perfmodel.workload.layers.attention import Attention
from perfmodel.workload.layers.compressed import CompressedAttention
from perfmodel.workload.layers.convolved import ConvolvedAttention
from perfmodel.workload.layers.cross import Cross
from perfmodel.workload.layers.expert_attention import ExpertAttention
from perfmodel.workload.layers.linear import (
    ChannelMix,
    GatedDelta,
    KimiDelta,
    LinearAttention,
    Rglru,
    ShortConv,
    TimeMix,
)
from perfmodel.workload.layers.mamba import Mamba, Mamba2
from perfmodel.workload.layers.mla import Indexer, Mla
from perfmodel.workload.layers.mlp import Mlp
from perfmodel.workload.layers.moe import Moe
from perfmodel.workload.layers.per_layer import AltUp, PerLayerInput, PerLayerTable

__all__ = [
    "AltUp",
    "Attention",
    "ChannelMix",
    "CompressedAttention",
    "ConvolvedAttention",
    "Cross",
    "ExpertAttention",
    "GatedDelta",
    "Indexer",
    "KimiDelta",
    "LinearAttention",
    "Mamba",
    "Mamba2",
    "Mla",
    "Mlp",
    "Moe",
    "PerLayerInput",
    "PerLayerTable",
    "Rglru",
    "ShortConv",
    "TimeMix",
]
