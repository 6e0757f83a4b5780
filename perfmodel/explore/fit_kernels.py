"""Fit the corrections of the kernel models to tables of measured times, score them, write the YAML files.

The fit is a bounded least squares on the logarithm of the time with a robust loss, in the logarithm of the
corrections, started at their documented values.  A weak prior keeps there what the rows do not tell: such a
correction takes any value else, and a device that borrows it is wrong.

    least of sum_rows rho(log t(c) / t_measured) + rows x PRIOR^2 sum_c 2 (sqrt(1 + log^2(c / start)) - 1)

Errors are those of rows whose whole shape family (widths of a product, head counts, hidden sizes) was left
out of the fit; what other devices may borrow is scored with each device's own file left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from perfmodel.engine.kernels.calibration import KernelCalibration
from perfmodel.engine.kernels.facts import GpuFacts, bounds, gpu_facts
from perfmodel.errors import ArgumentError
from perfmodel.explore.kernel_known import FAMILIES, recognise
from perfmodel.explore.kernel_tables import (
    Family,
    Rows,
    device_name,
    size,
    take,
)
from perfmodel.explore.left_out import KIN, left_out
from perfmodel.explore.score_kernels import errors, tables_of_file
from perfmodel.hardware.catalog import device
from perfmodel.spec import load

#: folds of shape families that are left out in turn
FOLDS = 2
#: columns of a table that say how its kernels were run
RUN_COLUMNS = ("run_flop", "drawn")
#: fewer rows of a group are not fitted on their own
LEAST_ROWS = 20
#: weight of the prior of a row and a correction that is e times its start; scale of the robust loss
PRIOR, SCALE = 0.01, 0.1


def fit(family: Family, cases: Iterable[tuple[Rows, GpuFacts, str]], budget: int = 25,
        start: int = -1) -> Any:
    """Corrections that fit the measured rows of (rows, facts, group name) cases together."""
    return _fit(family, list(cases), budget, start)[0]


def _fit(family: Family, cases: list[tuple[Rows, GpuFacts, str]], budget: int,
         only: int = -1) -> tuple[Any, int]:
    """The fitted corrections and which start they come from; `only` >= 0 tries that start alone."""
    from scipy.optimize import least_squares

    cases = [(_thin(rows, family.most), gpu, group) for rows, gpu, group in cases]
    limits = bounds(family.corrections)
    low, high, start = (np.log([v[i] for v in limits.values()]) for i in range(3))
    measured = np.log(np.concatenate([rows["latency_us"] * 1e-6 for rows, _, _ in cases]))
    weight = PRIOR * np.sqrt(len(measured))

    def build(x: Any) -> Any:
        return family.corrections(**dict(zip(limits, np.exp(x), strict=True)))

    def residual(x: Any) -> Any:
        c = build(x)
        predicted = [family.predict(rows, gpu, c, group).seconds for rows, gpu, group in cases]
        return np.concatenate([np.log(np.concatenate(predicted)) - measured, weight * (x - start)])

    def search(x0: Any) -> Any:
        inside = np.clip(x0, low + 1e-6, high - 1e-6)
        return least_squares(residual, inside, bounds=(low, high), loss=_robust(len(measured), weight),
                             f_scale=SCALE, diff_step=0.01, x_scale=0.3, max_nfev=budget)

    starts = _starts(limits, start)
    late = float(np.exp(measured.min() - (residual(start)[: len(measured)] + measured).min()))
    if late > 3.0 and "host" in limits:  # far above the documented fixed time: a slow caller
        starts.append(_changed(start, list(limits), {"host": late * limits["launch"][2]}))
    tried = (only,) if 0 <= only < len(starts) else range(len(starts))
    found = {i: search(starts[i]) for i in tried}
    best = min(found, key=lambda i: float(found[i].cost))
    return build(found[best].x), best


def _robust(rows: int, weight: float) -> Any:
    """Loss of the first `rows` residuals at scale 1, and of the prior at the scale of one e-fold."""
    scale = (weight / SCALE) ** 2

    def loss(z: Any) -> Any:
        unit = np.where(np.arange(len(z)) < rows, 1.0, scale)
        root = np.sqrt(1.0 + z / unit)
        return np.stack([2.0 * unit * (root - 1.0), 1.0 / root, -0.5 / unit / root**3])

    return loss


def _starts(limits: Mapping[str, Any], start: Any) -> list[Any]:
    """The documented start, then little overlap and whole waves, no split."""
    names, out = list(limits), [start]
    loose = "split" not in names and {"overlap", "tail"} <= set(names)
    others = [{"overlap": 0.45, "tail": 0.95}] if loose else []
    if "split" in names:
        others += [{"split": 2e3}, {"split": 2e3, "step": 12.0}]
    if "empty" in names:
        others.append({"empty": 0.95, "step": 8.0})
    if "combine" in names and limits["combine"][1] > 1e4:
        others.append({"combine": 3e4, "step": 5.0})
    return [*out, *(_changed(start, names, changes) for changes in others)]


def _changed(start: Any, names: list[str], changes: Mapping[str, float]) -> Any:
    other = start.copy()
    for name, value in changes.items():
        other[names.index(name)] = np.log(value)
    return other


def _thin(rows: Rows, most: int) -> Rows:
    count = size(rows)
    return rows if count <= most else take(rows, np.random.default_rng(0).permutation(count)[:most])


def shape_folds(family: Family, rows: Rows, folds: int = FOLDS) -> list[Any]:
    """Masks of the rows left out: whole shape families, spread over the folds."""
    if family.name == "gemm":
        widths = np.unique(np.concatenate([rows["n"], rows["k"]]))
        order = np.random.default_rng(1).permutation(len(widths))
        chosen = [widths[order[i::folds][:3]] for i in range(folds)]
        return [np.isin(rows["n"], some) | np.isin(rows["k"], some) for some in chosen]
    labels = family.shapes(rows)
    known = np.unique(labels)
    return [np.isin(labels, known[i::folds]) for i in range(min(folds, len(known)))]


def held_out(family: Family, rows: Rows, gpu: GpuFacts, group: str, start: int = -1) -> tuple[Any, Any]:
    """Predicted and measured times of rows whose shape family was left out."""
    predicted, measured = [], []
    for out in shape_folds(family, rows):
        if (~out).sum() >= LEAST_ROWS and out.any():
            c = fit(family, [(take(rows, ~out), gpu, group)], 12, start)
            predicted.append(family.predict(take(rows, out), gpu, c, group).seconds)
            measured.append(rows["latency_us"][out] * 1e-6)
    if not predicted:
        return np.zeros(0), np.zeros(0)
    return np.concatenate(predicted), np.concatenate(measured)


def fit_group(family: Family, rows: Rows, gpu: GpuFacts, group: str, check: bool = True) -> dict[str, Any]:
    """Entry of a calibration file for one group: rows, errors and values."""
    c, start = _fit(family, [(rows, gpu, group)], 20)
    measured = rows["latency_us"] * 1e-6
    own = family.predict(rows, gpu, c, group).seconds
    predicted, known = held_out(family, rows, gpu, group, start) if check else (np.zeros(0), np.zeros(0))
    ratio = known / predicted if len(known) else measured / own
    entry: dict[str, Any] = {"rows": size(rows), "parameters": len(fields(family.corrections)),
                             "in_sample": _short(errors(own, measured))}
    if len(known):
        entry["held_out"] = _short(errors(predicted, known))
    entry["spread"] = [round(float(np.quantile(ratio, q)), 3) for q in (0.1, 0.9)]
    entry["values"] = {f.name: float(f"{getattr(c, f.name):.4g}") for f in fields(family.corrections)}
    return entry


def _short(error: Mapping[str, Any]) -> dict[str, float]:
    return {name: round(error[name], 1) for name in ("mape", "median", "p90", "bias")}


def group_rows(family: Family, rows: Rows) -> list[tuple[str, Rows]]:
    """(group name, rows of it) in order of name."""
    names = family.groups(rows)
    return [(str(name), take(rows, names == name)) for name in np.unique(names)]


def fit_device(name: str, tables: Mapping[str, Rows], check: bool = True) -> dict[str, Any]:
    """Families -> groups of one device from tables by family name."""
    gpu = gpu_facts(device(name))
    found: dict[str, Any] = {}
    for family in FAMILIES:
        if family.name not in tables:
            continue
        mine = _of_device(tables[family.name], name)
        groups = [(g, r) for g, r in group_rows(family, mine) if size(r) >= LEAST_ROWS] if size(mine) else []
        if groups:
            found[family.name] = {g: fit_group(family, r, gpu, g, check) for g, r in groups}
    return found


def _of_device(rows: Rows, name: str) -> Rows:
    return take(rows, np.array([device_name(s) == name for s in rows["system"]]))



def tables_of(*paths: str | Path) -> dict[str, Rows]:
    """Tables by family name of the recognised files; those of one family are joined on common columns.

    How a run was timed (RUN_COLUMNS) is not a number (NaN) where a table does not say it.
    """
    found: dict[str, Rows] = {}
    for rows in (rows for path in paths for rows in tables_of_file(path)):
        try:
            name = recognise(rows).name
        except ArgumentError:
            continue  # a table that no model predicts
        found[name] = _joined(found[name], rows) if name in found else rows
    return found


def _joined(one: Rows, other: Rows) -> Rows:
    stated = [column for column in RUN_COLUMNS if column in one or column in other]
    one, other = ({**{c: np.full(size(t), np.nan) for c in stated}, **t} for t in (one, other))
    return {c: np.concatenate([one[c], other[c]]) for c in other if c in one}


#: devices with measured tables, and the names that their corrections apply to
DEVICE_FILES: Mapping[str, tuple[str, ...]] = {
    "a100-sxm-80gb": ("a100-*", "a800-*", "a30"),
    "h100-sxm5": ("h100-*", "h200-*", "h800-*", "h20*", "gh200*"),
    "h20": ("h20",),
    "b200-sxm": ("b200-*", "b300-*", "gb200", "gb300"),
    "rtx-pro-6000-server": ("rtx-pro-6000-*", "rtx-50*", "gb10-*"),
    "b60": ("b60", "arc-*"),
}


def document(name: str, applies_to: Iterable[str], families: Mapping[str, Any], data: str, date: str) -> str:
    """Text of a calibration file: one line per fact of a group, values in flow style."""
    lines = [f"calibration: {name}", f"applies_to: [{', '.join(json.dumps(a) for a in applies_to)}]",
             f"data: {json.dumps(data)}", f'date: "{date}"', "families:"]
    for family, groups in families.items():
        lines.append(f"  {family}:")
        for group, entry in groups.items():
            lines.append(f"    {json.dumps(group)}:")
            lines += [f"      {key}: {_flow(value)}" for key, value in entry.items()]
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def rebuild(data: Iterable[str | Path], out: str | Path, source: str, date: str,
            check: bool = True) -> list[Path]:
    """Fit every table of the data files and write the calibration files of the devices and of what they lend.

    A family that has rows is fitted anew, from these files alone; other families of an existing file stay.
    source  citation of the data sets, written into the files
    """
    out = Path(out)
    tables = tables_of(*data)
    written = []
    for name, patterns in DEVICE_FILES.items():
        families = fit_device(name, tables, check)
        if families:
            written.append(_merged(out / f"kernels-{name}.yaml", name, patterns, families, source, date))
    fitted = tuple(load(KernelCalibration, path) for path in sorted(out.glob("kernels-*.yaml")))
    lent = left_out(tables, fitted)
    if lent:
        written.append(_merged(out / "transfer.yaml", "transfer", (), lent, source, date))
    return written


def _merged(path: Path, name: str, patterns: Iterable[str], families: Mapping[str, Any], source: str,
            date: str) -> Path:
    """Write a file with these families and the others that it has."""
    kept = load(KernelCalibration, path).families or {} if path.exists() else {}
    merged = {**kept, **families}
    ordered = [family.name for family in FAMILIES] + [name for name in merged if name == KIN]
    text = document(name, patterns, {one: merged[one] for one in ordered if one in merged}, source, date)
    path.write_text(text, encoding="utf-8")
    return path
