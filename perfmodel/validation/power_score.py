"""Board power and energy of single kernels against tables of measurements.

A table gives the sizes, the time and the mean board power of a kernel repeated in a loop.  Power follows from
what the kernel keeps busy (`serving_power.board_power`); the three shares per kind of kernel are fitted.
The power of these tables is an average over a window, so a short kernel carries some of the one before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError
from perfmodel.explore.kernel_tables import device_name, read_table, size, storage_of, take
from perfmodel.explore.score_kernels import errors
from perfmodel.hardware.catalog import device
from perfmodel.ops.attention import attended_pairs, visible_keys
from perfmodel.ops.moe import distinct_experts
from perfmodel.scenario.serving_power import board_power, power_shares

Rows = Mapping[str, Any]

ATTENTION = {"batch", "q_len", "past_len", "n_heads", "n_kv_heads", "head_dim", "window"}
MIXTURE = {"tokens", "hidden", "inter", "topk", "experts", "moe_tp_size", "moe_ep_size"}
POWER = {"system", "latency_us", "power_W", "energy_J"}


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
    key = np.where(np.char.startswith(rows["attn_dtype"].astype(str), "fp8"), "fp8", "bf16")
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


def activity(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Utilisation of memory and matrix units over the measured time, and board limit [W], per row."""
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
    return np.minimum(memory, 1.0), np.minimum(compute, 1.0), limit


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
    memory, compute, limit = activity(rows)
    watts = board_power(limit, memory, compute, power_shares(kind))
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


def fit_shares(rows: Rows) -> tuple[float, float, float]:
    """Static, memory and compute share of the board limit with the least mean relative error."""
    from scipy.optimize import least_squares

    memory, compute, limit = activity(rows)

    def residuals(logs: np.ndarray) -> np.ndarray:
        s, m, c = np.exp(logs)
        guess = board_power(limit, memory, compute, (float(s), float(m), float(c)))
        return np.asarray(np.sqrt(np.abs(guess / rows["power_W"] - 1.0) + 1e-3))

    found = least_squares(residuals, np.log([0.35, 0.5, 1.4]), bounds=(np.log(1e-3), np.log(10.0)))
    static, moving, working = (float(v) for v in np.exp(found.x))
    return static, moving, working


def fit_report(path: str | PathLike[str], folds: int = 5) -> tuple[dict[str, float], dict[str, Any]]:
    """Shares of a table, and the error on widths (head counts, hidden sizes) that the fit had not seen."""
    rows = read_table(str(path))
    width = rows["n_heads"] if "n_heads" in rows else rows["hidden"]
    known = np.unique(width)
    fold = np.searchsorted(known, width) % folds
    memory, compute, limit = activity(rows)
    unseen = np.zeros(size(rows))
    for part in range(folds):
        shares = fit_shares({name: values[fold != part] for name, values in rows.items()})
        unseen[fold == part] = board_power(limit, memory, compute, shares)[fold == part]
    shares = fit_shares(rows)
    seen = board_power(limit, memory, compute, shares)
    report = {"data": str(path).rsplit("/", 1)[-1], "rows": size(rows),
              "in_sample": errors(seen, rows["power_W"]), "unseen_width": errors(unseen, rows["power_W"])}
    return dict(zip(("static", "memory", "compute"), shares, strict=True)), report
