"""Small tables of kernels: gated delta net, square products, one GPT-3 block, operator classes of a pass.

[1] Zhang et al., LLMCompass, ISCA 2024, arXiv:2312.03134 (block of GPT-3 on four A100).
"""

from __future__ import annotations

from typing import Any

from perfmodel.errors import ArgumentError
from perfmodel.ops.core import Op
from perfmodel.validation.measured.rows import each, scored
from perfmodel.validation.measured.tables import Table

NAME = "kernel_rows"
DELTA = {"device", "phase", "config", "batch", "seq_len", "kernel", "latency_us"}
PRODUCT = {"device", "kernel", "achieved_flop_per_s"}
BLOCK = {"device", "workload", "phase", "tp", "batch", "context_tokens", "op", "latency_us"}
#: GPT-3 175B: width and heads
WIDTH, HEADS = 12288.0, 96.0
#: size of the best square product where the name of the row has none [recalled]
SQUARE = 8192.0


def recognises(header: frozenset[str]) -> bool:
    """True for the tables of delta rules, best products, or operators of a block."""
    return header >= DELTA or header == PRODUCT or header >= BLOCK


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Errors of the time of a kernel, or of the rate of a product."""
    kind = fidelity or "calibrated"
    if table.header >= DELTA:
        return _delta(table, kind)
    return _block(table, kind) if table.header >= BLOCK else _product(table, kind)


def _time(op: Op, device: str, precision: str, fidelity: str) -> float:
    from perfmodel.explore.kernel_tables import device_name
    from perfmodel.scenario.kernel import kernel

    return float(kernel(op, device_name(device), precision=precision, fidelity=fidelity).latency)


def _delta(table: Table, fidelity: str) -> dict[str, Any]:
    from perfmodel.ops.scan import causal_conv1d, gated_delta_rule

    phases, kernels = table.texts("phase"), table.texts("kernel")
    batch, sequence = table.numbers("batch"), table.numbers("seq_len")

    def time(i: int) -> float:
        conv, key_heads, key, heads, value = (float(x) for x in table.columns["config"][i].split("-"))
        many, query = (batch[i], 1.0) if phases[i] == "decode" else (1.0, sequence[i])
        if kernels[i] == "conv":
            op = causal_conv1d(many, query, 2 * key_heads * key + heads * value, conv)
        elif kernels[i] == "gdn_update":
            op = gated_delta_rule(many, query, heads, key, value, key_heads)
        else:
            raise ArgumentError("kernel", kernels[i], "conv or gdn_update; parts of a chunk are no operator")
        return _time(op, table.columns["device"][i], "bf16", fidelity) * 1e6

    metrics = {"latency": (each(len(batch), time), table.numbers("latency_us"))}
    return scored(metrics, {"device": table.texts("device"), "phase": phases, "kernel": kernels}, fidelity)


def _product(table: Table, fidelity: str) -> dict[str, Any]:
    from perfmodel.ops.matmul import matmul

    names = table.texts("kernel")

    def rate(i: int) -> float:
        if "best" not in names[i] or "bf16" not in names[i]:
            raise ArgumentError("kernel", names[i], "a finished kernel; the steps before it are no model's")
        size = 4096.0 if "4096" in names[i] else SQUARE
        op = matmul(m=size, n=size, k=size)
        return 2.0 * size**3 / _time(op, table.columns["device"][i], "bf16", fidelity)

    metrics = {"rate": (each(len(names), rate), table.numbers("achieved_flop_per_s"))}
    return scored(metrics, {"device": table.texts("device")}, fidelity)


def _block(table: Table, fidelity: str) -> dict[str, Any]:
    from perfmodel.ops.matmul import matmul

    ops, phases = table.texts("op"), table.texts("phase")
    value = {name: table.numbers(name) for name in ("tp", "batch", "context_tokens")}

    def time(i: int) -> float:
        tp, many, context = (float(value[name][i]) for name in ("tp", "batch", "context_tokens"))
        rows = many * (context if phases[i] == "prefill" else 1.0)
        sizes = {"Q_K_V": (3 * WIDTH / tp, WIDTH), "Wo_proj": (WIDTH, WIDTH / tp),
                 "W1_proj": (4 * WIDTH / tp, WIDTH), "W2_proj": (WIDTH, 4 * WIDTH / tp)}
        if ops[i] not in sizes:
            raise ArgumentError("op", ops[i], ", ".join(sizes))
        width, depth = sizes[ops[i]]
        return _time(matmul(m=rows, n=width, k=depth), table.columns["device"][i], "fp16", fidelity) * 1e6

    metrics = {"latency": (each(len(ops), time), table.numbers("latency_us"))}
    return scored(metrics, {"device": table.texts("device"), "phase": phases}, fidelity)
