"""Other sources of measured kernels, brought into the columns that the families know.

A table may hold several kinds of kernel; each kind becomes a table of its own.  A source that does not name
its kernels leaves ``backend`` and ``kernel_source`` out, and the nearest known group answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from perfmodel.explore.kernel_tables import Rows, size, take

#: products of one transformer layer in a table of per-layer operator times: column -> (n, k) from sizes
LAYER_PRODUCTS: Mapping[str, Callable[[Rows], tuple[Any, Any]]] = {
    "attn_pre_proj_us": lambda r: (_heads_width(r, r["n_heads"] + 2.0 * r["n_kv_heads"]), r["hidden"]),
    "attn_post_proj_us": lambda r: (r["hidden"], _heads_width(r, r["n_heads"])),
    "mlp_up_proj_us": lambda r: ((1.0 + r["gated"]) * r["ffn"] / r["tp"], r["hidden"]),
    "mlp_down_proj_us": lambda r: (r["hidden"], r["ffn"] / r["tp"]),
}
#: layers that are timed one after the other (Vidur, profiling/mlp/mlp_wrapper.py)
LAYERS_OF_A_RUN = 20
#: power of a product with zeros over that of one with random numbers, at the clock that the others leave
ZEROS = 0.3
#: columns that an operator reads or writes per token, and the share of tensor parallelism in it
LAYER_STREAMS: Mapping[str, Callable[[Rows], Any]] = {
    "input_layernorm_us": lambda r: 2.0 * r["hidden"],
    "post_attention_layernorm_us": lambda r: 2.0 * r["hidden"],
    "attn_rope_us": lambda r: 2.0 * _heads_width(r, r["n_heads"] + r["n_kv_heads"]),
    "mlp_act_us": lambda r: (2.0 + r["gated"]) * r["ffn"] / r["tp"],
    "add_us": lambda r: 3.0 * r["hidden"],
}


def _heads_width(rows: Rows, heads: Any) -> Any:
    return heads * rows["hidden"] / rows["n_heads"] / rows["tp"]


def standard_tables(rows: Rows) -> list[Rows]:
    """The table itself, or the tables that it holds, with the columns of the families and a named system."""
    return [_named(table) for table in _tables(rows)]


def _tables(rows: Rows) -> list[Rows]:
    if "mlp_up_proj_us" in rows:
        return _layers(rows)
    if "up_proj_us" in rows:
        return [_grouped(rows)]
    if {"node", "gpus_per_node_used", "message_bytes"} <= set(rows):
        return [_nodes(rows)]
    if {"kind", "phase", "kv_len"} <= set(rows):
        return _phases(rows)
    if {"op", "m", "n", "k", "achieved_flop_per_s"} <= set(rows):
        return _operators(rows)
    if {"kernel", "implementation", "n"} <= set(rows):
        return _implementations(rows)
    return [rows]


def _named(rows: Rows) -> Rows:
    """With ``system``, ``backend`` and ``kernel_source``; what the source does not name reads ``any``."""
    if "system" not in rows and "device" not in rows:
        return rows
    blank = {name: np.full(size(rows), "any") for name in ("backend", "kernel_source")}
    return {**blank, "system": rows.get("system", rows.get("device")), **rows}


def _layers(rows: Rows) -> list[Rows]:
    """Operator times of a layer: products and streams; whole microseconds below 10 are left out.

    All weights, those of the norms too, are random within 0.001 (sarathi-serve, weight_utils.py): gate times
    up is below the least number of 16 bits, so that the product after a gated activation reads zeros.
    """
    products, streams = [], []
    shapes = {column: shape(rows) for column, shape in LAYER_PRODUCTS.items()}
    run = LAYERS_OF_A_RUN * 2.0 * rows["tokens"] * sum(n * k for n, k in shapes.values())
    for column, (n, k) in shapes.items():
        drawn = np.where((column == "mlp_down_proj_us") & (rows["gated"] > 0), ZEROS, 1.0)
        products.append(_table(rows, column, m=rows["tokens"], n=n, k=k, dtype="fp16", run_flop=run,
                               drawn=drawn))
    for column, width in LAYER_STREAMS.items():
        streams.append(_table(rows, column, m=rows["tokens"], k=width(rows), dtype="stream",
                              kernel_source=column.removesuffix("_us")))
    return [_join(products), _join(streams)]


def _table(rows: Rows, column: str, **columns: Any) -> Rows:
    count = size(rows)
    table = {"device": rows["device"], "latency_us": rows[column]}
    table |= {name: np.broadcast_to(value, (count,)) for name, value in columns.items()}
    return take(table, np.nan_to_num(rows[column]) >= 10.0)


def _join(tables: list[Rows]) -> Rows:
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def _nodes(rows: Rows) -> Rows:
    """Collectives by node type (``a100_dgx``): the library is the node type, the variant GPUs and nodes."""
    gpu, _, kind = np.transpose([str(node).partition("_") for node in rows["node"]])
    used = rows["gpus_per_node_used"]
    nodes = np.ceil(rows["num_gpus"] / used)
    where = np.where(nodes > 1, "several nodes", "one node")
    variant = np.array([f"{count:g} of {place}" for count, place in zip(used, where, strict=True)])
    shared = {name: rows[name] for name in ("op", "num_gpus", "message_bytes", "latency_us")}
    return {**shared, "system": gpu, "library": kind, "variant": variant}


def _grouped(rows: Rows) -> Rows:
    """Both grouped products of an expert layer: balanced load of the local experts."""
    count = size(rows)
    return {
        "device": rows["device"], "latency_us": rows["up_proj_us"] + rows["down_proj_us"],
        "dtype": np.full(count, "fp8_block"), "tokens": rows["tokens_per_gpu"] * rows["num_gpus"],
        "hidden": rows["hidden"], "inter": rows["inter"], "topk": rows["topk"], "experts": rows["experts"],
        "moe_tp_size": np.ones(count), "moe_ep_size": rows["num_gpus"],
        "distribution": np.full(count, "balanced"), "products_only": np.ones(count),
    }


def _phases(rows: Rows) -> list[Rows]:
    """Attention tables that mix kinds and phases."""
    tables: list[Rows] = []
    for kind in np.unique(rows["kind"]):
        for phase in np.unique(rows["phase"]):
            some = take(rows, (rows["kind"] == kind) & (rows["phase"] == phase))
            if not size(some):
                continue
            table = {name: some[name] for name in ("device", "batch", "q_len", "latency_us")}
            table |= {"past_len": some["kv_len"] - some["q_len"], "kv_dtype": some["kv_dtype"]}
            if kind == "mla":
                table |= {"mla_dtype": some["dtype"]}
                table["n_heads"] = np.array([float(c.partition("-")[0]) for c in some["config"]])
            else:
                table |= {"attn_dtype": some["dtype"], "window": np.zeros(size(some))}
                table |= {name: some[name] for name in ("n_heads", "n_kv_heads", "head_dim")}
            tables.append(table)
    return tables


def _operators(rows: Rows) -> list[Rows]:
    """Products and row operators (softmax, normalisation, activation) of one source."""
    product = rows["op"] == "matmul"
    kept = {name: rows[name] for name in ("device", "dtype", "m", "n", "k", "latency_us")}
    tables: list[Rows] = [take(kept, product)]
    other = take(rows, ~product)
    tables.append({
        "device": other["device"], "latency_us": other["latency_us"], "dtype": np.full(size(other), "stream"),
        "kernel_source": other["op"], "m": other["m"], "k": 2.0 * np.nan_to_num(other["n"], nan=1.0),
    })
    return [table for table in tables if size(table)]


def _implementations(rows: Rows) -> list[Rows]:
    """Square products and attention (batch 16, 64 query and 8 cache heads of 128) by implementation."""
    rows = take(rows, ~np.isnan(rows["latency_us"]))
    kernels, n, count = rows["kernel"], rows["n"], size(rows)
    tables: list[Rows] = []
    product = np.array([name.endswith("_gemm") for name in kernels])
    formats = np.array([name.partition("_")[0] for name in kernels])
    square = {"device": rows["device"], "latency_us": rows["latency_us"], "m": n, "n": n, "k": n,
              "dtype": formats, "kernel_source": rows["implementation"]}
    tables.append(take(square, product))
    for causal in (True, False):
        name = "gqa_causal_fwd" if causal else "gqa_non_causal_fwd"
        table = {"device": rows["device"], "latency_us": rows["latency_us"], "batch": np.full(count, 16.0),
                 "q_len": n, "n_heads": np.full(count, 64.0), "head_dim": np.full(count, 128.0),
                 "attn_dtype": np.full(count, "bfloat16"), "kernel_source": rows["implementation"]}
        if causal:
            table |= {"past_len": np.zeros(count), "n_kv_heads": np.full(count, 8.0),
                      "window": np.zeros(count), "kv_dtype": np.full(count, "bfloat16")}
        tables.append(take(table, kernels == name))
    return [table for table in tables if size(table)]
