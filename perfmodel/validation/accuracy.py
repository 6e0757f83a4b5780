"""docs/accuracy.md: every data set, fidelity and split with its errors beside the targets.

    python -m perfmodel.validation.accuracy DATA -o docs/accuracy.md [--plots docs]

DATA is the folder of the data sets.  Errors on rows that were fitted are marked so; targets are compared with
errors on whole shape families, models or devices left out, from the shipped calibrations or the protocol of
the data set.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perfmodel.errors import PerfmodelError
from perfmodel.report.files import write_atomic
from perfmodel.shipped import folder
from perfmodel.validation.accuracy_kernels import left_out, unseen_device
from perfmodel.validation.accuracy_notes import by_kernel, checked_passes
from perfmodel.validation.measured import score

#: split of each scorer at fidelity ``calibrated``
SPLITS = {
    "help": "device and its family left out, 10 samples",
    "yolobench": "device left out, 10 samples",
    "hat": "device left out, 10 samples",
    "clsbench": "device left out, 10 samples",
    "kernels": "fitted rows (left out: see the targets)",
    "serving": "fitted rows (left out: see the targets)",
}
#: files without a prediction of their own that other tests use
_ELSEWHERE = ("devices", "deepseek_v3")


@dataclass(frozen=True)
class Target:
    """An error that is asked for.  limit: fraction (or least rank, or range of a coverage)."""

    quantity: str
    split: str
    limit: str
    reached: float | None
    rows: int = 0
    note: str = ""
    kind: str = "error"

    @property
    def status(self) -> str:
        """``reached``, ``missed`` or ``not scored``."""
        if self.reached is None:
            return "not scored"
        if self.kind == "coverage":
            low, high = (float(v) for v in self.limit.rstrip("%").split("-"))
            return "reached" if low <= 100 * self.reached <= high else "**missed**"
        if self.kind == "rank":
            return "reached" if self.reached >= float(self.limit) else "**missed**"
        return "reached" if 100 * self.reached <= float(self.limit.rstrip("%")) else "**missed**"

    def cells(self) -> tuple[str, ...]:
        """Row of the table."""
        if self.reached is None:
            shown = "-"
        else:
            shown = f"{self.reached:.3f}" if self.kind == "rank" else f"{100 * self.reached:.1f} %"
        return self.quantity, self.split, self.limit, shown, str(self.rows or ""), self.status, self.note


def files(data: Path) -> Iterator[Path]:
    """Tables of measurements below a folder."""
    for place in sorted(data.rglob("*")):
        if place.name.endswith((".csv", ".csv.gz", ".npz")) and place.parent.name not in _ELSEWHERE:
            yield place


def scores(data: Path, progress: Callable[[str], None] = lambda _: None) -> dict[str, dict[str, Any]]:
    """File -> fidelity -> scores; files that no scorer knows are left out."""
    found: dict[str, dict[str, Any]] = {}
    for place in files(data):
        name = str(place.relative_to(data))
        for fidelity in ("roofline", "dataflow", "calibrated"):
            try:
                scored = score(place, fidelity)
            except PerfmodelError as error:
                progress(f"{name}: {error}")
                break
            if scored.get("fidelity", fidelity) != fidelity:
                continue  # the data set has one fidelity only
            found.setdefault(name, {})[fidelity] = scored
            progress(f"{name} {fidelity}")
    return found


def metrics(scored: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Summary by metric."""
    summary = scored["summary"]
    return {"": summary} if "n" in summary else summary


def calibrations() -> Mapping[str, Any]:
    """Shipped calibration files by name."""
    import yaml

    return {
        place.stem: yaml.safe_load(place.read_text(encoding="utf-8"))
        for place in sorted((folder("hardware_specs") / "calibrations").glob("*.yaml"))
    }


#: quantity, kernel families, devices, formats, limit on unseen shapes, limit on an unseen device [%]
_KERNELS: Sequence[tuple[str, tuple[str, ...], tuple[str, ...], str, str, str]] = (
    ("GEMM bf16, H100", ("gemm",), ("h100-sxm5",), "bfloat16", "6 %", "8 %"),
    ("GEMM bf16, A100", ("gemm",), ("a100-sxm-80gb",), "bfloat16", "8 %", "8 %"),
    ("GEMM, all data types", ("gemm",), (), "", "11 %", "15 %"),
    ("attention prefill", ("attention_prefill",), (), "", "10 %", "14 %"),
    ("attention decode", ("attention_decode",), (), "", "12 %", "15 %"),
    (
        "MLA prefill and decode, whole layers",
        ("mla_decode", "mla_prefill", "mla_module_decode", "mla_module_prefill"),
        (),
        "",
        "12 %",
        "15 %",
    ),
    ("MoE layer", ("moe",), (), "", "15 %", "18 %"),
    ("collectives", ("collectives",), (), "", "12 %", "15 %"),
    ("expert all-to-all", ("moe_alltoall",), (), "", "18 %", "20 %"),
    (
        "linear attention, conv1d, quantise, encoder attention",
        ("linear_attention", "mamba2", "stream", "encoder_attention"),
        (),
        "",
        "15 %",
        "20 %",
    ),
)
#: what ships for a device that was not measured, scored on those that were
UNSEEN = "unseen device: nearest architectures, own file left out"
#: quantity, fit, split, metric, limit
_SERVING = (
    ("serving TPOT, dense", "serving", "unseen_model", "tpot_dense", "12 %"),
    ("serving TPOT, dense", "serving", "unseen_system", "tpot_dense", "15 %"),
    ("serving TPOT, MoE and MLA", "serving", "unseen_model", "tpot_mixture", "18 %"),
    ("serving TPOT, MoE and MLA", "serving", "unseen_system", "tpot_mixture", "20 %"),
    ("TTFT, dense", "serving", "unseen_model", "ttft_dense", "25 %"),
    ("TTFT, dense", "serving", "unseen_system", "ttft_dense", "30 %"),
    ("TTFT, MoE and MLA", "serving", "unseen_model", "ttft_mixture", "25 %"),
    ("TTFT, MoE and MLA", "serving", "unseen_system", "ttft_mixture", "30 %"),
    ("LLM-Inference-Bench, dense", "batch", "unseen_model_path", "latency_dense", "8 %"),
    ("LLM-Inference-Bench, dense", "batch", "unseen_device", "latency_dense", "12 %"),
    ("LLM-Inference-Bench, MoE", "batch", "unseen_model_path", "latency_mixture", "12 %"),
    ("LLM-Inference-Bench, MoE", "batch", "unseen_device", "latency_mixture", "12 %"),
    ("power, LLM-Inference-Bench", "power", "unseen_device", "", "20 %"),
    ("power, attention prefill (B200)", "power_attention_prefill", "unseen_width", "", "12 %"),
    ("power, attention decode (B200)", "power_attention_decode", "unseen_width", "", "12 %"),
    ("power, MoE (B200)", "power_moe", "unseen_width", "", "12 %"),
)
#: what a reader of a score should know of it
_NOTES = {
    "power, attention decode (B200)": "12.06 % where the fit starts from the default constants; folds start "
    "from the fit of all rows",
    "TTFT, dense": "one rule was read from the rows of one campaign (serving_campaigns.py): the {n} rows "
    "that it does not touch are at {mape:.1f} %, all of unseen models at 51 % in a fit without it",
    "serving TPOT, dense": "vLLM 0.12.0 is taken to find the prompts that its campaign sends again, of dense "
    "models alone, read from first tokens (serving_campaigns.py); a fit without: unseen models 12.0 %",
}
#: quantity, file, metric, statistic, limit
_SAMPLES = (
    ("YOLOBench", "yolobench/latency.csv", "", "mape", "12 %"),
    ("HAT", "hat/latency.csv.gz", "total", "mape", "5 %"),
    ("classification benchmark", "clsbench/latency.csv", "", "mape", "15 %"),
)
#: ranks that HELP prints, arXiv:2106.08630 Tables 3 and 2
_PRINTED = {"nasbench201": "0.932", "fbnet": "0.910"}


def targets(found: Mapping[str, Mapping[str, Any]]) -> list[Target]:
    """All targets with what was reached."""
    known = calibrations()
    listed = []
    for quantity, families, devices, formats, shapes, device in _KERNELS:
        reached, rows = left_out(known, families, devices, formats)
        listed.append(Target(quantity, "unseen shapes", shapes, reached, rows))
        lent, note = unseen_device(known, families, devices, formats)
        listed.append(Target(quantity, UNSEEN, device, lent.get("mape"), int(lent["rows"]), note))
    lent, _ = unseen_device(known, [name for row in _KERNELS for name in row[1]])
    quantity, note = "80 % interval, share of kernel rows inside", "quantiles of the other devices left out"
    covered = lent.get("coverage")
    listed.append(Target(quantity, UNSEEN, "70-90 %", covered, int(lent["rows"]), note, "coverage"))
    fits = known.get("serving", {}).get("fit", {})
    for quantity, name, split, metric, limit in _SERVING:
        scores = fits.get(name, {}).get(split)
        entry = scores.get(metric) if scores is not None and metric else scores
        value = None if entry is None else entry["mape"] / 100
        count = 0 if entry is None else entry["n"]
        untouched = (scores or {}).get(f"{metric}_as_stated", {"n": 0, "mape": float("nan")})
        said = (_NOTES.get(quantity, "").format_map(untouched), by_kernel(fits.get(name, {}), split))
        note = "; ".join(part for part in said if part)
        listed.append(Target(quantity, split.replace("_", " "), limit, value, count, note))
    machine = Target("this machine: PyTorch passes", "from the probe", "20 %", *checked_passes())
    return [*listed, *few_shot_targets(found), machine]


def few_shot_targets(found: Mapping[str, Mapping[str, Any]]) -> Iterator[Target]:
    """Targets of the few-shot protocol: ranks, errors, and the share of rows inside the 80 % interval."""
    split = "unseen device, 10 samples"
    yield from published_ranks(found, split)
    spaces = [found[f]["calibrated"] for f in sorted(found) if f.startswith("help/")]
    devices = [g for scored in spaces for g in scored["groups"]]
    if devices:
        rank = sum(g["spearman"] for g in devices) / len(devices)
        worst = ", ".join(
            f"{g['space']} {g['device']} {g['spearman']:.2f}"
            for g in sorted(devices, key=lambda g: g["spearman"])[:3]
        )
        yield Target(
            "HELP, mean Spearman of three spaces",
            "device and its family unseen, 10 samples",
            "0.96",
            rank,
            len(devices),
            f"rows are devices; no learner has more than 0.958 ([why](mispredictions.md)); lowest {worst}",
            "rank",
        )
        for scored in spaces:
            yield Target(
                f"HELP, {scored['groups'][0]['space']}",
                split,
                "0.96",
                scored["summary"]["spearman"],
                len(scored["groups"]),
                "rows are devices",
                "rank",
            )
    inside, count = 0.0, 0
    for quantity, file, metric, statistic, limit in _SAMPLES:
        scored = found.get(file, {}).get("calibrated")
        if scored is None:
            yield Target(quantity, split, limit, None)
            continue
        summary = metrics(scored)[metric]
        inside, count = inside + summary["coverage"], count + 1
        yield Target(quantity, split, limit, summary[statistic], summary["n"])
    for scored in spaces:
        inside, count = inside + scored["summary"]["coverage"], count + 1
    if count:
        yield Target(
            "80 % interval, share of unseen rows inside",
            split,
            "70-90 %",
            inside / count,
            0,
            f"mean of {count} data sets",
            "coverage",
        )


def published_ranks(found: Mapping[str, Mapping[str, Any]], split: str) -> Iterator[Target]:
    """Ranks by the protocol of HELP, on devices that it does not learn from."""
    for file in sorted(found):
        summary = found[file].get("calibrated", {}).get("summary", {})
        if "published" in summary:
            space = found[file]["calibrated"]["groups"][0]["space"]
            yield Target(
                f"HELP, its own protocol, {space}",
                split,
                "0.96",
                summary["published"],
                summary["published devices"],
                f"prior of HELP's nine training devices; on devices that are not in the data it prints "
                f"{_PRINTED.get(space, 'no rank')}",
                "rank",
            )


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown table."""
    return [
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]


def document(found: Mapping[str, Mapping[str, Any]], pictures: Sequence[str] = ()) -> str:
    """Text of docs/accuracy.md."""
    listed = targets(found)
    reached = sum(t.status == "reached" for t in listed)
    scored = sum(t.reached is not None for t in listed)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    lines = [
        "# Accuracy",
        "",
        f"Written by `python -m perfmodel.validation.accuracy DATA -o docs/accuracy.md` on {today}.",
        "Errors are |predicted / measured - 1| in percent; bias is that of the mean logarithm.",
        "",
        "## Targets",
        "",
        f"{reached} of {scored} targets reached; causes of the misses in "
        "[mispredictions.md](mispredictions.md). Errors are on what the fit left out.",
        "",
    ]
    lines += table(
        ("quantity", "split", "target", "mean error", "rows", "status", "note"), [t.cells() for t in listed]
    )
    lines += [
        "## Data sets",
        "",
        "Rows of `calibrated` whose split says *fitted rows* flatter: the same table gave the "
        "corrections. Everything else was not fitted to the rows it is scored on.",
        "",
    ]
    lines += table(
        (
            "file",
            "metric",
            "fidelity",
            "split",
            "rows",
            "mean",
            "median",
            "p90",
            "bias",
            "Spearman",
            "in 80 % interval",
        ),
        list(_rows(found)),
    )
    for name in pictures:
        lines += [f"![{Path(name).stem}]({name})", ""]
    return "\n".join(lines)


def _rows(found: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for file, fidelities in found.items():
        for fidelity, scored in fidelities.items():
            split = scored.get("split") or SPLITS.get(scored["data"], "")
            split = split if fidelity == "calibrated" else "nothing fitted"
            for metric, s in metrics(scored).items():
                if s.get("n") and "mape" in s:
                    yield (
                        file,
                        metric,
                        fidelity,
                        split,
                        str(s["n"]),
                        *(_percent(s.get(k)) for k in ("mape", "median", "p90", "bias")),
                        _number(s.get("spearman")),
                        _percent(s.get("coverage")),
                    )


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def main() -> None:
    """Score, write the page and the pictures."""
    import sys

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("-o", "--output", type=Path, required=True, help="page to write")
    parser.add_argument(
        "--plots", action="store_true", help="pictures of predicted against measured beside it"
    )
    args = parser.parse_args()

    def tell(line: str) -> None:
        sys.stderr.write(line + "\n")

    found = scores(args.data, tell)
    pictures: list[str] = []
    if args.plots:
        from perfmodel.validation.accuracy_plots import write

        pictures = write(args.data, args.output.parent)
    write_atomic(args.output, document(found, pictures))


if __name__ == "__main__":
    main()
