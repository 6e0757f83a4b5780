"""ResNet-50 on the published configurations of NVDLA, layer by layer.

[1] nvdla.github.io (0fa0e49), primer: multipliers, convolution buffer, memory bandwidth and frames per second
    of five configurations at 1 GHz (estimates of the vendor).
[2] NVDLA hardware manual: channels and kernels that are multiplied at once (recalled).
"""

from __future__ import annotations

from functools import cache

from perfmodel.algebra import Value, ceil_div, maximum, minimum
from perfmodel.ops.core import Op
from perfmodel.workload.workload import workload

#: multipliers -> channels and kernels at once, convolution buffer [B], memory [B/s]
CONFIGURATIONS = {
    2048: (64, 32, 512e3, 20e9), 512: (32, 16, 256e3, 10e9), 256: (32, 8, 256e3, 5e9),
    64: (8, 8, 128e3, 1e9), 32: (8, 4, 128e3, 0.5e9),
}
CLOCK = 1e9


def layer_time(
    channels: Value, filters: Value, pixels: Value, taps: Value, inputs: Value, *,
    at_once: tuple[Value, Value], buffer: Value, bandwidth: Value, clock: Value = CLOCK,
) -> Value:
    """Time of one int8 layer [s]: the longer of products and memory.

    inputs   bytes of the input map;  at_once  channels and kernels multiplied in a cycle
    buffer   [B], half of it for inputs and half for weights;  bandwidth [B/s]

    Products: ``pixels taps C/c K/k`` cycles, each rounded up.  Memory: inputs, weights, results once; where
    neither inputs nor weights fit their half, the cheaper of them comes again for every half of the other.
    """
    cycles = pixels * taps * ceil_div(channels, at_once[0]) * ceil_div(filters, at_once[1])
    weights, half = taps * channels * filters, buffer / 2.0
    again = minimum(inputs * (ceil_div(weights, half) - 1.0), weights * (ceil_div(inputs, half) - 1.0))
    return maximum(cycles / clock, (inputs + weights + again + filters * pixels) / bandwidth)


def _shape(op: Op) -> tuple[Value, Value, Value, Value, Value]:
    """Channels, filters, output pixels, taps and input bytes."""
    size = op.loops
    if op.family == "matmul":
        return size["k"], size["n"], 1.0, 1.0, size["k"]
    taken = next(t for t in op.tensors if t.name == "I").footprint(size)
    return size["c"], size["k"], size["p"] * size["q"], size["r"] * size["s"], taken


@cache
def frames_per_second(multipliers: int) -> float:
    """ResNet-50 in int8 on a configuration; pooling and sums run beside the products."""
    channels, kernels, buffer, bandwidth = CONFIGURATIONS[multipliers]
    seconds = 0.0
    for op in workload("resnet-50").graph(batch=1.0).ops:
        if op.family in ("conv2d", "matmul"):
            one = layer_time(*_shape(op), at_once=(channels, kernels), buffer=buffer, bandwidth=bandwidth)
            seconds += float(op.count) * float(one)
    return 1.0 / seconds
