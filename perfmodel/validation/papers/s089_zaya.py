"""S089: Anthony et al., Training Foundation Models on a Full-Stack AMD Platform, arXiv:2511.17127.

ZAYA1-base as its model card describes it: width 2048, 40 layers of compressed attention (two key-value heads
of 128, 1280 channels of queries and keys in the convolution) and 40 of 16 experts of which a token takes one.
Expert width 2048 and router width 256 are recalled.  Embeddings are not counted in the printed numbers.
"""

from __future__ import annotations

import perfmodel as pm
from perfmodel.ops.core import Op
from perfmodel.validation.cases import predicts

LAYERS, WIDTH, EXPERTS, EXPERT, ROUTER = 40.0, 2048.0, 16.0, 2048.0, 256.0
QUERY, KEY, HEAD = 1024.0, 256.0, 128.0


def _product(n: float, k: float, batch: float = 1.0) -> Op:
    op: Op = pm.op.matmul(m=1, n=n, k=k, batch=batch)
    return op


def _attention() -> list[Op]:
    """Projections of queries, keys and values; two taps per channel and per head; output."""
    channels = QUERY + KEY
    return [
        _product(channels + KEY, WIDTH), pm.op.elementwise(channels, parameters=2.0 * channels),
        _product(HEAD, 2.0 * HEAD, channels / HEAD), _product(WIDTH, QUERY),
    ]


def _router() -> list[Op]:
    """Down projection and a perceptron of three layers."""
    inner = _product(ROUTER, ROUTER)
    return [_product(ROUTER, WIDTH), inner, inner, _product(EXPERTS, ROUTER)]


def _expert() -> list[Op]:
    """Gated feed-forward part."""
    return [_product(2.0 * EXPERT, WIDTH), _product(WIDTH, EXPERT)]


@predicts({"S089-HEAD-01": 1.0, "S089-HEAD-02": EXPERTS}, fidelity="count")
def parameters(experts: float) -> float:
    """Parameters with this many experts per layer [B]."""
    shared = sum(float(op.storage("weight")) for op in _attention() + _router())
    each = sum(float(op.storage("weight")) for op in _expert())
    return LAYERS * (shared + experts * each) / 1e9
