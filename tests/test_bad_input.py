"""Bad input: each gives one clear error of the right class, names what is allowed, and computes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.cli import main
from perfmodel.errors import (
    ArgumentError,
    GraphError,
    InfeasibleError,
    PerfmodelError,
    PrecisionError,
    SpecError,
    UnitError,
    UnknownNameError,
)
from perfmodel.hardware.device import Device
from perfmodel.spec import loads

DEVICE = """\
device: tiny
sources: {book: a book}
source: book
compute:
  matrix: {peak: {bf16: 100 TFLOP/s}}
memory:
  hbm: {capacity: 16 GiB, bandwidth: 1 TB/s}
launch: {overhead: 5 us}
"""

# --- device files: (name, replaced text, by what, part of the message) ------------------------------------------
SPECS = [
    ("unknown key", "launch:", "lunch:", "did you mean 'launch'"),
    ("duplicate key", "launch: {overhead: 5 us}", "launch: {overhead: 5 us}\nlaunch: {overhead: 6 us}", "launch"),
    ("bytes where a rate is wanted", "1 TB/s", "1 TB", "write TB/s"),
    ("rate where bytes are wanted", "16 GiB", "16 GiB/s", "B"),
    ("no unit", "5 us", "5", "has no unit"),
    ("bits by a lonely b", "1 TB/s", "8 Tb/s", "write Tbit/s or TB/s"),
    ("FLOPS", "100 TFLOP/s", "100 TFLOPS", "TFLOP/s"),
    ("Kb", "16 GiB", "16 KB", "kB"),
    ("negative rate", "1 TB/s", "-1 TB/s", "above 0"),
    ("zero capacity", "16 GiB", "0 GiB", "above 0"),
    ("not a number", "1 TB/s", "fast", "not a number"),
    ("unknown number format", "{bf16: 100", "{int17: 100", "'int17' is not known"),
    ("level that holds nothing", "bandwidth: 1 TB/s", "bandwidth: 1 TB/s, holds: []", "1 entry at least"),
    (
        "misspelt level of an axis", "launch: {overhead: 5 us}", "array: {axes: {rows: {size: 8, under: hmb}}}",
        "did you mean 'hbm'",
    ),
    ("nan", "1 TB/s", "nan TB/s", "not a number"),
    ("inf", "1 TB/s", "inf TB/s", "not a number"),
    ("octal", "5 us", "010 us", "ambiguous"),
    ("underscore", "100 TFLOP/s", "1_000 TFLOP/s", "plain number"),
    ("comma", "100 TFLOP/s", '"1,000 TFLOP/s"', "plain number"),
    ("boolean", "1 TB/s", "no", "number"),
    ("list for a number", "1 TB/s", "[1 TB/s, 2 TB/s]", "hbm.bandwidth"),
    ("mapping for a number", "1 TB/s", "{rate: 1 TB/s}", "rate"),
    ("number for a mapping", "{overhead: 5 us}", "5 us", "mapping"),
    ("missing required key", "device: tiny\n", "", "device"),
    ("missing memory", "memory:\n  hbm: {capacity: 16 GiB, bandwidth: 1 TB/s}\n", "", "memory"),
    ("unknown compute unit", "matrix:", "tensor:", "matrix"),
    ("unknown source", "source: book", "source: boook", "did you mean 'book'"),
    ("no source", "source: book\n", "", "source"),
    ("choice", "device: tiny", "device: tiny\nkind: gpus", "did you mean 'gpu'"),
    ("tab in the indentation", "  hbm:", "\thbm:", ":"),
    ("broken YAML", "{overhead: 5 us}", "{overhead: 5 us", ":"),
    ("alias of nothing", "{overhead: 5 us}", "*x", ""),
    ("two documents", "launch:", "---\nlaunch:", ""),
    ("empty file", DEVICE, "", ""),
    ("fraction of a count", "{capacity: 16 GiB,", "{capacity: 16 GiB, instances: 1.5,", "whole number"),
]


@pytest.mark.parametrize(("old", "new", "text"), [row[1:] for row in SPECS], ids=[row[0] for row in SPECS])
def test_device_files(old: str, new: str, text: str) -> None:
    assert old in DEVICE
    with pytest.raises(SpecError) as caught:
        loads(Device, DEVICE.replace(old, new), "tiny.yaml")
    message = str(caught.value)
    assert text in message
    for fault in caught.value.faults:
        assert fault.file == "tiny.yaml" and fault.line >= 1 and fault.col >= 1
        assert str(fault).startswith(f"tiny.yaml:{fault.line}:{fault.col}: ")


def ask(**changes: Any) -> Callable[[], Any]:
    return lambda: pm.inference(**{"workload": "llama-3.1-8b", "system": "h100-sxm5:8", **changes})


def vary(path: str, value: Any) -> Callable[[], Any]:
    return lambda: pm.system("h100-sxm5:8").vary({path: value})


def op(name: str, **sizes: Any) -> Callable[[], Any]:
    return lambda: getattr(pm.op, name)(**sizes)


def sweep(**changes: Any) -> Callable[[], Any]:
    return lambda: pm.sweep(**{"scenario": "inference", "workload": "llama-3.1-8b", "system": "h100-sxm5", **changes})


R = pm.inference("llama-3.1-8b", "h100-sxm5", batch=[1, 2])
ONE = pm.inference("llama-3.1-8b", "h100-sxm5")
BW = "device.memory.hbm.bandwidth"

# --- API: (name, call, class, part of the message) --------------------------------------------------------------
CALLS: list[tuple[str, Callable[[], Any], type[PerfmodelError], str]] = [
    ("batch 0", ask(batch=0), ArgumentError, "batch: 0.0 given"),
    ("batch -1", ask(batch=-1), ArgumentError, "at least 1"),
    ("batch 0.5", ask(batch=0.5), ArgumentError, "whole number"),
    ("batch nan", ask(batch=float("nan")), ArgumentError, "batch"),
    ("batch inf", ask(batch=float("inf")), ArgumentError, "batch"),
    ("batch True", ask(batch=True), ArgumentError, "batch"),
    ("batch text", ask(batch="8"), ArgumentError, "batch"),
    ("batch None", ask(batch=None), ArgumentError, "batch"),
    ("batch empty", ask(batch=[]), ArgumentError, "at least one"),
    ("batch of texts", ask(batch=["a"]), ArgumentError, "batch"),
    ("batch with a zero", ask(batch=[1, 0]), ArgumentError, "0.0"),
    ("batch two-dimensional", ask(batch=np.ones((2, 2))), ArgumentError, "one-dimensional"),
    ("batch complex", ask(batch=1j), ArgumentError, "batch"),
    ("input 0", ask(input=0), ArgumentError, "input"),
    ("output 1.5", ask(output=1.5), ArgumentError, "output"),
    ("tp 0", ask(tp=0), ArgumentError, "tp"),
    ("tp 3 does not divide", ask(tp=3), ArgumentError, "divide"),
    ("tp beyond the system", ask(tp=16), ArgumentError, "must not exceed"),
    ("pp does not divide the batch", ask(pp=2, batch=3), ArgumentError, "pp"),
    ("negative reserve", ask(reserve=-1), ArgumentError, "reserve"),
    ("unknown model", ask(workload="llama-3.1-8"), UnknownNameError, "did you mean 'llama-3.1-8b'"),
    ("unknown device", ask(system="h100-smx5"), UnknownNameError, "did you mean 'h100-sxm5'"),
    ("part of a device", lambda: pm.device("a100"), UnknownNameError, "a100-sxm"),
    ("unknown precision", ask(precision="fp9"), UnknownNameError, "fp8"),
    ("precision kind", ask(precision={"wieght": "fp8"}), UnknownNameError, "did you mean 'weight'"),
    ("precision format", ask(precision={"weight": "fp7"}), UnknownNameError, "number format"),
    ("precision number", ask(precision=8), ArgumentError, "precision"),
    ("precision the device lacks", ask(system="a100-sxm-80gb", precision="fp8"), PrecisionError, "a100-sxm-80gb"),
    ("fidelity", ask(fidelity="rooflin"), ArgumentError, "did you mean 'roofline'"),
    ("logits", ask(logits="none"), ArgumentError, "last"),
    ("attention", ask(attention="flash"), ArgumentError, "fused"),
    ("model too large", ask(workload="llama-3.1-405b"), InfeasibleError, "GiB too much"),
    ("no such file", lambda: pm.workload("/nowhere/x.yaml"), ArgumentError, "existing file"),
    ("model of a wrong ending", lambda: pm.workload(str(Path(__file__))), ArgumentError, ""),
    ("model None", lambda: pm.workload(None), PerfmodelError, ""),
    ("count 0", lambda: pm.system("h100-sxm5", count=0), ArgumentError, "count"),
    ("count 1.5", lambda: pm.system("h100-sxm5", count=1.5), ArgumentError, "count"),
    ("count in the name", lambda: pm.system("h100-sxm5:0"), ArgumentError, "count"),
    ("list kind", lambda: pm.list("device"), ArgumentError, "did you mean 'devices'"),
    ("path", vary("device.memory.hbm.bandwith", 1e12), UnknownNameError, "bandwidth"),
    ("path level", vary("device.memory.hbm2.bandwidth", 1e12), UnknownNameError, "hbm"),
    ("path of a block", vary("device.memory", 1.0), ArgumentError, "path to a single value"),
    ("value with a wrong unit", vary(BW, "4 TB"), UnitError, "TB/s"),
    ("value without a unit", vary(BW, "4"), UnitError, "no unit"),
    ("value 0", vary(BW, 0.0), ArgumentError, "above 0"),
    ("value negative in a list", vary(BW, [1e12, -1e12]), ArgumentError, "above 0"),
    ("value nan", vary(BW, float("nan")), ArgumentError, BW),
    ("value empty", vary(BW, []), ArgumentError, "at least one"),
    ("value None", vary(BW, None), ArgumentError, BW),
    ("value bool", vary(BW, True), ArgumentError, BW),
    ("flag", vary("device.memory.hbm.double_buffered", "yes"), ArgumentError, "true, false"),
    ("matmul m 0", op("matmul", m=0, n=1, k=1), ArgumentError, "m"),
    ("matmul m 1.5", op("matmul", m=1.5, n=1, k=1), ArgumentError, "m"),
    ("matmul without k", op("matmul", m=1, n=1), ArgumentError, "k"),
    ("matmul unknown size", op("matmul", m=1, n=1, k=1, q=1), ArgumentError, "q"),
    ("unknown operator", op("matmull", m=1), UnknownNameError, "did you mean 'matmul'"),
    ("attention heads", op("attention", batch=1, query=1, context=8, heads=6, kv_heads=4), ArgumentError, "kv_heads"),
    ("attention context", op("attention", batch=1, query=9, context=8, heads=4), ArgumentError, "context"),
    ("kernel of a name", lambda: pm.kernel("matmul", "h100-sxm5"), ArgumentError, "pm.op"),
    ("kernel of nothing", lambda: pm.kernel([], "h100-sxm5"), ArgumentError, "op"),
    ("kernel precision", lambda: pm.kernel(pm.op.matmul(m=1, n=1, k=1), "t4", precision="bf16"), PrecisionError, "t4"),
    ("collective pattern", lambda: pm.collective("all_reduc", 1e6, "h100-sxm5:8"), UnknownNameError, "all_reduce"),
    ("collective size", lambda: pm.collective("all_reduce", -1, "h100-sxm5:8"), ArgumentError, "size"),
    ("forward batch", lambda: pm.forward("resnet-50", "t4", batch=0), ArgumentError, "batch"),
    ("sweep of nothing", sweep(precision=[]), ArgumentError, "precision"),
    ("sweep scenario", sweep(scenario="inferences"), ArgumentError, "inference"),
    ("sweep model", sweep(workload=["llama-3.1-8b", "lama"]), UnknownNameError, "lama"),
    ("sweep without a feasible point", sweep(workload=["llama-3.1-405b"]), PerfmodelError, "does not fit"),
    ("pareto of one point", lambda: pm.pareto(ONE), ArgumentError, "axes"),
    ("pareto metric", lambda: pm.pareto(R, ["tpott"]), UnknownNameError, "did you mean 'tpot'"),
    ("pareto of nothing", lambda: pm.pareto(R, []), ArgumentError, "at least one"),
    ("sensitivity metric", lambda: pm.sensitivity(R, "speed", batch=1), UnknownNameError, "metric"),
    ("sensitivity field", lambda: pm.sensitivity(ONE, "tpot", fields=["device.memory.hbm.bw"]), UnknownNameError, "path"),
    ("sensitivity of a text", lambda: pm.sensitivity(ONE, "tpot", fields=["device.kind"]), ArgumentError, "numbers"),
    ("point off the axis", lambda: R.explain(batch=3), ArgumentError, "one of 1, 2"),
    ("axis", lambda: R.breakdown(bach=1), UnknownNameError, "did you mean 'batch'"),
    ("phase", lambda: ONE.breakdown("decoding"), UnknownNameError, "decode"),
    ("plot kind", lambda: ONE.plot("rooflin"), ArgumentError, "did you mean 'roofline'"),
    ("sweep plot of a point", lambda: ONE.plot("sweep"), ArgumentError, "axis"),
    ("trace to a wrong ending", lambda: ONE.trace("/tmp/x.txt"), ArgumentError, ".json"),
    ("explain operator", lambda: pm.explain("matmul", "h100-sxm5", q=4), UnknownNameError, "size of matmul"),
    ("explain name", lambda: pm.explain("llama-3.1-8", "h100-sxm5"), UnknownNameError, "llama-3.1-8b"),
    ("case name", lambda: pm.validate("S110-T1-2"), UnknownNameError, "S110-T1-02"),
    ("vary a workload", lambda: pm.workload("llama-3.1-8b").vary({"hiden": 1}), UnknownNameError, "did you mean 'hidden'"),
    ("vary a workload with 0", lambda: pm.workload("llama-3.1-8b").vary({"hidden": 0}), ArgumentError, "hidden"),
    ("axes of two lengths", lambda: pm.inference(
        "llama-3.1-8b", "h100-sxm5", batch=pm.Axis("x", [1, 2]), input=pm.Axis("x", [1, 2, 3])), ArgumentError, "x"),
]


@pytest.mark.parametrize(("call", "kind", "text"), [row[1:] for row in CALLS], ids=[row[0] for row in CALLS])
def test_api(call: Callable[[], Any], kind: type[PerfmodelError], text: str) -> None:
    with pytest.raises(PerfmodelError) as caught:
        call()
    assert isinstance(caught.value, kind), f"{type(caught.value).__name__}: {caught.value}"
    assert text in str(caught.value)
    assert len(str(caught.value)) < 2000


# --- command line: (name, words, exit code, part of standard error) ---------------------------------------------
RUN = "run llama-3.1-8b --on h100-sxm5 "
LINES = [
    ("batch 0", RUN + "--batch 0", 2, "batch"),
    ("batch 1,0", RUN + "--batch 1,0", 2, "batch"),
    ("batch word", RUN + "--batch many", 2, "many"),
    ("batch 010", RUN + "--batch 010", 2, "octal"),
    ("range of one", RUN + "--batch 1:8:1", 2, "count"),
    ("range of two parts", RUN + "--batch 1:8", 2, "start:stop:count"),
    ("log range from 0", RUN + "--input 0:8:3:log", 2, "above 0"),
    ("model", "run llama-9 --on h100-sxm5", 2, "unknown"),
    ("device", "run llama-3.1-8b --on h1000", 2, "unknown"),
    ("no system", "run llama-3.1-8b", 2, "--on"),
    ("precision", RUN + "--precision fp8x", 2, "did you mean"),
    ("precision of the device", "run llama-3.1-8b --on v100-sxm2-32gb --precision fp8", 2, "not available"),
    ("set without =", RUN + "--set device.launch.overhead", 2, "path=value"),
    ("set path", RUN + "--set device.memory.hbm.bw=1TB/s", 2, "bandwidth"),
    ("set unit", RUN + "--set device.memory.hbm.bandwidth=4TB", 2, "write TB/s"),
    ("set no unit", RUN + "--set device.memory.hbm.bandwidth=4e12", 2, "no unit"),
    ("set list of texts", RUN + "--set device.kind=gpu,cpu", 2, "only numbers"),
    ("set workload", RUN + "--set workload.hiden=1", 2, "did you mean 'hidden'"),
    ("fidelity", RUN + "--fidelity best", 2, "roofline"),
    ("output ending", RUN + "-o x.doc", 2, ".csv"),
    ("output folder", RUN + "-o /no/such/folder/x.csv", 2, "existing folder"),
    ("too large", "run llama-3.1-405b --on h100-sxm5", 1, "GiB too much"),
    ("abbreviated option", RUN + "--bat 8", 2, "--bat"),
    ("show", "show nothing-here", 2, "unknown"),
    ("list", "list gadgets", 2, "devices"),
    ("kernel operator", "kernel matmull m=1 --on t4", 2, "did you mean 'matmul'"),
    ("kernel size twice", "kernel matmul m=1 m=2 --on t4", 2, "once"),
    ("kernel size without value", "kernel matmul m --on t4", 2, "NAME=VALUE"),
    ("kernel size 0", "kernel matmul m=0 n=1 k=1 --on t4 --precision fp16", 2, "m"),
    ("sweep option of another scenario", "sweep llama-3.1-8b --on t4 --query 3", 2, "inference"),
    ("sweep empty name", "sweep llama-3.1-8b, --on t4", 2, "empty name"),
    ("sweep jobs", "sweep llama-3.1-8b --on h100-sxm5 --jobs 0", 2, "jobs"),
    ("sweep metric", "sweep llama-3.1-8b --on h100-sxm5 --metric speed", 2, "metric"),
    ("validate", "validate S000", 2, "unknown case"),
    ("validate data", "validate --data /no/such.csv", 2, "existing file"),
    ("schema", "schema devices", 2, "did you mean 'device'"),
]


@pytest.mark.parametrize(("line", "code", "text"), [row[1:] for row in LINES], ids=[row[0] for row in LINES])
def test_command_line(line: str, code: int, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        left = main(line.split(" "))
    except SystemExit as refused:  # argparse
        left = refused.code  # type: ignore[assignment]
    shown = capsys.readouterr()
    assert left == code
    assert text in shown.err and shown.out == "" and "Traceback" not in shown.err


def test_graphs_with_wrong_edges() -> None:
    from dataclasses import replace

    from perfmodel.workload.graph import Graph

    a, b = pm.op.matmul(m=1, n=1, k=1).named("a"), pm.op.matmul(m=1, n=1, k=1).named("b")
    for ops, text in (
        ((a, a), "two ops"),
        ((a, replace(b, after=("c",))), "does not exist"),
        ((replace(a, after=("b",)), replace(b, after=("a",))), "cycle"),
    ):
        with pytest.raises(GraphError, match=text):
            Graph("g", ops).edges()


def test_the_table_is_long_enough() -> None:
    assert len(SPECS) + len(CALLS) + len(LINES) >= 60
    assert len({row[0] for row in SPECS}) == len(SPECS) and len({row[0] for row in CALLS}) == len(CALLS)
