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
    entry = {"rows": 100, "in_sample": {"mape": 1.0}, "held_out": {"mape": 8.0}}
    known = {"kernels-x": {"families": {"gemm": {"any/any/bf16": entry, "any/any/fp8": {"rows": 50}}}},
             "other": {"families": {"gemm": {"any/any/bf16": entry}}}}
    assert accuracy.left_out(known, ("gemm",)) == (pytest.approx(0.08), 100)
    assert accuracy.left_out(known, ("gemm",), ("y",)) == (None, 0)
    assert accuracy.left_out(known, ("moe",)) == (None, 0)


def test_errors_on_devices_without_their_own_file_count_rows_and_name_vendors_apart():
    lent = {"a": {"rows": 100, "mape": 10.0, "same_kernel": 50, "same_kernel_mape": 4.0, "coverage": 0.9},
            "b": {"rows": 300, "mape": 30.0, "same_kernel": 0, "coverage": 0.7,
                  "bfloat16": {"rows": 30, "mape": 20.0, "same_kernel": 0}},
            "c": {"rows": 100, "mape": 90.0, "same_kernel": 0, "coverage": 0.1, "foreign": 1},
            "same kernel": {"rows": 50, "spread": [0.9, 1.2]}}
    known = {"transfer": {"families": {"gemm": lent}}}
    found, note = accuracy.unseen_device(known, ("gemm",))
    assert found["mape"] == pytest.approx((100 * 0.1 + 300 * 0.3) / 400)
    assert found["coverage"] == pytest.approx((100 * 0.9 + 300 * 0.7) / 400)
    assert found["rows"] == 400
    assert note == "kernels that another device knows: 4.0 %; a vendor without another device: 90.0 %"
    assert accuracy.unseen_device(known, ("gemm",), ("b",), "bfloat16")[0]["mape"] == pytest.approx(0.2)
    assert accuracy.unseen_device(known, ("moe",))[0] == {"rows": 0}


def test_shipped_calibrations_name_their_data_and_errors():
    for name, file in accuracy.calibrations().items():
        assert file.get("data") or file.get("fit"), name
        assert file.get("date") or file.get("fit"), name
