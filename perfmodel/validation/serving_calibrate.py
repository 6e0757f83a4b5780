"""Makes the shipped serving calibration and runtime profiles from the tables they are fitted to.

    python -m perfmodel.validation.serving_calibrate DATA_FOLDER

DATA_FOLDER holds ``aiconfigurator/serving.csv.gz`` and ``llm_inference_bench/{end_to_end,power}.csv``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from perfmodel import shipped
from perfmodel.explore.score_kernels import errors
from perfmodel.scenario.corrections import corrections
from perfmodel.scenario.runtime import Runtime, profiles
from perfmodel.scenario.serving_power import utilisation
from perfmodel.validation.names import config_folders
from perfmodel.validation.power_score import fit_report
from perfmodel.validation.serving_data import Points, points, read_rows
from perfmodel.validation.serving_fit import (
    BATCH_FIELDS,
    RUNTIME_STARTS,
    SERVING_FIELDS,
    STARTS,
    Fit,
    fit_batch,
    fit_profile,
    fit_serving,
    left_out,
    measured,
    unqueued,
)
from perfmodel.validation.serving_predict import equipped

SERVING_TABLE, BATCH_TABLE = "aiconfigurator/serving.csv.gz", "llm_inference_bench/end_to_end.csv"
POWER_TABLE = "llm_inference_bench/power.csv"

KERNEL_POWER_TABLES = {
    "attention_prefill": "aiconfigurator/power_attention_prefill.csv",
    "attention_decode": "aiconfigurator/power_attention_decode.csv",
    "moe": "aiconfigurator/power_moe.csv.gz",
}

#: engines of the batch table that share the device corrections, and those fitted on top of them alone
MAIN = ("TensorRT-LLM", "vLLM")
OTHERS = (
    ("vLLM", "AMD MI300X"), ("vLLM", "AMD MI250"), ("vLLM", "Intel"), ("Deepspeed-MII", "Nvidia"),
    ("Deepspeed", "Habana"), ("llama.cpp", "Nvidia"),
)


def calibrate(folder: str | Path) -> dict[str, Any]:
    """Fits everything; returns corrections, power, fit reports and profiles."""
    root = Path(folder)
    serving, report = _serving(root / SERVING_TABLE)
    batch, batch_report, table = _batch(root / BATCH_TABLE)
    power, power_report = _power(root / POWER_TABLE, batch)
    shares, kernel_reports = kernel_power(root)
    found = dict(serving.profiles)
    notes = {name: _note(SERVING_TABLE, table_errors) for name, table_errors in report["runtimes"].items()}
    for name in ("tensorrt-llm-2024", "vllm-2024"):
        found[name] = batch.profiles[name]
        notes[name] = _note(BATCH_TABLE, batch_report["runtimes"][name])
    for engine, maker in OTHERS:
        name, profile, score = _other(table, engine, maker, batch)
        found[name], notes[name] = profile, _note(BATCH_TABLE, score)
    return {
        "corrections": {"serving": serving.fix, "batch": batch.fix}, "power": {"batch": power, **shares},
        "fit": {"serving": report, "batch": batch_report, "power": power_report, **kernel_reports},
        "profiles": found, "notes": notes,
    }


def _serving(path: Path) -> tuple[Fit, dict[str, Any]]:
    fix = corrections("serving")
    rows = read_rows(path)
    parts, _ = points(rows, fix, config_folders(path))
    data = next(part for part in parts if part.kind == "serving")
    base = Fit(fix, profiles())
    fit = fit_serving(data, base)
    report = _report(path.name, data, fit, fit_serving, base, ("model", "system"))
    report["acceptance"] = round(fit.acceptance, 3)
    return fit, report


def _batch(path: Path) -> tuple[Fit, dict[str, Any], list[dict[str, str]]]:
    fix, rows = corrections("batch"), read_rows(path)
    chosen = [r for r in rows if r["framework"] in MAIN and r["device"].startswith("Nvidia")]
    data = points(chosen, fix, config_folders(path))[0][0]
    base = Fit(fix, profiles())
    fit = fit_batch(data, base)
    return fit, _report(path.name, data, fit, fit_batch, base, ("model_path", "device")), rows


def _report(
    table: str, data: Points, fit: Fit, fitter: Callable[[Points, Fit], Fit], base: Fit, leave: Sequence[str]
) -> dict[str, Any]:
    seen = fit.predict(data)
    report: dict[str, Any] = {
        "data": table, "rows": len(data), "date": date.today().isoformat(), "in_sample": _scores(seen, data),
    }
    for column in leave:
        unseen = left_out(data, data.labels(column), fitter, base)
        report[f"unseen_{column}"] = _scores(unseen, data)
        report.setdefault("interval", _interval(unseen, data))
    main = "tpot" if "tpot" in seen else "latency"
    real = measured(data)[main]
    report["runtimes"] = {
        str(name): _round(errors(seen[main][data.runtimes == name], real[data.runtimes == name]))
        for name in np.unique(data.runtimes)
    }
    return report


def _scores(guess: Mapping[str, np.ndarray], data: Points) -> dict[str, Any]:
    real, scores = measured(data), {}
    for metric, values in guess.items():
        counted, groups = np.ones(len(data), dtype=bool), {"dense": ~data.moe, "mixture": data.moe}
        if metric == "ttft":
            # the rule of fewer requests than stated was read from first tokens: they count without it too
            counted, groups["dense_as_stated"] = unqueued(data), ~data.moe & np.isinf(data.options.slots)
        for label, group in groups.items():
            mask = counted & group
            if mask.any():
                scores[f"{metric}_{label}"] = _round(errors(values[mask], real[metric][mask]))
    return scores


def _interval(guess: Mapping[str, np.ndarray], data: Points) -> dict[str, list[float]]:
    """10 % and 90 % quantile of measured over predicted on what the fit had not seen."""
    found = {}
    for metric, real in measured(data).items():
        counted = unqueued(data) if metric == "ttft" else np.ones(len(data), dtype=bool)
        ratio = (real / guess[metric])[counted]
        found[metric] = [round(float(q), 3) for q in np.quantile(ratio, (0.1, 0.9))]
    return found


def _round(statistics: Mapping[str, Any]) -> dict[str, Any]:
    digits = {"spearman": 3}
    return {k: v if isinstance(v, int) else round(float(v), digits.get(k, 1)) for k, v in statistics.items()}


def _other(
    rows: list[dict[str, str]], engine: str, maker: str, batch: Fit
) -> tuple[str, Any, dict[str, Any]]:
    alone = [
        r for r in rows if r["framework"] == engine and r["device"].startswith(maker)
        # llama.cpp reports the time of one sequence of a batch
        and (engine != "llama.cpp" or r["batch"] == "1")
    ]
    data = points(alone, batch.fix, config_folders())[0][0]
    fit = fit_profile(data, batch)
    name = str(data.runtimes[0])
    score = errors(fit.predict(data)["latency"], measured(data)["latency"])
    return name, fit.profiles[name], _round(score)


def _power(path: Path, batch: Fit) -> tuple[dict[str, float], dict[str, Any]]:
    """Non-negative fractions of the board limit, from the rows that stay below it."""
    from scipy.optimize import nnls

    rows = [r for r in read_rows(path) if r["power_above_tdp"] != "1" and r["source"].startswith("Fig_16")]
    data = points(rows, batch.fix, config_folders(path))[0][0]
    cost = equipped(data.cost, data.runtimes, batch.profiles, batch.fix)
    memory, compute = utilisation(cost, data.load, data.input, data.output, batch.predict(data)["latency"])
    limit, real = cost.hardware.power, data.column("avg_power_W")
    terms = np.stack([np.ones(len(data)), memory, compute], axis=1)
    ratio, device = real / limit, data.labels("device")

    def solve(mask: np.ndarray) -> np.ndarray:
        found, _ = nnls(terms[mask] / ratio[mask, None], np.ones(mask.sum()))
        return np.asarray(found)

    shares = solve(np.ones(len(data), dtype=bool))
    unseen = np.zeros(len(data))
    for name in np.unique(device):
        unseen[device == name] = terms[device == name] @ solve(device != name)
    report = {
        "data": path.name, "rows": len(data), "date": date.today().isoformat(),
        "in_sample": _round(errors(np.minimum(terms @ shares, 1.0), ratio)),
        "unseen_device": _round(errors(np.minimum(unseen, 1.0), ratio)),
    }
    return dict(zip(("static", "memory", "compute"), (float(s) for s in shares), strict=True)), report


def kernel_power(root: Path) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Constants per kind of kernel, and their errors."""
    shares, reports = {}, {}
    for kind, table in KERNEL_POWER_TABLES.items():
        shares[kind], report = fit_report(root / table)
        scores = {k: _round(v) if isinstance(v, dict) else v for k, v in report.items()}
        reports[f"power_{kind}"] = {**scores, "date": date.today().isoformat()}
    return shares, reports


def _note(table: str, score: Mapping[str, Any]) -> str:
    return (
        f"fitted {date.today().isoformat()} to {table}, {score['n']} rows: "
        f"MAPE {score['mape']:g} %, median {score['median']:g} %, bias {score['bias']:+g} % in sample"
    )


def write(found: Mapping[str, Any]) -> None:
    """Writes ``calibrations/serving.yaml`` and ``runtimes.yaml`` of this checkout."""
    import yaml

    old = corrections("serving").fractions
    blocks = {
        name: {**{k: _short(getattr(fix, k)) for k in STARTS}, "attention_half": fix.attention_half,
               "fractions": dict(fix.fractions or old)}
        for name, fix in found["corrections"].items()
    }
    power = _rounded(found["power"])
    file = {"calibration": "serving", "corrections": blocks, "power": power, "fit": found["fit"]}
    target = shipped.folder("hardware_specs") / "calibrations" / "serving.yaml"
    target.write_text(HEADER + yaml.safe_dump(file, sort_keys=False, width=110), encoding="utf-8")
    text = yaml.safe_dump({"runtimes": _profiles(found)}, sort_keys=False, width=110)
    place = Path(__file__).parents[1] / "scenario" / "runtimes.yaml"
    place.write_text(RUNTIME_HEADER + text, encoding="utf-8")


HEADER = """\
# Serving: dimensionless corrections fitted to measured points; their errors on models and devices left out.
# Written by perfmodel.validation.serving_calibrate.  Fractions of the matrix peak: large products in the
# tables of PyPI aiconfigurator-core 0.12.0 (median above 2,048 tokens and 32 MB of weights, H100 and B200).
"""
RUNTIME_HEADER = """\
# Serving engines: what each adds to the device.  Times are wall-clock, fractions are of the device.
# Fitted profiles are written by perfmodel.validation.serving_calibrate; `source` gives data, rows and error.
"""


def _profiles(found: Mapping[str, Any]) -> dict[str, Any]:
    """YAML form of the profiles: fitted fields in SI units with their unit, the rest as it was."""
    units = {"kernel": "us", "eager": "us", "eager_experts": "us", "step": "us", "request": "us",
             "serial_attention": "ns", "first_token": "ms"}
    plain = Runtime()
    scales = {"us": 1e6, "ns": 1e9, "ms": 1e3}
    out: dict[str, Any] = {}
    for name, profile in found["profiles"].items():
        entry: dict[str, Any] = {"title": profile.title}
        for key in dict.fromkeys((*SERVING_FIELDS, *BATCH_FIELDS, *RUNTIME_STARTS)):
            value = getattr(profile, key)
            if value == getattr(plain, key):
                continue
            if key == "reserve":
                entry[key] = f"{value / 1e9:g} GB"
            else:
                unit = units.get(key)
                entry[key] = f"{_short(value * scales[unit]):g} {unit}" if unit else _short(value)
        entry |= {"memory_fraction": profile.memory_fraction, "block": profile.block, "chunk": profile.chunk}
        if profile.graph:
            entry["graph"] = profile.graph
        if profile.whole_waves:
            entry["whole_waves"] = profile.whole_waves
        if profile.fuses:
            entry["fuses"] = list(profile.fuses)
        entry["source"] = found["notes"].get(name, profile.source)
        out[name] = entry
    return out


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _rounded(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _rounded(v) if isinstance(v, Mapping) else _short(v) for k, v in numbers.items()}


if __name__ == "__main__":
    import sys

    write(calibrate(sys.argv[1]))
