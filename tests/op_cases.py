"""Hand-countable cases of every operator: tiny shapes, each count written as the sum it is.

Append a Case for each new operator; tests/test_ops_registry.py fails if one has none.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """One operator on one shape.

    matrix, vector, special, lookup  operations by unit
    read, written                    elements that cross the memory
    stored                           elements kept by kind, e.g. {"weight": 12, "kv": 8}
    scales                           argument in which all operations are linear
    """

    op: str
    sizes: dict[str, Any]
    matrix: float = 0
    vector: float = 0
    special: float = 0
    lookup: float = 0
    read: float = 0
    written: float = 0
    stored: dict[str, float] = field(default_factory=dict)
    scales: str = "batch"


CASES = [
    # --- matrix products -----------------------------------------------------------------------------
    Case(
        "matmul", {"m": 2, "n": 3, "k": 5, "batch": 7},
        matrix=2 * 7 * 2 * 3 * 5,
        read=7 * 2 * 5 + 7 * 3 * 5, written=7 * 2 * 3, stored={"weight": 7 * 3 * 5},
    ),
    Case(
        "matmul", {"m": 2, "n": 3, "k": 5, "bias": True},
        matrix=2 * 2 * 3 * 5,
        read=2 * 5 + 3 * 5 + 3, written=2 * 3, stored={"weight": 3 * 5 + 3}, scales="m",
    ),
    Case(
        "grouped_matmul", {"tokens_per_expert": 2, "n": 3, "k": 5, "experts": 4, "stored_experts": 6},
        matrix=2 * 4 * 2 * 3 * 5,
        read=4 * 2 * 5 + 4 * 3 * 5, written=4 * 2 * 3, stored={"weight": 6 * 3 * 5}, scales="tokens_per_expert",
    ),
    # --- attention -----------------------------------------------------------------------------------
    Case(  # 3 new tokens, 5 in all: they see 3 + 4 + 5 = 12 keys
        "attention", {"batch": 2, "query": 3, "context": 5, "heads": 4, "kv_heads": 2, "head_dim": 8},
        matrix=2 * 2 * 4 * 12 * (8 + 8), vector=4 * 2 * 4 * 12, special=2 * 4 * 12,
        read=2 * 4 * 3 * 8 + 2 * (2 * 2 * 5 * 8), written=2 * 4 * 3 * 8, stored={"kv": 2 * (2 * 2 * 5 * 8)},
    ),
    Case(  # window 2: each of the 3 tokens sees 2 keys; keys 2..5 are read, 2 are kept
        "attention", {"batch": 1, "query": 3, "context": 5, "heads": 1, "head_dim": 8, "window": 2},
        matrix=2 * (2 + 2 + 2) * 16, vector=4 * 6, special=6,
        read=3 * 8 + 2 * (4 * 8), written=3 * 8, stored={"kv": 2 * (2 * 8)},
    ),
    Case(  # chunks of 4: tokens 3, 4, 5 see 3 + 4 + 1 keys; the newest chunk holds 1 token, before it a whole one
        "attention", {"batch": 1, "query": 3, "context": 5, "heads": 1, "head_dim": 8, "chunk": 4},
        matrix=2 * (3 + 4 + 1) * 16, vector=4 * 8, special=8,
        read=3 * 8 + 2 * (5 * 8), written=3 * 8, stored={"kv": 2 * (4 * 8)},
    ),
    Case(
        "cross_attention", {"batch": 2, "query": 3, "source": 5, "heads": 4, "head_dim": 8},
        matrix=2 * 2 * 4 * (3 * 5) * 16, vector=4 * 2 * 4 * 15, special=2 * 4 * 15,
        read=2 * 4 * 3 * 8 + 2 * (2 * 4 * 5 * 8), written=2 * 4 * 3 * 8, stored={"kv": 2 * (2 * 4 * 5 * 8)},
    ),
    Case(  # 2 new tokens of 6, 4 keys each in blocks of 2; both may differ, so 6 = min(6, 2 x 4) keys are read
        "sparse_attention",
        {"batch": 1, "query": 2, "context": 6, "heads": 4, "kv_heads": 2, "head_dim": 8, "selected": 3, "block": 2},
        matrix=2 * 4 * (4 + 4) * 16, vector=4 * 4 * 8, special=4 * 8,
        read=4 * 2 * 8 + 2 * (2 * 6 * 8) + 2 * 2 * 2, written=4 * 2 * 8, stored={"kv": 2 * (2 * 6 * 8)},
    ),
    Case(  # index 2 x (2 + 6) x 3 x 8, distances 2 x 2 x 4 x 8, scores and values 4 x 2 x 2 x 8
        "knn_attention",
        {"batch": 1, "query": 2, "context": 6, "heads": 1, "head_dim": 8, "neighbours": 2, "projections": 3,
         "visits": 4},
        matrix=2 * (2 + 6) * 3 * 8 + 2 * 2 * 4 * 8 + 4 * 2 * 2 * 8, vector=4 * (2 * 2) + 2 * 4, special=2 * 2,
        read=2 * 8 + 6 * 8 + 6 * 8 + 6 * 3, written=2 * 8, stored={"kv": 6 * 8 + 6 * 8},
    ),
    Case(  # 8 positions in 2 stripes of 4: 2 x 4 x 4 pairs per head
        "area_attention", {"batch": 1, "tokens": 8, "heads": 2, "head_dim": 4, "areas": 2},
        matrix=2 * 2 * (2 * 4 * 4) * 8, vector=4 * 64, special=64,
        read=3 * (2 * 8 * 4), written=2 * 8 * 4,
    ),
    Case(  # absorbed: queries of 6 + 2, outputs of 6; 2 tokens of 3 see 2 + 3 latents
        "mla",
        {"batch": 1, "query": 2, "context": 3, "heads": 4, "kv_rank": 6, "rope_dim": 2, "nope_dim": 5, "v_dim": 7},
        matrix=2 * 4 * (2 + 3) * (6 + 2 + 6), vector=4 * 4 * 5, special=4 * 5,
        read=4 * 2 * 8 + 3 * 8, written=4 * 2 * 6, stored={"kv": 3 * 8},
    ),
    Case(  # expanded: 3 latents to 4 heads of 5 + 7, then scores over 5 + 2 and values over 7
        "mla",
        {"batch": 1, "query": 2, "context": 3, "heads": 4, "kv_rank": 6, "rope_dim": 2, "nope_dim": 5, "v_dim": 7,
         "absorbed": False},
        matrix=2 * 3 * 4 * 6 * 12 + 2 * 4 * 5 * (7 + 7), vector=4 * 4 * 5, special=4 * 5,
        read=4 * 2 * 7 + 3 * 8 + 4 * 12 * 6, written=4 * 2 * 7, stored={"kv": 3 * 8, "weight": 4 * 12 * 6},
    ),
    Case(  # tokens 2 and 3 score 2 + 3 keys with 4 heads of 5, and sum over the heads
        "indexer", {"batch": 1, "query": 2, "context": 3, "heads": 4, "head_dim": 5, "selected": 2},
        matrix=2 * 5 * 4 * (5 + 1), vector=5 * (4 + 1),
        read=4 * 2 * 5 + 3 * 5 + 4 * 2, written=2 * 2, stored={"kv": 3 * 5},
    ),
    Case(  # tokens 9 and 10: windows of 3 tokens each, and 9 // 4 + 10 // 4 = 4 entries
        "compressed_attention",
        {"batch": 1, "query": 2, "context": 10, "heads": 2, "head_dim": 8, "window": 3, "ratio": 4},
        matrix=4 * 2 * (3 + 3 + 2 + 2) * 8, vector=4 * 2 * 10, special=2 * 10,
        read=2 * 2 * 8 + (4 + 2) * 8, written=2 * 2 * 8, stored={"kv": (3 + 2) * 8},
    ),
    # --- mixture of experts --------------------------------------------------------------------------
    Case(
        "router_topk", {"rows": 3, "width": 8, "picks": 2},
        vector=3 * 8 * (4 + 2), special=3 * 8, read=3 * 8, written=3 * 2 + 3 * 2, scales="rows",
    ),
    Case(
        "permute", {"tokens": 3, "copies": 2, "width": 8},
        read=3 * 8 + 3 * 2, written=3 * 2 * 8, scales="tokens",
    ),
    Case(
        "combine", {"tokens": 3, "copies": 2, "width": 8},
        vector=2 * 3 * 2 * 8, read=3 * 2 * 8 + 3 * 2, written=3 * 8, scales="tokens",
    ),
    # --- recurrences ---------------------------------------------------------------------------------
    Case(
        "causal_conv1d", {"batch": 2, "query": 3, "channels": 5, "kernel": 4},
        vector=2 * (2 * 3 * 5) * 4,
        read=2 * 3 * 5 + 5 * 4 + 2 * 5 * 4 + 5, written=2 * 3 * 5 + 2 * 5 * 4,
        stored={"weight": 5 * 4 + 5, "state": 2 * 5 * 4},
    ),
    Case(
        "scan", {"batch": 2, "query": 3, "channels": 5, "state": 4},
        vector=7 * (2 * 3 * 5 * 4) + 2 * (2 * 3 * 5), special=2 * 3 * 5 * 4,
        read=2 * (2 * 3 * 5) + 2 * (2 * 3 * 4) + 5 * 4 + 5 + 2 * 5 * 4, written=2 * 3 * 5 + 2 * 5 * 4,
        stored={"weight": 5 * 4 + 5, "state": 2 * 5 * 4},
    ),
    Case(  # 3 tokens in one chunk: 1 + 2 + 3 = 6 pairs
        "ssd", {"batch": 1, "query": 3, "heads": 2, "head_dim": 4, "state": 5, "groups": 1, "chunk": 8},
        matrix=4 * 3 * (2 * 4) * 5 + 2 * 6 * (1 * 5 + 2 * 4),
        vector=3 * (2 * 8 + 3 * 2) + 2 * 6 * 2, special=3 * 2 + 6 * 2,
        read=3 * 2 * 4 + 3 * 2 + 2 * (3 * 5) + 3 * 2 + 2 * 4 * 5, written=3 * 2 * 4 + 2 * 4 * 5,
        stored={"weight": 3 * 2, "state": 2 * 4 * 5},
    ),
    Case(
        "linear_attention", {"batch": 1, "query": 3, "heads": 2, "key_dim": 4, "value_dim": 5, "chunk": 8},
        matrix=4 * (3 * 2 * 4 * 5) + 2 * (2 * 6) * (4 + 5), vector=2 * 6,
        read=2 * (3 * 2 * 4) + 3 * 2 * 5 + 2 * 4 * 5, written=3 * 2 * 5 + 2 * 4 * 5,
        stored={"state": 2 * 4 * 5},
    ),
    Case(  # chunks of 2: pairs 1 + 2 + 1 per head
        "gated_delta_rule",
        {"batch": 1, "query": 3, "heads": 2, "key_dim": 4, "value_dim": 5, "key_heads": 1, "chunk": 2},
        matrix=6 * (3 * 2) * 4 * 5 + 4 * (2 * 4) * (4 + 5), vector=2 * (2 * 4) + 2 * (3 * 2) + 4 * (3 * 2) * 4,
        special=3 * 2,
        read=2 * (3 * 1 * 4) + 3 * 2 * 5 + 2 * (3 * 2) + 2 * 4 * 5, written=3 * 2 * 5 + 2 * 4 * 5,
        stored={"state": 2 * 4 * 5},
    ),
    Case(
        "rglru", {"batch": 2, "query": 3, "channels": 5},
        vector=8 * (2 * 3 * 5), special=4 * (2 * 3 * 5),
        read=3 * (2 * 3 * 5) + 5 + 2 * 5, written=2 * 3 * 5 + 2 * 5, stored={"weight": 5, "state": 2 * 5},
    ),
    Case(
        "wkv", {"batch": 2, "query": 3, "channels": 5},
        vector=12 * (2 * 3 * 5), special=4 * (2 * 3 * 5),
        read=2 * (2 * 3 * 5) + 2 * 5 + 2 * 5 * 3, written=2 * 3 * 5 + 2 * 5 * 3,
        stored={"weight": 2 * 5, "state": 2 * 5 * 3},
    ),
    # --- elementwise ---------------------------------------------------------------------------------
    Case(
        "elementwise", {"elements": 1024 * 1024, "inputs": 2, "operations": 1},
        vector=1024 * 1024, read=2 * 1024 * 1024, written=1024 * 1024, scales="elements",
    ),
    Case(
        "norm", {"rows": 3, "width": 8, "residual": True},
        vector=(4 + 1) * 3 * 8, special=3, read=2 * 3 * 8 + 8, written=2 * 3 * 8, stored={"weight": 8},
        scales="rows",
    ),
    Case(
        "norm", {"rows": 3, "width": 8, "kind": "layer", "bias": True},
        vector=8 * 3 * 8, special=3, read=3 * 8 + 8 + 8, written=3 * 8, stored={"weight": 8 + 8}, scales="rows",
    ),
    Case(
        "softmax", {"rows": 3, "width": 8},
        vector=4 * 3 * 8, special=3 * 8, read=3 * 8, written=3 * 8, scales="rows",
    ),
    Case(
        "embedding", {"tokens": 3, "vocabulary": 100, "width": 8},
        read=3 + 3 * 8, written=3 * 8, stored={"weight": 100 * 8}, scales="tokens",
    ),
    # --- convolution, pooling ------------------------------------------------------------------------
    Case(  # 4 x 4, "same": 16 positions, window 3 x 3 touches 6 x 6 with its border
        "conv2d",
        {"batch": 2, "in_channels": 3, "out_channels": 5, "height": 4, "width": 4, "kernel": 3, "bias": True},
        matrix=2 * 2 * 5 * 3 * (4 * 4) * (3 * 3),
        read=2 * 3 * 6 * 6 + 5 * 3 * 3 * 3 + 5, written=2 * 5 * 4 * 4, stored={"weight": 5 * 3 * 9 + 5},
    ),
    Case(  # length 8, stride 2: 4 positions, touched 3 x 2 + 2 + 1 = 9
        "conv1d", {"batch": 1, "in_channels": 2, "out_channels": 3, "length": 8, "kernel": 3, "stride": 2},
        matrix=2 * 3 * 2 * 4 * 3,
        read=2 * 9 + 3 * 2 * 3, written=3 * 4, stored={"weight": 3 * 2 * 3},
    ),
    Case(
        "pool2d",
        {"batch": 1, "channels": 2, "height": 4, "width": 4, "kernel": 2, "stride": 2, "padding": "valid"},
        vector=2 * (2 * 2) * 4, read=2 * 4 * 4, written=2 * 2 * 2,
    ),
    Case(
        "resample", {"elements_in": 4, "elements_out": 16, "operations": 7},
        vector=16 * 7, read=4, written=16, scales="elements_out",
    ),
    Case(  # 2 x 2 x 2, "same": 8 positions, window 3 x 3 x 3 touches 4 x 4 x 4 with its border
        "conv3d",
        {"batch": 1, "in_channels": 2, "out_channels": 3, "depth": 2, "height": 2, "width": 2, "kernel": 3},
        matrix=2 * 3 * 2 * 8 * 27,
        read=2 * 4 * 4 * 4 + 3 * 2 * 27, written=3 * 8, stored={"weight": 3 * 2 * 27},
    ),
    Case(  # 4 x 4 to 9 x 9: windows of 3 at distance 2 cover (4 - 1) 2 + 3 positions
        "conv_transpose2d",
        {"batch": 1, "in_channels": 2, "out_channels": 3, "height": 4, "width": 4, "kernel": 3, "stride": 2},
        matrix=2 * 3 * 2 * (4 * 4) * 9,
        read=2 * 4 * 4 + 3 * 2 * 9, written=3 * 9 * 9, stored={"weight": 3 * 2 * 9},
    ),
    Case("reduction", {"rows": 3, "width": 5}, vector=3 * 5, read=3 * 5, written=3, scales="rows"),
    # --- streams and tables --------------------------------------------------------------------------
    Case("stream", {"elements": 10}, vector=2 * 10, read=2 * 10, written=10, scales="elements"),
    Case("random_numbers", {"numbers": 8}, vector=8 / 4 * 10 * 10, written=8, scales="numbers"),
    Case(  # 2 x 3 x 5 x 0.5 events and 3 operations per neuron; 1 bit per spike
        "spiking_layer", {"batch": 2, "inputs": 32, "outputs": 5, "rate": 0.5},
        vector=2 * 32 * 5 * 0.5 + 3 * 2 * 5,
        read=2 * 32 / 32 + 32 * 5 + 2 * 5, written=2 * 5 + 2 * 5 / 32, stored={"weight": 32 * 5, "state": 2 * 5},
    ),
    Case(
        "embedding_bag", {"bags": 3, "rows": 4, "vocabulary": 100, "width": 8},
        vector=3 * 4 * 8, read=3 * 4 + 3 * 4 * 8, written=3 * 8, stored={"weight": 100 * 8}, scales="bags",
    ),
    Case(  # one grid of 1 cell per side: 2^3 = 8 corners, all of them read
        "hash_grid", {"points": 4, "levels": 1, "entries": 16, "coarsest": 1},
        lookup=4 * 8, vector=4 * 8 * (7 + 2 * 2), read=4 * 3 + 8 * 2, written=4 * 2, stored={"weight": 8 * 2},
        scales="points",
    ),
    Case(  # 4 parts of 8 bit are one word
        "code_scan", {"queries": 2, "codes": 10, "subspaces": 4},
        lookup=2 * 10 * 4, vector=2 * 10 * 4, read=2 * 10 + 2 * 4 * 256, written=2 * 10, scales="queries",
    ),
    Case(
        "top_k", {"rows": 2, "width": 10, "kept": 3},
        vector=2 * (10 + 3 * 2), read=2 * 10, written=2 * 3 + 2 * 3, scales="rows",
    ),
]
