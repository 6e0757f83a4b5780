"""Who runs next, on what, and how long a round of many takes: shared, borrowed and federated machines.

References
[1] Xu et al., LLM-Mesh: Enabling Elastic Sharing for Serverless LLM Inference, 2025 (headroom).
[2] REACH: Reinforcement Learning for Efficient Allocation in Community and Heterogeneous Networks, 2025
    (tasks on nodes that differ in speed, price and availability).
[3] McMahan et al., Communication-Efficient Learning of Deep Networks, arXiv:1602.05629 (federated rounds).
[4] Silfa et al., E-BATCH: Energy-Efficient and High-Throughput RNN Batching, 2020.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from perfmodel.algebra import Value, ceil
from perfmodel.engine.collective import sent_bytes
from perfmodel.errors import ArgumentError


def headroom(start: Value, ttft: Value, tpot: Value, tokens: Value, now: Value) -> Value:
    """Time that a request may still wait for its next token [s] [1]: ``start + TTFT + TPOT O - now``.

    tokens  generated so far; the instance with the least headroom runs next
    """
    return start + ttft + tpot * tokens - now


def completion_time(
    work: Value, rate: Value, data: Value, bandwidth: Value, availability: Value = 1.0
) -> Value:
    """Time of a task on a borrowed node [s] [2]: transfer of its data, then work at the share it gets.

    work [FLOP], rate [FLOP/s], data [B], bandwidth [B/s]; availability: share of the time that it is there
    """
    return data / bandwidth + work / (rate * availability)


def round_time(
    local: Any, update: Value, bandwidth: Value, topology: str = "server", latency: Value = 0.0
) -> Value:
    """Time of a federated round [s] [3]: the slowest member trains, then updates are exchanged.

    local     training time of each member [members] or [members, ...] [s]
    update    size of a model update [B]; bandwidth of one member's link, or of the server's [B/s]
    topology  ``server`` sends to and from every member in turn, ``ring`` all-reduces, ``gossip`` exchanges
              with one neighbour
    """
    times = np.asarray(local, dtype=np.float64)
    if not times.ndim:
        raise ArgumentError("local", local, "one time per member")
    members = float(len(times))
    if topology == "server":
        moved, messages = 2.0 * members * update, 2.0
    elif topology == "ring":
        moved, messages = sent_bytes("all_reduce", update, members), 2.0 * (members - 1.0)
    elif topology == "gossip":
        moved, messages = update, 1.0
    else:
        raise ArgumentError("topology", topology, "server, ring or gossip")
    return times.max(axis=0) + moved / bandwidth + messages * latency


def padded_steps(lengths: Any, batch: int, ordered: bool = False) -> float:
    """Time steps of recurrent sequences in batches padded to their longest [4]; lengths [N].

    ordered  sorted by length first
    """
    sizes = np.asarray(lengths, dtype=np.float64)
    if ordered:
        sizes = np.sort(sizes)[::-1]
    starts = np.arange(0, len(sizes), batch)
    return float(np.maximum.reduceat(sizes, starts).sum())


def packed_steps(lengths: Any, batch: int) -> float:
    """Time steps where a sequence takes over the place of one that ends, without gaps [4].

    ``max(longest, total/batch)``, the bound of any schedule.
    """
    sizes = np.asarray(lengths, dtype=np.float64)
    return float(max(sizes.max(), sizes.sum() / batch))


def workers(time: Value, rate: Value) -> Value:
    """Workers that a stage needs to take `rate` items per second at `time` seconds each: ``ceil(t r)``."""
    return ceil(time * rate)
