"""Tables that are known and hold nothing a prediction could be put beside: refused with the reason."""

from __future__ import annotations

from typing import Any

from perfmodel.errors import ArgumentError
from perfmodel.validation.measured.tables import Table

NAME = "refused"
#: columns -> what the table is, and why it has no score
REASONS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"trace", "arrival_s", "prefill_tokens", "decode_tokens"}),
     "arrival times and lengths of requests, an input of a simulation"),
    (frozenset({"op_class", "kernel", "grid", "block", "stream", "mean_us"}),
     "times of kernels by launch grid; the trace does not state the sizes that a prediction needs"),
    (frozenset({"id", "device", "ram_available_GiB", "disk_read_GB_per_s", "vram_available_GiB"}),
     "free memory and disks of devices, inputs of the table of token latencies"),
    (frozenset({"system", "mem_bandwidth_B_per_s", "bf16_flop_per_s", "sm_version"}),
     "constants of data sheets, an input"),
    (frozenset({"field", "value", "unit", "source"}), "facts about devices and parts, an input"),
    (frozenset({"device", "field", "high_over_low", "resolution"}), "sources that disagree about a device"),
    (frozenset({"device", "computed_peak", "listed_peak", "verdict"}), "peak rates of data sheets, checked"),
    (frozenset({"model_name", "map50_95_voc", "map50_95_coco"}),
     "accuracy of trained networks, which follows from no size or rate"),
)


def _reason(header: frozenset[str]) -> str:
    return next((reason for columns, reason in REASONS if header >= columns), "")


def recognises(header: frozenset[str]) -> bool:
    """True for request traces, kernel traces without sizes, and facts about devices."""
    return bool(_reason(header))


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Raises ArgumentError: says what the table is."""
    wanted = "a table of measured results; this one holds " + _reason(table.header)
    raise ArgumentError("data", table.path.name, wanted)
