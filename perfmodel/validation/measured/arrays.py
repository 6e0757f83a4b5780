"""Spatial arrays: cycles of a systolic simulator, RTL cycles, mappings and their accesses of three tools.

Files of accesses name cases; their mappings are read from the file of cases in the same folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perfmodel.engine.dataflow.accesses import accesses, cycles
from perfmodel.engine.dataflow.conventions import PEERS
from perfmodel.engine.dataflow.pricing import Price, price
from perfmodel.engine.dataflow.problem import problem
from perfmodel.engine.dataflow.systolic import systolic
from perfmodel.errors import ArgumentError
from perfmodel.explore.kernel_tables import number_or_nan
from perfmodel.validation import gemmini_rows, peer_mappings
from perfmodel.validation.measured.statistics import errors
from perfmodel.validation.measured.tables import Table, read
from perfmodel.validation.peer_architectures import architecture

NAME = "arrays"
Row = Mapping[str, str]


def _systolic(table: Table) -> dict[str, tuple[Any, Any, Any]]:
    """SCALE-Sim: cycles (it reports the index of the last one, hence + 1) and SRAM words."""
    metrics: dict[str, list[tuple[float, float, str]]] = {"cycles": [], "ifmap_reads": [], "filter_reads": []}
    for row in _rows(table):
        m, n, k = (float(row[name]) for name in "MNK")
        run = systolic(m, n, k, float(row["array_rows"]), float(row["array_cols"]), row["dataflow"])
        metrics["cycles"].append((float(run.cycles), number_or_nan(row["total_cycles"]) + 1, row["dataflow"]))
        for name, operand, column in (
            ("ifmap_reads", "input", "ifmap_sram_reads"), ("filter_reads", "weight", "filter_sram_reads"),
        ):
            metrics[name].append((float(run.reads[operand]), number_or_nan(row[column]), row["dataflow"]))
    return _columns(metrics)


def _rtl(table: Table) -> dict[str, tuple[Any, Any, Any]]:
    """Gemmini: cycles of a given tiling."""
    found = [
        (gemmini_rows.predicted_cycles(row), number_or_nan(row["rtl_cycles"]), row.get("set", ""))
        for row in _rows(table)
    ]
    return _columns({"cycles": found})


def _priced(row: Row) -> Price:
    op = peer_mappings.layer(row["layer"])
    peer = "zigzag" if row["peer"].startswith("zigzag") else "accelforge"
    made, width = architecture(row["arch"], row["layer"], peer)
    read_text = peer_mappings.zigzag if peer == "zigzag" else peer_mappings.accelforge
    try:
        nest = read_text(row["mapping"], op)
    except (AttributeError, KeyError, ValueError):
        raise ArgumentError("mapping", row["mapping"][:80], f"a loop nest as {peer} prints it") from None
    return price(problem(op), made, nest, width, PEERS[peer])


def _mappings(table: Table) -> dict[str, tuple[Any, Any, Any]]:
    """Energy and compute cycles of given mappings, with the tool's conventions."""
    metrics: dict[str, list[tuple[float, float, str]]] = {"energy": [], "compute_cycles": [], "latency": []}
    for row in _rows(table):
        paid, peer = _priced(row), row["peer"].split()[0]
        metrics["energy"].append((float(paid.total_energy) * 1e12, number_or_nan(row["energy_pJ"]), peer))
        compute = float(paid.bottlenecks["compute"])
        metrics["compute_cycles"].append((compute, number_or_nan(row["compute_cycles"]), peer))
        metrics["latency"].append((float(paid.cycles), number_or_nan(row["latency_cycles"]), peer))
    return _columns(metrics)


def _mapping_accesses(table: Table) -> dict[str, tuple[Any, Any, Any]]:
    """Bits read and written per level and operand of given mappings."""
    cases = {row["case"]: _priced(row) for row in _rows(_beside(table, "mapping_cases.csv"))}
    names = {"W": ("W", "B"), "I": ("I", "A"), "O": ("O", "C")}
    metrics: dict[str, list[tuple[float, float, str]]] = {"read": [], "write": []}
    for row in _rows(table):
        traffic = cases[_known(row["case"], cases)].traffic
        found = next(t for (level, name), t in traffic.items()
                     if level == row["level"] and name in names[row["operand"]])
        for side in metrics:
            real = number_or_nan(row[f"{side}_bits"])
            if real or float(getattr(found, side)):
                metrics[side].append((8.0 * float(getattr(found, side)), real, row["case"].split("-")[0]))
    return _columns(metrics)


def _timeloop(table: Table) -> dict[str, tuple[Any, Any, Any]]:
    """Cycles of given Timeloop mappings."""
    rows = []
    for row in _rows(table):
        op, nest = peer_mappings.timeloop(row["mapping"], row["problem"])
        rows.append((float(cycles(problem(op), nest)), number_or_nan(row["cycles"]), "timeloop"))
    return _columns({"cycles": rows})


def _timeloop_accesses(table: Table) -> dict[str, tuple[Any, Any, Any]]:
    """Reads, fills and updates per instance of given Timeloop mappings."""
    cases = {}
    for row in _rows(_beside(table, "timeloop_cases.csv")):
        op, nest = peer_mappings.timeloop(row["mapping"], row["problem"])
        cases[row["case"]] = accesses(problem(op), nest, PEERS["timeloop"])
    metrics: dict[str, list[tuple[float, float, str]]] = {"reads": [], "fills": [], "updates": []}
    for row in _rows(table):
        found = cases[_known(row["case"], cases)][row["level"], row["dataspace"]]
        for side in metrics:
            real = number_or_nan(row[f"{side}_per_instance"])
            mine = float(getattr(found, side)) / float(row["utilized_instances"])
            if real or mine:
                metrics[side].append((mine, real, "timeloop"))
    return _columns(metrics)


#: columns of a file -> what scores it
_FILES: tuple[tuple[frozenset[str], Callable[[Table], dict[str, tuple[Any, Any, Any]]]], ...] = (
    (frozenset({"array_rows", "array_cols", "dataflow", "total_cycles"}), _systolic),
    (frozenset(gemmini_rows.COLUMNS), _rtl),
    (frozenset({"peer", "arch", "layer", "mapping", "energy_pJ", "compute_cycles"}), _mappings),
    (frozenset({"case", "level", "operand", "read_bits", "write_bits"}), _mapping_accesses),
    (frozenset({"case", "problem", "macs", "cycles", "mapping"}), _timeloop),
    (frozenset({"case", "level", "dataspace", "reads_per_instance"}), _timeloop_accesses),
)


def recognises(header: frozenset[str]) -> bool:
    """True for the tables of array simulators and mappers."""
    return any(columns <= header for columns, _ in _FILES)


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Errors by metric, and by group (dataflow, set of rows, tool); `exact`: share of equal rows."""
    scorer = next(scorer for columns, scorer in _FILES if columns <= table.header)
    summary, groups = {}, []
    for metric, (guess, real, names) in scorer(table).items():
        good = np.isfinite(guess) & np.isfinite(real) & (real >= 0)
        if not good.any():
            raise ArgumentError("data", str(table.path), f"at least one row with {metric} of 0 or more")
        guess, real, names = guess[good], real[good], [n for n, g in zip(names, good, strict=True) if g]
        summary[metric] = _errors(guess, real)
        for name in dict.fromkeys(names):
            own = np.array([n == name for n in names])
            groups.append({"metric": metric, "group": name, **_errors(guess[own], real[own])})
    return {"fidelity": "dataflow", "summary": summary, "groups": groups}


def _errors(guess: Any, real: Any) -> dict[str, Any]:
    exact = np.isclose(guess, real, rtol=1e-6, atol=0)
    with np.errstate(divide="ignore"):
        return {**errors(guess, np.where(real == 0, 1e-300, real)), "exact": float(np.mean(exact))}


def _rows(table: Table) -> list[dict[str, str]]:
    names = list(table.columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*table.columns.values(), strict=True)]


def _columns(metrics: Mapping[str, list[tuple[float, float, str]]]) -> dict[str, tuple[Any, Any, Any]]:
    return {
        name: (np.array([r[0] for r in rows]), np.array([r[1] for r in rows]), [r[2] for r in rows])
        for name, rows in metrics.items()
    }


def _beside(table: Table, name: str) -> Table:
    place = Path(table.path).with_name(name)
    if not place.is_file():
        raise ArgumentError("data", str(table.path), f"{name} with the mappings in the same folder")
    return read(place)


def _known(case: str, cases: Mapping[str, Any]) -> str:
    if case not in cases:
        raise ArgumentError("case", case, ", ".join(cases))
    return case
