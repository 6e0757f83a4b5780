"""The command line: stable JSON keys, exit codes, files written whole, ranges, no traceback."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

import perfmodel as pm
from perfmodel.cli import COMMANDS, common, main

RUN = ["run", "llama-3.1-8b", "--on", "h100-sxm5:8"]
BIG = [*RUN, "--batch", "32", "--input", "1024", "--output", "1024", "--tp", "8", "--precision", "fp8"]


def answer(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(words) == code
    return capsys.readouterr().out


def test_run_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    text = answer(capsys, *BIG, "--set", "device.memory.hbm.bandwidth=4TB/s", "--json")
    data = json.loads(text)
    node = pm.system("h100-sxm5", count=8).vary({"device.memory.hbm.bandwidth": 4e12})
    expected = pm.inference("llama-3.1-8b", node, batch=32, input=1024, output=1024, tp=8, precision="fp8")
    for key in ("ttft", "tpot", "throughput", "energy_per_token", "memory", "power"):
        assert data[key] == pytest.approx(getattr(expected, key), rel=1e-15), key
    assert data["bound"] == expected.bound
    assert data["units"]["ttft"] == "s" and data["units"]["memory"] == "B"
    assert data["inputs"]["workload"] == "llama-3.1-8b" and data["inputs"]["precision"] == "fp8"
    assert data["low"]["ttft"] <= data["ttft"] <= data["high"]["ttft"]


def test_run_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    text = answer(capsys, *BIG, "--explain", "--breakdown")
    for word in ("time to first token", "throughput", "bound:", "fidelity: roofline", "What would help ttft", "block.down"):
        assert word in text


@pytest.mark.parametrize(("text", "values"), [
    ("8", 8.0),
    ("1,8,64", [1.0, 8.0, 64.0]),
    ("1:9:5", [1.0, 3.0, 5.0, 7.0, 9.0]),
    ("1:1000:4:log", [1.0, 10.0, 100.0, 1000.0]),
    ("1,10:20:2", [1.0, 10.0, 20.0]),
])
def test_numbers(text: str, values: object) -> None:
    assert common.numbers(text) == pytest.approx(values)


def test_axes_from_options(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(answer(
        capsys, *RUN, "--batch", "1,8", "--set", "device.memory.hbm.bandwidth=2TB/s:4TB/s:3", "--json",
    ))
    assert data["axes"] == {"batch": [1.0, 8.0], "device.memory.hbm.bandwidth": [2e12, 3e12, 4e12]}
    assert len(data["tpot"]) == 2 and len(data["tpot"][0]) == 3


def test_set_of_a_workload_and_a_list_with_units(capsys: pytest.CaptureFixture[str]) -> None:
    changes = ["--set", "workload.vocabulary=1000", "--set", "device.launch.overhead=1us,5us"]
    data = json.loads(answer(capsys, *RUN, *changes, "--json"))
    assert data["axes"] == {"device.launch.overhead": [1e-6, 5e-6]}
    assert data["weights"][0] < pm.inference("llama-3.1-8b", "h100-sxm5").weights


def test_links_by_the_path_of_the_system(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(answer(capsys, *RUN, "--tp", "8", "--set", "links.nvlink.bandwidth=450GB/s,900GB/s", "--json"))
    assert data["axes"] == {"device.links.nvlink.bandwidth": [450e9, 900e9]} and data["ttft"][0] > data["ttft"][1]


@pytest.mark.parametrize("ending", ["csv", "json", "png", "svg", "html"])
def test_output_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str) -> None:
    file = tmp_path / f"out.{ending}"
    file.write_text("old")
    file.chmod(0o640)
    answer(capsys, *RUN, "--batch", "1,8", "-o", str(file))
    raw = file.read_bytes()
    assert raw != b"old" and file.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in tmp_path.iterdir()] == [file.name]  # no temporary file is left
    if ending == "csv":
        rows = list(csv.DictReader(raw.decode().splitlines()))
        assert [row["batch"] for row in rows] == ["1.0", "8.0"] and "ttft [s]" in rows[0]
    if ending == "json":
        assert json.loads(raw)["axes"] == {"batch": [1.0, 8.0]}
    if ending == "png":
        assert raw.startswith(b"\x89PNG")
    if ending in ("svg", "html"):
        assert b"<svg" in raw or raw.startswith(b"<!doctype html>")


def test_output_refuses_folders_and_devices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder.png").mkdir()
    for target in (tmp_path / "folder.png", tmp_path / "missing" / "x.png", tmp_path / "x.txt", Path("/dev/null")):
        assert main([*RUN, "-o", str(target)]) == 2
        assert "output" in capsys.readouterr().err


def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "llama-3.1-405b", "--on", "t4", "--precision", "fp16"]) == 1  # does not fit
    assert "does not fit" in capsys.readouterr().err
    assert main(["run", "llama-3.1-405b", "--on", "t4", "--precision", "fp16", "--batch", "1,2"]) == 1  # no point is feasible
    capsys.readouterr()
    assert main(["run", "llama-3.1-8", "--on", "t4"]) == 2
    assert "did you mean 'llama-3.1-8b'" in capsys.readouterr().err
    for words in (["run"], ["no-such-command"], ["run", "llama-3.1-8b", "--on", "t4", "--no-such-option", "1"]):
        with pytest.raises(SystemExit) as refused:
            main(words)
        assert refused.value.code == 2


def test_no_traceback_from_the_console_script() -> None:
    done = subprocess.run([sys.executable, "-m", "perfmodel", "show", "nothing"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("perfmodel: error: unknown") and "Traceback" not in done.stderr


def test_trace_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer(capsys, *RUN, "--trace", str(tmp_path / "t.json"))
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert {event["ph"] for event in events} == {"X", "M"}


def test_sweep(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["sweep", "llama-3.1-8b,qwen2.5-7b", "--on", "h100-sxm5,a100-sxm-80gb", "--precision", "bf16,fp8", "--batch", "1,8"]
    data = json.loads(answer(capsys, *words, "--json", "--pareto", "tpot,throughput"))
    assert data["axes"]["precision"] == ["bf16", "fp8"] and data["axes"]["batch"] == [1.0, 8.0]
    assert data["tpot"][0][1][1] == [None, None]  # A100 has no fp8
    assert "fp8" in data["reason"][0][1][1][0] and data["feasible"][0][1][1] == [0.0, 0.0]
    assert data["tpot"][0][0][0][0] == pytest.approx(pm.inference("llama-3.1-8b", "h100-sxm5").tpot, rel=1e-14)
    assert data["pareto"]
    text = answer(capsys, *words, "--metric", "throughput", "-o", str(tmp_path / "s.png"))
    assert "throughput" in text and "mfu" not in text.split("inference\n")[-1]
    assert main([*words, "--query", "3"]) == 2  # not an option of inference


def test_forward(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(answer(capsys, "forward", "resnet-50", "--on", "t4", "--batch", "8", "--precision", "fp16", "--json"))
    assert data["throughput"] == pytest.approx(8 / data["latency"]) and data["units"]["throughput"] == "1/s"


def test_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(answer(capsys, "kernel", "matmul", "m=64", "n=4096", "k=4096", "--on", "h100-sxm5", "--json"))
    assert data["flops"] == 2 * 64 * 4096 * 4096
    listed = json.loads(answer(
        capsys, "kernel", "matmul", "--m", "1,64", "--n=4096", "--k", "4096", "--on", "h100-sxm5", "--json",
    ))
    assert listed["axes"] == {"m": [1.0, 64.0]} and listed["latency"][1] == data["latency"]
    assert main(["kernel", "matmul", "m=64", "--on", "h100-sxm5"]) == 2
    assert "also needed: n, k" in capsys.readouterr().err
    assert main(["kernel", "matmul", "m=64", "n=1", "q=1", "k=1", "--on", "h100-sxm5"]) == 2


def test_list_and_audit(capsys: pytest.CaptureFixture[str]) -> None:
    assert "h100-sxm5" in answer(capsys, "list", "devices")
    assert "llama-3.1-8b" in json.loads(answer(capsys, "list", "workloads", "--json"))["workloads"]
    assert "devices (" in answer(capsys, "list")
    code = main(["list", "--check", "--json"])
    audit = json.loads(capsys.readouterr().out)
    assert code == (1 if audit["findings"] else 0) and audit["devices"]["h100-sxm5"]["findings"] == []


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    text = answer(capsys, "show", "h100-sxm5")
    assert "3.35 TB/s" in text and "aiconfigurator" in text
    data = json.loads(answer(capsys, "show", "h100-sxm5", "--json"))
    assert data["memory.hbm.bandwidth"]["value"] == 3.35e12 and data["memory.hbm.bandwidth"]["source"]
    model = json.loads(answer(capsys, "show", "llama-3.1-8b", "--json"))
    assert model["parameters"] == 8_030_261_248 and model["kv_bytes_per_token"] == 131_072
    assert "block.qkv" in answer(capsys, "show", "llama-3.1-8b")
    assert "dgx-h100" in answer(capsys, "show", "dgx-h100")
    assert "bandwidth: {value: 4 TB/s, source: user" in answer(capsys, "show", "h100-sxm5", "--yaml", "--set", "memory.hbm.bandwidth=4TB/s")


def test_validate(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = json.loads(answer(capsys, "validate", "S110-T1-02", "S110-T1-03", "--json", "-o", str(tmp_path / "v.csv")))
    assert data["summary"]["FAIL"] == 0 and data["cases"]
    assert len((tmp_path / "v.csv").read_text().splitlines()) == len(data["cases"]) + 1
    assert main(["validate", "S999"]) == 2


def test_schemas_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--check"]) == 0, capsys.readouterr().out
    assert json.loads(answer(capsys, "schema", "device"))["title"] == "Device"


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        with pytest.raises(SystemExit) as left:
            main([command, "--help"])
        assert left.value.code == 0
        assert f"perfmodel {command}" in capsys.readouterr().out


def test_search(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["search", "llama-3.1-8b", "--on", "h100-sxm5,h200-sxm", "--batch", "1:64:64", "--where", "tpot <= 8 ms"]
    data = json.loads(answer(capsys, *words, "--json", "-o", str(tmp_path / "best.csv")))
    assert data["point"]["system"] == "h200-sxm" and data["best"][0]["tpot"] <= 8e-3
    assert (tmp_path / "best.csv").read_text().startswith("system,batch,throughput [token/s],tpot [s]\n")
    assert main([*words, "--where", "ttft <= 1 us"]) == 1
    assert "ttft <= 1 us: kept by 0" in capsys.readouterr().err
    assert main([*words, "--where", "ttft = 1 us"]) == 2 and main([*words, "--where", "ttft <= 1"]) == 2


ARRAY = """\
device: tiny-array
kind: array
sources: {made-up: numbers chosen to be easy to count}
source: made-up
clock: 1 GHz
compute:
  matrix: {peak: {int8: 128 GFLOP/s}, count: 64, clock: 1 GHz}
memory:
  dram: {bandwidth: 16 GB/s, read_energy: 100 pJ/B, write_energy: 100 pJ/B}
  buffer: {capacity: 64 KiB, bandwidth: 128 GB/s, read_energy: 6 pJ/B, write_energy: 6 pJ/B}
array:
  axes:
    rows: {size: 8, under: buffer}
    columns: {size: 8, under: buffer}
  mac_energy: {int8: 0.2 pJ}
"""


def test_map(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "array.yaml"
    file.write_text(ARRAY)
    words = ["map", "matmul", "m=64", "n=64", "k=64", "--on", str(file)]
    data = json.loads(answer(capsys, *words, "--json"))
    assert data["cycles"] >= 64**3 / 64 and data["traffic"] >= data["least_traffic"] == 3 * 64 * 64
    assert "parallel" in answer(capsys, *words, "--objective", "energy")
    # a convolution with a folded norm: the norm is read beside the product
    layer = json.loads(answer(capsys, "map", "resnet-50", "--op", "stage2.rest.conv2", "--on", str(file), "--json"))
    assert layer["cycles"] >= 28 * 28 * 128 * 128 * 9 / 64
    assert {"level": "dram", "tensor": "norm", "read": 128.0, "write": 0.0} in layer["accesses"]
    assert main(["map", "resnet-50", "--op", "nothing", "--on", str(file)]) == 2
    assert main(["map", "matmul", "m=64,32", "n=64", "k=64", "--on", str(file)]) == 2
    assert main(["map", "matmul", "m=64", "n=64", "k=64", "--on", "h100-sxm5"]) == 2


def test_progress_shows_after_a_second() -> None:
    with common.Progress("work") as progress:
        progress.wanted = True
        progress(0.1)
        assert progress.bar is None
        progress.start -= 2.0
        progress(0.5)
        assert progress.bar is not None and progress.bar.tasks[0].completed == 0.5
