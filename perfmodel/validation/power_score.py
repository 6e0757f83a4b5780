"""Board power and energy of single kernels against tables of measurements.

A table gives the sizes, the time t and the mean board power of a kernel repeated in a loop:

    P = limit (s + (1 - s) (1 - exp(-(m u + c v)^p))),   s = before + (busy - before) t/(t + gap)

u and v are the utilisations of memory and matrix units, m and c what they draw, s what runs whatever they
do.  The bend comes from the board limit, towards which clocks fall.  The loop behind these tables makes at
most 3,000 calls and reads the sensor every 100 ms [1]; a reading is itself an average over a window [2].  A
loop of kernels below 33 us ends before its second reading: they carry the level of what ran `before`.

References
[1] NVIDIA aiconfigurator, collector/helper.py, commit 095f58a, https://github.com/ai-dynamo/aiconfigurator.
[2] Yang, Adamek, Armour, Part-time power measurements: nvidia-smi's lack of attention, arXiv:2312.02741.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from os import PathLike
from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError
from perfmodel.explore.kernel_tables import device_name, read_table, size, storage_of, take
from perfmodel.explore.score_kernels import errors
from perfmodel.hardware.catalog import device
from perfmodel.ops.attention import attended_pairs, visible_keys
from perfmodel.ops.moe import distinct_experts
from perfmodel.scenario.corrections import calibration

Rows = Mapping[str, Any]

#: utilisation of memory and matrix units, board limit [W] and time [s] of each row
Activity = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

ATTENTION = {"batch", "q_len", "past_len", "n_heads", "n_kv_heads", "head_dim", "window"}
MIXTURE = {"tokens", "hidden", "inter", "topk", "experts", "moe_tp_size", "moe_ep_size"}
POWER = {"system", "latency_us", "power_W", "energy_J"}


@dataclass(frozen=True)
class Draw:
    """Constants of a kind of kernel: shares of the board limit, draws per utilisation, gap [s], bend."""

    before: float = 0.35
    busy: float = 0.55
    gap: float = 2e-4
    memory: float = 2.0
    compute: float = 5.0
    bend: float = 1.0


def shipped_draw(kind: str) -> Draw:
    """Constants of the shipped fit."""
    found = (calibration().power or {})[kind]
    return Draw(**{field.name: float(found[field.name]) for field in fields(Draw)})


def kernel_power(activity: Activity, draw: Draw) -> np.ndarray:
    """Board power [W] of kernels from their activity."""
    memory, compute, limit, time = activity
    always = draw.before + (draw.busy - draw.before) * time / (time + draw.gap)
    work = (draw.memory * memory + draw.compute * compute) ** draw.bend
    return limit * (always + (1.0 - always) * (1.0 - np.exp(-work)))


def recognises(names: Iterable[str]) -> bool:
    """True for a table that `score_power` can score."""
    there = set(names)
    return there >= POWER and (there >= ATTENTION or there >= MIXTURE)


def kind_of(rows: Rows) -> str:
    """``attention_prefill``, ``attention_decode`` or ``moe``."""
    if "q_len" not in rows:
        return "moe"
    return "attention_decode" if np.all(rows["q_len"] == 1) else "attention_prefill"


def work(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """FLOP, bytes and the key of the matrix peak of each row."""
    return _mixture(rows) if kind_of(rows) == "moe" else _attention(rows)


def _attention(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    batch, query, heads, width = (rows[n] for n in ("batch", "q_len", "n_heads", "head_dim"))
    context = rows["past_len"] + query
    window = np.where(rows["window"] > 0, rows["window"], context)
    pairs = attended_pairs(query, context, window=window)
    cache = np.where(np.char.startswith(rows["kv_dtype"].astype(str), "fp8"), 1.0, 2.0)
    moved = 2.0 * batch * rows["n_kv_heads"] * width * visible_keys(query, context, window) * cache
    moved = moved + 2.0 * 2.0 * batch * query * heads * width
    # with an 8-bit cache the products run in 8 bits too
    narrow = np.char.startswith(rows["attn_dtype"].astype(str), "fp8") | (cache == 1.0)
    key = np.where(narrow, "fp8", "bf16")
    return 4.0 * batch * heads * width * pairs, moved, key


def _mixture(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    stores = [storage_of(str(name)) for name in rows["dtype"]]
    held, inner = rows["experts"] / rows["moe_ep_size"], rows["inter"] / rows["moe_tp_size"]
    routed = rows["tokens"] * rows["topk"] / rows["moe_ep_size"]
    chance = np.minimum(rows["topk"], rows["experts"])
    touched = distinct_experts(rows["experts"], chance, rows["tokens"]) * held / rows["experts"]
    weights = touched * 3.0 * rows["hidden"] * inner * np.array([s.b for s in stores])
    key = np.array([s.key for s in stores])
    return 6.0 * routed * rows["hidden"] * inner, weights + 4.0 * routed * rows["hidden"], key


def activity(rows: Rows) -> Activity:
    """Utilisation of memory and matrix units over the time, board limit [W] and time [s], per row."""
    flop, moved, key = work(rows)
    time = rows["latency_us"] * 1e-6
    memory, compute, limit = np.zeros(size(rows)), np.zeros(size(rows)), np.zeros(size(rows))
    for system in np.unique(rows["system"]):
        spec = device(device_name(str(system)))
        peaks = spec.compute["matrix"].peak
        if spec.power is None or spec.power.peak is None:
            raise ArgumentError("system", str(system), "a device with a board power")
        mask = rows["system"] == system
        peak = np.array([peaks.get(str(k), peaks["bf16"]) for k in key[mask]])
        memory[mask] = moved[mask] / time[mask] / spec.main_memory.bandwidth
        compute[mask] = flop[mask] / time[mask] / peak
        limit[mask] = spec.power.peak
    return np.minimum(memory, 1.0), np.minimum(compute, 1.0), limit, time


def score_power(path: str | PathLike[str]) -> dict[str, Any]:
    """Errors of predicted board power and energy per call, in all and by device and number format."""
    rows = read_table(str(path))
    if not recognises(rows):
        raise ArgumentError("data", str(path), "a table of kernels with power_W and energy_J")
    good = np.logical_and.reduce([
        np.isfinite(rows[name]) & (rows[name] > 0) for name in ("latency_us", "power_W", "energy_J")
    ])
    if not good.any():
        raise ArgumentError("data", str(path), "at least one row with time, power and energy above 0")
    rows = take(rows, good)
    kind = kind_of(rows)
    watts = kernel_power(activity(rows), shipped_draw(kind))
    joules = watts * rows["latency_us"] * 1e-6
    formats = rows["dtype"] if "dtype" in rows else rows["attn_dtype"]
    names = np.array([f"{s}/{f}" for s, f in zip(rows["system"], formats, strict=True)])
    groups = [
        {
            "device": device_name(name.partition("/")[0]), "group": name.partition("/")[2],
            "power": errors(watts[names == name], rows["power_W"][names == name]),
            "energy": errors(joules[names == name], rows["energy_J"][names == name]),
        }
        for name in np.unique(names)
    ]
    summary = {"power": errors(watts, rows["power_W"]), "energy": errors(joules, rows["energy_J"])}
    return {"kind": kind, "summary": summary, "groups": groups}


#: how far the logarithms of the constants may go from the start of the fit
LOWEST = np.array([-1.0, -0.7, -2.0, -2.0, -2.0, -0.7])
HIGHEST = np.array([1.0, 0.55, 3.0, 2.0, 2.0, 0.7])


def fit_draw(found: Activity, real: np.ndarray) -> Draw:
    """Constants with the least mean relative error."""
    from scipy.optimize import least_squares

    start = np.log(astuple(Draw()))

    def residuals(logs: np.ndarray) -> np.ndarray:
        guess = kernel_power(found, Draw(*np.exp(logs)))
        return np.asarray(np.sqrt(np.abs(guess / real - 1.0) + 1e-3))

    best = least_squares(residuals, start, bounds=(start + LOWEST, start + HIGHEST))
    return Draw(*(float(v) for v in np.exp(best.x)))


def fit_report(path: str | PathLike[str], folds: int = 5) -> tuple[dict[str, float], dict[str, Any]]:
    """Constants of a table, and the error on widths (head counts, hidden sizes) that the fit had not seen."""
    rows = read_table(str(path))
    width = rows["n_heads"] if "n_heads" in rows else rows["hidden"]
    fold = np.searchsorted(np.unique(width), width) % folds
    found, real = activity(rows), rows["power_W"]
    unseen = np.zeros(size(rows))
    for part in range(folds):
        hidden = fold == part
        draw = fit_draw(_chosen(found, ~hidden), real[~hidden])
        unseen[hidden] = kernel_power(_chosen(found, hidden), draw)
    draw = fit_draw(found, real)
    report = {"data": str(path).rsplit("/", 1)[-1], "rows": size(rows),
              "in_sample": errors(kernel_power(found, draw), real), "unseen_width": errors(unseen, real)}
    return dict(zip((f.name for f in fields(Draw)), astuple(draw), strict=True)), report


def _chosen(found: Activity, mask: np.ndarray) -> Activity:
    memory, compute, limit, time = (values[mask] for values in found)
    return memory, compute, limit, time
