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
# # Serving: how many requests per second can it take?
#
# A service is not judged by the speed of one batch but by what its slower users see: the 90 or 99 % percentile
# of the time to first token (TTFT) and of the time per output token (TPOT), while requests come as they please.
# `pm.serving` replays requests through continuous batching: with chunked prefill, a cache that can be full, and
# a queue. It jumps from event to event, so tens of thousands of requests take well under a second.

# %%
import csv
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import perfmodel as pm

MODEL, SLO = "llama-3.1-70b", {"ttft": 1.0, "tpot": 0.030, "percentile": 0.9}
NODES = {"4 x H100": "h100-sxm5:4", "4 x H200": "h200-sxm:4"}
COLOURS = dict(zip(NODES, ("tab:blue", "tab:orange"), strict=True))

# %% [markdown]
# ## A trace
#
# Any CSV file with the columns `arrival_s, prefill_tokens, decode_tokens` will do. This one is made up: long
# prompts with short answers (completion of code) and chat, with a rush of three minutes in the middle.

# %%
rng = np.random.default_rng(7)
seconds = 600.0
moments = np.sort(rng.uniform(0.0, seconds, 3000))
busy = (moments > 240) & (moments < 420)
moments = moments[busy | (rng.random(moments.size) < 0.5)]
code = rng.random(moments.size) < 0.4
prompt = np.where(code, rng.gamma(4.0, 600.0, moments.size), rng.gamma(1.5, 500.0, moments.size)).clip(16, 12000).astype(int)
answer = np.where(code, rng.gamma(2.0, 20.0, moments.size), rng.gamma(2.0, 120.0, moments.size)).clip(1, 1500).astype(int)

file = Path(tempfile.mkdtemp()) / "day.csv"
with file.open("w", newline="") as out:
    writer = csv.writer(out)
    writer.writerow(("arrival_s", "prefill_tokens", "decode_tokens"))
    writer.writerows(zip(np.round(moments, 3), prompt, answer, strict=True))

day = pm.serving(MODEL, "h100-sxm5:4", trace=file, tp=4, slo=SLO)
day

# %% [markdown]
# ## Percentiles against the rate
#
# The same trace, faster and slower: with a `rate` beside the trace its arrivals are stretched. All rates are one
# call. The percentiles stay flat for long and then leave the page; the knee of each objective is marked.

# %%
rates = np.linspace(0.5, 9.0, 35)
start = time.perf_counter()
swept = {name: pm.serving(MODEL, node, trace=file, rate=rates, tp=4, slo=SLO) for name, node in NODES.items()}
capacity = {name: float(r.capacity[0]) for name, r in swept.items()}
print(f"{2 * rates.size * moments.size:,} requests replayed in {time.perf_counter() - start:.1f} s, capacities included")

figure, axes = plt.subplots(2, 2, figsize=(10, 6), sharex=True, sharey="row", constrained_layout=True)
for column, (name, r) in enumerate(swept.items()):
    for row, (metric, scale, unit) in enumerate((("ttft", 1.0, "s"), ("tpot", 1e3, "ms"))):
        ax = axes[row, column]
        for p, style in ((50, ":"), (90, "-"), (99, "--")):
            ax.plot(rates, scale * getattr(r, f"{metric}_p{p}"), style, color=COLOURS[name], label=f"{p} %")
        ax.axhline(scale * SLO[metric], color="0.5", lw=1)
        ax.axvspan(0, capacity[name], color="tab:green", alpha=0.08, lw=0)
        ax.set(ylabel=f"{metric.upper()} [{unit}]" if column == 0 else None, xlim=(0, rates[-1]))
        if row == 0:
            ax.set_yscale("log")
            ax.set_title(f"{name}: {capacity[name]:.1f} requests/s")
        else:
            ax.set(ylim=(0, 100), xlabel="requests per second")
axes[0, 0].legend(title="of the requests", loc="upper left", frameon=False)
plt.show()

# %% [markdown]
# Green: up to the capacity, the highest rate at which 90 % of the requests keep each limit (grey lines). The
# throughput goes on growing beyond it; the service is over before the hardware is.
#
# ## Goodput
#
# Tokens per second of the requests that met both limits. Beyond the knee more load means less of it.

# %%
figure, ax = plt.subplots(figsize=(7, 4), constrained_layout=True)
for name, r in swept.items():
    ax.plot(rates, r.throughput, ":", color=COLOURS[name], label=f"{name}: all tokens")
    ax.plot(rates, r.goodput, "-", color=COLOURS[name], label=f"{name}: within the objective")
    ax.axvline(capacity[name], color=COLOURS[name], lw=0.8, alpha=0.6)
ax.set(xlabel="requests per second", ylabel="generated tokens per second", xlim=(0, rates[-1]), ylim=(0, None))
ax.legend(loc="upper left", framealpha=1, edgecolor="none")
plt.show()

# %% [markdown]
# ## What moves the knee?
#
# Without a trace, requests are generated: a mean rate, lengths with a spread, gaps with a coefficient of
# variation. One question per change, each answered with the capacity. What does not bind buys nothing: here the
# steps that carry prompts of others hold up the tokens, so a later first token is of no help.

# %%
asked = {"rate": 1.0, "input": 1500, "output": 200, "output_cv": 1.0, "tp": 4, "slo": SLO}
changes = {
    "as it is": {},
    "bursts (cv of gaps 3)": {"burstiness": 3.0},
    "half of the prompt cached": {"prefix_hit": 0.5},
    "fp8 instead of bf16": {"precision": "fp8"},
    "3 drafted tokens, 70 % kept, 5 % each": {"drafted": 3, "acceptance": 0.7, "draft_cost": 0.05},
    "first token within 3 s": {"slo": {**SLO, "ttft": 3.0}},
    "token every 50 ms": {"slo": {**SLO, "tpot": 0.050}},
}
found = {text: pm.serving(MODEL, "h100-sxm5:4", **{**asked, **change}).capacity for text, change in changes.items()}

figure, ax = plt.subplots(figsize=(7, 3.2), constrained_layout=True)
places = np.arange(len(found))[::-1]
ax.barh(places, list(found.values()), color=["0.6", *["tab:blue"] * (len(found) - 1)])
for place, value in zip(places, found.values(), strict=True):
    ax.text(value, place, f" {value:.1f}", va="center")
ax.set_yticks(places, list(found))
ax.set(xlabel="capacity of 4 x H100 [requests per second]", xlim=(0, 1.12 * max(found.values())))
plt.show()

# %% [markdown]
# ## Check
#
# Just below the capacity the objective holds, just above it does not; more memory bandwidth gives more of it.

# %%
for name, node in NODES.items():
    below, above = (pm.serving(MODEL, node, trace=file, rate=capacity[name] * f, tp=4, slo=SLO) for f in (0.98, 1.03))
    assert below.ttft_p90 <= SLO["ttft"] and below.tpot_p90 <= SLO["tpot"]
    assert above.ttft_p90 > SLO["ttft"] or above.tpot_p90 > SLO["tpot"]
assert capacity["4 x H200"] > capacity["4 x H100"]
assert found["first token within 3 s"] == found["as it is"] < found["token every 50 ms"]
assert found["bursts (cv of gaps 3)"] < found["as it is"] < found["half of the prompt cached"]
print(f"4 x H200 serve {capacity['4 x H200'] / capacity['4 x H100']:.2f} x the requests of 4 x H100")
