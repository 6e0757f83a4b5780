"""Board power and energy of single kernels against tables of measurements.

A table gives the sizes, the time t and the mean reading of a power sensor while a kernel ran in a loop.  The
power of the kernel itself is

    P = limit min(idle + base t/(t + start) + m u + c v, 1)

u and v are the utilisations of memory and matrix units, m and c what they draw, base what a board draws more
while any kernel runs, start the time between two calls; at the limit clocks fall.  What the sensor shows of
it depends on what ran before (`power_campaign`).
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
from perfmodel.validation.power_campaign import (
    AGAIN,
    BEFORE,
    FAILED,
    PLAYS,
    Cases,
    Ran,
    cases,
    closest,
    filled,
    kinds,
    loop,
    played,
    readings,
    steps,
)

Rows = Mapping[str, Any]

ATTENTION = {"batch", "q_len", "past_len", "n_heads", "n_kv_heads", "head_dim", "window"}
MIXTURE = {"tokens", "hidden", "inter", "topk", "experts", "moe_tp_size", "moe_ep_size"}
POWER = {"system", "latency_us", "power_W", "energy_J"}

#: boards that share a queue: a node of eight, or one
BOARDS = {AGAIN: 1.0}
NODE = 8.0
#: of the limit, what a board draws that does nothing
IDLE = 0.14
#: blocks of the cache that is made for each case of attention, and tokens of a block [1 of power_campaign]
BLOCKS, BLOCK = 8192.0, 64.0
#: queries of a tile of attention, and keys: two tiles are in flight
TILE, KEYS = 128.0, 256.0
#: calls of an expert layer in one round of the loop, where the routing is drawn [1 of power_campaign]
DRAWS = 5.0


@dataclass(frozen=True)
class Draw:
    """A kernel: shares of the board limit while it runs and per utilisation, set-up before its loop [s].

    ready  time of a call for which new sizes are made ready [s]
    """

    base: float = 0.3
    memory: float = 0.5
    compute: float = 1.0
    setup: float = 0.05
    ready: float = 0.001


@dataclass(frozen=True)
class Bench:
    """How a table was measured.

    rest, before   shares of the board limit during set-up, and before the first case
    host           least time of a call without a graph [s]
    start          time between two calls [s]
    per_sequence, per_token, per_step  further set-up [s]
    per_byte       set-up that writes the cache and draws what a stream does [s/B]
    failed         set-up of a case that failed [s]
    draws          constants by kernel
    """

    rest: float = 0.22
    before: float = 0.5
    host: float = 2e-4
    start: float = 2e-5
    per_sequence: float = 5e-5
    per_token: float = 1e-7
    per_step: float = 1e-4
    per_byte: float = 2e-12
    failed: float = 0.02
    draws: Mapping[str, Draw] = field(default_factory=dict)

    def draw(self, kind: str) -> Draw:
        """Constants of a kernel; of any other where it was never measured."""
        if kind == FAILED:
            return Draw(setup=self.failed)
        return self.draws.get(kind) or next(iter(self.draws.values()), Draw())


@dataclass(frozen=True)
class Measured:
    """A table with the campaign around it.

    cases       everything that ran, in order; time: of a call [s]
    memory, compute, limit  utilisations and board limit [W] of each case
    sequences, tokens, steps, cache  that set-up makes, of each case; cache [B]
    together    calls in a round of the loop
    """

    cases: Cases
    time: np.ndarray
    memory: np.ndarray
    compute: np.ndarray
    limit: np.ndarray
    sequences: np.ndarray
    tokens: np.ndarray
    steps: np.ndarray
    cache: np.ndarray
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
    static = IDLE + base * found.time / (found.time + bench.start)
    return np.asarray(board_power(found.limit, found.memory, found.compute, (static, memory, compute)))


@dataclass(frozen=True)
class Spans:
    """Set-up, calls before the loop, and loop of each case [N] [s]; power during set-up [W]."""

    setup: np.ndarray
    ahead: np.ndarray
    length: np.ndarray
    rest: np.ndarray


def spans(found: Measured, bench: Bench) -> Spans:
    """How long each case takes its board."""
    base, memory, _, setup, ready = _draws(found, bench)
    ready = ready * found.cases.fresh(_boards(found))
    waits = setup + ready + bench.per_sequence * found.sequences + bench.per_token * found.tokens
    waits = waits + bench.per_step * found.steps
    writes = bench.per_byte * found.cache
    rest = (bench.rest * waits + np.minimum(IDLE + base + memory, 1.0) * writes) / (waits + writes)
    runs = np.array([name != FAILED for name in found.cases.names])[found.cases.kind]
    length = loop(found.time, found.together, bench.host, ready)
    ahead = BEFORE * found.together * found.time
    return Spans(waits + writes, ahead * runs, length * runs, found.limit * rest)


def _boards(found: Measured) -> np.ndarray:
    layers = "tokens" in found.cases.rows
    each = np.array([1.0 if layers else BOARDS.get(kind, NODE) for kind in found.cases.names])
    return np.asarray(each[found.cases.kind])


def lines(found: Measured, bench: Bench, plays: int = PLAYS) -> list[Ran]:
    """Which board ran each case, as often as the queues are played."""
    span = spans(found, bench)
    return played(found.cases, span.setup + span.ahead + span.length, _boards(found), plays)


def read_power(found: Measured, bench: Bench, ran: list[Ran] | None = None) -> np.ndarray:
    """What the sensor shows of each row of the table [W]; ran: `lines`, if known."""
    span, power = spans(found, bench), kernel_power(found, bench)
    before = found.limit[found.cases.place] * bench.before
    ran = lines(found, bench) if ran is None else ran
    shown = [
        readings(found.cases, one, power, span.length, span.ahead, span.setup, span.rest, before)
        for one in ran
    ]
    return closest(np.array(shown))


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

    A tile has TILE queries, of all heads that share a cache, and KEYS keys.
    """
    query, context = rows["q_len"], rows["past_len"] + rows["q_len"]
    window = np.where(rows["window"] > 0, rows["window"], context)
    together = query * rows["n_heads"] / rows["n_kv_heads"]
    keys = attended_pairs(query, context, window=window) / query
    return np.asarray(np.ceil(together / TILE) * TILE / together * np.ceil(keys / KEYS) * KEYS / keys)


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
        context = every["q_len"] + every["past_len"]
        blocks = np.maximum(every["batch"] * np.ceil(context / BLOCK), BLOCKS)
        narrow = np.where(np.char.startswith(every["kv_dtype"].astype(str), "fp8"), 1.0, 2.0)
        cache = blocks * BLOCK * 2.0 * every["n_kv_heads"] * every["head_dim"] * narrow
        sequences, tokens, chosen = every["batch"], every["batch"] * context, 0.0 * context
    else:
        sequences, tokens, cache = (np.zeros(len(there.kind)), every["tokens"], np.zeros(len(there.kind)))
        chosen = DRAWS * steps(every)
    flop, moved, key = work(every)
    bandwidth, peak, limit = _rates(every["system"], key)
    time = filled(np.maximum(moved / bandwidth, flop / peak), rows["latency_us"] * 1e-6, there)
    done = flop * padded(every) if "q_len" in every else flop
    drawn = np.char.startswith(np.asarray(every.get("distribution", "")).astype(str), "power")
    return Measured(
        there, time, np.minimum(moved / bandwidth / time, 1.0), np.minimum(done / peak / time, 1.0), limit,
        sequences, tokens, chosen, cache, np.where(drawn, DRAWS, 1.0) + 0.0 * time,
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


#: lowest and highest constants of a fit, in the order of the fields
SHARED = (
    (0.14, 0.2, 2e-5, 1e-6, 1e-6, 1e-9, 1e-6, 1e-13, 1e-3),
    (0.5, 1.0, 1e-3, 3e-4, 1e-3, 1e-5, 1e-3, 1e-10, 0.5),
)
OWN = ((0.02, 0.05, 0.05, 0.005, 1e-5), (0.9, 5.0, 20.0, 1.5, 5.0))
#: errors beyond which rows weigh less, first wide and then narrow; pull towards the start per logarithm
CORES, PULL = (0.15, 0.05, 0.05), 0.2
#: plays of a queue in a fit
FITTED = 32


def fit_bench(found: Measured, real: np.ndarray, chosen: np.ndarray, start: Bench | None = None) -> Bench:
    """Constants fitted to the chosen rows of a table; all rows tell what ran.

    start: constants near the solution, from where the last of CORES is enough
    """
    from scipy.optimize import least_squares

    names = [name for name in found.cases.names if name != FAILED]
    prior, low, high = (
        np.log([*shared, *(list(own) * len(names))])
        for shared, own in ((_numbers(Bench()), _numbers(Draw())), (SHARED[0], OWN[0]), (SHARED[1], OWN[1]))
    )
    count = len(SHARED[0])

    def bench(logs: np.ndarray) -> Bench:
        values = np.exp(logs).tolist()
        each = [Draw(*one) for one in np.reshape(values[count:], (len(names), -1)).tolist()]
        shared = dict(zip((f.name for f in fields(Bench)), values[:count], strict=False))
        return Bench(**shared, draws=dict(zip(names, each, strict=True)))

    logs = prior
    if start is not None:
        own = [n for name in names for n in _numbers(start.draw(name))]
        logs = np.clip(np.log([*_numbers(start), *own]), low + 1e-6, high - 1e-6)
    for core in CORES if start is None else CORES[-1:]:
        ran = lines(found, bench(logs), FITTED)

        def residuals(x: np.ndarray, core: float = core, ran: list[Ran] = ran) -> np.ndarray:
            error = (read_power(found, bench(x), ran) / real - 1.0)[chosen] / core
            huber = np.sign(error) * np.sqrt(2.0 * (np.sqrt(1.0 + error**2) - 1.0))
            return np.concatenate([huber, PULL * (x - prior)])

        logs = least_squares(residuals, logs, bounds=(low, high), max_nfev=12, ftol=1e-3, diff_step=1e-2).x
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
    bench = fit_bench(found, real, fold >= 0)
    for part in range(folds):
        unseen[fold == part] = read_power(found, fit_bench(found, real, fold != part, bench))[fold == part]
    seen, name = read_power(found, bench), kinds(rows)
    report: dict[str, Any] = {
        "data": str(path).rsplit("/", 1)[-1], "rows": size(rows), "in_sample": errors(seen, real),
        "unseen_width": errors(unseen, real),
    }
    for kind in np.unique(name):
        report[f"unseen_width {kind}"] = errors(unseen[name == kind], real[name == kind])
    return asdict(bench), report
