"""What PyTorch achieves on this machine, from micro-kernels: corrections for `achieved` of a probed device.

The roofline of a processor does not see that activations stay in its caches, that small products run below
the peak, and what a call of an eager framework costs.  Each of these is one number per kind of operator,
measured on shapes that are not those of the networks that ``probe --check`` times.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from perfmodel.errors import ArgumentError
from perfmodel.explore.probe import best_time, busy
from perfmodel.hardware.device import Device

#: bytes over which operands rotate, so that weights come from main memory as in a network
ROTATE = 256 * 2**20
#: rows, inner and outer size of products of a batch of tokens
PRODUCTS = ((96, 1024, 1024), (192, 640, 2560), (160, 2560, 640))
#: inner and outer size of products with one row
VECTORS = ((640, 640), (640, 2560), (2560, 640), (640, 20000))
#: channels in and out, rows of the map, kernel, stride
CONVOLUTIONS = (
    (48, 48, 60, 3, 1),
    (96, 96, 30, 3, 1),
    (192, 192, 15, 3, 1),
    (384, 384, 8, 3, 1),
    (192, 48, 60, 1, 1),
    (96, 384, 30, 1, 1),
    (768, 192, 15, 1, 1),
    (384, 1536, 8, 1, 1),
)


def torch_module() -> Any:
    """The torch module.  Raises ArgumentError where PyTorch is not installed."""
    try:
        import torch
    except ImportError:
        raise ArgumentError("--check", "no PyTorch", "a Python with PyTorch: pip install torch") from None
    return torch


def prepare(torch: Any) -> str:
    """Settings of a measurement; says on how many threads.

    Threads that wait for each other are useless where other programs take the cores: on a busy machine one
    thread is timed, by the time that it runs.
    """
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    if busy():
        torch.set_num_threads(1)
    count = torch.get_num_threads()
    return f"{count} thread{'s' if count > 1 else ' (the machine is busy), CPU time'}"


def timed(torch: Any, function: Callable[[], Any], budget: float, least: int = 3) -> float:
    """Time of a call [s]: the shortest, or on a busy machine the median of the time that its only thread ran.

    Other programs slow a core down that shares caches and memory with them, short calls and long ones alike;
    the best of many short calls would be one that they did not hit.
    """
    if torch.get_num_threads() > 1 or not busy():
        return best_time(function, budget, least)
    function()
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < least or time.perf_counter() - start < budget:
        before = time.thread_time()
        function()
        times.append(time.thread_time() - before)
    return sorted(times)[len(times) // 2]


def achieved(
    device: Device, budget: float = 30.0, progress: Callable[[float], None] | None = None
) -> dict[str, Any]:
    """`achieved` block of a device: corrections by resource and operator, from about `budget` seconds."""
    torch = torch_module()
    threads = prepare(torch)
    jobs: Sequence[tuple[str, Callable[[Any, float], float], str]] = (
        ("launch", _call, "overhead"),
        ("compute.matrix.fp32@matmul", _product, "matrix"),
        ("compute.matrix.fp32@conv2d", _convolution, "matrix"),
        ("memory@matmul", _vector_product, "memory"),
        ("memory@elementwise", _map, "memory"),
        ("memory@norm", _norm, "memory"),
        ("memory@softmax", _softmax, "memory"),
        ("memory@pool2d", _pool, "memory"),
        ("compute.special.fp32", _special, "special"),
        ("compute.matrix.fp32@attention", _attention, "matrix"),
    )
    nominal = _nominal(device)
    found: dict[str, float] = {}
    for done, (name, measure, over) in enumerate(jobs, start=1):
        value = measure(torch, budget / len(jobs)) / nominal[over]
        found[name.replace("memory", f"memory.{device.main_memory_name}")] = float(f"{value:.4g}")
        if progress is not None:
            progress(done / len(jobs))
    shared = found.pop("compute.matrix.fp32@attention")
    for family in ("attention", "attention_scores", "attention_values"):
        found[f"compute.matrix.fp32@{family}"] = shared
        # scores and keys of one head stay in a cache
        found[f"memory.{device.main_memory_name}@{family}"] = found[
            f"memory.{device.main_memory_name}@softmax"
        ]
    return {
        "data": f"micro-kernels of PyTorch {torch.__version__} on {threads}",
        "rows": len(jobs),
        "parameters": len(jobs),
        "corrections": found,
        "spread": [0.8, 1.25],
    }


def _nominal(device: Device) -> Mapping[str, float]:
    launch, memory = device.launch, device.main_memory.bandwidth
    return {
        "overhead": float(launch.overhead) if launch is not None else 1e-6,
        "matrix": float(device.compute["matrix"].peak["fp32"]),
        "memory": float(memory) if memory else 1e10,
        "special": float(device.compute["special"].peak["fp32"]),
    }


def _rate(torch: Any, amount: float, calls: Sequence[Callable[[], Any]], budget: float) -> float:
    """Amount of all calls together per second; each call in turn, at its best."""
    return amount / sum(timed(torch, call, budget / len(calls)) for call in calls)


def _turns(items: Sequence[Any]) -> Iterator[Any]:
    return itertools.cycle(items)


def _call(torch: Any, budget: float) -> float:
    """Time of a module that does nothing worth mentioning, and of a view of what it made [s]."""
    one, layer = torch.ones(1), torch.nn.ReLU()
    return timed(torch, lambda: [layer(one).view(1) for _ in range(300)], budget) / 300


def _product(torch: Any, budget: float) -> float:
    """FLOP per second of products of some hundred rows, with weights from main memory."""
    calls, flops = [], 0.0
    for rows, inner, outer in PRODUCTS:
        weights = _turns([torch.randn(outer, inner) for _ in range(ROTATE // (4 * inner * outer))])
        x, count = torch.randn(rows, inner), 4

        def call(x: Any = x, weights: Iterator[Any] = weights, count: int = count) -> None:
            for _ in range(count):
                torch.nn.functional.linear(x, next(weights))

        calls.append(call)
        flops += 2.0 * rows * inner * outer * count
    return _rate(torch, flops, calls, budget)


def _vector_product(torch: Any, budget: float) -> float:
    """Bytes per second of the weights in products with one row."""
    calls, moved = [], 0.0
    for inner, outer in VECTORS:
        size = 4 * inner * outer
        weights = [torch.randn(outer, inner) for _ in range(max(1, ROTATE // (2 * size)))]
        x = torch.randn(1, inner)

        def call(x: Any = x, weights: Sequence[Any] = weights) -> None:
            for weight in weights:
                torch.nn.functional.linear(x, weight)

        calls.append(call)
        moved += float(size * len(weights))
    return _rate(torch, moved, calls, budget)


def _convolution(torch: Any, budget: float) -> float:
    """FLOP per second over convolutions of many shapes, with weights from main memory where large."""
    calls, flops = [], 0.0
    for inside, outside, rows, kernel, stride in CONVOLUTIONS:
        size = 4 * inside * outside * kernel**2
        count = min(8, max(1, ROTATE // (4 * size)))
        layers = [
            torch.nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False).eval()
            for _ in range(count)
        ]
        x = torch.randn(1, inside, rows, rows)

        def call(x: Any = x, layers: Sequence[Any] = layers) -> None:
            for layer in layers:
                layer(x)

        calls.append(call)
        flops += 2.0 * inside * outside * kernel**2 * (rows // stride) ** 2 * count
    return _rate(torch, flops, calls, budget)


def _pool(torch: Any, budget: float) -> float:
    """Bytes per second of a maximum over 3 x 3 windows."""
    x, layer = torch.randn(1, 48, 96, 96), torch.nn.MaxPool2d(3, 2, 1)
    return _rate(torch, x.numel() * 4.0 * 1.25, [lambda: layer(x)], budget)


def _map(torch: Any, budget: float) -> float:
    """Bytes per second of maps over activations that were just written."""
    x, y = torch.randn(1, 96, 60, 60), torch.randn(1, 96, 60, 60)
    norm = torch.nn.BatchNorm2d(96).eval()

    def chain() -> None:
        torch.relu(norm(x))
        torch.add(x, y)

    return _rate(torch, x.numel() * 4.0 * (2 + 2 + 3), [chain], budget)


def _norm(torch: Any, budget: float) -> float:
    """Bytes per second of a layer norm over activations that were just written."""
    x, layer = torch.randn(192, 640), torch.nn.LayerNorm(640).eval()
    return _rate(torch, x.numel() * 4.0 * 2, [lambda: layer(x)], budget)


def _softmax(torch: Any, budget: float) -> float:
    """Bytes per second of a softmax over scores."""
    x = torch.randn(10, 192, 192)
    return _rate(torch, x.numel() * 4.0 * 2, [lambda: torch.softmax(x, -1)], budget)


def _special(torch: Any, budget: float) -> float:
    """Special functions per second in a GELU."""
    x = torch.randn(192, 2560)
    return _rate(torch, float(x.numel()), [lambda: torch.nn.functional.gelu(x)], budget)


def _attention(torch: Any, budget: float) -> float:
    """FLOP per second of the two products of attention, ten heads of 64."""
    q = torch.randn(10, 192, 64)
    k, v = torch.randn(10, 64, 192), torch.randn(10, 192, 64)
    scores = torch.randn(10, 192, 192)
    return _rate(
        torch, 2 * 2.0 * 10 * 192 * 192 * 64, [lambda: (torch.bmm(q, k), torch.bmm(scores, v))], budget
    )
