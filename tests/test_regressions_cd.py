"""Faults that an outside test of mapping, calibration and measured data found, each kept fixed."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.errors import InfeasibleError, PerfmodelError, UnknownNameError
from perfmodel.validation.cases import Outcome, published
from perfmodel.workload.expression import evaluate

EYERISS = Path(__file__).parents[1] / "hardware_specs" / "eyeriss-v1.yaml"


@pytest.mark.parametrize("name", ["gemmini", "tpu-v1", "array-16x16"])
def test_a_product_of_single_numbers_maps(name):
    result = pm.map(pm.op.matmul(1, 1, 1), name)
    assert float(result.traffic) == 3  # A, B and C of one byte
    assert result.price.cycles > 0
    again = pm.map(pm.op.matmul(1, 1, 1), name, mapping=result.text())
    assert float(again.cycles) == pytest.approx(float(result.cycles))


def test_an_array_that_prices_nothing_is_charged_by_its_power():
    op = pm.op.matmul(64, 256, 256)
    mapped = pm.kernel(op, "tpu-v1", precision="int8", fidelity="dataflow")
    assert float(mapped.energy) >= float(pm.kernel(op, "tpu-v1", precision="int8").energy) > 0


def test_static_power_is_charged_once():
    op, base = pm.op.matmul(64, 64, 64), pm.device("array-16x16")
    free = pm.kernel(op, base, precision="int8", fidelity="dataflow")
    leaking = pm.kernel(
        op, base.vary({"array.static_power": 3.0}), precision="int8", fidelity="dataflow"
    )
    assert float(leaking.energy) - float(free.energy) == pytest.approx(3.0 * float(free.latency), rel=1e-6)


@pytest.mark.parametrize(("old", "new", "match"), [
    ("matmul: [m, n]", "matmul: [m, z]", r":\d+:\d+: array\.axes\.cols\.loops\.matmul\.1: 'z'"),
    ("matmul: [m, n]", "matmull: [m, n]", r":\d+:\d+: .*unknown key 'matmull'.*did you mean 'matmul'"),
])
def test_misspelt_loops_and_families_are_refused(tmp_path, old, new, match):
    path = tmp_path / "eyeriss.yaml"
    path.write_text(EYERISS.read_text().replace(old, new, 1))
    with pytest.raises(PerfmodelError, match=match):
        pm.device(path)


GEMM = "system,backend,kernel_source,dtype,m,n,k,latency_us\n"
SHAPES = [(64, 4096, 4096, "20"), (128, 4096, 4096, "24"), (256, 8192, 4096, "60")]


def _gemm(tmp_path, device="h100_sxm", first="20", start=""):
    rows = [f"{device},vllm,default,bfloat16,{m},{n},{k},{t}" for m, n, k, t in SHAPES]
    rows[0] = rows[0].rpartition(",")[0] + "," + first
    rows.append("h100_sxm,vllm,default,bfloat16,64,1024,1024,8")
    path = tmp_path / "gemm.csv"
    path.write_text(start + GEMM + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("first", ["", "nan", "-3", "abc", "0"])
def test_rows_without_a_time_are_left_out_and_counted(tmp_path, first):
    scored = pm.validate(data=_gemm(tmp_path, first=first)).to_dict()
    assert scored["summary"]["n"] == 3 and scored["skipped"] == {"no measured time above 0": 1}
    json.dumps(scored, allow_nan=False)


def test_rows_of_unknown_devices_are_left_out_and_counted(tmp_path):
    scored = pm.validate(data=_gemm(tmp_path, device="nosuchdevice")).to_dict()
    assert scored["summary"]["n"] == 1 and scored["skipped"] == {"unknown device 'nosuchdevice'": 3}


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    assert pm.validate(data=_gemm(tmp_path, start="\ufeff")).to_dict()["summary"]["n"] == 4


def test_broken_archives_are_one_clear_error(tmp_path):
    packed, whole, other = tmp_path / "t.csv.gz", tmp_path / "t.npz", tmp_path / "o.npz"
    packed.write_bytes(gzip.compress(b"a,b\n1,2\n" * 999)[:60])
    np.savez(other, a=np.arange(3))
    whole.write_bytes(other.read_bytes()[:100])
    for path in (packed, whole, other):
        with pytest.raises(PerfmodelError, match="data"):
            pm.validate(data=path)


@pytest.mark.parametrize("cycles", ["", "nan", "-3", "abc"])
def test_simulated_rows_without_cycles_are_left_out(tmp_path, cycles):
    head = "M,N,K,array_rows,array_cols,dataflow,total_cycles,ifmap_sram_reads,filter_sram_reads\n"
    path = tmp_path / "cycles.csv"
    path.write_text(head + "8,8,8,8,8,os,21,64,64\n" + f"8,8,8,8,8,os,{cycles},64,64\n")
    scored = pm.validate(data=path).to_dict()
    assert scored["summary"]["cycles"]["n"] == 1 and scored["summary"]["cycles"]["exact"] == 1.0
    json.dumps(scored, allow_nan=False)


def test_a_device_without_a_memory_size_serves_without_a_limit():
    served = pm.serving("llama-3.1-8b", "epyc-7763", precision="fp32", concurrency=[2, 8], input=64, output=16)
    assert np.all(np.isfinite(served.tpot)) and np.all(served.tpot > 0)


def test_scores_of_kernels_report_the_share_of_rows_inside_the_interval(tmp_path):
    for fidelity in ("roofline", "dataflow", "calibrated"):
        scored = pm.validate(data=_gemm(tmp_path), fidelity=fidelity).to_dict()
        assert 0 <= scored["summary"]["coverage"] <= 1
        assert all(0 <= group["coverage"] <= 1 for group in scored["groups"])


def test_meshes_of_sizes_and_hardware_on_an_array_equal_their_points():
    device, rates, rows = pm.device("gemmini"), [1e9, 8e9, 16e9], [1, 64]
    mesh = pm.kernel(
        pm.op.matmul(rows, 512, 512), device.vary({"memory.dram.bandwidth": rates}), precision="int8",
        fidelity="dataflow",
    )
    found = np.array([[
        float(pm.kernel(pm.op.matmul(m, 512, 512), device.vary({"memory.dram.bandwidth": rate}),
                        precision="int8", fidelity="dataflow").latency)
        for rate in rates] for m in rows])
    axes = list(mesh.axes)
    latency = np.asarray(mesh.latency) if axes[0] == "m" else np.asarray(mesh.latency).T
    np.testing.assert_allclose(latency, found, rtol=1e-12)
    assert np.all(np.diff(found, axis=1) <= 0)


def test_fractional_means_map_as_whole_tiles():
    shared = {"precision": "int8", "fidelity": "dataflow"}
    mean = pm.kernel(pm.op.grouped_matmul(3.5, 64, 64, experts=2), "gemmini", **shared)
    whole = pm.kernel(pm.op.grouped_matmul(4, 64, 64, experts=2), "gemmini", **shared)
    assert float(mean.latency) == pytest.approx(float(whole.latency))


@pytest.mark.parametrize("fidelity", ["roofline", "dataflow", "calibrated"])
@pytest.mark.parametrize("ask", [pm.inference, pm.forward])
def test_unknown_runtimes_are_refused(ask, fidelity):
    with pytest.raises(UnknownNameError, match="did you mean 'sglang'"):
        ask("llama-3.1-8b", "h100-sxm5", fidelity=fidelity, runtime="sglagn")


def test_a_runtime_has_several_spellings():
    names = ("tensorrt-llm", "trtllm", "trt-llm", "TRT-LLM")
    assert len({pm.serving("llama-3.1-8b", "h100-sxm5", concurrency=4, runtime=n).tpot for n in names}) == 1
    kernels = [pm.inference("llama-3.1-8b", "h100-sxm5", fidelity="calibrated", runtime=n) for n in names]
    assert len({(k.tpot, k.low.tpot) for k in kernels}) == 1
    assert kernels[0].tpot != pm.inference("llama-3.1-8b", "h100-sxm5", fidelity="calibrated").tpot


def test_no_names_are_no_cases():
    assert len(pm.validate([]).outcomes) == 0
    assert pm.validate(()).passed


def test_calibration_says_which_corrections_ended_at_a_bound():
    sizes = [float(s) for s in (256, 512, 1024, 2048, 4096, 8192)]
    rows = {"m": sizes, "n": sizes, "k": sizes}
    bound = pm.kernel(pm.op.matmul(m=pm.Axis("s", sizes), n=pm.Axis("s", sizes), k=pm.Axis("s", sizes)), "h100-sxm5")
    # ten times faster than the device can be: no fraction up to 1.3 explains it
    fast = pm.calibrate("h100-sxm5", {**rows, "latency_s": list(bound.latency / 10)}, family="roofline", fixed={"launch": 1.0})
    assert any("at its greatest, 1.3" in end for end in fast.achieved["at_bounds"])
    fair = pm.calibrate("h100-sxm5", {**rows, "latency_s": list(bound.latency / 0.8)}, family="roofline", fixed={"launch": 1.0})
    assert "at_bounds" not in fair.achieved
    assert fair.achieved["in_sample"]["kendall"] == pytest.approx(1.0)
    assert fair.achieved["in_sample"]["spearman"] == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["bert-base", "vit-b-16", "dit-s-2", "resnet-50", "lstm-2x1024", "sd-1.5-unet"])
def test_full_recomputation_keeps_the_input_of_each_layer(name):
    """Layers that begin with no norm of that name keep their inputs too."""
    none, full = (
        float(pm.training(name, "h100-sxm5", batch=1, sequence=128, recompute=how).activations)
        for how in ("none", "full")
    )
    assert 0.0 < full < none


def test_a_pipeline_has_at_most_a_stage_per_layer():
    node = pm.system("h100-sxm5", count=64)
    with pytest.raises(PerfmodelError, match="must not exceed the layers"):
        pm.training("llama-3.2-1b", node, batch=64, sequence=512, pp=32)
    with pytest.raises(PerfmodelError, match="must not exceed the layers"):
        pm.training("llama-3.2-1b", node, batch=64, sequence=512, pp=8, interleave=4)


def test_devices_that_wait_for_a_pipeline_draw_idle_power():
    node = pm.system("h100-sxm5", count=64)
    short, long = (
        pm.training("llama-3.2-1b", node, batch=b, sequence=512, pp=16) for b in (1, 64)
    )
    assert float(short.energy) > 1.3 * float(long.energy) / 64
    assert float(short.power) < 16 * 700.0


def test_one_device_without_links_trains():
    assert float(pm.training("vit-b-16", "tpu-v4i", batch=1, sequence=1).step_time) > 0


def test_a_device_that_prices_nothing_has_no_energy():
    free = pm.map_network("gru-2x1024", "edge-tpu")
    assert np.isnan(free.energy) and free.to_dict()["energy"] is None and "not priced" in free.explain()
    assert "not priced" in pm.map(pm.op.matmul(64, 64, 64), "edge-tpu").explain()
    for ask in (lambda: pm.map_network("gru-2x1024", "edge-tpu", "energy"),
                lambda: pm.map(pm.op.matmul(64, 64, 64), "edge-tpu", "edp")):
        with pytest.raises(PerfmodelError, match="prices nothing"):
            ask()


@pytest.mark.parametrize("name", ["edge-tpu", "marsellus", "eyeriss-v2"])
def test_more_cores_are_never_slower(name):
    """A memory that reads and writes at once does so for several cores too."""
    one, four = (pm.map_network("gru-2x1024", name, cores=n) for n in (1, 4))
    assert four.cycles <= one.cycles * (1 + 1e-9)


def test_a_served_point_is_explained_and_says_what_can_be_drawn():
    point = pm.serving("llama-3.1-8b", "h100-sxm5", rate=2.0, requests=100)
    assert "bound by memory bandwidth" in point.explain() and "What would help tpot" in point.explain()
    sweep = pm.serving("llama-3.1-8b", "h100-sxm5", concurrency=[1, 8])
    assert "bound by" in sweep.explain(concurrency=8)
    with pytest.raises(PerfmodelError, match="list for some argument"):
        point.plot()


@pytest.mark.parametrize(("options", "match"), [
    ({"trace": "none.csv"}, "existing file"), ({"rate": 1.0, "prefix_hit": 1.0}, "below 1"),
    ({"rate": 1.0, "drafted": 2, "acceptance": [0.5, 1.0]}, "below 1"),
    ({"rate": 1.0, "trace": [(3, 10, 5), (3, 20, 5)]}, "spans some time"),
])
def test_requests_that_cannot_be_say_why(options, match):
    with pytest.raises(PerfmodelError, match=match):
        pm.serving("llama-3.1-8b", "h100-sxm5", **options)


@pytest.mark.parametrize(("spelt", "name"), [
    ("vLLM", "vllm"), ("TensorRT-LLM", "tensorrt-llm"), ("TRT_LLM", "tensorrt-llm"), ("SGLang", "sglang"),
    ("llama.cpp", "llama-cpp"), ("PyTorch eager", "pytorch-eager"),
])
def test_runtimes_by_the_spelling_of_their_makers(spelt, name):
    from perfmodel.scenario.runtime import runtime

    assert runtime(spelt) == runtime(name)


@pytest.mark.parametrize("names", [3, [None], ["S110", 5]])
def test_cases_that_are_no_names_are_refused(names):
    with pytest.raises(PerfmodelError, match="a case, a group or a paper"):
        pm.validate(names)
    with pytest.raises(PerfmodelError, match="one of the two"):
        pm.validate("S110", data="times.csv")


def test_measurements_are_columns_or_rows():
    rows = [
        {"m": m, "n": n, "k": 4096, "dtype": "bf16", "latency_us": 5.0 + m * n / 2e4}
        for m in (1, 64, 512, 4096) for n in (1024, 4096, 8192)
    ]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    found = [pm.calibrate("a100-sxm-80gb", given).achieved["corrections"] for given in (rows, columns)]
    assert found[0] == found[1]
    for bad in ([], [1, 2], 5, [{"m": 1}, {"n": 1}]):
        with pytest.raises(PerfmodelError, match="measurements"):
            pm.calibrate("a100-sxm-80gb", bad)


def test_arrays_sweep_every_number_and_mask_what_no_mapping_fits():
    """Energies and widths of an array are axes too; a point without a mapping is masked, alone it is an error."""
    array, product = pm.system("gemmini"), pm.op.matmul(64, 64, 64)
    for path, value in (("memory.dram.read_energy", 1e-10), ("array.partial", 32.0), ("array.axes.rows.most", 1.0)):
        swept = pm.kernel(product, array.vary({f"device.{path}": [value, 2 * value]}), precision="int8",
                          fidelity="dataflow")  # fmt: skip
        one = pm.kernel(product, array.vary({f"device.{path}": 2 * value}), precision="int8", fidelity="dataflow")
        assert swept.energy[1] == pytest.approx(one.energy, rel=1e-12)
    small = {"device.memory.regs.capacity": [0.5, 2.0]}
    swept = pm.kernel(product, array.vary(small), precision="int8", fidelity="dataflow")
    assert list(swept.feasible) == [0.0, 1.0]
    assert swept.reason[0].startswith("no mapping")
    assert "no mapping" in swept.mapping[0]
    with pytest.raises(InfeasibleError):
        pm.kernel(product, array.vary({"device.memory.regs.capacity": 0.5}), precision="int8",
                  fidelity="dataflow")  # fmt: skip


@pytest.mark.parametrize("fidelity", ["roofline", "dataflow"])
def test_passes_on_arrays_are_explained(fidelity):
    """The static power and the energies of an array are varied like any number."""
    answer = pm.forward("iegm-net", "gemmini", precision="int8", fidelity=fidelity)
    assert "What would help latency" in answer.explain()


@pytest.mark.parametrize(("table", "match"), [
    (GEMM + "h100_sxm,vllm,default,bfloat16,64,4096,x,20\n", "column k.*numbers in every row"),
    (GEMM + "h100_sxm,vllm,default,bfloat16,64,4096\n", ":2.*8 fields"),
    (GEMM, "at least one row"),
    ("system,dtype,tokens,hidden,inter,topk,experts,moe_tp_size,moe_ep_size,latency_us\n"
     "h100_sxm,bfloat16,8,4096,1024,2,8,1,1,90\n", "a column 'distribution'"),
])
def test_a_table_that_no_model_can_read_is_refused(tmp_path, table, match):
    path = tmp_path / "table.csv"
    path.write_text(table)
    with pytest.raises(PerfmodelError, match=match):
        pm.validate(data=path)


@pytest.mark.parametrize("text", ["(0 - 8)**0.5", "1e308 * 10", "2**9999", "1/0"])
def test_an_expression_without_a_finite_value_is_refused(text):
    with pytest.raises(PerfmodelError, match="a finite value"):
        evaluate(text, {})


@pytest.mark.parametrize("side", ["least", "most"])
def test_a_prediction_on_the_bound_keeps_it(side):
    bound = replace(next(iter(published().values())), gate="bound", rel_tol=None, abs_tol=None, value=2.0)
    for predicted, kept in ((2.0, True), (3.0, side == "least"), (1.0, side == "most")):
        assert Outcome(bound, predicted, "count", "", side=side).within == kept
