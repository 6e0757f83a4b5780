"""S017: Wen et al., MultiKernelBench, arXiv:2507.17773; folders of the authors' repository.

The category added after the paper (attention) is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import perfmodel as pm
from perfmodel.validation.cases import predicts

#: category -> reference modules in its folder, and the operators that say what they compute
CATEGORIES: Mapping[str, tuple[int, Sequence[str]]] = {
    "activation": (15, ("elementwise", "softmax")),
    "arch": (50, ("conv2d", "matmul", "attention", "norm", "pool2d", "scan", "embedding")),
    "broadcast": (10, ("elementwise",)),
    "convolution": (34, ("conv1d", "conv2d", "conv3d", "conv_transpose2d")),
    "fuse": (100, ("matmul", "conv2d", "conv3d", "conv_transpose2d", "elementwise", "norm", "pool2d")),
    "index": (12, ("embedding", "embedding_bag", "top_k")),
    "loss": (7, ("elementwise", "reduction")),
    "math": (6, ("elementwise", "reduction")),
    "matmul": (17, ("matmul",)),
    "normalization": (8, ("norm",)),
    "optimizer": (5, ("elementwise",)),
    "pooling": (6, ("pool2d",)),
    "reduce": (5, ("reduction",)),
    "resize": (10, ("resample",)),
}


@predicts("S017-HEAD-01", fidelity="count")
def tasks() -> float:
    """Tasks of categories whose operators are all in the catalogue."""
    return float(sum(n for n, names in CATEGORIES.values() if all(hasattr(pm.op, name) for name in names)))
