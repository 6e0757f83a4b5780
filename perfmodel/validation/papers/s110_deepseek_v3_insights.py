"""S110: Zhao et al., Insights into DeepSeek-V3, ISCA 2025, arXiv:2505.09343."""

from __future__ import annotations

import perfmodel as pm
from perfmodel.engine import network
from perfmodel.engine.fidelity import cost_model
from perfmodel.scenario.expert_parallel import (
    decode_bound,
    dispatch_bandwidth,
    exchange_time,
    node_limited,
)
from perfmodel.scenario.speculative import multi_token_gain
from perfmodel.validation.cases import predicts, published

#: tokens of a training step, section 4.4
STEP_TOKENS = 15360.0 * 4096.0
GPUS = 2048.0


@predicts({"S110-T1-01": "deepseek-v3", "S110-T1-02": "qwen2.5-72b", "S110-T1-03": "llama-3.1-405b"},
          fidelity="count")
def kv_cache_per_token(model: str) -> float:
    """KV cache of one token [kB], Table 1."""
    return float(pm.workload(model).kv_bytes_per_token("bf16")) / 1e3


@predicts({"S110-T2-01": "deepseek-v2", "S110-T2-02": "deepseek-v3", "S110-T2-03": "llama-3.1-405b"},
          fidelity="count")
def training_cost_per_token(model: str, causal: bool = True) -> float:
    """Training cost of one token [GFLOP], Table 2: forward and backward, sequence 4096, causal attention."""
    forward = pm.workload(model).flops(batch=1, query=4096, context=4096, causal=causal)
    return 3.0 * float(forward) / 4096.0 / 1e9


def _exchange() -> float:
    """32 tokens to 8 routed and one shared expert over 50 GB/s; the paper takes hidden 7000 [s]."""
    return float(exchange_time(32.0, 7000.0, 9.0, 50e9))


@predicts({"S110-EP-IB-01": 1.0, "S110-EP-IB-02": 2.0}, fidelity="count")
def expert_exchange(micro_batches: float) -> float:
    """Exchange of a layer [us], section 2.3.2."""
    return micro_batches * _exchange() * 1e6


@predicts("S110-EP-IB-03", fidelity="count")
def token_time() -> float:
    """Least time per output token [ms]."""
    return float(decode_bound(_exchange(), 61.0)) * 1e3


@predicts("S110-EP-IB-04", fidelity="count")
def token_rate() -> float:
    """Highest decode rate of a sequence [token/s]."""
    return 1.0 / float(decode_bound(_exchange(), 61.0))


@predicts("S110-MTP-01", fidelity="count")
def multi_token_prediction() -> float:
    """Speed-up of one extra prediction module, one layer of 61, at acceptance 0.85."""
    return float(multi_token_gain(0.85, 1.0 / 61.0))


_NETWORKS = {
    "FT2": network.two_layer_fat_tree(64.0),
    "FT3": network.three_layer_fat_tree(64.0),
    # two groups fewer than the 513 that the ports allow
    "Dragonfly": network.balanced_dragonfly(64.0, spare_groups=2.0),
}
_COUNTS = {
    f"S110-T3-{name}-0{i}": (name, what)
    for name in _NETWORKS for i, what in enumerate(("endpoints", "switches", "links"), start=1)
}


@predicts(_COUNTS, fidelity="count")
def network_counts(name: str, what: str) -> float:
    """Endpoints, switches and cables between switches, Table 3."""
    return float(getattr(_NETWORKS[name], what))


def _prices(without: str) -> tuple[float, float]:
    """Price of a switch and of a cable [USD] from the networks of the table other than `without`."""
    import numpy as np

    names = [name for name in _NETWORKS if name != without]
    counts = np.array([[_NETWORKS[n].switches, _NETWORKS[n].links] for n in names])
    cost = np.array([published()[f"S110-T3-{n}-04"].value * 1e6 for n in names])
    switch, link = np.linalg.solve(counts, cost)
    return float(switch), float(link)


@predicts({f"S110-T3-{name}-04": name for name in _NETWORKS}, fidelity="calibrated",
          reason="two prices from the two other rows: rounding of the printed costs is amplified")
def network_cost(name: str) -> float:
    """Cost of a network [M$] at the two prices that the two other rows of Table 3 imply."""
    return float(network.network_price(_NETWORKS[name], *_prices(name))) / 1e6


@predicts({f"S110-T3-{name}-05": name for name in _NETWORKS}, fidelity="calibrated",
          reason="two prices from the two other rows: rounding of the printed costs is amplified")
def cost_per_endpoint(name: str) -> float:
    """Cost per endpoint [k$], Table 3."""
    return network_cost(name) * 1e3 / float(_NETWORKS[name].endpoints)


@predicts("S110-T4-MPFT-02", fidelity="calibrated",
          reason="gaps between kernels and exchanges that are not hidden: two chunks take 129 ms, not 88")
def step_time() -> float:
    """Time of a training step [s], kernels of the H100 and the exchange of experts behind products.

    The paper computes norms and up-projections again, finer than the options here, which need 94 GB.
    """
    system = pm.system("h800-node", count=int(GPUS)).vary({"device.memory.hbm.capacity": "100 GB"})
    step = pm.training("deepseek-v3", system, batch=15360, sequence=4096, pp=16, dp=128, ep=64, zero=1,
                       recompute="selective", overlap=True, precision="fp8_block", fidelity="calibrated")
    return float(step.step_time)


@predicts("S110-T4-MPFT-01", fidelity="count")
def tokens_per_day() -> float:
    """Tokens per day [B] from the measured step time."""
    return STEP_TOKENS / published()["S110-T4-MPFT-02"].value * 86400.0 / 1e9


def _rate(causal: bool) -> float:
    """FLOP/s of a GPU: counted work of a token over the measured step time."""
    work = training_cost_per_token("deepseek-v3", causal) * 1e9
    return work * STEP_TOKENS / published()["S110-T4-MPFT-02"].value / GPUS


@predicts({"S110-T4-MPFT-09": False, "S110-T4-MPFT-10": True}, fidelity="count")
def model_flops_rate(causal: bool) -> float:
    """Useful FLOP/s of a GPU [TFLOPS] with the full square or the causal half of attention."""
    return _rate(causal) / 1e12


@predicts({"S110-T4-MPFT-11": False, "S110-T4-MPFT-12": True}, fidelity="count")
def utilisation(causal: bool) -> float:
    """Model FLOP utilisation [%] over the dense bf16 peak of the H800."""
    return 100.0 * _rate(causal) / float(pm.device("h800-sxm").compute["matrix"].peak["bf16"])


@predicts({"S110-F7-dispatch-01": 16.0, "S110-F7-dispatch-02": 64.0, "S110-F7-dispatch-03": 128.0},
          reason="the nominal rate of the network card: what is lost with more peers is not modelled")
def dispatch(gpus: float) -> float:
    """Dispatch rate per GPU [GB/s], Figure 7: 8 experts on at most 4 nodes of 8 GPUs; 50 GB/s network card,
    160 GB/s over NVLink.
    """
    route = node_limited(8.0, gpus / 8.0, 8.0, 4.0)
    return float(dispatch_bandwidth(route, 50e9, 160e9)) / 1e9


#: multiprocessors left for computation beside the 20 that communicate
_COMPUTING = 112.0 / 132.0


def _training_node() -> pm.System:
    """An H800 without the multiprocessors that communicate."""
    node = pm.system("h800-sxm")
    peaks = node.device.compute["matrix"].peak
    return node.vary({
        "device.compute.matrix.count": 112.0,
        **{f"device.compute.matrix.peak.{key}": float(peaks[key]) * _COMPUTING for key in ("bf16", "fp8")},
    })


def _attention_time(passes: float) -> float:
    """Expanded latent attention over 4096 tokens [s]; backward counts 2.5 times the work."""
    op = pm.op.attention(
        batch=1, query=4096, context=4096, heads=128, head_dim=192, value_dim=128, causal=True
    )
    return passes * float(pm.kernel(op, _training_node(), precision="bf16", fidelity="calibrated").latency)


def _products_time() -> float:
    """FP8 products of four expert layers, forward and twice backward, 64-way expert parallel [s].

    Kernels of the H100, whose sums of blocks of 128 are promoted to fp32 as in this training.
    """
    cost, node, formats = cost_model("calibrated"), _training_node(), pm.precision("fp8_block")
    # a rank holds 4 of 256 experts and gets the tokens of 64 ranks: as many rows as 8 experts of its own
    rows = {
        "query_down": (4096.0, 1536.0, 7168.0), "query_up": (4096.0, 24576.0, 1536.0),
        "latent_down": (4096.0, 576.0, 7168.0), "latent_up": (4096.0, 32768.0, 512.0),
        "out": (4096.0, 7168.0, 16384.0), "shared_up": (4096.0, 4096.0, 7168.0),
        "shared_down": (4096.0, 7168.0, 2048.0),
    }
    products = [pm.op.matmul(m=m, n=n, k=k) for m, n, k in rows.values()]
    for n, k in ((4096.0, 7168.0), (7168.0, 2048.0)):
        products.append(pm.op.matmul(m=8192.0, n=n, k=k).named("expert", 4.0))
    return 4.0 * 3.0 * sum(float(cost(op, node, formats).time) for op in products)


@predicts({"S110-TRACE-compute-01": 1.0, "S110-TRACE-compute-02": 2.5}, fidelity="calibrated",
          reason="half faster than the kernels measured on an H100 with heads of 192 and 128")
def attention_kernel(passes: float) -> float:
    """Attention kernel of the training trace [us]."""
    return _attention_time(passes) * 1e6


@predicts("S110-TRACE-compute-03", fidelity="calibrated")
def product_kernels() -> float:
    """All FP8 product kernels of a forward and backward chunk [ms]."""
    return _products_time() * 1e3


@predicts("S110-TRACE-compute-04", fidelity="calibrated",
          reason="gaps between kernels and exchanges that are not hidden")
def span() -> float:
    """Forward and backward chunk of four layers [ms]: products and attention one after the other."""
    return (_products_time() + 4.0 * _attention_time(3.5)) * 1e3
