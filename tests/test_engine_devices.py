"""Every op on every kind of device: which model answers, and what it says of convolutions, scans and arrays."""

from __future__ import annotations

import re

import numpy as np
import pytest
from op_cases import CASES, Case

import perfmodel as pm
from perfmodel.engine.datasheet import datasheet_cost, matrix_fill
from perfmodel.engine.gpu import is_gpu, kernel_cost
from perfmodel.engine.products import as_product
from perfmodel.engine.roofline import cost
from perfmodel.formats import precision
from perfmodel.hardware.catalog import device, system
from perfmodel.ops.core import Op
from perfmodel.validation.cases import published

BF16 = precision("bf16")


def latency(op: Op, on: str, fidelity: str = "dataflow", **more: object) -> np.ndarray:
    return np.asarray(pm.kernel(op, on, fidelity=fidelity, **more).latency)  # type: ignore[arg-type]


def test_a_convolution_is_the_product_of_its_windows() -> None:
    found = as_product(pm.op.conv2d(2, 16, 32, 8, 8, 3, padding=1))
    assert found is not None
    assert (found.batch, found.m, found.n, found.k) == (1, 2 * 8 * 8, 32, 16 * 3 * 3)
    assert found.distinct == pytest.approx(10 * 10 / (8 * 8 * 9))  # padded rows and columns of the input


def test_groups_and_transposed_windows_are_products_too() -> None:
    deep = as_product(pm.op.conv2d(1, 8, 8, 4, 4, 3, groups=8))
    assert deep is not None and (deep.batch, deep.n, deep.k) == (8, 1, 9)
    wide = as_product(pm.op.conv_transpose2d(1, 8, 4, 4, 4, 2, stride=2))
    assert wide is not None and (wide.m, wide.n, wide.k) == (16, 4 * 2 * 2, 8)
    assert as_product(pm.op.attention(1, 4, 4, 2, 2, 8)) is None


def test_a_convolution_of_one_tap_is_a_product_on_a_gpu() -> None:
    image = pm.op.conv2d(8, 256, 512, 28, 28, 1)
    rows = pm.op.matmul(m=8 * 28 * 28, n=512, k=256)
    assert latency(image, "a100-sxm-80gb") == pytest.approx(latency(rows, "a100-sxm-80gb"), rel=1e-9)


def test_depthwise_convolutions_run_on_the_general_lanes() -> None:
    op = pm.op.conv2d(32, 256, 256, 56, 56, 3, groups=256)
    bytes_moved = 2 * 32 * 256 * (58 * 58 + 56 * 56)
    assert latency(op, "a100-sxm-80gb") < 2.0 * bytes_moved / 2.039e12


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.op)
@pytest.mark.parametrize("on", ["h100-sxm5", "jetson-agx-orin", "mi300x"])
def test_every_op_on_a_gpu_has_a_kernel_model_and_keeps_the_bound(case: Case, on: str) -> None:
    op, machine = getattr(pm.op, case.op)(**case.sizes), system(on)
    bound = cost(op, machine, BF16)
    for calibrated in (False, True):
        answer = kernel_cost(op, machine, BF16, calibrated=calibrated)
        assert answer.busy is not None and np.all(np.asarray(answer.time) > 0.0)
        assert calibrated or np.all(np.asarray(answer.time) >= np.asarray(bound.time) * (1.0 - 1e-12))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.op)
@pytest.mark.parametrize("on", ["tpu-v6e", "epyc-9654"])
def test_every_op_elsewhere_keeps_the_bound(case: Case, on: str) -> None:
    op, machine = getattr(pm.op, case.op)(**case.sizes), system(on)
    longer = np.asarray(datasheet_cost(op, machine, BF16).time)
    assert np.all(longer >= np.asarray(cost(op, machine, BF16).time) * (1.0 - 1e-12))


def test_one_token_of_a_recurrence_needs_another_kernel_than_many() -> None:
    def rule(query: object) -> Op:
        return pm.op.gated_delta_rule(8, query, 32, 128, 128, 16)  # type: ignore[no-any-return]

    both = latency(rule(np.array([1.0, 4096.0])), "h100-sxm5")
    assert both[0] == pytest.approx(latency(rule(1), "h100-sxm5"))
    assert both[1] == pytest.approx(latency(rule(4096), "h100-sxm5"))
    assert both[1] > 10.0 * both[0]


def test_an_array_is_full_where_sizes_are_its_multiples() -> None:
    chip = device("tpu-v6e")  # 256 x 256
    assert matrix_fill(pm.op.matmul(m=8192, n=512, k=512), chip) == 1.0
    assert matrix_fill(pm.op.matmul(m=8192, n=512, k=128), chip) == 0.5
    assert matrix_fill(pm.op.matmul(m=64, n=8192, k=512), chip) == 64 / 256  # weights load in 256 steps
    heads = pm.op.attention(4, 4096, 4096, 32, 8, 128, causal=False)
    assert matrix_fill(heads, chip) == 0.5  # heads of 128 leave half of the rows, then of the columns, empty
    assert matrix_fill(heads, device("tpu-v5e")) == 1.0


def test_the_fill_is_an_array_where_sizes_are() -> None:
    found = pm.kernel(pm.op.matmul(m=8192, n=512, k=[128, 256]), "tpu-v6e", fidelity="dataflow")
    texts = [str(text) for text in np.asarray(found.mapping)]
    assert [text.rsplit(" ", 1)[1] for text in texts] == ["50%", "100%"]


def test_nothing_is_calibrated_on_a_device_that_nobody_measured() -> None:
    with pytest.raises(pm.errors.ArgumentError, match="roofline or dataflow on tpu-v5e"):
        latency(pm.op.matmul(m=8, n=8, k=8), "tpu-v5e", "calibrated")


def test_the_gpu_of_a_chip_with_others_is_a_gpu() -> None:
    assert is_gpu(device("jetson-agx-orin")) and is_gpu(device("gb10-dgx-spark")) and is_gpu(device("b60"))
    assert not any(is_gpu(device(name)) for name in ("tpu-v5e", "epyc-9654", "gaudi3", "apple-m2-max"))


def test_yolov6_on_a_t4_with_nothing_fitted() -> None:
    """TensorRT, 16 bits: 20 networks at one and 32 images, by datasheet and the published share that 70 W leave."""
    rows = [r for r in published().values() if r.case.startswith(("S019-V2", "S019-P6"))]
    errors, inside = [], []
    for row in rows:
        size = re.findall(r"YOLOv6-(\w+)", row.workload)[0].lower()
        batch = int(re.findall(r"batch (\d+)", row.quantity)[0])
        r = pm.forward(f"yolov6{size}", "t4", batch=batch, precision="fp16", fidelity="dataflow")
        errors.append(abs(float(r.throughput) / row.value - 1.0))
        inside.append(float(r.high.throughput) <= row.value <= float(r.low.throughput))
    assert len(rows) == 20 and np.mean(errors) < 0.2 and np.mean(inside) > 0.9


def test_more_processors_are_no_other_generation() -> None:
    """A description states the instruction of its matrix units; one without it goes by the work of a clock."""
    h100 = system("h100-sxm5")
    count = float(np.asarray(h100.device.compute["matrix"].count))
    more = h100.vary({"device.compute.matrix.count": [count / 2, count, 2 * count]})
    op = pm.op.mla(32, 1, 8192, 128, 512, 64, 128, 128)
    found = np.asarray(pm.kernel(op, more, fidelity="calibrated").latency)
    assert np.max(found) < 1.2 * np.min(found)


@pytest.mark.parametrize(
    ("name", "instruction"),
    [
        ("t4", "mma"),
        ("rtx-5090", "mma"),
        ("h20", "wgmma"),
        ("gb200", "tcgen05"),
        ("jetson-agx-orin", "mma"),
        ("mi300x", ""),
    ],
)
def test_the_instruction_of_a_matrix_unit(name: str, instruction: str) -> None:
    assert device(name).compute["matrix"].instruction == instruction
