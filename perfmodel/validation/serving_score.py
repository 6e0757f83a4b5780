"""Scores of the serving model on tables of measurements, by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError
from perfmodel.explore.score_kernels import errors
from perfmodel.scenario.serving_power import board_power, energy_per_token, utilisation
from perfmodel.validation import power_score
from perfmodel.validation.names import config_folders
from perfmodel.validation.serving_data import Points, points, read_rows, table_kind
from perfmodel.validation.serving_fit import Fit, measured, shipped, unqueued
from perfmodel.validation.serving_predict import equipped

#: columns that make the groups of each kind of table
GROUPS = {
    "serving": ("model", "system", "backend"), "disaggregated": ("model", "system", "backend"),
    "batch": ("framework", "device", "model_path"),
}


def recognises(columns: Sequence[str]) -> bool:
    """True for a table that `score_serving` can score."""
    return bool(table_kind(columns)) or power_score.recognises(columns)


def score_serving(path: str | PathLike[str], fidelity: str = "calibrated") -> dict[str, Any]:
    """Errors of the serving model on a table of measured points.

    path      CSV, plain or gzip: closed-loop serving points, latencies of batches, or board power of batches
              or of single kernels
    fidelity  ``calibrated``: shipped corrections and runtime profiles; ``dataflow``: the documented starts of
              the corrections, no runtime; ``roofline``: neither

    Returns ``{"summary": {metric: statistics}, "groups": [...], "skipped": {reason: rows}}`` with n, mape,
    median, p90, bias in per cent and spearman.  The time to first token counts rows with concurrency x prompt
    within 32,768 tokens; the latency of a batch, rows whose throughput is that of the whole batch.
    """
    rows = read_rows(path)
    if rows and power_score.recognises(rows[0]):
        return power_score.score_power(path)
    kind = table_kind(rows[0]) if rows else ""
    if not kind:
        raise ArgumentError("data", str(path), "a table of serving points or of batches")
    fit = shipped("serving" if kind == "serving" else "batch", fidelity)
    parts, skipped = points(rows, fit.fix, config_folders(path))
    found = [(part, predictions(part, fit, kind == "power")) for part in parts]
    return {
        "kind": kind, "fidelity": fidelity, "summary": _summary(found),
        "groups": [g for part, pair in found for g in _groups(part, pair)], "skipped": skipped,
    }


Pair = Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]


def predictions(part: Points, fit: Fit, power: bool = False) -> Pair:
    """Metric -> (predicted, measured, mask of the rows that count)."""
    guess, real = fit.predict(part), measured(part)
    everything = np.ones(len(part), dtype=bool)
    pair = {name: (guess[name], real[name], everything) for name in real}
    if "latency" in pair:
        pair["latency"] = (*pair["latency"][:2], consistent(part))
    if "ttft" in pair:
        pair["ttft"] = (*pair["ttft"][:2], unqueued(part))
    if power:
        within = part.labels("power_above_tdp") != "1"
        watts, joules = _power(part, fit, guess["latency"])
        pair["power"] = (watts, part.column("avg_power_W"), within)
        pair["energy_per_token"] = (joules, part.column("energy_per_token_J"), within)
    return {k: (p, m, w & np.isfinite(p) & np.isfinite(m) & (m > 0)) for k, (p, m, w) in pair.items()}


def consistent(part: Points) -> np.ndarray:
    """Rows whose throughput times latency is the number of tokens of the batch, within 5 %.

    Others give the latency or the throughput of one sequence and cannot be compared with a batch.
    """
    tokens = part.load * (part.input + part.output)
    ratio = part.column("throughput_tok_per_s") * part.column("latency_s") / tokens
    return np.asarray(~np.isfinite(ratio) | (np.abs(ratio - 1.0) <= 0.05))


def _power(part: Points, fit: Fit, latency: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cost = equipped(part.cost, part.runtimes, fit.profiles, fit.fix)
    memory, compute = utilisation(cost, part.load, part.input, part.output, latency)
    watts = board_power(cost.hardware.power, memory, compute)
    tokens = part.load * (part.input + part.output)
    return np.asarray(watts), np.asarray(energy_per_token(watts * cost.layout.devices, latency, tokens))


def _summary(found: Sequence[tuple[Points, Pair]]) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for metric in dict.fromkeys(m for _, pair in found for m in pair):
        for label, kinds in (("", ("serving", "batch")), ("_disaggregated", ("disaggregated",))):
            chosen = [(part, pair) for part, pair in found if part.kind in kinds]
            summary |= _stacked(chosen, metric, f"{metric}{label}", None)
            if metric in ("ttft", "tpot") and not label:
                summary |= _stacked(chosen, metric, f"{metric}_dense", False)
                summary |= _stacked(chosen, metric, f"{metric}_mixture", True)
    return summary


def _stacked(
    found: Sequence[tuple[Points, Pair]], metric: str, name: str, mixture: bool | None
) -> dict[str, Any]:
    predicted, real = [], []
    for part, pair in found:
        if metric in pair:
            guess, value, mask = pair[metric]
            mask = mask if mixture is None else mask & (part.moe == mixture)
            predicted.append(guess[mask])
            real.append(value[mask])
    if not predicted or not sum(map(len, predicted)):
        return {}
    return {name: errors(np.concatenate(predicted), np.concatenate(real))}


def _groups(part: Points, pair: Pair) -> list[dict[str, Any]]:
    columns = [part.labels(c) for c in GROUPS[part.kind]]
    keys = np.array(["|".join(values) for values in zip(*columns, strict=True)])
    groups = []
    for key in np.unique(keys):
        entry: dict[str, Any] = {
            "kind": part.kind, **dict(zip(GROUPS[part.kind], str(key).split("|"), strict=True))
        }
        for metric, (guess, value, mask) in pair.items():
            chosen = mask & (keys == key)
            if chosen.any():
                entry[metric] = errors(guess[chosen], value[chosen])
        groups.append(entry)
    return groups
