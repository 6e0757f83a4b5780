"""Errors of the kernel models from the shipped calibrations: unseen shapes, unseen devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def left_out(
    known: Mapping[str, Any], families: Sequence[str], devices: Sequence[str] = (), formats: str = ""
) -> tuple[float | None, int]:
    """Mean error of rows whose shape family was left out, over groups of kernels, and their number."""
    total, rows = 0.0, 0
    for name, file in known.items():
        if not name.startswith("kernels-") or (devices and name.removeprefix("kernels-") not in devices):
            continue
        for family in families:
            for group, entry in file["families"].get(family, {}).items():
                if "held_out" in entry and (not formats or formats in group.split("/")):
                    total += entry["held_out"]["mape"] / 100 * entry["rows"]
                    rows += entry["rows"]
    return (total / rows, rows) if rows else (None, 0)


def unseen_device(
    known: Mapping[str, Any], families: Sequence[str], devices: Sequence[str] = (), formats: str = ""
) -> tuple[dict[str, float], str]:
    """Row means on measured devices whose own file is left out, and a note on parts of the rows.

    formats  scored on their own (``bfloat16``); empty: all.  Devices of a vendor without another measured
    device are in the note alone: no donor of theirs exists.
    """
    sums: dict[str, list[tuple[float, float]]] = {}
    for family in families:
        for name, entry in known.get("transfer", {}).get("families", {}).get(family, {}).items():
            entry = entry.get(formats) if formats else entry
            if entry is None or "mape" not in entry or (devices and name not in devices):
                continue
            if entry.get("foreign"):
                sums.setdefault("foreign", []).append((entry["rows"], entry["mape"] / 100))
                continue
            sums.setdefault("mape", []).append((entry["rows"], entry["mape"] / 100))
            sums.setdefault("coverage", []).append((entry["rows"], entry.get("coverage", 0.0)))
            sums.setdefault("same", []).append((entry["same_kernel"], entry.get("same_kernel_mape", 0) / 100))
    found = {
        key: sum(rows * value for rows, value in parts) / total
        for key, parts in sums.items()
        if (total := sum(rows for rows, _ in parts))
    }
    found["rows"] = sum(rows for rows, _ in sums.get("mape", []))
    texts = {"same": "kernels that another device knows", "foreign": "a vendor without another device"}
    return found, "; ".join(
        f"{text}: {100 * found[key]:.1f} %" for key, text in texts.items() if key in found
    )
