"""Board power and energy of single kernels against tables of measurements.

A table gives the sizes, the time t and the mean reading of a power sensor while a kernel ran in a loop.  The
power of the kernel itself is

    P = limit min(base + m u + c v, 1)

u and v are the utilisations of memory and matrix units, m and c what they draw, base what a board draws while
any kernel runs; at the limit clocks fall.  What the sensor shows of it depends on what ran before
(`power_campaign`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
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
from perfmodel.scenario.serving_power import board_power
from perfmodel.validation.power_campaign import BEFORE, Cases, cases, filled, kinds, loop, readings

Rows = Mapping[str, Any]

ATTENTION = {"batch", "q_len", "past_len", "n_heads", "n_kv_heads", "head_dim", "window"}
MIXTURE = {"tokens", "hidden", "inter", "topk", "experts", "moe_tp_size", "moe_ep_size"}
POWER = {"system", "latency_us", "power_W", "energy_J"}


#: boards that took cases from one queue: a node of eight, or one for a layer of experts.  Cases of an 8-bit
#: cache in this library came from one board: neighbours agree within 2 %, those of others within 15 %.
BOARDS = {"vllm_flashinfer/fp8": 1.0}
NODE = 8.0
#: queries and keys of a tile of attention
TILE = 128.0
#: calls of an expert layer in one round of the loop, where the routing is drawn [1 of power_campaign]
DRAWS = 5.0


@dataclass(frozen=True)
class Draw:
    """A kernel: shares of the board limit at rest and per utilisation, set-up before its loop [s].

    ready  time of a call for which new sizes are made ready [s]
    """

    base: float = 0.35
    memory: float = 1.0
    compute: float = 2.0
    setup: float = 0.1
    ready: float = 0.01


@dataclass(frozen=True)
class Bench:
    """How a table was measured.

    rest, before             shares of the board limit during set-up, and before the first case
    per_sequence, per_token  further set-up [s]; host: least time of a call without a graph [s]
    draws                    constants by kernel
    """

    rest: float = 0.22
    before: float = 0.5
    host: float = 4e-4
    per_sequence: float = 2e-5
    per_token: float = 1e-7
    draws: Mapping[str, Draw] = field(default_factory=dict)

    def draw(self, kind: str) -> Draw:
        """Constants of a kernel; of any other where it was never measured."""
        return self.draws.get(kind) or next(iter(self.draws.values()), Draw())


@dataclass(frozen=True)
class Measured:
    """A table with the campaign around it.

    cases       everything that ran, in order; time: of a call [s]
    memory, compute, limit  utilisations and board limit [W] of each case
    sequences, tokens       that set-up makes, of each case
    together    calls in a round of the loop
    """

    cases: Cases
    time: np.ndarray
    memory: np.ndarray
    compute: np.ndarray
    limit: np.ndarray
    sequences: np.ndarray
    tokens: np.ndarray
    together: np.ndarray


def shipped_bench(kind: str) -> Bench:
    """Constants of the shipped fit."""
    found = (calibration().power or {})[kind]
    numbers = {f.name: float(found[f.name]) for f in fields(Bench) if f.name != "draws"}
    draws = {name: Draw(**{k: float(v) for k, v in one.items()}) for name, one in found["draws"].items()}
    return Bench(**numbers, draws=draws)


def kernel_power(found: Measured, bench: Bench) -> np.ndarray:
    """Power [W] of a board that runs each case for ever."""
    base, memory, compute, *_ = _draws(found, bench)
    return np.asarray(board_power(found.limit, found.memory, found.compute, (base, memory, compute)))


def read_power(found: Measured, bench: Bench) -> np.ndarray:
    """What the sensor shows of each row of the table [W]."""
    *_, setup, ready = _draws(found, bench)
    layers = "tokens" in found.cases.rows
    boards = np.array([1.0 if layers else BOARDS.get(kind, NODE) for kind in found.cases.names])
    boards = boards[found.cases.kind]
    ready = ready * found.cases.fresh(boards)
    setup = setup + ready + bench.per_sequence * found.sequences + bench.per_token * found.tokens
    length = loop(found.time, found.together, bench.host, ready)
    limit = found.limit[found.cases.place]
    return readings(
        found.cases, kernel_power(found, bench), length, BEFORE * found.together * found.time, setup,
        found.limit * bench.rest, limit * bench.before, boards,
    )


def _draws(found: Measured, bench: Bench) -> np.ndarray:
    each = [bench.draw(name) for name in found.cases.names]
    table = np.array([_numbers(d) for d in each])
    return np.asarray(table[found.cases.kind].T)


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


def padded(rows: Rows) -> np.ndarray:
    """FLOP of tiles over FLOP of attention: what a tile does for nothing draws power too.

    A tile has TILE queries, of all heads that share a cache, and TILE keys.
    """
    query, context = rows["q_len"], rows["past_len"] + rows["q_len"]
    window = np.where(rows["window"] > 0, rows["window"], context)
    together = query * rows["n_heads"] / rows["n_kv_heads"]
    keys = attended_pairs(query, context, window=window) / query
    return np.asarray(np.ceil(together / TILE) * TILE / together * np.ceil(keys / TILE) * TILE / keys)


def _mixture(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    stores = [storage_of(str(name)) for name in rows["dtype"]]
    held, inner = rows["experts"] / rows["moe_ep_size"], rows["inter"] / rows["moe_tp_size"]
    routed = rows["tokens"] * rows["topk"] / rows["moe_ep_size"]
    chance = np.minimum(rows["topk"], rows["experts"])
    touched = distinct_experts(rows["experts"], chance, rows["tokens"]) * held / rows["experts"]
    weights = touched * 3.0 * rows["hidden"] * inner * np.array([s.b for s in stores])
    key = np.array([s.key for s in stores])
    return 6.0 * routed * rows["hidden"] * inner, weights + 4.0 * routed * rows["hidden"], key


def measured(rows: Rows) -> Measured:
    """The campaign of a table with the activity of every case."""
    there = cases(rows)
    every = {**there.rows, "system": np.asarray(rows["system"])[_nearest(there.place, len(there.kind))]}
    if "q_len" in every:
        every["attn_dtype"] = np.full(len(there.kind), str(rows["attn_dtype"][0]))
        sequences, tokens = every["batch"], every["batch"] * (every["q_len"] + every["past_len"])
    else:
        sequences, tokens = 0.0 * every["tokens"], every["tokens"]
    flop, moved, key = work(every)
    bandwidth, peak, limit = _rates(every["system"], key)
    time = filled(np.maximum(moved / bandwidth, flop / peak), rows["latency_us"] * 1e-6, there)
    done = flop * padded(every) if "q_len" in every else flop
    drawn = np.char.startswith(np.asarray(every.get("distribution", "")).astype(str), "power")
    return Measured(
        there, time, np.minimum(moved / bandwidth / time, 1.0), np.minimum(done / peak / time, 1.0), limit,
        sequences, tokens, np.where(drawn, DRAWS, 1.0) + 0.0 * time,
    )


def _nearest(place: np.ndarray, count: int) -> np.ndarray:
    """Row of the table that stands closest to each case."""
    order = np.argsort(place)
    return np.asarray(order[np.clip(np.searchsorted(place[order], np.arange(count)), 0, len(place) - 1)])


def _rates(systems: np.ndarray, key: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bandwidth [B/s], matrix peak [FLOP/s] and board limit [W] of each row."""
    bandwidth, peak, limit = (np.zeros(len(systems)) for _ in range(3))
    for system in np.unique(systems):
        spec = device(device_name(str(system)))
        peaks = spec.compute["matrix"].peak
        if spec.power is None or spec.power.peak is None:
            raise ArgumentError("system", str(system), "a device with a board power")
        mask = systems == system
        peak[mask] = [peaks.get(str(k), peaks["bf16"]) for k in key[mask]]
        bandwidth[mask], limit[mask] = spec.main_memory.bandwidth, spec.power.peak
    return bandwidth, peak, limit


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
    watts = read_power(measured(rows), shipped_bench(kind))
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


#: lowest and highest constants of a fit, in the order of the fields; a board at rest draws 0.14 of its limit
SHARED = ((0.14, 0.2, 2e-5, 1e-6, 1e-9), (0.35, 1.0, 5e-3, 1e-3, 1e-5))
OWN = ((0.1, 0.05, 0.05, 0.005, 1e-5), (0.9, 20.0, 60.0, 1.5, 5.0))
#: errors beyond which rows weigh less, first wide and then narrow; pull towards the start per logarithm
CORES, PULL = (0.15, 0.05), 0.2


def fit_bench(found: Measured, real: np.ndarray, chosen: np.ndarray) -> Bench:
    """Constants fitted to the chosen rows of a table; all rows tell what ran."""
    from scipy.optimize import least_squares

    names = found.cases.names
    start, low, high = (
        np.log([*shared, *(list(own) * len(names))])
        for shared, own in ((_numbers(Bench()), _numbers(Draw())), (SHARED[0], OWN[0]), (SHARED[1], OWN[1]))
    )

    def bench(logs: np.ndarray) -> Bench:
        rest, before, host, sequence, token, *own = np.exp(logs).tolist()
        each = [Draw(*one) for one in np.reshape(own, (len(names), -1)).tolist()]
        return Bench(rest, before, host, sequence, token, dict(zip(names, each, strict=True)))

    logs = start
    for core in CORES:

        def residuals(x: np.ndarray, core: float = core) -> np.ndarray:
            error = (read_power(found, bench(x)) / real - 1.0)[chosen] / core
            huber = np.sign(error) * np.sqrt(2.0 * (np.sqrt(1.0 + error**2) - 1.0))
            return np.concatenate([huber, PULL * (x - start)])

        logs = least_squares(residuals, logs, bounds=(low, high), max_nfev=80, diff_step=1e-2).x
    return bench(logs)


def _numbers(constants: Bench | Draw) -> list[float]:
    return [getattr(constants, f.name) for f in fields(constants) if f.name != "draws"]


def fit_report(path: str | PathLike[str], folds: int = 5) -> tuple[dict[str, Any], dict[str, Any]]:
    """Constants of a table, and the error on widths (head counts, hidden sizes) that the fit had not seen."""
    rows = read_table(str(path))
    width = rows["n_heads"] if "n_heads" in rows else rows["hidden"]
    fold = np.searchsorted(np.unique(width), width) % folds
    found, real = measured(rows), rows["power_W"]
    unseen = np.zeros(size(rows))
    for part in range(folds):
        unseen[fold == part] = read_power(found, fit_bench(found, real, fold != part))[fold == part]
    bench = fit_bench(found, real, fold >= 0)
    seen, name = read_power(found, bench), kinds(rows)
    report: dict[str, Any] = {
        "data": str(path).rsplit("/", 1)[-1], "rows": size(rows), "in_sample": errors(seen, real),
        "unseen_width": errors(unseen, real),
    }
    for kind in np.unique(name):
        report[f"unseen_width {kind}"] = errors(unseen[name == kind], real[name == kind])
    return asdict(bench), report
