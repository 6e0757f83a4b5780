"""Calibration files of the kernel models: rebuilding them, and what they lend to other devices."""

import math

import numpy as np
import pytest

from perfmodel.engine.kernels.calibration import KernelCalibration, corrections_for
from perfmodel.engine.kernels.facts import gpu_facts
from perfmodel.engine.kernels.lineage import architecture, distance, lineage, pass_on, scale, stand_ins
from perfmodel.engine.kernels.stream import StreamCorrections, stream_time
from perfmodel.explore import fit_kernels
from perfmodel.explore.left_out import left_out
from perfmodel.hardware.catalog import device
from perfmodel.spec import load

KEPT = {"vllm/x/bfloat16": {"rows": 40, "spread": [0.9, 1.2], "values": {"launch": 2.5, "compute": 0.75}}}


@pytest.fixture
def table(tmp_path):
    """A file of 24 streaming kernels on an A100, four times slower in DRAM than documented."""
    rows, width = np.meshgrid([1e3, 1e4, 1e5, 1e6], [256.0, 512, 1024, 2048, 4096, 8192])
    seconds = stream_time(rows, width, 3.0, gpu_facts(device("a100-sxm-80gb")), StreamCorrections(dram=0.25))
    lines = [f"a100_sxm,any,kernel,fp8,{m:g},{k:g},{t * 1e6}" for m, k, t in
             zip(rows.flat, width.flat, seconds.seconds.flat, strict=True)]
    path = tmp_path / "stream.csv"
    path.write_text("\n".join(["system,backend,kernel_source,dtype,m,k,latency_us", *lines]))
    return path


def test_a_rebuild_replaces_the_families_it_has_rows_of_and_keeps_the_rest(table, tmp_path):
    path = tmp_path / "kernels-a100-sxm-80gb.yaml"
    old = {"stream": KEPT, "gemm": KEPT}
    path.write_text(fit_kernels.document("a100-sxm-80gb", ["a100-*"], old, "x", "2026-01-01"))
    assert path in fit_kernels.rebuild([table], tmp_path, "y", "2026-01-02", check=False)
    families = load(fit_kernels.KernelCalibration, path).families
    assert families["gemm"] == KEPT
    assert list(families["stream"]) == ["any/kernel/fp8"]
    assert families["stream"]["any/kernel/fp8"]["in_sample"]["mape"] < 5.0
    assert not (tmp_path / "kernels-h100-sxm5.yaml").exists()  # no row of it


def entry(**values):
    return {"rows": 100, "values": {"launch": 2.0, "compute": 0.9, **values}}


def test_distance_adds_the_traits_that_differ_and_half_the_generations():
    assert distance("h100-sxm5", "h200-sxm") == 0.0
    assert distance("h100-sxm5", "b200-sxm") == 0.5  # one generation
    assert distance("a100-sxm-80gb", "h100-sxm5") == 0.5 + 1.0  # and another kind of instruction
    assert distance("l40s", "a100-sxm-80gb") == pytest.approx(0.5 * 0.9 + 0.5)  # 8.9 against 8, GDDR for HBM
    assert distance("b60", "rtx-pro-6000-server") == 3.0
    assert distance("a machine", "h100-sxm5") == distance("a machine", "b60") == sum(lineage().weights.values())


def test_every_measured_device_has_an_architecture():
    assert all(architecture(name) for name in fit_kernels.DEVICE_FILES)


def test_a_known_kernel_stands_in_alone_and_else_all_of_its_formats():
    known = {"vllm/cutlass/fp8": entry(), "trtllm/cutlass/fp8": entry(), "vllm/triton/fp8": entry(),
             "vllm/slow/fp8": entry(launch=60.0), "vllm/linear/bfloat16": entry()}
    assert list(stand_ins("vllm/cutlass/fp8", known)) == ["vllm/cutlass/fp8"]
    assert list(stand_ins("sglang/cutlass/fp8", known)) == ["vllm/cutlass/fp8", "trtllm/cutlass/fp8"]
    assert list(stand_ins("vllm/new/fp8", known)) == ["vllm/cutlass/fp8", "trtllm/cutlass/fp8", "vllm/triton/fp8"]
    assert len(stand_ins("vllm/any/fp8", known)) == 1


def test_values_are_geometric_means_that_favour_the_near():
    donors = {"h100-sxm5": {"vllm/linear/bfloat16": entry(compute=0.8)},
              "b200-sxm": {"vllm/linear/bfloat16": entry(compute=0.4)}}
    found = pass_on("a100-sxm-80gb", "gemm", "vllm/linear/bfloat16", donors, {"compute": 1.0, "step": 3.0})
    weight = math.exp(-0.3 * 4.0 * 0.5)  # B200 is one generation further
    assert found.values["compute"] == pytest.approx(math.exp((math.log(0.8) + weight * math.log(0.4)) / (1 + weight)))
    assert found.values["step"] == pytest.approx(3.0 * 2.5)  # products of a warp wait for their operands
    assert (found.donors, found.same_kernel) == (("h100-sxm5", "b200-sxm"), True)
    near = pass_on("h200-sxm", "gemm", "vllm/linear/bfloat16", donors, {"compute": 1.0})
    assert 0.4 < near.values["compute"] < 0.8


def test_a_donor_that_knows_the_kernel_counts_three_times():
    donors = {"h100-sxm5": {"vllm/linear/bfloat16": entry(compute=0.8)},
              "b200-sxm": {"vllm/other/bfloat16": entry(compute=0.4)}}
    found = pass_on("h200-sxm", "gemm", "vllm/other/bfloat16", donors, {"compute": 1.0})
    plain = [math.exp(0.3 * (2.0 - 4.0 * 0.5)), 1.0]  # the kernel is worth as much as a generation
    mean = (3.0 * plain[0] * math.log(0.4) + plain[1] * math.log(0.8)) / (3.0 * plain[0] + plain[1])
    assert found.values["compute"] == pytest.approx(math.exp(mean))


def test_what_rows_tell_less_well_is_drawn_to_its_start():
    donors = {"h100-sxm5": {"vllm/linear/bfloat16": entry(dram=0.5, launch=9.0)}}
    found = pass_on("l40s", "gemm", "vllm/linear/bfloat16", donors, {"dram": 1.0, "launch": 1.7})
    assert found.values["dram"] == pytest.approx(0.5**0.8)
    assert found.values["launch"] == pytest.approx(9.0)


def test_a_kernel_that_no_donor_knows_is_nearer_to_its_start_and_to_the_kind_of_chip():
    donors = {"b200-sxm": {"vllm/cutlass/fp8": entry(dram=0.5, launch=9.0, step=1.0)}}
    starts = {"dram": 1.0, "launch": 1.5, "step": 1.0}
    found = pass_on("l40s", "mla_decode", "vllm/triton/fp8", donors, starts).values
    assert found["dram"] == pytest.approx(0.5**0.4)
    assert found["launch"] == pytest.approx(9.0**0.4 * 1.5**0.6)
    assert found["step"] == pytest.approx(2.5)
    assert pass_on("l40s", "gemm", "vllm/new/fp8", donors, starts).values["launch"] == pytest.approx(9.0)


def test_a_product_hidden_by_the_floor_of_another_backend_tells_nothing():
    known = {"vllm/a/fp8": entry(host=60.0), "trtllm/b/fp8": entry()}
    assert list(stand_ins("trtllm/new/fp8", known, "gemm")) == ["trtllm/b/fp8"]
    assert len(stand_ins("trtllm/new/fp8", {"vllm/a/fp8": entry(host=60.0)}, "gemm")) == 1  # better than nothing
    assert len(stand_ins("trtllm/new/fp8", known, "moe")) == 2


def test_the_floor_of_a_caller_is_lent_within_its_backend():
    donors = {"h100-sxm5": {"vllm/linear/bfloat16": entry(host=40.0)}}
    starts = {"host": 0.1, "launch": 1.7}
    assert pass_on("b200-sxm", "gemm", "vllm/new/bfloat16", donors, starts).values["host"] == pytest.approx(40.0)
    assert pass_on("b200-sxm", "gemm", "trtllm/new/bfloat16", donors, starts).values["host"] == pytest.approx(0.1)


def test_products_come_from_donors_of_the_same_formats():
    donors = {"h100-sxm5": {"vllm/linear/fp8/few": entry(compute=0.4)}, "b200-sxm": {"trtllm/a/nvfp4": entry(compute=0.8)}}
    for asked, compute in (("vllm/new/nvfp4/few", 0.8), ("vllm/new/fp8/many", 0.4)):
        assert pass_on("l40s", "gemm", asked, donors, {"compute": 1.0}).values["compute"] == pytest.approx(compute)
    both = pass_on("l40s", "gemm", "vllm/new/int8", donors, {"compute": 1.0}).values["compute"]
    assert 0.4 < both < 0.8  # no donor has them


def test_fixed_times_come_from_the_backend_where_a_donor_knows_it():
    donors = {"h100-sxm5": {"vllm/linear/bfloat16": entry(launch=4.0)},
              "rtx-pro-6000-server": {"trtllm/linear/bfloat16": entry(launch=1.0)}}
    for backend, launch in (("vllm", 4.0), ("trtllm", 1.0)):
        found = pass_on("l40s", "gemm", f"{backend}/new/bfloat16", donors, {"launch": 1.7}).values
        assert found["launch"] == pytest.approx(launch)


def test_corrections_are_worth_less_or_more_on_another_kind_of_chip():
    assert scale("resident", "gemm", "h100-sxm5", "l40s") == 2.0
    assert scale("resident", "gemm", "rtx-pro-6000-server", "a100-sxm-80gb") == 0.5
    assert scale("step", "gemm", "l40s", "h100-sxm5") == pytest.approx(1 / 2.5)
    assert scale("step", "moe/vllm/marlin_experts/int4_wo", "h100-sxm5", "l40s") == 1.0  # of a warp everywhere
    assert scale("start", "attention_prefill", "h100-sxm5", "l40s") == 0.5
    assert scale("start", "attention_decode", "h100-sxm5", "l40s") == 1.0  # not one of its families
    assert scale("step", "mamba2", "l40s", "h100-sxm5") == scale("dram", "gemm", "l40s", "h100-sxm5") == 1.0
    assert scale("dram", "gemm", "h100-sxm5", "a100-sxm-80gb") == 0.96
    assert scale("dram", "gemm", "h100-sxm5", "a40") == 1.0  # a trait that few have
    assert scale("step", "gemm", "a machine", "h100-sxm5") == 1.0


def test_a_measured_device_and_its_kin_use_their_file_and_others_borrow():
    own = corrections_for("stream", StreamCorrections, "h100-sxm5", "vllm/any/fp8")
    kin = corrections_for("stream", StreamCorrections, "h200-sxm", "vllm/any/fp8")
    lent = corrections_for("stream", StreamCorrections, "l40s", "vllm/any/fp8")
    assert own.calibration == kin.calibration == "h100-sxm5"
    assert own.values == kin.values
    assert kin.low <= own.low and kin.high >= own.high  # less is known of it
    assert lent.calibration.startswith("rtx-pro-6000-server")
    assert lent.low < 1.0 < lent.high


def test_left_out_devices_are_scored_without_their_file(table):
    def file(name, dram):
        values = {"any/kernel/fp8": {"rows": 24, "values": {"dram": dram}}}
        return KernelCalibration(calibration=name, applies_to=(name, name[:4] + "*"), data="", date="",
                                 families={"stream": values})

    files = (file("a100-sxm-80gb", 0.25), file("h100-sxm5", 0.5))
    found = left_out(fit_kernels.tables_of(table), files)["stream"]
    assert found["a100-sxm-80gb"]["rows"] == 24
    assert found["a100-sxm-80gb"]["bias"] < -10.0  # the H100 file is twice as fast in DRAM
    assert found["same kernel"]["spread"][1] > 1.5


def test_groups_name_the_program_that_runs():
    from perfmodel.explore.kernel_known import FAMILIES

    family = {one.name: one for one in FAMILIES}
    two = {"backend": np.array(["trtllm", "trtllm"]), "kernel_source": np.array(["default", "default"])}
    cache = {"mla_dtype": np.array(["bfloat16"] * 2), "kv_dtype": np.array(["fp8", "fp8"]), "n_heads": np.array([16, 16])}
    names = family["mla_decode"].groups({"system": np.array(["a100_sxm", "h100_sxm"]), **two, **cache})
    # A100 has no unit for 8-bit floats and takes as long as with 16 bits
    assert [name.split("/")[3] for name in names] == ["bfloat16", "fp8"]
    rows = {"backend": np.array(["trtllm", "sglang", "sglang", "vllm"]), "op_name": np.array(["gdn"] * 4),
            "kernel_source": np.array(["causal_conv1d_fn"] * 4), "num_k_heads": np.ones(4),
            "backend_version": np.array(["1.3.0rc20", "0.5.10", "0.5.14", "0.24.0"])}
    kinds = [name.split("/")[1] for name in family["linear_attention"].groups(rows)]
    assert kinds == ["causal_conv1d_cuda_fn", "causal_conv1d_cuda_fn", "causal_conv1d_fn", "causal_conv1d_fn"]


def test_products_with_zeros_and_short_runs_draw_less_power(tmp_path):
    from perfmodel.explore.kernel_known import FAMILIES

    header = ("device,model,tokens,tp,hidden,ffn,n_heads,n_kv_heads,gated,attn_pre_proj_us,attn_post_proj_us,"
              "mlp_up_proj_us,mlp_down_proj_us,attn_rope_us,mlp_act_us,input_layernorm_us,"
              "post_attention_layernorm_us,add_us")
    times = ",".join(["2000"] * 9)
    layers, products = tmp_path / "layers.csv", tmp_path / "products.csv"
    layers.write_text(f"{header}\nh100,a,4096,1,8192,28672,64,8,1,{times}\nh100,a,4096,1,8192,28672,64,8,0,{times}\n")
    products.write_text("system,backend,kernel_source,dtype,m,n,k,latency_us\n"
                        "h100_sxm,any,any,bfloat16,4096,8192,28672,2000\n")
    rows = fit_kernels.tables_of(layers, products)["gemm"]
    gated, plain = rows["run_flop"][[0, 1]]  # a layer without a gate has one up projection
    assert gated > plain
    assert np.isnan(rows["run_flop"][-1]) and np.isnan(rows["drawn"][-1])
    gemm = next(family for family in FAMILIES if family.name == "gemm")
    time = gemm.predict(rows, gpu_facts(device("h100-sxm5")), gemm.corrections(), "any/any/bfloat16").seconds
    zeros, random = time[rows["k"] == 28672][:2]
    assert zeros < random
