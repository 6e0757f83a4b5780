"""Faults of answers over axes: a point of a sweep must be the answer to the point alone."""

from __future__ import annotations

import pytest

import perfmodel as pm


def _alone(make, values):
    return [float(make(value)) for value in values]


@pytest.mark.parametrize("size", ["kv_rank", "rope_dim"])
def test_widths_of_latent_attention_are_an_axis(size):
    def latency(value):
        op = pm.op.mla(8, 1, 4096, 16, **{size: value})
        return pm.kernel(op, "h100-sxm5", fidelity="dataflow").latency

    assert latency([32, 64]) == pytest.approx(_alone(latency, [32, 64]))


@pytest.mark.parametrize(("size", "values"), [("kv_heads", [1, 4, 16]), ("query", [1, 7, 512])])
def test_each_point_has_the_attention_kernel_of_its_own_heads(size, values):
    def answer(value):
        sizes = {"batch": 4, "query": 1, "context": 4096, "heads": 16, "kv_heads": 16, size: value}
        op = pm.op.attention(**sizes)
        return pm.kernel(op, "h100-sxm5", fidelity="calibrated")

    swept = answer(values)
    assert swept.latency == pytest.approx([answer(value).latency for value in values])
    assert swept.high.latency == pytest.approx([answer(value).high.latency for value in values])


@pytest.mark.parametrize("op", [pm.op.mla(4, 1, 4096, 16), pm.op.grouped_matmul(4.5, 4096, 2048, 12)])
def test_each_point_has_the_programs_of_its_own_generation(op):
    def latency(peak):
        node = pm.system("h100-sxm5").vary({"device.compute.matrix.peak.bf16": peak})
        return pm.kernel(op, node, fidelity="calibrated").latency

    peaks = [4e14, 1e15, 4e15]
    assert latency(peaks) == pytest.approx(_alone(latency, peaks))


@pytest.mark.parametrize("fidelity", ["dataflow", "calibrated"])
def test_experts_are_read_in_their_own_format(fidelity):
    op = pm.op.grouped_matmul(1, 4096, 4096, experts=64)
    wide, narrow = (
        pm.kernel(op, "h100-sxm5", precision=chosen, fidelity=fidelity).latency
        for chosen in ("bf16", {"expert": "mxfp4"})
    )
    assert float(narrow) < 0.8 * float(wide)
