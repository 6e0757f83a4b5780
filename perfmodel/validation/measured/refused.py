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
)


def _reason(header: frozenset[str]) -> str:
    return next((reason for columns, reason in REASONS if header >= columns), "")


def recognises(header: frozenset[str]) -> bool:
    """True for request traces, kernel traces without sizes, and lists of devices."""
    return bool(_reason(header))


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Raises ArgumentError: says what the table is."""
    wanted = "a table of measured results; this one holds " + _reason(table.header)
    raise ArgumentError("data", table.path.name, wanted)
