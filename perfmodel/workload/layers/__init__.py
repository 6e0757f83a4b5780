"""Parts of a layer: token mixers and feed-forward parts, and the ops they become.

Each part is a small dataclass (its YAML form) with a method ``ops(hidden, step)``.  A new kind of layer is
one more dataclass in a module of its own, and one more optional field of ``Block``.
"""

from perfmodel.workload.layers.attention import Attention
from perfmodel.workload.layers.mlp import Mlp

__all__ = ["Attention", "Mlp"]
