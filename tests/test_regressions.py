"""Faults that were once there, one test each."""

import importlib.util
import pickle

import numpy as np
import pytest
import sympy

import perfmodel as pm
from perfmodel.errors import ArgumentError, PerfmodelError, SpecError, UnknownNameError
from perfmodel.explore.measurements import read_columns

MODEL = "llama-3.1-8b"


def same(sweep, single, at):
    """Every metric of a point of the sweep equals that of the single answer."""
    for name in single.metrics:
        got, want = np.asarray(getattr(sweep, name))[at], getattr(single, name)
        if isinstance(want, str):
            assert got == want, name
        else:
            assert got == pytest.approx(want, rel=1e-12, nan_ok=True), name


@pytest.mark.parametrize("fidelity", ["dataflow", "calibrated"])
def test_one_and_many_new_tokens_on_one_axis(fidelity):
    """Points with one new token took the kernel of a prompt as soon as the axis held a longer one."""
    def ask(query):
        op = pm.op.attention(batch=2, query=query, context=4096, heads=32, kv_heads=8)
        return pm.kernel(op, "h100-sxm5", fidelity=fidelity)

    sweep = ask([1, 64])
    for at, query in enumerate((1, 64)):
        same(sweep, ask(query), at)
        same(sweep.low, ask(query).low, at)
        same(sweep.high, ask(query).high, at)


@pytest.mark.parametrize("fidelity", ["roofline", "dataflow", "calibrated"])
def test_pipeline_of_one_stage_on_an_axis(fidelity):
    """The transfer between stages occurs zero times with one stage; it divided by that count."""
    def ask(pp):
        return pm.inference(MODEL, "h100-sxm5:8", batch=8, output=8, pp=pp, fidelity=fidelity)

    sweep = ask([1, 2])
    for at, pp in enumerate((1, 2)):
        same(sweep, ask(pp), at)


@pytest.mark.parametrize(
    "result",
    [
        pm.inference(MODEL, "h100-sxm5:8", batch=[1, 8], tp=8),
        pm.inference(MODEL, "h100-sxm5", fidelity="calibrated"),
        pm.forward("resnet-50", "t4", precision="fp16"),
        pm.kernel(pm.op.matmul(m=[1, 64], n=64, k=64), "h100-sxm5"),
        pm.training(MODEL, "h100-sxm5:8", batch=8, sequence=128, tp=8),
        pm.serving(MODEL, "h100-sxm5", concurrency=4),
    ],
    ids=["inference", "calibrated", "forward", "kernel", "training", "serving"],
)
def test_a_result_comes_back_from_another_process(result):
    """Executors send results by pickle; metrics, interval and breakdown are still there."""
    back = pickle.loads(pickle.dumps(result))
    assert repr(back) == repr(result)
    assert set(back.metrics) == set(result.metrics)
    assert all(np.shape(getattr(back, name)) == np.shape(getattr(result, name)) for name in result.metrics)
    assert result.phases is None or str(back.breakdown()) == str(result.breakdown())
    assert repr(back.high) == repr(result.high)


def test_named_arrays_keep_their_axes_through_pickle():
    array = pm.inference(MODEL, "h100-sxm5", batch=[1, 8]).tpot
    back = pickle.loads(pickle.dumps(array))
    assert back.axes == ("batch",) and list(back.coords["batch"]) == [1, 8]


REFUSED = [
    ("texts as numbers", lambda: pm.inference(MODEL, "h100-sxm5", batch=["8"])),
    ("truth of numpy", lambda: pm.inference(MODEL, "h100-sxm5", batch=np.True_)),
    ("list of truths", lambda: pm.inference(MODEL, "h100-sxm5", batch=[True])),
    ("date", lambda: pm.inference(MODEL, "h100-sxm5", batch=np.datetime64("2020"))),
    ("beyond float", lambda: pm.inference(MODEL, "h100-sxm5", batch=10**400)),
    ("axis without a name", lambda: pm.inference(MODEL, "h100-sxm5", batch=pm.Axis("", [1]))),
    ("runtime", lambda: pm.inference(MODEL, "h100-sxm5", fidelity="calibrated", runtime=None)),
    ("device as model", lambda: pm.inference(pm.device("t4"), "h100-sxm5")),
    ("model as system", lambda: pm.inference(MODEL, pm.workload("bert-base"))),
    ("image network generates", lambda: pm.inference("resnet-50", "h100-sxm5")),
    ("encoder generates", lambda: pm.inference("bert-base", "h100-sxm5")),
    ("image network serves tokens", lambda: pm.serving("resnet-50", "h100-sxm5", concurrency=1)),
    ("count nan", lambda: pm.system("t4", count=float("nan"))),
    ("count inf", lambda: pm.system("t4", count=float("inf"))),
    ("changes as a list", lambda: pm.system("t4").vary([1])),
    ("path as a number", lambda: pm.system("t4").vary({5: 1})),
    ("workload path as a number", lambda: pm.workload(MODEL).vary({5: 1})),
    ("value in two dimensions", lambda: pm.system("h100-sxm5").vary({"device.memory.hbm.bandwidth": [[1e12]]})),
    ("window beyond the input", lambda: pm.op.conv2d(1, 3, 8, 5, 5, kernel=7, padding=0)),
    ("more kept than there", lambda: pm.op.top_k(rows=1, width=4, kept=8)),
    ("forward with tp of nothing to split", lambda: pm.forward("resnet-50", "h100-sxm5:8", tp=2)),
    ("forward tp beyond the system", lambda: pm.forward(MODEL, "h100-sxm5", tp=2)),
    ("forward tp that does not divide", lambda: pm.forward(MODEL, "h100-sxm5:8", tp=3)),
    ("forward context", lambda: pm.forward(MODEL, "h100-sxm5", query=10, context=5)),
    ("flops of no batch", lambda: pm.workload(MODEL).flops(batch=0)),
    ("flops context", lambda: pm.workload(MODEL).flops(1, query=8, context=4)),
    ("training with tp of nothing to split", lambda: pm.training("resnet-50", "h100-sxm5:8", batch=8, sequence=1, tp=8)),
    ("fidelity of cases", lambda: pm.validate("S110", fidelity="best")),
    ("sequence_parallel", lambda: pm.training(MODEL, "h100-sxm5:8", batch=8, sequence=64, tp=8, sequence_parallel="no")),
    ("fidelity as an array", lambda: pm.inference(MODEL, "h100-sxm5", fidelity=np.array([1.0, 2.0]))),
    ("option as an array", lambda: pm.inference(MODEL, "h100-sxm5", logits=np.array([1.0, 2.0]))),
    ("zero as an array", lambda: pm.training(MODEL, "h100-sxm5", batch=1, sequence=8, zero=np.array([1, 2]))),
    ("pattern as a number", lambda: pm.collective(5, 1e6, "dgx-h100")),
    ("link as a list", lambda: pm.collective("all_reduce", 1e6, "dgx-h100", link=["nvlink"])),
    ("precision of a number", lambda: pm.inference(MODEL, "h100-sxm5", precision={1: 2})),
    ("size in two dimensions", lambda: pm.op.matmul(np.array([[1, 2]]), 4, 4)),
    ("flag in two dimensions", lambda: pm.op.mla(1, 1, 64, 8, 512, 64, 128, 128, absorbed=np.array([[1, 2]]))),
    ("more than a float counts", lambda: pm.kernel(pm.op.conv2d(1, 1e308, 8, 16, 16, 3), "h100-sxm5")),
    ("symbol in a scenario", lambda: pm.inference(MODEL, "h100-sxm5", batch=sympy.Symbol("b"))),
    ("symbol in an op", lambda: pm.kernel(pm.op.matmul(sympy.Symbol("m"), 4, 4), "h100-sxm5")),
]


@pytest.mark.parametrize("call", [row[1] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused(call):
    """Each of these was computed, or left the error tree."""
    with pytest.raises((ArgumentError, UnknownNameError)):
        call()


def test_padding_on_an_axis():
    """Padding may be a word or a number, so also a list of numbers."""
    swept = pm.kernel(pm.op.conv2d(1, 8, 8, 16, 16, 3, padding=[0, 1]), "h100-sxm5")
    assert swept.flops[1] == pm.kernel(pm.op.conv2d(1, 8, 8, 16, 16, 3, padding="same"), "h100-sxm5").flops


def test_count_of_numpy():
    assert pm.system("t4", count=np.int64(4)).count == 4.0


def test_logarithmic_range_of_whole_numbers(capsys):
    """2048 came out as 2048.000000000001, which is no number of tokens."""
    from perfmodel.cli import main

    line = "kernel attention batch=8 query=1 context=1024:65536:7:log heads=32 kv_heads=8 --on h100-sxm5"
    assert main(line.split()) == 0
    assert "65536" in capsys.readouterr().out


@pytest.mark.parametrize("fidelity", ["dataflow", "calibrated"])
def test_attention_on_a_device_that_has_only_fp32(fidelity):
    """The kernel model asked for bf16 whatever the precision was."""
    op = pm.op.attention(batch=2, query=1, context=512, heads=32, kv_heads=8)
    assert pm.kernel(op, "gtx-titan-x", precision="fp32", fidelity=fidelity).latency > 0


LLAMA = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
         "num_attention_heads": 4, "vocab_size": 100}
MIMO = {"model_type": "qwen3_moe", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100, "num_experts": 4,
        "num_experts_per_tok": 2, "moe_intermediate_size": 32}
NONSENSE = [
    {**LLAMA, "num_key_value_heads": 0}, {**LLAMA, "num_hidden_layers": float("inf")},
    {**LLAMA, "hidden_size": float("nan")}, {**LLAMA, "hidden_size": 1.5}, {**LLAMA, "head_dim": float("inf")},
    {**MIMO, "mlp_only_layers": ["a"]}, {**MIMO, "mlp_only_layers": [None]}, {**MIMO, "decoder_sparse_step": 0},
    {**MIMO, "decoder_sparse_step": float("nan")}, {**MIMO, "num_experts": 1},
]


@pytest.mark.parametrize("config", NONSENSE, ids=str)
def test_nonsense_in_a_model_file(config):
    """Left the error tree, or gave infinitely many parameters."""
    from perfmodel.workload.importers.hf import from_config

    with pytest.raises(SpecError):
        from_config(config)


def test_empty_onnx_file(tmp_path):
    """An empty file is a valid message of protocol buffers: it became a workload without ops."""
    pytest.importorskip("onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(ArgumentError, match="at least one node"):
        pm.workload(tmp_path / "empty.onnx")


@pytest.mark.parametrize("ask", [
    lambda file: pm.device(file.with_suffix(".yaml")),
    lambda file: pm.system(file.with_suffix(".yaml")),
    lambda file: pm.workload(file.with_suffix(".yaml")),
    lambda file: pm.workload(file.with_suffix(".json")),
    lambda file: pm.calibrate("h100-sxm5", file),
    lambda file: pm.serving(MODEL, "h100-sxm5", trace=str(file)),
    lambda file: pm.validate(data=file),
])  # fmt: skip
def test_files_that_are_no_text(tmp_path, ask):
    """A file of bytes is one clear error, whatever reads it."""
    for ending in (".csv", ".yaml", ".json"):
        (tmp_path / f"bytes{ending}").write_bytes(b"a\xe0\xff: 1\n\xfe,2\n")
    with pytest.raises(PerfmodelError):
        ask(tmp_path / "bytes.csv")


def test_measurements_with_a_byte_order_mark(tmp_path):
    """Spreadsheets put a mark before the first column."""
    rows = "".join(f"{m},4096,4096,{1e-9 * m + 2e-5}\n" for m in (64, 128, 512, 1024, 2048, 4096, 8192, 16384))
    texts = ["m,n,k,time\n" + rows, "\ufeffm,n,k,time\n" + rows]
    found = []
    for number, text in enumerate(texts):
        file = tmp_path / f"times{number}.csv"
        file.write_text(text, encoding="utf-8")
        found.append(read_columns(file))
    assert found[0] == found[1]


def test_a_collective_has_an_interval_and_is_explained():
    """As every other answer; one device has nothing to send."""
    answer = pm.collective("all_reduce", [1e6, 1e8], "dgx-h100")
    assert np.all(answer.high.latency > answer.low.latency)
    assert "nvlink bandwidth" in pm.collective("all_reduce", 1e8, "dgx-h100").explain()
    assert pm.collective("all_reduce", 1e8, "h100-sxm5").latency == 0.0


def test_breakdown_counts_ops_without_arithmetic():
    """An operator that only moves data has 0 FLOP, which is not unknown."""
    answer = pm.forward(MODEL, "h100-sxm5", batch=1, query=16)
    rows = answer.breakdown().to_dict()["rows"]
    assert sum(row["flops"] for row in rows) == pytest.approx(answer.flops)
    assert sum(row["bytes"] for row in rows) == pytest.approx(answer.bytes)


def test_a_sweep_over_names_masks_what_cannot_be_at_a_point():
    """Heads that tp does not divide in one model leave the others of the sweep alone."""
    answer = pm.sweep("inference", ["falcon-7b", MODEL], "h100-sxm5:8", tp=8)
    assert list(answer.feasible) == [0.0, 1.0]
    assert "tp must divide" in answer.reason[0]


@pytest.mark.parametrize(("ask", "match"), [
    (lambda: pm.sweep("inference", MODEL, "h100-sxm5", btach=[1, 2]), "batch"),
    (lambda: pm.search("inference", MODEL, "h100-sxm5", btach=[1, 2]), "batch"),
    (lambda: pm.sweep("inference", MODEL, "h100-sxm5", metrics=["tpott"]), "tpot"),
    (lambda: pm.sweep("inference", MODEL, "h100-sxm5", metrics=5), "metrics"),
    (lambda: pm.sweep(["inference"], MODEL, "h100-sxm5"), "scenario"),
    (lambda: pm.search("inference", MODEL, "h100-sxm5", 5), "objective"),
    (lambda: pm.serving(MODEL, "h100-sxm5", concurrency=8, max_batch=4), "max_batch"),
    (lambda: pm.serving(MODEL, "h100-sxm5", concurrency=8, requests="many"), "requests"),
])  # fmt: skip
def test_misspelt_or_unused_arguments(ask, match):
    """Nothing that is asked for is left out in silence."""
    with pytest.raises(PerfmodelError, match=match):
        ask()


def test_a_metric_that_is_an_axis_is_one_column():
    """The closed loop has `concurrency` both as a question and as an answer."""
    answer = pm.serving(MODEL, "h100-sxm5", concurrency=[1, 2])
    header = answer.table().to_csv().splitlines()[0].split(",")
    assert header.count("concurrency") == 1
    if importlib.util.find_spec("xarray"):
        assert list(answer.to_xarray()["concurrency"]) == [1.0, 2.0]


def test_numbers_that_contradict_each_other_are_refused(tmp_path):
    """Each number alone is allowed: more idle than peak power, key-value heads that do not divide the heads."""
    gpu = tmp_path / "gpu.yaml"
    gpu.write_text(
        "device: tiny\nsources: {book: a book}\nsource: book\ncompute: {matrix: {peak: {bf16: 1 TFLOP/s}}}\n"
        "memory: {hbm: {capacity: 16 GiB, bandwidth: 1 TB/s}}\npower: {idle: 500 W, peak: 100 W}\n"
    )
    with pytest.raises(SpecError, match=r"gpu\.yaml:6:.*power\.idle"):
        pm.device(gpu)
    model = pm.workload(MODEL).vary({"blocks.0.attention.kv_heads": 5})
    with pytest.raises(ArgumentError, match="kv_heads"):
        pm.inference(model, "h100-sxm5")


def test_a_sweep_over_names_is_explained_at_one_of_its_points():
    names, devices = ["llama-3.1-8b", "qwen2.5-7b"], ["h100-sxm5", "a100-sxm-80gb"]
    swept = pm.sweep("inference", names, devices, batch=[1, 8], fidelity=["roofline", "dataflow"])
    at = {"workload": "qwen2.5-7b", "system": "a100-sxm-80gb", "fidelity": "dataflow", "batch": 8}
    alone = pm.inference("qwen2.5-7b", "a100-sxm-80gb", batch=8, fidelity="dataflow")
    assert swept.explain(**at).splitlines()[1:] == alone.explain().splitlines()[1:]
    slopes = pm.sensitivity(swept, "tpot", **at)
    assert slopes.to_dict() == pm.sensitivity(alone, "tpot").to_dict()
