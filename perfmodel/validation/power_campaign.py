"""The order in which kernels were measured, and what a power sensor with a window shows of it.

The scripts behind the tables of kernel power [1] run one case after another: set-up, six calls, then a loop
of at most 3,000 calls (0.3 to 1 s by the mean time of the first three calls), during which the sensor is read
at once and every 100 ms.  A reading is the mean over the last second [2]:

    reading(t) = (E(t) - E(t - window))/window,   E(t) energy that the board drew until t

A loop of 3,000 calls of 6 us is over after 18 ms, so its reading tells what ran before.  The cases between
the rows of a table follow from the grids of the scripts, their times from the rows of the same kernel.

Boards that share a queue take the next case when they are done, so a long loop keeps its board and the short
cases after it run on the others.  Who ran what is not in a table: the queue is played often with times that
vary, and of the readings that it shows the one is taken from which the error is least in the mean.  Cases of
an 8-bit cache failed in that queue after part of their set-up, but for head sizes of 192; those of 128 were
collected again on one board [3].

References
[1] NVIDIA aiconfigurator, collector/{helper.py, vllm/collect_attn.py, vllm/collect_moe.py, cases}, commit
    d901a28, the last for vLLM 0.22, https://github.com/ai-dynamo/aiconfigurator, Apache-2.0.
[2] Yang, Adamek, Armour, Part-time power measurements: nvidia-smi's lack of attention, arXiv:2312.02741.
[3] The same repository, pull request 1382: 11,288 cases of prompts were collected again, as many as here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import Any

import numpy as np

from perfmodel.explore.kernel_tables import take

Rows = Mapping[str, Any]
#: name of the kernel of a case that failed before its first call
FAILED = "failed"

#: time over which the sensor averages, and between two readings [s]
WINDOW, INTERVAL = 1.0, 0.1
#: calls before the loop, most calls of it, seconds that it aims at where one takes less than SHORT, and else
BEFORE, CALLS, BRIEF, SHORT, LONG = 6.0, 3000.0, 0.3, 1e-4, 1.0

#: grids of [1].  Batches of decode stand in the order in which CPython walks the set of them.
DECODE_BATCH = (32, 1, 2, 64, 4, 128, 256, 512, 8, 1024, 2048, 16)
DECODE_CONTEXT = tuple(2**i - 1 for i in range(1, 18))
PREFILL_BATCH = (256, 128, 64, 32, 16, 8, 4, 2, 1)
PREFILL_LENGTH = (16384, 12288, 10240, 8192, 6144, 4096, 3072, 2048, 1536, 1024, 512, 256, 128, 64, 32, 16, 1)
TOKENS = (
    1, 2, 4, 8, 16, 32, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 768, 1024, 1536, 2048, 3072, 4096,
    6144, 8192, 12288, 16384,
)
#: heads of the grid in its order, heads of caches beside heads alone (prompts), and head sizes
GRID_HEADS, GRID_CACHES, GRID_SIZES = (64, 48, 40, 32, 24, 16, 12, 8, 4, 2, 1), (1, 2, 4, 8), (64, 128)
#: models after the grid: heads, heads of caches, head size, windows; over 1 to 64 boards
MODELS = (
    (16, 8, 256, (1024,)), (16, 2, 512, (0,)), (64, 64, 128, (0,)), (40, 8, 128, (0, 8192)),
    (64, 4, 192, (0,)), (64, 8, 192, (128,)), (48, 8, 128, (0,)), (96, 8, 128, (0,)), (8, 2, 256, (0,)),
    (16, 4, 256, (0,)), (24, 4, 256, (0,)), (16, 2, 256, (0,)), (32, 2, 256, (0,)),
)
#: most heads that share one of a cache in decode; library and format of the cases that were collected again
SHARED_HEADS, AGAIN = 16, "vllm_flashinfer/fp8"
#: times that a queue is played, and spread of a case's time in it
PLAYS, SPREAD = 100, 0.2
HEADS = ("n_heads", "n_kv_heads", "head_dim", "window")
LAYER = (
    "hidden", "inter", "topk", "experts", "moe_tp_size", "moe_ep_size", "dtype", "distribution",
    "kernel_source",
)


@dataclass(frozen=True)
class Cases:
    """All cases of a campaign in the order in which they ran.

    rows   sizes and formats, a column each [N]
    names  of the kernels; kind: which of them runs [N]
    line   queues or processes with a history of their own [N], ascending
    sizes  of the kernel, which is made ready when they are new to a board [N]
    place  where the rows of the table are among them [n]
    """

    rows: dict[str, Any]
    names: tuple[str, ...]
    kind: np.ndarray
    line: np.ndarray
    sizes: np.ndarray
    place: np.ndarray

    def fresh(self, boards: np.ndarray) -> np.ndarray:
        """Cases whose sizes are new to the board that runs them, of `boards` that share a line [N]."""
        new = (np.diff(self.line, prepend=-1) != 0) | (np.diff(self.sizes, prepend=-1) != 0)
        count = np.arange(len(new))
        return np.asarray(count - np.maximum.accumulate(np.where(new, count, 0)) < boards)


def cases(rows: Rows) -> Cases:
    """The campaign around the rows of a table."""
    return _layers(rows) if "q_len" not in rows else _attention(rows)


def kinds(rows: Rows) -> np.ndarray:
    """Names of kernels that share constants: library and the format of cache or weights."""
    source = np.asarray(rows["kernel_source"]).astype(str) if "kernel_source" in rows else "any"
    return np.char.add(np.char.add(source, "/"), rows["dtype" if "dtype" in rows else "kv_dtype"].astype(str))


def heads(decode: bool) -> np.ndarray:
    """Heads, heads of caches, head size and window of all kernels, in the order of the scripts [k, 4]."""
    grid = [
        (n, kv, size, window)
        for size in GRID_SIZES for n in GRID_HEADS for kv in (() if decode else (n,)) + GRID_CACHES
        for window in (0, 128) if n % kv == 0
    ]
    models = [
        (n // over, -(-kv // over), size, window)
        for n, kv, size, windows in MODELS for over in (1, 2, 4, 8, 16, 32, 64) if n % over == 0
        for window in windows
    ]
    each = np.array(list(dict.fromkeys(grid + models))).astype(float)
    return each[each[:, 0] <= SHARED_HEADS * each[:, 1]] if decode else each


def _attention(rows: Rows) -> Cases:
    decode = bool(np.all(rows["q_len"] == 1) and np.any(rows["past_len"] > 0))
    sizes = heads(decode)
    outer, inner = (DECODE_BATCH, DECODE_CONTEXT) if decode else (PREFILL_LENGTH, PREFILL_BATCH)
    formats = np.unique(rows["kv_dtype"])
    shape = (len(sizes), len(outer), len(inner), len(formats))
    which, first, second, narrow = (a.reshape(-1) for a in np.indices(shape))
    n, kv, width, window = sizes[which].T
    a, b = np.array(outer, dtype=float)[first], np.array(inner, dtype=float)[second]
    batch, query, past = (a, np.ones_like(a), b) if decode else (b, a, np.zeros_like(a))
    grid = {
        "batch": batch, "q_len": query, "past_len": past, "n_heads": n, "n_kv_heads": kv, "head_dim": width,
        "window": window, "kv_dtype": formats[narrow],
    }
    ran = np.flatnonzero(_decoded(grid) if decode else _prefilled(grid))
    # kernels that exist: by head size and format of the cache
    kernel = dict(zip(_keys(rows, ("head_dim", "kv_dtype")), kinds(rows), strict=True))
    kind = np.array([kernel.get(key, FAILED) for key in _keys(take(grid, ran), ("head_dim", "kv_dtype"))])
    again = kind == AGAIN
    order = np.concatenate([ran, ran[again]])
    line = np.repeat([0, 1], [len(ran), int(np.count_nonzero(again))])
    kind = np.concatenate([np.where(again, FAILED, kind), kind[again]])
    columns = ("batch", "q_len", "past_len", *HEADS, "kv_dtype")
    return _with_rows(take(grid, order), kind, line, which[order], rows, columns)


def _decoded(grid: Rows) -> np.ndarray:
    """Cases of decode attention that the script keeps."""
    batch, total = grid["batch"], grid["past_len"] + 1.0
    most = np.where(grid["n_heads"] == grid["n_kv_heads"], 2.0**23, 2.0**24)
    most = most * 128.0 // grid["head_dim"] // total // grid["n_heads"]
    # at least four batches of a length; large batches lose their longest one
    longer = 2.0**24 * 128.0 // grid["head_dim"] // (2.0 * total) // grid["n_heads"]
    last = (longer < np.maximum(batch, 8.0)) | (total == 2.0**17)
    return np.asarray((batch <= most) & (most >= 8.0) & ~((batch >= 256.0) & last))


def _prefilled(grid: Rows) -> np.ndarray:
    """Cases of prefill attention that the script keeps."""
    batch, tokens = grid["batch"], grid["batch"] * grid["q_len"]
    alone = grid["n_heads"] == grid["n_kv_heads"]
    fits = np.where(alone, (tokens <= 65536.0) & (batch <= 128.0), tokens <= 131072.0)
    return np.asarray(fits & (tokens * grid["n_kv_heads"] * grid["head_dim"] * 2.0 < 2.0**31))


def _layers(rows: Rows) -> Cases:
    """Expert layers: one process per layer, which takes ever more tokens."""
    columns = tuple(name for name in LAYER if name in rows)
    layers = np.array(["|".join(map(str, key)) for key in _keys(rows, columns)])
    _, first, layer = np.unique(layers, return_index=True, return_inverse=True)
    tokens = np.union1d(TOKENS, rows["tokens"])
    each = take({name: rows[name] for name in columns}, np.repeat(first, len(tokens)))
    line = np.repeat(np.arange(len(first)), len(tokens))
    grid = {**each, "tokens": np.tile(tokens, len(first))}
    place = layer * len(tokens) + np.searchsorted(tokens, rows["tokens"])
    names, kind = np.unique(kinds(rows)[first], return_inverse=True)
    return Cases(grid, tuple(names.tolist()), np.repeat(kind, len(tokens)), line, line, place)


def _with_rows(
    grid: dict[str, Any], kind: np.ndarray, line: np.ndarray, sizes: np.ndarray, rows: Rows,
    columns: tuple[str, ...],
) -> Cases:
    """Finds the rows among the cases; rows of other sizes come last, on a board of their own."""
    known = {key: i for i, key in enumerate(_keys(grid, columns)) if kind[i] != FAILED}
    place = np.array([known.get(key, -1) for key in _keys(rows, columns)])
    strange = np.flatnonzero(place < 0)
    place[strange] = len(kind) + np.arange(len(strange))
    grid = {n: np.concatenate([v, np.asarray(rows[n])[strange]]) for n, v in grid.items()}
    names, number = np.unique(np.concatenate([kind, kinds(rows)[strange]]), return_inverse=True)
    line = np.concatenate([line, np.full(len(strange), 2)])
    sizes = np.concatenate([sizes, np.full(len(strange), -1)])
    return Cases(grid, tuple(names.tolist()), number, line, sizes, place)


def _keys(rows: Rows, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    return list(zip(*(np.asarray(rows[name]).tolist() for name in columns), strict=True))


def steps(rows: Rows, plays: int = 32) -> np.ndarray:
    """Tokens that the scripts move one by one between experts, in the mean of a drawn routing [N].

    Loads of a power law x^-a are drawn, scaled to tokens x topk and rounded; what an expert has above the
    number of tokens, and what rounding leaves, is moved.
    """
    names = np.asarray(rows.get("distribution", np.full(len(rows["tokens"]), ""))).astype(str).tolist()
    power = [float(name.rpartition("_")[2]) if name.startswith("power_law_") else 0.0 for name in names]
    each = np.stack([np.array(power), rows["tokens"], rows["experts"], rows["topk"]], axis=1)
    some, where = np.unique(each, axis=0, return_inverse=True)
    rng = np.random.default_rng(0)
    moved = [
        _steps(a, tokens, experts, topk, rng.random((plays, int(experts)))) if a else 0.0
        for a, tokens, experts, topk in some.tolist()
    ]
    return np.asarray(np.array(moved)[where.reshape(-1)])


def _steps(power: float, tokens: float, experts: float, topk: float, chance: np.ndarray) -> float:
    low, high = (1.0, 0.8 * tokens) if tokens * topk > experts else (0.01, 2.0)
    slope = 1.0 - power
    load = ((high**slope - low**slope) * chance + low**slope) ** (1.0 / slope)
    load = np.round(load / np.sum(load, axis=1, keepdims=True) * tokens * topk)
    above = np.sum(np.maximum(load - tokens, 0.0), axis=1)
    return float(np.mean(above + np.abs(np.sum(load, axis=1) - tokens * topk)))


def filled(bound: np.ndarray, known: np.ndarray, there: Cases) -> np.ndarray:
    """Times of all cases [s]: measured ones, and between them start and efficiency of the same kernel.

    bound  least time of each case [N] [s]; known: measured time of each row [n] [s]
    """
    time = np.array(bound, dtype=float)
    for kind in range(len(there.names)):
        mine, rows = there.kind == kind, there.kind[there.place] == kind
        if not rows.any():
            continue
        measured, least = known[rows], bound[there.place][rows]
        start = float(np.quantile(measured, 0.02))
        busy = measured > 2.0 * start
        rate = float(np.median(least[busy] / (measured[busy] - start))) if busy.any() else 1.0
        time[mine] = start + bound[mine] / rate
    time[there.place] = known
    return time


def loop(
    time: np.ndarray, together: np.ndarray | float, host: float, ready: np.ndarray | float = 0.0
) -> np.ndarray:
    """Length of the measured loop [s] of calls of `time` [s], of which `together` make one round.

    host   least time of a call while the length of the loop is chosen [s]
    ready  further time of it, to make the kernel ready: the loop then ends too early [s]
    """
    round_ = (np.maximum(time, host) + ready) * together
    calls = np.where(round_ < SHORT, BRIEF, LONG) / round_
    return np.asarray(np.clip(calls, 6.0 / together, CALLS) * together * time)


@dataclass(frozen=True)
class Ran:
    """Cases board by board: their numbers, and which of the boards it is [N]."""

    order: np.ndarray
    board: np.ndarray


def played(there: Cases, spans: np.ndarray, boards: np.ndarray, plays: int = PLAYS) -> list[Ran]:
    """Who ran what, for each time that the queues are played.

    spans   time that each case takes its board [N] [s]; boards: that share the line of each case, W
    """
    crowded = np.unique(there.line[boards > 1.0]).tolist()
    rng = np.random.default_rng(0)
    return [_played(there.line, spans, boards, crowded, rng) for _ in range(plays if crowded else 1)]


def _played(
    line: np.ndarray, spans: np.ndarray, boards: np.ndarray, crowded: list[int], rng: np.random.Generator
) -> Ran:
    alone = (np.max(boards) * line).astype(int)
    for queue in crowded:
        cases = np.flatnonzero(line == queue)
        each = spans[cases] * np.exp(rng.normal(0.0, SPREAD, len(cases)))
        done = [(at, board) for board, at in enumerate(rng.uniform(0.0, WINDOW, int(boards[cases[0]])))]
        heapify(done)
        ran = np.empty(len(cases), dtype=int)
        for i, span in enumerate(each.tolist()):
            at, board = done[0]
            ran[i] = board
            heapreplace(done, (at + span, board))
        alone[cases] += ran
    order = np.argsort(alone, kind="stable")
    return Ran(order, np.unique(alone[order], return_inverse=True)[1])


def readings(
    there: Cases, ran: Ran, power: np.ndarray, length: np.ndarray, ahead: np.ndarray, setup: np.ndarray,
    rest: np.ndarray, before: np.ndarray,
) -> np.ndarray:
    """Mean of the sensor's readings of each row of the table [n] [W].

    ran                   who ran what, one of `played`
    power, length, ahead  of each case: power of its kernel [W], loop, and calls before it [s]
    setup, rest           set-up before these [s], power during it [W]
    before                of each row: power before the first case of its board [W]
    """
    place = np.empty_like(ran.order)
    place[ran.order] = np.arange(len(ran.order))
    place = place[there.place]
    power, length, ahead, setup, rest = (a[ran.order] for a in (power, length, ahead, setup, rest))
    # a case is two stretches: set-up and calls
    spans = np.stack([setup, ahead + length], axis=1).reshape(-1)
    spent = np.concatenate([[0.0], np.cumsum(spans)])
    drawn = np.concatenate([[0.0], np.cumsum(spans * np.stack([rest, power], axis=1).reshape(-1))])
    opens = np.flatnonzero(np.diff(ran.board, prepend=-1))
    begin, origin = spent[2 * place], spent[2 * opens][ran.board[place]]
    read, times = np.zeros(len(place)), np.zeros(len(place))
    for late in np.arange(0.0, LONG + 0.5 * INTERVAL, INTERVAL):
        on = np.flatnonzero((length[place] >= late) | (late == 0.0))
        at, early = place[on], before[on]
        busy = np.minimum(late + ahead[at], WINDOW)
        idle = np.minimum(setup[at], WINDOW - busy)
        reach = begin[on] - (WINDOW - busy - idle)
        inside = np.maximum(reach, origin[on])
        history = drawn[2 * at] - np.interp(inside, spent, drawn) + (inside - reach) * early
        read[on] += (busy * power[at] + idle * rest[at] + history) / WINDOW
        times[on] += 1.0
    return np.asarray(read / times)


def closest(shown: np.ndarray) -> np.ndarray:
    """The reading from which the relative error |p/m - 1| is least in the mean over plays [n].

    That is the median of the readings m, weighted by 1/m: a mean would follow a few high ones.

    shown  readings of each play [plays, n]
    """
    ordered = np.sort(shown, axis=0)
    weight = np.cumsum(1.0 / ordered, axis=0)
    middle = np.argmax(weight >= 0.5 * weight[-1], axis=0)
    return np.asarray(np.take_along_axis(ordered, middle[None], axis=0)[0])
