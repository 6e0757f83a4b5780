"""Tables, words, pictures and timeline agree with the numbers they show."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.errors import ArgumentError, UnknownNameError
from perfmodel.report import canvas, plots
from perfmodel.report.roofline_plot import _dots
from perfmodel.result import Result
from perfmodel.table import Column, Table, plain, show


@pytest.fixture(scope="module")
def single() -> Result:
    return pm.inference("llama-3.1-8b", "h100-sxm5:8", batch=32, input=1024, output=64, tp=8)


@pytest.fixture(scope="module")
def mesh() -> Result:
    node = pm.system("h100-sxm5").vary({"device.memory.hbm.bandwidth": [2e12, 4e12]})
    return pm.inference("llama-3.1-8b", node, batch=[1, 8, 4096], input=128, output=64)


def test_table_forms() -> None:
    table = Table((Column("name"), Column("time", "s"), Column("share", "%")), (("a<b", 1.5e-3, 0.25), ("c", float("nan"), None)))
    assert table.to_csv() == "name,time [s],share\na<b,0.0015,0.25\nc,,\n"
    assert "1.5 ms" in table.to_text() and "25.0 %" in table.to_text()
    assert "a&lt;b" in table.to_html() and "<td style=\"text-align:right\">1.5 ms</td>" in table.to_html()
    assert table.to_dict()["rows"][1] == {"name": "c", "time": None, "share": None}
    assert table.column("time")[0] == 1.5e-3 and len(table) == 2
    with pytest.raises(UnknownNameError, match="did you mean 'time'"):
        table.column("tme")
    assert list(table.to_pandas().columns) == ["name", "time", "share"]


def test_plain_values() -> None:
    assert plain({"a": np.array([1.0, np.nan]), "b": (np.int64(3), "x"), "c": np.inf}) == {"a": [1.0, None], "b": [3, "x"], "c": None}
    assert show(1234.0, "widget/s") == "1234 widget/s" and show(None, "s") == "-"


def test_breakdown_adds_up(single: Result) -> None:
    for phase, time in (("prefill", single.ttft), ("decode", single.tpot)):
        table = single.breakdown(phase)
        assert sum(table.column("time")) == pytest.approx(time, rel=1e-4)  # decode: the middle context for the mean
        assert sum(table.column("share")) == pytest.approx(1.0)
    flops = [f or 0.0 for f in single.breakdown("prefill").column("flops")]
    last_only = pm.workload("llama-3.1-8b").flops(batch=32, query=1024, logits="last")
    assert sum(flops) * 8 == pytest.approx(last_only)
    with pytest.raises(UnknownNameError, match="did you mean 'decode'"):
        single.breakdown("decod")


def test_points_and_frames(mesh: Result) -> None:
    table = mesh.table()
    assert len(table) == 6 and table.column("batch") == [1, 1, 8, 8, 4096, 4096]
    assert table.column("reason")[-1] == "more memory needed than the device has"
    frame = mesh.to_pandas()
    assert frame.attrs["units"]["ttft"] == "s"
    np.testing.assert_array_equal(frame["tpot"].to_numpy().reshape(3, 2), np.asarray(mesh.tpot))
    xarray = pytest.importorskip("xarray")
    data = mesh.to_xarray()
    assert isinstance(data, xarray.Dataset) and data["ttft"].dims == ("batch", "device.memory.hbm.bandwidth")
    assert float(data["ttft"].sel({"batch": 8, "device.memory.hbm.bandwidth": 4e12})) == mesh.ttft[1, 1]


def test_as_dict_is_json(single: Result, mesh: Result) -> None:
    for result in (single, mesh):
        data = result.to_dict()
        assert json.loads(json.dumps(data, allow_nan=False)) == data
        assert set(result.metrics) - {"reason"} <= set(data)
    assert mesh.to_dict()["ttft"][2] == [None, None]


def test_words(single: Result, mesh: Result) -> None:
    text = repr(single)
    assert "inference of llama-3.1-8b on h100-sxm5:8" in text and "ms .." in text and "fidelity: roofline" in text
    assert "6 points" in repr(mesh) and "feasible: 4 of 6" in repr(mesh)
    why = single.explain()
    assert "prefill: one pass takes" in why and "decode:" in why and "nvlink" in why
    assert "batch 8" in mesh.explain(batch=8)
    assert "<table>" in single._repr_html_() and "6 points" in mesh._repr_html_()
    with pytest.raises(ArgumentError):
        mesh.explain(batch=9)


def test_the_explanation_names_the_largest_op(single: Result) -> None:
    for phase in ("prefill", "decode"):
        largest = max(single.breakdown(phase), key=lambda row: row["time"])
        lines = single.explain().splitlines()
        place = next(i for i, line in enumerate(lines) if line.startswith(phase))
        assert f"Most time: {largest['op']} {100 * largest['share']:.0f} %" in lines[place + 1]


@pytest.mark.parametrize("kind", ["roofline", "breakdown", "sweep", "pareto"])
def test_pictures_render(mesh: Result, kind: str) -> None:
    options = {"batch": 8} if kind in ("roofline", "breakdown") else {}
    figure = mesh.plot(kind, **options)
    for axes in figure.axes:
        if axes.get_label() != "<colorbar>" and axes.get_xlabel():
            assert axes.get_xlabel()
    assert plots.render(figure, ".png").startswith(b"\x89PNG")
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert b"<svg" in plots.render(figure, ".svg")


def test_pictures_of_other_shapes(mesh: Result) -> None:
    wide = pm.inference("llama-3.1-8b", pm.system("h100-sxm5").vary({"device.memory.hbm.bandwidth": np.linspace(2e12, 4e12, 12)}),
                        batch=list(range(1, 12)))
    assert wide.plot().axes  # heat map
    named = pm.sweep("inference", ["llama-3.1-8b", "qwen2.5-7b"], ["h100-sxm5", "h200-sxm"])
    assert named.plot(metric="tpot").axes
    assert plots.predicted([1e-3, 2e-3], [1.1e-3, 1.7e-3], ["a", "b"]).axes
    with pytest.raises(UnknownNameError):
        mesh.plot("sweep", metric="nothing")
    with pytest.raises(UnknownNameError):
        mesh.plot("sweep", x="nothing")
    with pytest.raises(ArgumentError):
        mesh.plot("pie")


def test_roofline_dots_are_the_ops(single: Result) -> None:
    costs = single.costs()["decode"]
    dots = _dots(costs, 0)
    named = [name for dot in dots for name in dot.names]
    assert sorted(named) == sorted(c.op.name.removeprefix("block.") for c in costs if float(c.op.flops) > 0)
    peak, bandwidth = 989e12, 3.35e12
    for dot in dots:
        assert dot.rate <= min(peak, dot.intensity * bandwidth) * (1 + 1e-12)


def test_labels_do_not_cover_each_other() -> None:
    figure, axes = canvas.new()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    labels = [(0.5 + 0.001 * i, 0.5, f"label number {i}", "black") for i in range(6)]
    canvas.place_labels(figure, axes, labels)
    renderer = figure.canvas.get_renderer()
    boxes = [canvas.words_box(note, renderer) for note in axes.texts]
    assert len(boxes) == 6
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_trace_is_the_timeline(single: Result) -> None:
    document = single.trace()
    events = [e for e in document["traceEvents"] if e["ph"] == "X"]
    prefill = [e for e in events if e["tid"] == 0]
    assert sum(e["dur"] for e in prefill) == pytest.approx(single.ttft * 1e6)
    for one, following in pairwise(events):
        assert following["ts"] == pytest.approx(one["ts"] + one["dur"])
    assert sum(e["name"] == "block.qkv" for e in prefill) == 32  # one per layer, between its neighbours
    assert [e["name"] for e in prefill[:4]] == ["embedding", "embedding_all_reduce", "block.mixer_norm", "block.qkv"]


def test_names_of_a_roofline_keep_clear_of_the_roof():
    figure = pm.inference("llama-3.1-8b", "h100-sxm5", batch=32, input=1024, output=1024).plot("roofline")
    axes = figure.axes[0]
    figure.canvas.draw()
    roof = next(line for line in axes.lines if line.get_linewidth() == 1.6 and line.get_ydata()[0] == 989e12)
    height = axes.transData.transform((1.0, roof.get_ydata()[0]))[1]
    notes = [text for text in axes.texts if hasattr(text, "arrow_patch") and text.get_text()]
    boxes = [canvas.words_box(note, figure.canvas.get_renderer()) for note in notes]
    assert len(boxes) >= 6 and not any(box.y0 < height < box.y1 for box in boxes)


def test_a_log_axis_of_few_decades_has_numbers():
    figure = plots.predicted([0.05, 0.1, 0.4], [0.05, 0.1, 0.4])
    figure.canvas.draw()
    axis = figure.axes[0].xaxis
    low, high = axis.get_view_interval()
    assert sum(low <= place <= high for place in axis.get_majorticklocs()) >= 3


def test_a_heat_map_names_what_it_holds():
    grid = pm.inference("llama-3.1-8b", "h100-sxm5", batch=range(1, 12), input=[128, 256, 512], output=[16, 32])
    title = grid.plot("sweep", x="input", lines="batch", output=32).axes[0].get_title(loc="left")
    assert "at output 32" in title.replace("\n", " ") and "infeasible" not in title
