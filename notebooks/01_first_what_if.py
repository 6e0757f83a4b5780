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
# # A first what-if
#
# How fast does Llama-3.1-8B answer on one H100, what holds it back, and what would a faster memory or a narrower
# number format change? No GPU is needed: the model is counted op by op and the device is a YAML file.

# %%
import perfmodel as pm

question = {"batch": 32, "input": 1024, "output": 1024}
today = pm.inference("llama-3.1-8b", "h100-sxm5", **question)
today

# %% [markdown]
# The interval runs from the bound that no kernel can beat to a cautious estimate without any calibration.
# Why these numbers?

# %%
print(today.explain())

# %% [markdown]
# The roofline shows the same: prefill sits on the flat roof of the tensor cores, decode on the slope of the memory.

# %%
today.plot()

# %%
today.plot("breakdown")

# %% [markdown]
# ## What if the memory were faster?
#
# Any number of the device may be replaced, by a number with a unit or by a list. A list becomes an axis.

# %%
h100 = pm.system("h100-sxm5")
faster = h100.vary({"device.memory.hbm.bandwidth": ["3.35 TB/s", "4.8 TB/s", "8 TB/s"]})
what_if = pm.inference("llama-3.1-8b", faster, **question)
what_if.table()

# %% [markdown]
# Decode follows the memory almost one to one; the time to the first token hardly moves.

# %%
tpot_gain = what_if.tpot[0] / what_if.tpot[1]
ttft_gain = what_if.ttft[0] / what_if.ttft[1]
print(f"4.8 TB/s instead of 3.35 TB/s (x {4.8 / 3.35:.2f}): decode x {tpot_gain:.2f}, prefill x {ttft_gain:.2f}")

# %% [markdown]
# ## What if numbers were narrower?
#
# A list of names is an axis too. `fp8` halves the bytes of weights and cache and doubles the peak rate;
# `w4a16` shrinks the weights alone.

# %%
narrower = pm.sweep("inference", "llama-3.1-8b", "h100-sxm5", precision=["bf16", "fp8", "w4a16"], **question)
narrower.plot(metric="throughput")

# %%
for row in narrower.table():
    print(f"{row['precision']:>6}: {1e3 * row['ttft']:6.1f} ms to the first token, "
          f"{1e3 * row['tpot']:5.2f} ms per token, {row['memory'] / 2**30:5.1f} GiB")

# %% [markdown]
# ## Which number of the hardware matters most?
#
# The sensitivity is the percentage by which the answer moves when a number moves by one percent.

# %%
slopes = pm.sensitivity(today, "tpot")
[row for row in slopes if abs(row["sensitivity"]) > 0.001]

# %% [markdown]
# ## The same as a formula
#
# Every op is plain arithmetic, so it can be traced with symbols. From which batch on is a 4096 x 4096 layer bound by
# arithmetic?

# %%
layer = pm.explain("matmul", "h100-sxm5", n=4096, k=4096)
layer

# %%
(crossover,) = layer.crossover("m")
print(f"bound by memory up to {crossover:.0f} rows, by arithmetic beyond")

# %% [markdown]
# ## Check
#
# A hand count: one decode pass reads all weights but the embedding table once, and the caches of 32 sequences with
# 1536.5 tokens on average; it starts nine kernels per layer and three more. Activations come on top.

# %%
model = pm.workload("llama-3.1-8b")
read = 2 * model.active_parameters + 32 * 1536.5 * model.kv_bytes_per_token("bf16")
by_hand = read / 3.35e12 + (32 * 9 + 3) * 3e-6
print(f"by hand {1e3 * by_hand:.2f} ms, predicted {1e3 * today.tpot:.2f} ms")
assert 1.0 < today.tpot / by_hand < 1.03
assert today.decode_bound == "memory" and today.prefill_bound == "compute"
assert 0.9 * 4.8 / 3.35 < tpot_gain < 4.8 / 3.35
