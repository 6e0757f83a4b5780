"""What somebody meets who tries the package for the first time: hints, missing packages, summaries."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.cli import main
from perfmodel.errors import MissingPackageError, UnknownNameError

SWEEP = pm.inference("llama-3.1-8b", "h100-sxm5", batch=[1, 2, 4], input=[128, 256], output=16)
CHIP = """\
device: own-chip
kind: gpu
sources: {guess: a guess}
source: guess
compute: {matrix: {peak: {bf16: 100 TFLOP/s}}}
memory: {hbm: {capacity: 48 GB, bandwidth: 1 TB/s}}
"""


def message(question: object) -> str:
    with pytest.raises(pm.PerfmodelError) as caught:
        question()  # type: ignore[operator]
    return str(caught.value)


@pytest.mark.parametrize(
    ("package", "call"),
    [("pandas", SWEEP.to_pandas), ("pandas", SWEEP.table().to_pandas), ("xarray", SWEEP.to_xarray)],
)
def test_a_missing_package_says_how_to_get_it(
    package: str, call: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"pip install 'perfmodel\[{package}\]'"):
        call()  # type: ignore[operator]
    with pytest.raises(ImportError):  # so that callers may catch it as usual
        call()  # type: ignore[operator]


def test_names_that_begin_as_asked_come_first() -> None:
    with pytest.raises(UnknownNameError) as caught:
        pm.device("h100")
    assert caught.value.nearest.startswith("h100-")  # type: ignore[union-attr]
    assert "'h100-sxm5'" in str(caught.value) and "mi100" not in str(caught.value)


@pytest.mark.parametrize(
    "question",
    [
        lambda: pm.inference(["llama-3.1-8b", "qwen2.5-7b"], "h100-sxm5"),
        lambda: pm.inference("llama-3.1-8b", ["h100-sxm5", "mi300x"]),
        lambda: pm.inference("llama-3.1-8b", "h100-sxm5", precision=["bf16", "fp8"]),
    ],
)
def test_lists_of_names_are_sent_to_the_sweep(question: object) -> None:
    assert "pm.sweep takes several" in message(question)


def test_a_model_of_a_hub_is_offered_by_its_own_name() -> None:
    assert "did you mean 'llama-3.1-8b'?" in message(lambda: pm.workload("meta-llama/Llama-3.1-8B"))


def test_several_objectives_are_sent_to_the_front() -> None:
    text = message(lambda: pm.search("inference", "llama-3.1-8b", "h100-sxm5", ["tpot", "energy"], batch=[1]))
    assert "pm.pareto" in text


def test_a_system_finds_the_device_beside_it(tmp_path: Path) -> None:
    (tmp_path / "own-chip.yaml").write_text(CHIP, encoding="utf-8")
    for name in ("own-chip", "own-chip.yaml"):
        node = tmp_path / "own-node.yaml"
        node.write_text(
            f"system: own-node\nsources: {{guess: a guess}}\nsource: guess\ndevice: {name}\ncount: 2\n"
            "links: {fabric: {bandwidth: 100 GB/s, latency: 1 us, topology: switch}}\n",
            encoding="utf-8",
        )
        assert pm.system(str(node)).device.name == "own-chip"


def test_an_undefined_source_shows_how_to_define_it(tmp_path: Path) -> None:
    file = tmp_path / "own-chip.yaml"
    file.write_text(CHIP.replace("sources: {guess: a guess}\n", ""), encoding="utf-8")
    assert "`sources: {guess: where it is from}`" in message(lambda: pm.device(str(file)))


def test_values_are_selected_by_the_names_of_their_axes() -> None:
    one = SWEEP.tpot.sel(batch=2)
    assert one.axes == ("input",) and np.array_equal(one, np.asarray(SWEEP.tpot)[1])
    assert SWEEP.tpot.sel(batch=2, input=256) == SWEEP.tpot[1, 1]
    models = pm.sweep("inference", ["llama-3.1-8b", "qwen2.5-7b"], "h100-sxm5", output=16)
    assert models.tpot.sel(workload="qwen2.5-7b") == models.tpot.reshape(-1)[1]
    assert "known: batch, input" in message(lambda: SWEEP.tpot.sel(width=2))
    assert "one of 1.0, 2.0, 4.0" in message(lambda: SWEEP.tpot.sel(batch=3))


def test_a_summary_tells_all_headlines_of_a_few_points_and_names_the_others() -> None:
    few = pm.inference("llama-3.1-8b", "h100-sxm5", batch=[1, 2], output=16)
    assert "energy per token" in repr(few) and "when asked" not in repr(few)
    many = pm.inference("llama-3.1-8b", "h100-sxm5", batch=range(1, 100), output=16)
    assert "computed when asked for: mfu, mbu, energy_per_token, energy, power" in repr(many)
    assert "energy" not in many.data


def test_calibrated_says_whose_measurements_it_rests_on(tmp_path: Path) -> None:
    def note(device: str) -> str:
        return repr(pm.inference("llama-3.1-8b", device, output=16, fidelity="calibrated")).splitlines()[-1]

    (tmp_path / "own-chip.yaml").write_text(CHIP, encoding="utf-8")
    assert note("h100-sxm5").endswith("(corrected by measurements)")
    assert note("h200-sxm").endswith("(corrected by measurements)")
    assert note(str(tmp_path / "own-chip.yaml")).endswith("(corrected by measurements of other devices)")


@pytest.mark.parametrize(
    ("line", "which"),
    [
        ("run llama-3.1-8b,qwen2.5-7b --on h100-sxm5", "model"),
        ("run llama-3.1-8b --on h100-sxm5,mi300x", "--on"),
        ("forward resnet-50 --on t4 --precision fp16,int8", "--precision"),
    ],
)
def test_lists_of_names_are_sent_to_the_sweep_of_the_shell(
    line: str, which: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    error = capsys.readouterr().err
    assert f"{which}: " in error and "perfmodel sweep takes several" in error


def test_the_title_of_a_kernel_has_no_batch_beside_that_of_the_op() -> None:
    op = pm.op.attention(batch=32, query=1, context=1024, heads=32, kv_heads=8, head_dim=128)
    assert "batch 1" not in repr(pm.kernel(op, "h100-sxm5"))
