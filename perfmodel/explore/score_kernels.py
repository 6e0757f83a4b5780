"""Score the kernel models on tables of measured times: errors by device, kernel source and number formats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from perfmodel.engine.kernels.calibration import Applied, KernelCalibration, corrections_for
from perfmodel.engine.kernels.facts import GpuFacts, gpu_facts
from perfmodel.engine.priors import CAUTIOUS
from perfmodel.errors import ArgumentError, UnknownNameError
from perfmodel.explore.kernel_adapters import standard_tables
from perfmodel.explore.kernel_known import recognise
from perfmodel.explore.kernel_tables import TEXTS, Family, Rows, device_name, read_table, size, take
from perfmodel.hardware.catalog import device


def errors(predicted: Any, measured: Any, inside: Any = None) -> dict[str, Any]:
    """Error summary of predictions: mape, median, p90, bias in per cent, rank correlations.

    inside  per row, whether the measured value lies in the 80 % interval; gives `coverage`
    """
    from scipy.stats import kendalltau

    relative = np.abs(predicted / measured - 1.0)
    order = [np.argsort(np.argsort(v)).astype(float) for v in (predicted, measured)]
    spread = order[0].std() * order[1].std()
    joint = np.mean((order[0] - order[0].mean()) * (order[1] - order[1].mean()))
    rank = float(joint / spread) if spread else 1.0
    kendall = float(kendalltau(predicted, measured)[0]) if spread else 1.0
    return {
        "n": len(measured), "mape": 100 * float(relative.mean()), "median": 100 * float(np.median(relative)),
        "p90": 100 * float(np.quantile(relative, 0.9)),
        "bias": 100 * float(np.expm1(np.mean(np.log(predicted / measured)))),
        "spearman": rank, "kendall": kendall,
        **({} if inside is None else {"coverage": float(np.mean(inside))}),
    }


def score(path: str | Path, fidelity: str = "calibrated",
          files: tuple[KernelCalibration, ...] | None = None) -> dict[str, Any]:
    """Errors of a table of measured kernel times: ``summary`` and ``groups`` by device, source and formats.

    fidelity  roofline (bound of the datasheet), dataflow (documented corrections), calibrated (shipped ones)
    Raises ArgumentError where no model predicts the columns of the table.
    """
    predicted, measured, covered, groups, names = [], [], [], [], []
    skipped: dict[str, int] = {}
    for rows in tables_of_file(path):
        family = recognise(rows)
        if "system" not in rows:
            raise ArgumentError("data", str(path), "a table with a column system or device")
        names.append(family.name)
        _refuse_texts(family, rows, path)
        rows = _described(_timed(rows, skipped), skipped)
        try:
            answers = list(_answers(family, rows, fidelity, files))
        except KeyError as name:
            raise ArgumentError("data", str(path), f"a table of {family.name} with a column {name}") from None
        for group, device_, mine, seconds, origin, (low, high) in answers:
            known = mine["latency_us"] * 1e-6
            good = np.isfinite(seconds)
            if not good.all():
                _skip(skipped, "no prediction: a size is missing", int((~good).sum()))
                seconds, known = seconds[good], known[good]
            if not len(known):
                continue
            predicted.append(seconds)
            measured.append(known)
            covered.append((known >= low * seconds) & (known <= high * seconds))
            groups.append({"family": family.name, "device": device_, "group": group, "calibration": origin,
                           **errors(seconds, known, covered[-1])})
    if not predicted:
        raise ArgumentError("data", str(path), "at least one row that can be scored; left out: "
                            + "; ".join(f"{reason} ({count} rows)" for reason, count in skipped.items()))
    summary = errors(*(np.concatenate(parts) for parts in (predicted, measured, covered)))
    found = "+".join(dict.fromkeys(names))
    return {"family": found, "fidelity": fidelity, "summary": summary, "groups": groups, "skipped": skipped}


def _refuse_texts(family: Family, rows: Rows, path: str | Path) -> None:
    """Raises ArgumentError for a column of sizes in which a field is no number."""
    for name in sorted(family.columns):
        if rows[name].dtype.kind != "f" and name not in TEXTS and not name.endswith("dtype"):
            raise ArgumentError("data", f"column {name} of {path}", "numbers in every row")


def _skip(skipped: dict[str, int], reason: str, count: int) -> None:
    skipped[reason] = skipped.get(reason, 0) + count


def _timed(rows: Rows, skipped: dict[str, int]) -> Rows:
    """Rows with a measured time."""
    good = np.isfinite(rows["latency_us"]) & (rows["latency_us"] > 0)
    if good.all():
        return rows
    _skip(skipped, "no measured time above 0", int((~good).sum()))
    return take(rows, good)


def _described(rows: Rows, skipped: dict[str, int]) -> Rows:
    """Rows of devices that have a description."""
    good = np.ones(size(rows), dtype=bool)
    for system in np.unique(rows["system"]):
        try:
            device(device_name(str(system)))
        except UnknownNameError:
            here = rows["system"] == system
            _skip(skipped, f"unknown device {str(system)!r}", int(here.sum()))
            good &= ~here
    return rows if good.all() else take(rows, good)


def tables_of_file(path: str | Path) -> list[Rows]:
    """The tables of a file in the columns of the families."""
    return [rows for rows in standard_tables(read_table(path)) if size(rows)]


def _answers(
    family: Family, rows: Rows, fidelity: str, files: tuple[KernelCalibration, ...] | None
) -> Iterator[tuple[str, str, Rows, Any, str, tuple[float, float]]]:
    """(group, device, rows, predicted seconds, origin, interval) of every group of every device."""
    systems = rows["system"]
    names = family.groups(rows)
    for system in np.unique(systems):
        name = device_name(str(system))
        gpu = gpu_facts(device(name), nominal=fidelity == "roofline")
        for group in np.unique(names[systems == system]):
            some = take(rows, (systems == system) & (names == group))
            seconds, origin, ends = _predict(family, some, gpu, str(group), name, fidelity, files)
            yield str(group), name, some, seconds, origin, ends


def _predict(family: Family, rows: Rows, gpu: GpuFacts, group: str, name: str, fidelity: str,
             files: tuple[KernelCalibration, ...] | None) -> tuple[Any, str, tuple[float, float]]:
    """Predicted seconds, where the corrections come from, and measured / predicted at both interval ends."""
    if fidelity == "roofline":  # from the bound itself to that of a matrix unit at its cautious efficiency
        return family.bound(rows, gpu, group), "datasheet", (1.0, 1.0 / CAUTIOUS["matrix"])
    if fidelity == "dataflow":
        applied = Applied(family.corrections(), "", "")
        seconds = family.predict(rows, gpu, applied.values, group).seconds
        return seconds, "documented", (applied.low, applied.high)
    applied = corrections_for(family.name, family.corrections, name, group, files)
    origin = f"{applied.calibration}: {applied.group}"
    return family.predict(rows, gpu, applied.values, group).seconds, origin, (applied.low, applied.high)
