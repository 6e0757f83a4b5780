"""The accuracy page: targets are compared with what the fit left out, and every data set is listed."""

from __future__ import annotations

import pytest

from perfmodel.validation import accuracy

SUMMARY = {"n": 10, "mape": 0.04, "median": 0.03, "p90": 0.1, "bias": -0.01, "spearman": 0.97, "coverage": 0.8}
FOUND = {
    "help/nasbench201_latency.npz": {"calibrated": {
        "data": "help", "summary": SUMMARY, "groups": [{"space": "nasbench201", "device": "a", **SUMMARY}]}},
    "yolobench/latency.csv": {"calibrated": {"data": "yolobench", "summary": SUMMARY, "groups": []}},
    "hat/latency.csv.gz": {"calibrated": {"data": "hat", "summary": {"total": SUMMARY}, "groups": []}},
    "k.csv": {"roofline": {"data": "kernels", "summary": SUMMARY, "groups": []},
              "calibrated": {"data": "kernels", "summary": SUMMARY, "groups": []}},
}


@pytest.mark.parametrize(("limit", "reached", "kind", "status"), [
    ("5 %", 0.049, "error", "reached"), ("5 %", 0.051, "error", "**missed**"), ("5 %", None, "error", "not scored"),
    ("0.96", 0.97, "rank", "reached"), ("0.96", 0.95, "rank", "**missed**"),
    ("75-85 %", 0.8, "coverage", "reached"), ("75-85 %", 0.9, "coverage", "**missed**"),
])
def test_status_of_a_target(limit, reached, kind, status):
    assert accuracy.Target("q", "s", limit, reached, kind=kind).status == status


def test_page_lists_every_set_and_marks_fitted_rows():
    page = accuracy.document(FOUND, ["x.png"])
    for file in FOUND:
        assert f"| {file} |" in page
    assert "fitted rows" in page and "nothing fitted" in page and "![x](x.png)" in page
    assert "| YOLOBench | unseen device, 10 samples | 12 % | 4.0 % | 10 | reached |" in page
    assert "| classification benchmark | unseen device, 10 samples | 15 % | - |" in page


def test_kernel_errors_are_those_of_rows_left_out():
    entry = {"rows": 100, "in_sample": {"mape": 1.0}, "held_out": {"mape": 8.0},
             "left_out_device": {"a": {"mape": 10.0}, "b": {"mape": 30.0}}}
    known = {"kernels-x": {"families": {"gemm": {"any/any/bf16": entry, "any/any/fp8": {"rows": 50}}}},
             "kernels-nvidia-gpu": {"families": {"gemm": {"any/any/bf16": entry}}}}
    assert accuracy.left_out(known, ("gemm",)) == (pytest.approx(0.08), 100)
    assert accuracy.left_out(known, ("gemm",), by="left_out_device") == (pytest.approx(0.2), 100)
    assert accuracy.left_out(known, ("gemm",), ("b",), by="left_out_device") == (pytest.approx(0.3), 100)
    assert accuracy.left_out(known, ("moe",)) == (None, 0)


def test_shipped_calibrations_name_their_data_and_errors():
    for name, file in accuracy.calibrations().items():
        assert file.get("data") or file.get("fit"), name
        assert file.get("date") or file.get("fit"), name
