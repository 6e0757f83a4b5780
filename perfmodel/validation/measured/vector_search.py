"""FANNS: throughput of vector search designs from their stages; response times of more boards from one.

[1] Jiang et al., Co-design Hardware and Algorithm for Vector Search, SC 2023, arXiv:2306.11182.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from perfmodel.errors import ArgumentError
from perfmodel.validation.measured.rows import each, scored
from perfmodel.validation.measured.tables import Table

NAME = "fanns"
DESIGNS = {"clock_MHz", "qps", "stage2_cycles", "nlist", "nprobe", "pe_num_center_dist_comp",
           "pe_num_table_construction", "stage5_comp_pe_num", "stage_3_priority_queue_l1_num",
           "vectors_million", "topk", "design"}
RESPONSES = {"boards", "dataset", "topk", "p50_ms", "p95_ms", "vectors_million_per_board"}


def recognises(header: frozenset[str]) -> bool:
    """True for designs with their throughput, or response times by boards."""
    return header >= DESIGNS or header >= RESPONSES


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Errors of the throughput by FPGA, or of median and 95th percentile of the response time."""
    return _designs(table) if table.header >= DESIGNS else _responses(table)


def _designs(table: Table) -> dict[str, Any]:
    from perfmodel.scenario.vector_search import Index, Units, search_pipeline

    value = {name: table.numbers(name) for name in DESIGNS - {"design"}}
    # where the fields are empty the name of the design states them
    for name, pattern in (("vectors_million", r"_[A-Za-z]+(\d+)M_"), ("topk", r"_K(\d+)_")):
        found = [re.search(pattern, text) for text in table.columns["design"]]
        stated = np.array([float(match[1]) if match else np.nan for match in found])
        value[name] = np.where(np.isfinite(value[name]), value[name], stated)

    def rate(i: int) -> float:
        at = {name: float(column[i]) for name, column in value.items()}
        index = Index(at["vectors_million"] * 1e6, at["nlist"], at["nprobe"], at["topk"])
        units = Units(at["pe_num_center_dist_comp"], at["pe_num_table_construction"],
                      at["stage5_comp_pe_num"], at["stage_3_priority_queue_l1_num"])
        return float(search_pipeline(index, units, at["clock_MHz"] * 1e6).throughput)

    metrics = {"throughput": (each(len(value["qps"]), rate), value["qps"])}
    return scored(metrics, {"fpga": table.texts("fpga"), "dataset": table.texts("dataset")}, "dataflow")


def _responses(table: Table) -> dict[str, Any]:
    from perfmodel.scenario.pipeline import slowest_of

    boards, middle, high = (table.numbers(name) for name in ("boards", "p50_ms", "p95_ms"))
    same = [table.texts(name) for name in ("fpga", "dataset", "topk", "vectors_million_per_board")]

    def answer(quantile: float, i: int) -> float:
        alike = np.all([column == column[i] for column in same], axis=0) & (boards == 1)
        if boards[i] == 1 or not alike.any():
            raise ArgumentError("boards", float(boards[i]), "several, beside a row of one board")
        one = np.flatnonzero(alike)[-1]
        return float(slowest_of(boards[i], middle[one], high[one], quantile))

    metrics = {
        "median": (each(len(boards), lambda i: answer(0.5, i)), middle),
        "p95": (each(len(boards), lambda i: answer(0.95, i)), high),
    }
    labels = {"fpga": same[0], "dataset": same[1]}
    return scored(metrics, labels, "calibrated", "several boards from the row of one board")
