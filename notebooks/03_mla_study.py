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
# # Multi-head or latent attention: which hardware wants which?
#
# One attention layer of DeepSeek-V3 (128 heads, latent of 512 + 64) decodes one token per sequence.
# Compared are plain multi-head attention (MHA) of the same width and latent attention (MLA) with three ways
# to take the query into the latent space: **reuse** a matrix product kept in memory, **recompute** it in
# every pass, or apply the two factors one after the other (**two-step**).
# After Geens and Verhelst, arXiv:2506.02523, over bandwidth, compute and batch.

# %%
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np

import perfmodel as pm
from perfmodel.ops.mla_schemes import crossover_intensity, latent_query
from perfmodel.workload.graph import Graph

HEADS, Q_RANK, KV_RANK, ROPE, NOPE, V, HIDDEN = 128, 1536, 512, 64, 128, 128, 7168
CONTEXT = 8192


@dataclass(frozen=True)
class Layer:
    """One attention layer: projections, attention over the cache, output projection."""

    scheme: str

    def graph(self, step, name):
        tokens, matmul = step.tokens, pm.op.matmul
        out = matmul(tokens, HIDDEN, HEADS * V, name="out")
        if self.scheme == "mha":
            head = NOPE + ROPE
            qkv = matmul(tokens, HEADS * (2 * head + V), HIDDEN, name="qkv")
            core = pm.op.attention(step.batch, step.query, step.context, HEADS, HEADS, head, value_dim=V)
            return Graph(name, (qkv, core, out))
        down = matmul(tokens, Q_RANK + KV_RANK + ROPE, HIDDEN, name="down")
        rope = matmul(tokens, HEADS * ROPE, Q_RANK, name="rope_query")
        core = pm.op.mla(step.batch, step.query, step.context, HEADS, KV_RANK, ROPE, NOPE, V)
        back = matmul(tokens, V, KV_RANK, HEADS, name="value_up")
        query = latent_query(self.scheme, tokens, HEADS, Q_RANK, KV_RANK, NOPE)
        return Graph(name, (down, rope, *query, core, back, out))


def layer(scheme):
    return pm.Workload(scheme, "ops", Layer(scheme))


SCHEMES = {"mha": "MHA", "reuse": "MLA, reuse", "recompute": "MLA, recompute", "two_step": "MLA, two-step"}

# %% [markdown]
# A device of 1 PFLOP/s (bf16) whose bandwidth is swept from a phone's to a future HBM's; no launch overhead,
# so that only the two resources of the roofline speak.

# %%
bandwidths = np.geomspace(1e11, 1e13, 61)
peaks = np.geomspace(1e13, 1e16, 61)
batches = [1, 16, 64, 256]
base = pm.system("h100-sxm5").vary({
    "device.launch.overhead": 0.0, "device.memory.hbm.capacity": "1 TiB", "device.compute.matrix.peak.bf16": 1e15,
})
swept = base.vary({"device.memory.hbm.bandwidth": bandwidths})
runs = {s: pm.forward(layer(s), swept, batch=batches, query=1, context=CONTEXT) for s in SCHEMES}

colours = {"mha": "#777777", "reuse": "#d95f02", "recompute": "#7570b3", "two_step": "#1b9e77"}
figure, axes = plt.subplots(1, len(batches), figsize=(13, 3.6), sharey=True, layout="constrained")
for i, (batch, axis) in enumerate(zip(batches, axes, strict=True)):
    for scheme, run in runs.items():
        axis.loglog(bandwidths / 1e12, run.throughput[i], color=colours[scheme], label=SCHEMES[scheme])
    axis.set(title=f"batch {batch}", xlabel="memory bandwidth [TB/s]")
    axis.grid(alpha=0.3, which="both")
axes[0].set_ylabel("tokens/s through one layer")
axes[0].legend(fontsize=8)
figure.suptitle(f"DeepSeek-V3 attention layer, 1 PFLOP/s, context {CONTEXT}: decode throughput")
plt.show()

# %% [markdown]
# MHA stays on the bandwidth slope at every batch.  MLA reads 71 times fewer cache bytes and does far more
# work on each, so it bends towards the compute roof: from a batch of some ten sequences on, more bandwidth
# buys nothing beyond the bend.

# %%
for scheme, run in runs.items():
    intensity = run.intensity[:, 0]
    print(f"{SCHEMES[scheme]:16s}", "  ".join(f"batch {b}: {x:6.1f} FLOP/B" for b, x in zip(batches, intensity, strict=True)))

# %% [markdown]
# ## Reuse or recompute
#
# For few tokens the choice between them depends on the ridge point of the device alone. Reuse waits for
# `b H q c` bytes; recompute spends `2 H q n c` operations while fewer bytes arrive. With compute and memory
# overlapped it wins where peak / bandwidth > `2 n / b`: heads, ranks and batch cancel.

# %%
ridge = float(crossover_intensity(NOPE, 2))
grid = base.vary({"device.memory.hbm.bandwidth": bandwidths, "device.compute.matrix.peak.bf16": peaks})
reuse, recompute, two_step = (
    pm.forward(layer(s), grid, batch=1, query=1, context=CONTEXT) for s in ("reuse", "recompute", "two_step")
)
gain = np.asarray(reuse.latency / recompute.latency)
order = reuse.latency.axes
assert order == ("device.compute.matrix.peak.bf16", "device.memory.hbm.bandwidth")

figure, axis = plt.subplots(figsize=(6.2, 4.6), layout="constrained")
limit = np.abs(np.log2(gain)).max()
image = axis.pcolormesh(bandwidths / 1e12, peaks / 1e12, np.log2(gain), cmap="PuOr_r", vmin=-limit, vmax=limit)
axis.plot(bandwidths / 1e12, ridge * bandwidths / 1e12, "k--", label=f"closed form: ridge point {ridge:.0f} FLOP/B")
axis.set(xscale="log", yscale="log", ylim=(peaks[0] / 1e12, peaks[-1] / 1e12),
         xlabel="memory bandwidth [TB/s]", ylabel="bf16 peak [TFLOP/s]", title="Batch 1: recompute against reuse")
axis.legend(loc="lower right")
figure.colorbar(image, label="log2 (time of reuse / time of recompute)")
plt.show()

# %% [markdown]
# Above the line recomputing wins, below it reusing does; the engine finds the closed form's line again
# although it adds the rest of the layer.
#
# **A finding that goes against both schemes:** applying the two factors one after the other reads as little
# as recompute and computes less than either.  It is nowhere on this grid slower than the better of the two
# (by more than a tenth of a per cent, the latent query that passes through memory), which is why serving
# engines do it.

# %%
above = np.asarray(peaks)[:, None] > 1.1 * ridge * bandwidths
below = np.asarray(peaks)[:, None] < 0.9 * ridge * bandwidths
assert np.all(gain[above] >= 1.0)
assert np.all(gain[below] <= 1.0)
assert np.all(np.asarray(two_step.latency) <= 1.001 * np.minimum(reuse.latency, recompute.latency))

# %% [markdown]
# ## Energy
#
# The same counts priced with 0.5 pJ per FLOP and 60 pJ per byte of HBM (round numbers for a 5 nm device:
# what matters here is their ratio).

# %%
PER_FLOP, PER_BYTE = 0.5e-12, 60e-12
for scheme, run in runs.items():
    energy = np.asarray((run.flops * PER_FLOP + run.bytes * PER_BYTE)[:, 0]) / batches
    print(f"{SCHEMES[scheme]:16s}", "  ".join(f"batch {b}: {e * 1e3:7.3f} mJ/token" for b, e in zip(batches, energy, strict=True)))

# %% [markdown]
# Headline: with 128 heads the attention itself has an intensity of 2 H (2 c + r) / ((c + r) b) = 242 FLOP/B.

# %%
core = pm.op.mla(1, 1, 2**20, HEADS, KV_RANK, ROPE, NOPE, V)
intensity = core.flops / (2 * core.elements(kind="kv"))
print(f"{intensity:.1f} FLOP per cached byte")
assert abs(intensity - 242) < 1
