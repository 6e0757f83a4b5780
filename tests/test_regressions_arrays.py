"""Faults of answers over axes: a point of a sweep must be the answer to the point alone."""

from __future__ import annotations

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.axes import Axis, Mesh
from perfmodel.errors import ArgumentError
from perfmodel.table import plain


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


def test_sizes_that_vary_together_are_compared_pair_by_pair():
    tokens = Axis("tokens", [512, 1024])
    swept = pm.kernel(pm.op.attention(1, tokens, tokens, 8), "h100-sxm5").latency
    alone = [pm.kernel(pm.op.attention(1, n, n, 8), "h100-sxm5").latency for n in (512, 1024)]
    assert swept == pytest.approx(alone)
    with pytest.raises(ArgumentError, match="at least query = 1024"):
        pm.op.attention(1, [512, 1024], [512, 1024], 8)


def test_a_number_of_tensors_is_no_list():
    with pytest.raises(ArgumentError, match="one whole number"):
        pm.op.elementwise(100, inputs=[1, 2])


def test_points_that_cannot_be_have_no_energy_and_are_on_no_front():
    swept = pm.inference("llama-3.1-8b", "h100-sxm5", batch=[1, 64, 4096], input=4096)
    assert swept.feasible.tolist() == [1, 1, 0]
    for metric in ("energy", "energy_per_token", "power", "mfu", "mbu"):
        assert np.isnan(getattr(swept, metric)).tolist() == [False, False, True]
    assert pm.pareto(swept, ("memory", "+memory")).index.tolist() == [0, 1]
    space = {"batch": [1, 64, 4096], "input": 4096}
    assert pm.search("inference", "llama-3.1-8b", "h100-sxm5", "+memory", **space).point["batch"] == 64


@pytest.mark.parametrize("value", [5e-9, "1e-9", np.nan])
def test_a_small_value_off_the_axis_is_refused(value):
    path = "device.launch.overhead"
    swept = pm.kernel(pm.op.matmul(8, 8, 8), pm.system("h100-sxm5").vary({path: [1e-9, 2e-9]}))
    assert swept.point(**{path: 2e-9}) == {path: 2e-9}
    with pytest.raises(ArgumentError, match="one of 1e-09, 2e-09"):
        swept.point(**{path: value})


def test_a_later_block_of_another_type_is_not_rounded():
    inputs = {"x": Axis("x", np.arange(6.0))}
    found = Mesh.of(inputs).evaluate(lambda x: {"y": (x < 3).astype(int) if x[0] < 3 else x / 2}, inputs, chunk=3)
    assert found["y"].tolist() == [1, 1, 1, 1.5, 2, 2.5]


def test_a_reversed_array_does_not_keep_the_values_of_its_axes():
    square = pm.kernel(pm.op.matmul([8, 16], [8, 16], 64), "h100-sxm5").latency
    assert (2 * square).axes == square.axes == ("m", "n")
    assert square[::-1].axes == ()


def test_truths_and_large_whole_numbers_stay_what_they_are():
    assert plain(np.array([True])) == [True]
    assert plain(np.int64(2**60 + 1)) == 2**60 + 1


@pytest.mark.parametrize("fidelity", ["dataflow", "calibrated"])
@pytest.mark.parametrize("link", ["infiniband", "pcie"])
def test_a_collective_runs_over_the_link_that_is_named(fidelity, link):
    bound, found = (
        pm.collective("all_reduce", 1e9, "dgx-h100", link=link, fidelity=chosen).latency
        for chosen in ("roofline", fidelity)
    )
    assert found > bound
