"""Calibration of the kernel models of a GPU from one table of measured kernel times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from perfmodel.engine.gpu import is_gpu
from perfmodel.engine.kernels.facts import bounds, gpu_facts
from perfmodel.errors import ArgumentError, UnknownNameError
from perfmodel.explore.calibrate import at_bounds, ranks
from perfmodel.explore.fit_kernels import LEAST_ROWS, fit_group, group_rows
from perfmodel.explore.kernel_known import FAMILIES, recognise
from perfmodel.explore.kernel_tables import STORAGE, device_name, size, take
from perfmodel.explore.measurements import as_column
from perfmodel.hardware.device import Device


def kernel_families(device: Device, columns: Mapping[str, Sequence[Any]], family: str) -> dict[str, Any]:
    """`achieved` block with the corrections of one kernel family by group.

    Raises ArgumentError for a table of another family or device, and for groups of too few rows.
    """
    if family not in {one.name for one in FAMILIES}:
        raise UnknownNameError("family", family, [one.name for one in FAMILIES])
    if not is_gpu(device):
        raise ArgumentError("family", family, f"a GPU; {device.name} is a {device.kind}")
    rows = _of_device({name: as_column(values) for name, values in columns.items()}, device)
    found = recognise(rows)
    if found.name != family:
        raise ArgumentError("family", family, f"{found.name}, by the columns of the table")
    if "latency_us" not in rows:
        raise ArgumentError("measurements", ", ".join(rows), "a column latency_us")
    gpu, groups, predicted, measured = gpu_facts(device), {}, [], []
    for name, some in group_rows(found, rows):
        if size(some) < LEAST_ROWS:
            raise ArgumentError(
                "measurements", f"{size(some)} rows of {name}", f"at least {LEAST_ROWS} rows a group"
            )
        groups[name] = fit_group(found, some, gpu, name)
        fitted = found.corrections(**groups[name]["values"])
        predicted.append(found.predict(some, gpu, fitted, name).seconds)
        measured.append(some["latency_us"] * 1e-6)
    summary = _summary(groups)
    found_ranks = ranks(np.concatenate(predicted), np.concatenate(measured))
    summary["in_sample"] |= {key: float(f"{value:.3g}") for key, value in found_ranks.items()}
    limits = bounds(found.corrections)
    values = {
        f"{group}: {name}": (value, *limits[name][:2])
        for group, entry in groups.items()
        for name, value in entry["values"].items()
        if not np.isclose(value, limits[name][2], rtol=0.02)
    }
    return {
        "rows": size(rows),
        "parameters": sum(g["parameters"] for g in groups.values()),
        **summary,
        **at_bounds(values),
        "families": {family: groups},
    }


def known_family(device: Device, columns: Mapping[str, Sequence[Any]]) -> str | None:
    """Kernel family of a table if the device is a GPU and every group has enough rows for a fit."""
    if not is_gpu(device) or "latency_us" not in columns:
        return None
    rows = {name: as_column(values) for name, values in columns.items()}
    if not set(map(str, rows.get("dtype", ["bf16"]))) <= set(STORAGE):
        return None
    try:
        found = recognise(rows)
        sizes = [size(some) for _, some in group_rows(found, _of_device(rows, device))]
    except (ArgumentError, KeyError):
        return None
    return found.name if min(sizes, default=0) >= 2 * LEAST_ROWS else None


def _summary(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Errors of all groups together as fractions, weighted by rows, and the widest usual spread."""
    found: dict[str, Any] = {}
    for part in ("in_sample", "held_out"):
        some = [g for g in groups.values() if part in g]
        total = sum(g["rows"] for g in some)
        if total:
            found[part] = {
                key: float(f"{sum(g[part][key] * g['rows'] for g in some) / total / 100:.3g}")
                for key in ("mape", "bias")
            }
    return {**found, "split": "whole shape families"}


def _of_device(rows: Mapping[str, Any], device: Device) -> Mapping[str, Any]:
    systems = rows.get("system", rows.get("device"))
    if systems is None or len(set(systems)) == 1:
        return rows
    mine = np.array([device_name(str(s)) == device.name for s in systems])
    if not np.any(mine):
        raise ArgumentError(
            "measurements", ", ".join(sorted(set(map(str, systems)))), f"rows of {device.name}"
        )
    return take(rows, mine)
