"""Scores on the shared data sets: recognised by their columns, out of sample, within the errors they had.

Thresholds are the errors reached, rounded up; they may be tightened, not loosened.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.errors import ArgumentError
from perfmodel.validation.measured import help, known, score
from perfmodel.validation.measured.statistics import as_fractions, averaged, errors
from perfmodel.validation.measured.tables import read

SHARED = Path(os.environ.get("PERFMODEL_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the data sets are not here")


def test_statistics_of_a_table_by_hand():
    found = errors([1.1, 2.0, 3.0, 4.0], [1.0, 2.0, 4.0, 4.0], [0.9] * 4, [2.5] * 4)
    assert found["n"] == 4 and found["mape"] == pytest.approx((0.1 + 0 + 0.25 + 0) / 4)
    assert found["median"] == pytest.approx(0.05) and found["coverage"] == 0.5
    assert found["bias"] == pytest.approx((1.1 * 0.75) ** 0.25 - 1)
    assert found["spearman"] > 0.9
    assert errors([1.0], [1.0])["spearman"] is None
    assert averaged([{"n": 1, "mape": 0.1}, {"n": 3, "mape": 0.3}]) == {"n": 4, "mape": 0.2}
    assert as_fractions({"summary": {"n": 5, "mape": 4.0}, "groups": [{"bias": -2.0}]}) == {
        "summary": {"n": 5, "mape": 0.04}, "groups": [{"bias": -0.02}]}


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match="path of a CSV"):
        read(tmp_path / "none.csv")
    for name, content in (("head.csv", "a,b\n"), ("ragged.csv", "a,b\n1\n"), ("x.csv.gz", "plain")):
        (tmp_path / name).write_text(content)
        with pytest.raises(ArgumentError, match="data"):
            read(tmp_path / name)
    (tmp_path / "other.csv").write_text("colour,shape\nred,round\n")
    with pytest.raises(ArgumentError, match="those of one of help"):
        score(tmp_path / "other.csv")
    with pytest.raises(ArgumentError, match="fidelity"):
        score(tmp_path / "other.csv", "exact")


def test_every_scorer_names_its_columns():
    for module in known().values():
        assert module.recognises(frozenset({"nothing"})) is False and module.NAME and module.__doc__


@shared
@pytest.mark.parametrize(("file", "metric", "limit"), [
    ("yolobench/latency.csv", "", 0.09), ("clsbench/latency.csv", "", 0.15), ("levit/throughput.csv", "", 0.16),
    ("tmac/decode.csv", "tmac", 0.15), ("ssm_scope/memory.csv", "memory", 0.03),
])
def test_shared_tables_are_predicted(file, metric, limit):
    found = score(SHARED / file)
    summary = found["summary"][metric] if metric else found["summary"]
    assert summary["mape"] < limit and summary["n"] >= sum(1 for _ in found["groups"])
    assert all({"n", "mape", "median", "p90", "bias"} <= set(group) for group in found["groups"])


@shared
def test_shared_intervals_hold_what_they_say():
    for file in ("yolobench/latency.csv", "clsbench/latency.csv"):
        assert 0.7 < score(SHARED / file)["summary"]["coverage"] < 0.9


@shared
@pytest.mark.parametrize(("space", "least", "step"), [("nasbench201", 0.975, 5), ("ofa", 0.89, 1)])
def test_shared_help_ranks(space, least, step, tmp_path):
    with np.load(SHARED / "help" / f"{space}_latency.npz") as archive:
        columns = {name: archive[name] for name in archive.files}
    some = np.arange(0, columns["latency_ms"].shape[1], step)
    for name in columns:
        if name == "latency_ms":
            columns[name] = columns[name][:, some]
        elif len(columns[name]) > 1000:
            columns[name] = columns[name][some]
    np.savez(tmp_path / "some.npz", **columns)
    assert score(tmp_path / "some.npz")["summary"]["spearman"] > least


@shared
def test_shared_unknown_device_is_scored_from_ten_of_its_rows(tmp_path):
    with (SHARED / "yolobench" / "latency.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    file = tmp_path / "new.csv"
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["model_name", "variant", "resolution_px", "new_board_ms"])
        for row in rows:
            writer.writerow([row["model_name"], row["variant"], row["resolution_px"],
                             1.3 * float(row["pi4_ort_ms"]) ** 0.95])
    group = score(file)["groups"][0]
    assert group["device"] == "new_board" and group["samples"] == 10 and group["prior"] == 6
    assert group["n"] == len(rows) - 10 and group["mape"] < 0.08


@shared
def test_shared_hat_total_and_parts(tmp_path):
    with gzip.open(SHARED / "hat" / "latency.csv.gz", "rt", newline="") as lines:
        rows = list(csv.reader(lines))
    file = tmp_path / "hat.csv"
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([rows[0], *rows[1::8]])
    found = score(file)
    assert set(found["summary"]) == {"total", "encoder", "decoder"}
    assert found["summary"]["total"]["mape"] < 0.07 and found["summary"]["total"]["spearman"] > 0.95


@shared
def test_shared_validate_gives_the_score():
    found = pm.validate(data=SHARED / "tmac" / "decode.csv")
    assert set(found.summary()) == {"tmac", "llamacpp"} and found.to_dict()["groups"]
    assert "tmac" in repr(found)


@shared
@pytest.mark.parametrize(("file", "metric", "limit"), [
    ("hat/subtransformers.csv", "parameters", 0.001), ("hat/subtransformers.csv", "flops", 0.005),
    ("hat/subtransformers.csv", "latency", 0.05), ("prima_cpp/token_latency.csv", "prima", 0.35),
    ("tmac/snapdragon_decode.csv", "tpot", 0.06), ("tmac/energy.csv", "energy", 0.01),
    ("ssm_scope/prefill_energy.csv", "energy", 0.26), ("ssm_scope/operators.csv", "gpu_time", 0.22),
    ("fanns/designs.csv", "throughput", 0.10), ("fanns/measured_latency.csv", "median", 0.12),
    ("cms_daq/scenarios.csv", "power", 0.002), ("cms_daq/scenarios.csv", "samples_per_energy", 0.05),
    ("megatron_training/step_time.csv", "step_time", 0.08), ("megatron_training/memory.csv", "weights", 0.02),
    ("megatron_training/memory.csv", "activations", 0.02), ("megatron_training/days.csv", "days", 0.22),
    # 0.20 and 0.24 while every pass over data ran like silu-and-mul, at 0.56 to 0.67 of the DRAM rate; additions
    # and gelu are measured at 0.9.  Before, 0.13 and 0.17: gradients took one network card of a node, not eight
    ("megatron_training/llama_gpu_hours.csv", "gpu_hours", 0.3), ("thunderkittens/gemm.csv", "rate", 0.07),
    ("fastertransformer_13b/latency.csv", "total", 0.06), ("llm_inference_bench/ttft.csv", "ttft", 0.40),
    # 0.45 while a scan was a roofline and a start of 3 us; replayed from a graph it starts in 2, here it takes 8
    ("infersim/end_to_end.csv", "rate", 0.35), ("infersim/gated_delta_net.csv", "latency", 0.5),
    ("llmcompass/gpt3_block.csv", "latency", 0.11), ("llmcompass/die_area.csv", "component", 0.05),
    ("llmcompass/die_area.csv", "total", 0.01),
])
def test_shared_small_tables(file, metric, limit):
    found = score(SHARED / file)
    assert found["summary"][metric]["mape"] < limit
    json.dumps(found, allow_nan=False)
    assert sum(g["n"] for g in found["groups"] if g["metric"] == metric) == found["summary"][metric]["n"]


@shared
@pytest.mark.parametrize(("file", "what"), [
    ("vidur/request_traces.csv", "lengths of requests"), ("prima_cpp/devices.csv", "inputs of the table"),
    ("deepseek_v3/h800_train_trace_kernels.csv", "does not state the sizes"),
    ("yolobench/accuracy.csv", "accuracy of trained"), ("devices/devices.csv", "facts about"),
    ("devices/resolved.csv", "facts about"), ("devices/conflicts.csv", "disagree"), ("devices/crosscheck.csv", "checked"),
    ("aiconfigurator/devices_datasheet.csv", "constants of"),
])
def test_shared_inputs_are_refused_by_name(file, what):
    with pytest.raises(ArgumentError, match=what):
        score(SHARED / file)


@shared
@pytest.mark.parametrize(("file", "key", "value", "limit"), [
    ("prefill_energy", "model", "Mamba2-780m", 0.15), ("operators", "device", "RTX 4090 24GB", 0.13),
    ("operators", "device", "Jetson Orin Nano 8GB", 0.34),
])
def test_shared_state_space_parts(file, key, value, limit):
    """Names of the other tables of the campaign (a size with a point, a memory behind the device) are known."""
    groups = [g for g in score(SHARED / "ssm_scope" / f"{file}.csv")["groups"] if g[key] == value]
    assert sum(g["n"] * g["mape"] for g in groups) / sum(g["n"] for g in groups) < limit


@shared
@pytest.mark.parametrize("file", [
    "infersim/end_to_end.csv", "fanns/measured_latency.csv", "tmac/energy.csv", "ssm_scope/operators.csv",
    "dataflow/silicon_cases.csv", "thunderkittens/gemm.csv",
])
def test_shared_rows_left_out_say_why(file):
    skipped = score(SHARED / file)["skipped"]
    assert skipped and all(count > 0 for count in skipped.values())
    assert not any("no prediction for the row" in reason or "np." in reason for reason in skipped)


def test_rows_without_a_prediction_are_counted(tmp_path):
    (tmp_path / "new.csv").write_text(
        "model,device,tokens,gpu_hours\nLLaMA 7B,A100-80GB,1e12,82432\nother,A100-80GB,1e12,1000\n")
    found = score(tmp_path / "new.csv", "roofline")
    assert found["summary"]["gpu_hours"]["n"] == 1 and found["fidelity"] == "roofline"
    assert list(found["skipped"].values()) == [1] and "model: 'other' given" in str(found["skipped"])


@shared
def test_shared_files_are_all_recognised_once():
    from perfmodel.explore.kernel_adapters import standard_tables
    from perfmodel.explore.kernel_known import FAMILIES
    from perfmodel.explore.kernel_tables import read_table
    from perfmodel.validation.serving_score import recognises

    for path in sorted(p for p in SHARED.rglob("*") if p.suffix in {".csv", ".gz", ".npz"}):
        header = read(path).header
        found = [name for name, module in known().items() if module.recognises(header)]
        found += ["serving"] * recognises(sorted(header))
        kernels = not found and any(
            family.columns <= set(part) for part in standard_tables(read_table(path)) for family in FAMILIES)
        assert len(found) + kernels == 1, (path.name, found)


@shared
def test_shared_help_protocol_of_a_device_that_it_does_not_learn_from():
    table = read(SHARED / "help" / "nasbench201_latency.npz")
    task, times = help.task(table.columns), help.devices(table)
    assert help.published(task, "titanx_1", times["titanx_1"]) > 0.96
    assert "titanx_1" not in help.LEARNED["nasbench201"][0]
