"""S104: An et al., Fire-Flyer AI-HPC, SC 2024, arXiv:2408.14158."""

from __future__ import annotations

import perfmodel as pm
from perfmodel.engine import network
from perfmodel.engine.collective import steps
from perfmodel.engine.energy import nominal_energy, sustained_rate
from perfmodel.engine.host_reduce import host_reduce, host_reduce_bandwidth, host_ring_bandwidth
from perfmodel.engine.power import IDLE_SHARE
from perfmodel.validation.cases import predicts, published

#: eight channels of DDR4-3200 on each of two sockets, sustained [B/s]; root port [B/s], section IV-D
HOST_MEMORY, ROOT_PORT = 320e9, 37.5e9
#: GPU to network card across the root complex [B/s], section IV-B
GPU_TO_NIC = 9.0 * 2**30


def _product_rate(precision: str) -> float:
    """Rate of a large product on the 400 W module [FLOP/s]."""
    op = pm.op.matmul(m=8192.0, n=8192.0, k=8192.0)
    result = pm.kernel(op, "a100-sxm-40gb", precision=precision, fidelity="calibrated")
    return 2.0 * 8192.0**3 / float(result.latency)


@predicts({"S104-T2-GEMM-02": "tf32", "S104-T2-GEMM-04": "fp16"}, fidelity="calibrated",
          reason="the calibration of this GPU stays below its own largest measured products")
def module_rate(precision: str) -> float:
    """Large products on the SXM module [TFLOPS per GPU]."""
    return _product_rate(precision) / 1e12


@predicts({"S104-T2-GEMM-01": "tf32", "S104-T2-GEMM-03": "fp16"}, fidelity="calibrated",
          reason="the module is 9 % too fast; of its rate follow 0.855, measured 0.82 and 0.84")
def card_rate(precision: str) -> float:
    """Large products on the PCIe card [TFLOPS per GPU]: the same chip under the power limit of the card.

    The energy of an operation follows from the module, which runs at its own limit.
    """
    module, card = pm.device("a100-sxm-40gb"), pm.device("a100-pcie-40gb")
    peak = float(module.compute["matrix"].peak[precision])
    idle, limit = _power(module)
    spent = nominal_energy(_product_rate(precision), peak, idle, limit)
    return float(sustained_rate(peak, spent, *_power(card))) / 1e12


def _power(device: pm.Device) -> tuple[float, float]:
    """Idle power, by convention where the description has none, and limit [W]."""
    limit = float(device.power.peak)
    return IDLE_SHARE * limit if device.power.idle is None else float(device.power.idle), limit


@predicts({"S104-T2-GEMM-09": (0.83, 0.60), "S104-T2-GEMM-10": (1.0, 1.0)}, fidelity="count")
def cost_performance(performance: float, price: float) -> float:
    """Relative performance over relative price, Table II."""
    return performance / price


@predicts("S104-T3-FF2-01", fidelity="count")
def two_zones() -> float:
    """Switches of two zones of 800 ports joined by two switches, 40 ports each."""
    zone = network.partial_two_layer(800.0, 40.0)
    return float(network.zones(zone, 2.0, joining_switches=2.0).switches)


@predicts("S104-T3-DGX-01", fidelity="count")
def full_tree() -> float:
    """Switches of a three-layer tree for eight network cards on each of 1320 nodes."""
    return float(network.partial_three_layer(8.0 * 1320.0, 40.0).switches)


@predicts({"S104-T3-FF2-04": (350.0, 11250.0), "S104-T3-DGX-04": (4000.0, 19000.0)}, fidelity="count")
def cluster_price(fabric: float, servers: float) -> float:
    """Relative price of network and servers, Table III."""
    return fabric + servers


@predicts(["S104-HFREDUCE-01", "S104-HFREDUCE-02"],
          reason="the bound of host memory; what it sustains is not known")
def memory_bound() -> float:
    """All-reduce rate that host memory allows [GB/s]."""
    return float(host_reduce_bandwidth(HOST_MEMORY)) / 1e9


@predicts(["S104-HFREDUCE-03", "S104-HFREDUCE-04"],
          reason="the rate falls with the depth of the tree over 180 nodes; chunk sizes are not printed")
def host_all_reduce() -> float:
    """All-reduce rate of two GPUs behind one root port [GB/s]."""
    return float(host_reduce(HOST_MEMORY, ROOT_PORT, 2.0)) / 1e9


@predicts({"S104-HFREDUCE-05": 16.0, "S104-HFREDUCE-06": 1440.0},
          reason="2878 steps at the latencies of PCIe and InfiniBand are a third of it; what the library "
                 "adds to each is not known")
def ring(members: float) -> float:
    """Ring all-reduce of 186 MiB through the host bridge [GB/s]: its bandwidth, and a latency per step."""
    node, size = pm.system("fire-flyer-node"), 186.0 * 2.0**20
    links = (*node.device.links.values(), *node.links.values())
    latency = sum(float(link.latency) for link in links)
    waiting = float(steps("all_reduce", members, "ring")) * latency
    return size / (waiting + size / float(host_ring_bandwidth(GPU_TO_NIC, members))) / 1e9


@predicts("S104-HFREDUCE-07", side="least")
def bridged() -> float:
    """All-reduce rate where pairs of GPUs add up over NVLink first [GB/s]."""
    return float(host_reduce(HOST_MEMORY, ROOT_PORT, 2.0, bridge=2.0)) / 1e9


@predicts({"S104-STEP-13B-01": 64, "S104-STEP-13B-02": 256, "S104-STEP-13B-03": 512}, fidelity="calibrated",
          reason="loading of data and the all-reduce over the hosts weigh more with small local batches")
def step(gpus: int) -> float:
    """Step of LLaMA-13B over 4096 sequences of 2048 tokens [s]: four stages, bf16 at the rate of the card.

    Activations fit without recomputation if the optimiser is sharded.
    """
    rate = card_rate("fp16") / module_rate("fp16")
    node = pm.system("fire-flyer-node", count=gpus)
    peak = float(node.device.compute["matrix"].peak["bf16"])
    result = pm.training(
        "llama-13b", node.vary({"device.compute.matrix.peak.bf16": rate * peak}), batch=4096, sequence=2048,
        pp=4, dp=gpus // 4, zero=1, precision="bf16", fidelity="calibrated",
    )
    return float(result.step_time)


@predicts("S104-STEP-13B-04", fidelity="count")
def parallel_efficiency() -> float:
    """Strong scaling from 64 to 512 GPUs [%] from the measured step times."""
    small, large = (published()[f"S104-STEP-13B-0{i}"].value for i in (1, 3))
    return 100.0 * small * 64.0 / (large * 512.0)
