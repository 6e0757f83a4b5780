"""Fit the corrections of the kernel models to tables of measured times, score them, write the YAML files.

The fit is a bounded least squares on the logarithm of the time with a robust loss, in the logarithm of the
corrections, started at their documented values.  Errors are those of rows whose whole shape family (widths of
a product, head counts, hidden sizes) was left out of the fit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeAlias

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
from perfmodel.explore.score_kernels import errors, tables_of_file
from perfmodel.hardware.catalog import device
from perfmodel.spec import load

#: folds of shape families that are left out in turn
FOLDS = 2
#: fewer rows of a group are not fitted on their own
LEAST_ROWS = 20
#: device, its rows, its facts, group name
Case: TypeAlias = tuple[str, Rows, GpuFacts, str]
#: devices of the class of datacentre GPUs
CLASS = ("a100-sxm-80gb", "h100-sxm5", "b200-sxm", "rtx-pro-6000-server")


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

    def build(x: Any) -> Any:
        return family.corrections(**dict(zip(limits, np.exp(x), strict=True)))

    def residual(x: Any) -> Any:
        c = build(x)
        predicted = [family.predict(rows, gpu, c, group).seconds for rows, gpu, group in cases]
        return np.log(np.concatenate(predicted)) - measured

    def search(x0: Any) -> Any:
        inside = np.clip(x0, low + 1e-6, high - 1e-6)
        return least_squares(residual, inside, bounds=(low, high), loss="soft_l1", f_scale=0.1,
                             diff_step=0.01, x_scale=0.3, max_nfev=budget)

    starts = _starts(limits, start)
    late = float(np.exp(measured.min() - (residual(start) + measured).min()))
    if late > 3.0 and "host" in limits:  # far above the documented fixed time: a slow caller
        starts.append(_changed(start, list(limits), {"host": late * limits["launch"][2]}))
    tried = (only,) if 0 <= only < len(starts) else range(len(starts))
    found = {i: search(starts[i]) for i in tried}
    best = min(found, key=lambda i: float(found[i].cost))
    return build(found[best].x), best


def _starts(limits: Mapping[str, Any], start: Any) -> list[Any]:
    """The documented start, then little overlap and whole waves, no split, tokens of other ranks computed."""
    names, out = list(limits), [start]
    others = [] if "split" in names or "tail" not in names else [{"overlap": 0.45, "tail": 0.95}]
    if "split" in names:
        others += [{"split": 2e3}, {"split": 2e3, "step": 12.0}]
    if "foreign" in names:
        others.append({"foreign": 0.7})
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


def fit_class(tables: Mapping[str, Rows], names: Iterable[str] = CLASS, check: bool = True) -> dict[str, Any]:
    """Groups fitted to several devices together, ``any/any/formats/mode``, and errors on devices left out."""
    found: dict[str, Any] = {}
    for family in FAMILIES:
        cases = [case for name in names for case in _class_cases(family, tables, name)]
        for kind in sorted({_anonymous(family, group) for _, _, _, group in cases}):
            some = _without_callers([case for case in cases if _anonymous(family, case[3]) == kind])
            most = family.most // len(some)
            thin = [(name, _thin(rows, most), gpu, group) for name, rows, gpu, group in some]
            found.setdefault(family.name, {})[kind] = _class_entry(family, thin, check)
    return found


def _class_cases(family: Family, tables: Mapping[str, Rows], name: str) -> list[Case]:
    if family.name not in tables:
        return []
    rows = _of_device(tables[family.name], name)
    if not size(rows):
        return []
    gpu = gpu_facts(device(name))
    return [(name, r, gpu, g) for g, r in group_rows(family, rows) if size(r) >= LEAST_ROWS]


def _without_callers(cases: list[Case]) -> list[Case]:
    """Cases that are not bound by a slow caller: the fastest row within 4 times the best of the device."""
    best: dict[str, float] = {}
    for name, rows, _, _ in cases:
        best[name] = min(best.get(name, np.inf), float(rows["latency_us"].min()))
    return [case for case in cases if float(case[1]["latency_us"].min()) <= 4.0 * best[case[0]]]


def _anonymous(family: Family, group: str) -> str:
    return "/".join([*["any"] * family.origin, *group.split("/")[family.origin :]])


def _class_entry(family: Family, cases: list[Case], check: bool) -> dict[str, Any]:
    def outcome(c: Any, some: list[Case]) -> tuple[Any, Any]:
        predicted = np.concatenate([family.predict(r, gpu, c, g).seconds for _, r, gpu, g in some])
        return predicted, np.concatenate([r["latency_us"] * 1e-6 for _, r, _, _ in some])

    c = fit(family, [case[1:] for case in cases], 10, 0)
    predicted, measured = outcome(c, cases)
    entry: dict[str, Any] = {"rows": len(measured), "parameters": len(fields(family.corrections)),
                             "in_sample": _short(errors(predicted, measured))}
    ratio = measured / predicted
    devices = sorted({case[0] for case in cases})
    if check and len(devices) > 1:
        left_out = {}
        for name in devices:
            others = fit(family, [case[1:] for case in cases if case[0] != name], 8, 0)
            left_out[name] = _short(errors(*outcome(others, [case for case in cases if case[0] == name])))
        entry["left_out_device"] = left_out
    entry["spread"] = [round(float(np.quantile(ratio, q)), 3) for q in (0.1, 0.9)]
    entry["values"] = {f.name: float(f"{getattr(c, f.name):.4g}") for f in fields(family.corrections)}
    return entry


def _of_device(rows: Rows, name: str) -> Rows:
    return take(rows, np.array([device_name(s) == name for s in rows["system"]]))



def tables_of(*paths: str | Path) -> dict[str, Rows]:
    """Tables by family name of the recognised files; those of one family are joined on common columns."""
    found: dict[str, Rows] = {}
    for rows in (rows for path in paths for rows in tables_of_file(path)):
        try:
            name = recognise(rows).name
        except ArgumentError:
            continue  # a table that no model predicts
        other = found.get(name, rows)
        shared = [column for column in rows if column in other]
        found[name] = rows if other is rows else {c: np.concatenate([other[c], rows[c]]) for c in shared}
    return found


#: devices with measured tables, and the names that their corrections apply to
DEVICE_FILES: Mapping[str, tuple[str, ...]] = {
    "a100-sxm-80gb": ("a100-*", "a800-*", "a30"),
    "h100-sxm5": ("h100-*", "h200-*", "h800-*", "h20*", "gh200*"),
    "h20": ("h20",),
    "b200-sxm": ("b200-*", "b300-*", "gb200", "gb300"),
    "rtx-pro-6000-server": ("rtx-*", "gb10-*", "l4", "l40*", "a10", "a10g", "a40"),
    "b60": ("b60", "arc-*"),
}
CLASS_FILE = "nvidia-gpu"


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
    """Fit every table of the data files and write the calibration files of the devices and of the class.

    A family that has rows is fitted anew, from these files alone; other families of an existing file stay.
    source  citation of the data sets, written into the files
    """
    tables = tables_of(*data)
    found = {name: (patterns, fit_device(name, tables, check)) for name, patterns in DEVICE_FILES.items()}
    found[CLASS_FILE] = (("*",), fit_class(tables, check=check))
    written = []
    for name, (patterns, families) in found.items():
        path = Path(out) / f"kernels-{name}.yaml"
        if not families:
            continue
        merged = {**_existing(path), **families}
        ordered = {family.name: merged[family.name] for family in FAMILIES if family.name in merged}
        path.write_text(document(name, patterns, ordered, source, date), encoding="utf-8")
        written.append(path)
    return written


def _existing(path: Path) -> Mapping[str, Any]:
    """Families of a calibration file; none where there is no file."""
    return load(KernelCalibration, path).families or {} if path.exists() else {}
