# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A chip and a model, designed together
#
# A die of 7 nm is filled with cores, L2 slices and memory interfaces; the model may share each key and value
# between more query heads. Which chip makes the most tokens per dollar of silicon, and does the answer change
# with the model? Every axis is an array: chips, models and batches are one call.

# %%
import time
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

import perfmodel as pm
from perfmodel.engine.silicon import die_area, priced_die
from perfmodel.hardware.technology import technology

T = technology()
A100 = T.dies["ga100"]
cores = np.arange(32, 161, 4)  # multiprocessors; 128 on the die of an A100
stacks = np.arange(2, 9)  # HBM interfaces; 6 on the die of an A100

# %% [markdown]
# ## What fits a die
#
# Area by component of every chip of the grid, from transistor counts and the node; the reticle ends at 858 mm2.
# The price of a good die follows from dies per wafer and yield.

# %%
areas = die_area(replace(A100, cores=cores[:, None], memory_phys=stacks), T)
area = sum(areas.values()) * np.ones((len(cores), len(stacks)))
price = priced_die(area, T.node(A100.process))
fits = area <= 858e-6

figure, axis = plt.subplots(figsize=(6.2, 4.2), layout="constrained")
image = axis.pcolormesh(stacks, cores, np.where(fits, price, np.nan), cmap="viridis")
lines = axis.contour(stacks, cores, area * 1e6, levels=[400, 500, 600, 700], colors="white", linewidths=1)
axis.clabel(lines, fmt="%g mm²", fontsize=8)
axis.plot(6, 128, "r*", markersize=12)
axis.annotate("A100", (6, 128), (6.15, 131), color="red")
axis.set(xlabel="HBM stacks", ylabel="cores", title="price of a good die [USD], 7 nm")
figure.colorbar(image)
plt.show()

# %% [markdown]
# ## Chips, models and batches in one call
#
# A Llama of 8 B parameters, each key-value head shared by 1 to 32 query heads. Peak rate follows the cores,
# bandwidth and capacity follow the stacks.

# %%
base = pm.device("a100-sxm-80gb")
per_core, per_stack = float(base.compute["matrix"].peak["bf16"]) / 108, 2.039e12 / 5
chips = pm.system("a100-sxm-80gb").vary({
    "device.compute.matrix.peak.bf16": cores * per_core * 108 / 128,  # 108 of 128 cores are switched on
    "device.memory.hbm.bandwidth": stacks * per_stack * 5 / 6,  # as are 5 of 6 stacks
})
groups = [1, 4, 8, 32]
models = pm.workload("llama-3.1-8b").vary({"blocks.0.attention.kv_heads": [32 // g for g in groups]})
batches = [1, 4, 16, 64, 256]

start = time.perf_counter()
grid = pm.inference(
    models, chips.vary({"device.memory.hbm.capacity": "1 TiB"}), batch=batches, input=2048, output=512,
)
print(f"{np.prod(grid.shape):,} points in {time.perf_counter() - start:.2f} s; axes {list(grid.axes)}")

# %% [markdown]
# Tokens per second and per dollar of silicon. The memory stacks themselves are not in the price, so this is a
# question about the die alone.

# %%
CHIP = ("device.compute.matrix.peak.bf16", "device.memory.hbm.bandwidth")
MODEL = "blocks.0.attention.kv_heads"


def plane(metric, batch, kv_heads):
    """Values over (cores, stacks)."""
    values = np.asarray(getattr(grid, metric))
    names = list(grid.axes)
    index = [slice(None)] * len(names)
    index[names.index("batch")] = batches.index(batch)
    model_axis = next(name for name in names if name.endswith("kv_heads"))
    index[names.index(model_axis)] = [int(v) for v in grid.axes[model_axis]].index(kv_heads)
    left = [name for name in names if name not in ("batch", model_axis)]
    taken = values[tuple(index)]
    return taken if left[0].endswith("bf16") else taken.T


figure, axes = plt.subplots(2, 3, figsize=(11, 6.4), sharex=True, sharey=True, layout="constrained")
best = {}
for row, kv_heads in zip(axes, (32, 4), strict=True):
    for axis, batch in zip(row, (1, 16, 256), strict=True):
        value = np.where(fits, plane("throughput", batch, kv_heads) / price, np.nan)
        image = axis.pcolormesh(stacks, cores, value / np.nanmax(value), cmap="magma", vmin=0.4, vmax=1)
        at = np.unravel_index(np.nanargmax(value), value.shape)
        best[batch, kv_heads] = int(cores[at[0]]), int(stacks[at[1]])
        axis.plot(stacks[at[1]], cores[at[0]], "c*", markersize=14)
        axis.set_title(f"batch {batch}, query heads per key: {32 // kv_heads}", fontsize=9)
for axis in axes[:, 0]:
    axis.set_ylabel("cores")
for axis in axes[1]:
    axis.set_xlabel("HBM stacks")
figure.colorbar(image, ax=axes, label="tokens/s per dollar of die, share of the best")
plt.show()
best

# %% [markdown]
# With one request the weights stream through and cores are idle: the smallest die with all stacks wins. With many
# requests the model decides: without sharing, the cache keeps the chip bound by memory; with sharing, more cores pay.

# %%
for kv_heads in (32, 8, 4, 1):
    found = [plane("throughput", b, kv_heads) / price for b in batches]
    line = []
    for value in found:
        at = np.unravel_index(np.nanargmax(np.where(fits, value, np.nan)), value.shape)
        line.append(f"{cores[at[0]]:3d} cores x {stacks[at[1]]}")
    print(f"query heads per key {32 // kv_heads:2d}: " + "   ".join(f"batch {b}: {text}" for b, text in zip(batches, line, strict=True)))

# %% [markdown]
# ## Latency against cost
#
# Time per token against the price of the die, with the model of 8 key-value heads: chips that no other beats.

# %%
figure, axis = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
for batch, colour in ((1, "#1b9e77"), (16, "#d95f02"), (256, "#7570b3")):
    x, y = price[fits], 1e3 * plane("tpot", batch, 8)[fits]
    axis.plot(x, y, ".", color=colour, alpha=0.25)
    order = np.argsort(x)
    front = np.minimum.accumulate(y[order])
    axis.step(x[order], front, where="post", color=colour, label=f"batch {batch}")
axis.set(xlabel="price of a good die [USD]", ylabel="time per token [ms]", yscale="log")
axis.legend(ncols=3, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
plt.show()

# %% [markdown]
# ## Check
#
# A point of the grid equals the single question; the area of the A100 is the published one; sharing moves the best
# chip towards more cores per stack.

# %%
assert abs(area[list(cores).index(128), list(stacks).index(6)] * 1e6 / 826 - 1) < 0.05
hardware = {CHIP[0]: float(cores[20] * per_core * 108 / 128), CHIP[1]: float(stacks[3] * per_stack * 5 / 6)}
one = pm.inference(
    pm.workload("llama-3.1-8b"), pm.system("a100-sxm-80gb").vary({**hardware, "device.memory.hbm.capacity": "1 TiB"}),
    batch=16, input=2048, output=512,
)
assert abs(plane("throughput", 16, 8)[20, 3] / float(one.throughput) - 1) < 1e-12
ratio = {key: found[0] / found[1] for key, found in best.items()}
assert ratio[1, 4] <= ratio[16, 4] <= ratio[256, 4] and ratio[256, 4] > ratio[256, 32]
print(f"best die at batch 256: {best[256, 32]} without sharing, {best[256, 4]} with eight heads to a key (cores, stacks)")
