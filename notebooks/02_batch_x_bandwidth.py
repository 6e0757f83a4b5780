# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Batch x bandwidth: a design space in one call
#
# A sweep is one call with arrays. Here: Llama-3.1-70B on eight GPUs, every batch up to 256 against memories from
# 1 to 10 TB/s, three lengths of prompt and three peak rates. Then the points that no other point beats.

# %%
import time

import numpy as np

import perfmodel as pm

node = pm.system("h100-sxm5", count=8).vary({
    "device.memory.hbm.bandwidth": np.linspace(1e12, 10e12, 91),
    "device.compute.matrix.peak.bf16": ["500 TFLOP/s", "1 PFLOP/s", "2 PFLOP/s"],
})
start = time.perf_counter()
grid = pm.inference("llama-3.1-70b", node, batch=np.arange(1, 257), input=[512, 2048, 8192], output=512, tp=8)
seconds = time.perf_counter() - start
print(f"{np.prod(grid.shape):,} points in {seconds:.2f} s")
grid

# %% [markdown]
# One plane of it. Grey is where weights and caches do not fit the memory.

# %%
grid.plot(
    metric="throughput", x="device.memory.hbm.bandwidth", lines="batch",
    input=8192, **{"device.compute.matrix.peak.bf16": 1e15},
)

# %% [markdown]
# ## What does bandwidth buy?
#
# With a small batch, decode is a race through the weights: twice the bandwidth, half the time. With a large batch other
# costs come up, and the gain saturates.

# %%
few = pm.inference(
    "llama-3.1-70b",
    pm.system("h100-sxm5", count=8).vary({"device.memory.hbm.bandwidth": np.linspace(1e12, 10e12, 91)}),
    batch=[1, 16, 64, 256], input=2048, output=512, tp=8,
)
few.plot(metric="tpot", x="device.memory.hbm.bandwidth", lines="batch")

# %% [markdown]
# ## The front
#
# A service trades the speed of each answer against the number of answers. On the H100 as it is, only the batch is free.

# %%
batches = pm.inference("llama-3.1-70b", "h100-sxm5:8", batch=np.arange(1, 513), input=2048, output=512, tp=8)
front = pm.pareto(batches, ["tpot", "throughput"])
front.plot()

# %% [markdown]
# Over several devices and number formats, combinations that cannot be computed are masked, with the reason.

# %%
wide = pm.sweep(
    "inference", "llama-3.1-70b", ["a100-sxm-80gb:8", "h100-sxm5:8", "h200-sxm:8", "mi300x:8"],
    precision=["bf16", "fp8"], batch=[1, 2, 4, 8, 16, 32, 64, 128, 256], input=2048, output=512, tp=8,
)
pm.pareto(wide, ["tpot", "throughput", "power"])

# %%
wide.plot("pareto")

# %%
for reason in sorted(set(wide.reason.reshape(-1)) - {""}):
    print(f"{np.sum(wide.reason == reason):3} points: {reason}")

# %% [markdown]
# ## Check
#
# Points of the mesh equal single questions, more bandwidth never hurts, and the front is what brute force finds.

# %%
rng = np.random.default_rng(0)
for _ in range(5):
    place = tuple(int(rng.integers(n)) for n in grid.shape)
    at = {name: float(values[i]) for (name, values), i in zip(grid.axes.items(), place, strict=True)}
    hardware = {name: at.pop(name) for name in list(at) if name.startswith("device.")}
    if np.isfinite(grid.tpot[place]):
        one = pm.inference("llama-3.1-70b", pm.system("h100-sxm5", count=8).vary(hardware), output=512, tp=8, **at)
        assert abs(grid.tpot[place] / one.tpot - 1) < 1e-12

along = list(grid.axes).index("device.memory.hbm.bandwidth")
assert np.nanmax(np.diff(np.asarray(grid.tpot), axis=along)) <= 0

tpot, throughput = np.asarray(batches.tpot), np.asarray(batches.throughput)
beaten = [np.any((tpot <= t) & (throughput >= h) & ((tpot < t) | (throughput > h))) for t, h in zip(tpot, throughput, strict=True)]
assert set(front.index) == set(np.flatnonzero(~np.array(beaten) & np.isfinite(tpot)))
print(f"{len(front)} batches on the front, from {1e3 * np.nanmin(tpot):.1f} ms per token")
