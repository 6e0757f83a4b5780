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
# # Training plans: how to cut a model over 512 devices
#
# A training run is cut four ways: tensors over neighbours (tp), layers over stages (pp), the batch over replicas
# (dp), experts over replicas (ep). Each cut trades memory, messages and waiting. `pm.training` prices one
# optimiser step, and as every size may be a list, all plans are one call.

# %%
import time

import matplotlib.pyplot as plt
import numpy as np

import perfmodel as pm

CLUSTER = pm.system("dgx-h100", count=512)
STEP = {"batch": 1024, "sequence": 4096, "recompute": "selective", "fidelity": "calibrated"}
TP, PP, DP = [1, 2, 4, 8], [1, 2, 4, 8, 16], [4, 8, 16, 32, 64, 128, 256, 512]

# %% [markdown]
# ## All plans of a dense model
#
# Llama-3.1-70B, weights sharded over the replicas as far as the optimiser state goes (ZeRO 1). Of the mesh
# tp x pp x dp only the points with 512 devices are of interest; points that cannot be are masked and say why.

# %%
start = time.perf_counter()
plans = pm.training("llama-3.1-70b", CLUSTER, tp=TP, pp=PP, dp=DP, zero=1, **STEP)
print(f"{plans.step_time.size} plans in {time.perf_counter() - start:.2f} s")

tp, pp, dp = np.meshgrid(TP, PP, DP, indexing="ij")
whole = tp * pp * dp == CLUSTER.count
assert plans.step_time.axes == ("tp", "pp", "dp")


def of_all_devices(values):
    """tp x pp table of the plans that use the whole cluster."""
    table = np.full((len(TP), len(PP)), np.nan)
    rows, columns, _ = np.nonzero(whole)
    table[rows, columns] = np.asarray(values)[whole]
    return table


step, memory = of_all_devices(plans.step_time), of_all_devices(plans.memory) / 2**30
utilisation = of_all_devices(plans.mfu)
best = np.unravel_index(np.nanargmin(step), step.shape)

figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.8), constrained_layout=True)
for ax, values, title, form in ((axes[0], step, "time of a step [s]", "{:.1f}"), (axes[1], memory, "memory per device [GiB]", "{:.0f}")):
    image = ax.imshow(values, cmap="viridis_r" if ax is axes[0] else "magma_r", aspect="auto")
    ax.set_xticks(range(len(PP)), PP)
    ax.set_yticks(range(len(TP)), TP)
    ax.set(xlabel="pipeline stages", ylabel="tensor-parallel devices", title=title)
    middle = np.nanmean([np.nanmin(values), np.nanmax(values)])
    for (row, column), value in np.ndenumerate(values):
        text = "does not\nfit" if np.isnan(step[row, column]) and ax is axes[0] else "" if np.isnan(value) else form.format(value)
        ax.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if value > middle else "black")
    ax.add_patch(plt.Rectangle((best[1] - 0.5, best[0] - 0.5), 1, 1, fill=False, ec="tab:red", lw=2))
plt.show()

# %% [markdown]
# Red: the fastest plan that fits. Less tensor parallelism means fewer messages, until the weights no longer fit;
# more stages make them fit again, and cost a bubble.
#
# ## What is kept for the backward pass
#
# The same plan with everything kept but the core of attention (which fused attention never stores), and with the
# inputs of layers alone, so that each layer runs forward twice. Larger micro-batches keep more, and are fewer: the
# bubble of a pipeline grows.

# %%
plan = {"tp": TP[best[0]], "pp": PP[best[1]], "dp": int(CLUSTER.count) // (TP[best[0]] * PP[best[1]])}
roomy = CLUSTER.vary({"device.memory.hbm.capacity": "1 TB"})  # to see what each would need
kept = {r: pm.training("llama-3.1-70b", roomy, **{**STEP, "recompute": r}, **plan, zero=1, micro_batch=[1, 2, 4])
        for r in ("selective", "full")}

figure, ax = plt.subplots(figsize=(7, 4), constrained_layout=True)
for (name, r), mark in zip(kept.items(), "o^", strict=True):
    ax.plot(r.memory / 2**30, r.step_time, mark + "-", label=f"recompute {name}")
    for size, x, y in zip((1, 2, 4), r.memory / 2**30, r.step_time, strict=True):
        ax.annotate(f"{size}", (x, y), textcoords="offset points", xytext=(6, -3), fontsize=8)
ax.axvspan(0, 80, color="tab:green", alpha=0.08, lw=0)
ax.set(xlabel="memory per device [GiB] (green: an H100 has it)", ylabel="time of a step [s]", xscale="log",
       title=f"tp {plan['tp']}, pp {plan['pp']}, dp {plan['dp']}; numbers: sequences of a micro-batch")
ax.set_xticks([20, 50, 100, 200], labels=["20", "50", "100", "200"])
ax.tick_params(axis="x", which="minor", labelbottom=False)
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## How much network does it take?
#
# Sharding the weights too (ZeRO 3) frees memory without stages or tensor parallelism, and collects every weight
# twice a micro-batch. Whether that hides behind the products is a question to the network.

# %%
rates = np.geomspace(2e9, 200e9, 41)
wires = CLUSTER.vary({"links.infiniband.bandwidth": list(rates)})
ways = {
    "ZeRO 1, best plan": {**plan, "zero": 1},
    "ZeRO 3, dp 512": {"dp": 512, "zero": 3, "recompute": "full"},
    "ZeRO 3, dp 512, micro-batch 2": {"dp": 512, "zero": 3, "recompute": "full", "micro_batch": 2},
}
networks = {name: pm.training("llama-3.1-70b", wires, **{**STEP, **way}) for name, way in ways.items()}

figure, ax = plt.subplots(figsize=(7, 4), constrained_layout=True)
for name, r in networks.items():
    ax.loglog(rates / 1e9, r.step_time, label=name)
ax.axvline(50, color="0.5", lw=1)
ax.text(53, 30, "one 400 Gb/s port", fontsize=8, color="0.4")
ax.set(xlabel="network per device [GB/s]", ylabel="time of a step [s]")
ax.set_xticks([2, 5, 10, 20, 50, 100, 200], labels=["2", "5", "10", "20", "50", "100", "200"])
ax.set_yticks([6, 10, 20, 50], labels=["6", "10", "20", "50"])
ax.tick_params(which="minor", labelbottom=False, labelleft=False)
ax.legend(frameon=False, fontsize=9, loc=(0.26, 0.76))
plt.show()

# %% [markdown]
# Below some 10 GB/s the weights come later than they are needed. From there to one port a device, what is left to
# see are the gradients, which ZeRO 3 sums after the last backward pass.
#
# ## Experts
#
# Mixtral 8x7B: experts shared out over ep replicas need less memory each, and exchange tokens in every layer. In a
# node the exchange is cheap; across nodes it is not, unless it runs behind the products of another micro-batch.

# %%
EP, few = [1, 2, 4, 8], pm.system("dgx-h100", count=64)
spread = {}
for tp_size, where in ((1, "experts in a node"), (4, "experts across nodes")):
    for overlap in (False, True):
        r = pm.training("mixtral-8x7b", few.vary({"device.memory.hbm.capacity": "1 TB"}), **STEP, tp=tp_size,
                        dp=64 // tp_size, ep=EP, zero=1, overlap=overlap)
        spread[f"{where} (tp {tp_size})" + (", hidden" if overlap else "")] = r

figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.8), constrained_layout=True)
for name, r in spread.items():
    style = {"ls": ":" if "hidden" in name else "-", "marker": "o", "color": "tab:blue" if "tp 1" in name else "tab:orange"}
    left.plot(EP, r.step_time, label=name, **style)
    if "hidden" not in name:
        right.plot(EP, r.memory / 2**30, label=name, **style)
right.axhline(80, color="0.5", lw=1)
for ax, text in ((left, "time of a step [s]"), (right, "memory per device [GiB]")):
    ax.set(xlabel="replicas that share out the experts", ylabel=text, ylim=(0, None))
    ax.set_xticks(EP)
    ax.legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# ## Check
#
# The fastest plan fits and keeps the units at least 40 % busy; a faster network never makes a step slower; hiding
# an exchange never does either.

# %%
assert memory[best] < 80 and 0.40 < utilisation[best] < 0.75
assert all(np.all(np.diff(r.step_time) <= 1e-9) for r in networks.values())
for name in [n for n in spread if "hidden" not in n]:
    assert np.all(spread[f"{name}, hidden"].step_time <= spread[name].step_time)
    assert np.all(np.diff(spread[name].memory) < 0)
print(f"best plan: {plan}, {step[best]:.1f} s a step, {100 * utilisation[best]:.0f} % MFU")
