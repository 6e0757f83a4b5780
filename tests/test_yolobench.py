"""YOLOBench variants: counts against the published configurations, and every name of the latency table."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.workload.nets.yolo import Yolo
from perfmodel.workload.nets.yolobench import yolobench
from perfmodel.workload.workload import Workload

ROWS = json.loads((Path(__file__).parent / "facts" / "yolobench.json").read_text(encoding="utf-8"))


def unmerged(row):
    """Parameters and FLOP of the 1x1 branches that v7 merges into its last 3x3 convolutions."""
    if row["version"] != "v7":
        return 0, 0
    parameters = flops = 0
    for inputs, size in ((128, 40), (256, 20), (512, 10)):
        c = inputs * row["width"]
        parameters += c * 2 * c + 2 * (2 * c)  # weights and batch norm
        flops += 2 * size * size * c * 2 * c
    return parameters, flops


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r['version']}-d{r['depth']}w{r['width']}")
def test_counts(row):
    dims = Yolo(version=row["version"], depth_multiplier=row["depth"], width_multiplier=row["width"],
                most=row["most"], height=320, classes=20)
    model = Workload("yolo", "yolo", dims)
    parameters, flops = unmerged(row)
    assert model.parameters == row["parameters"] - parameters
    assert model.flops() == row["flops"] - flops


def test_every_variant_of_the_shared_table(shared):
    with (shared / "data" / "yolobench" / "latency.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    names = sorted({row["variant"] for row in rows})
    assert len(names) == 88
    sizes = np.array(sorted({float(row["resolution_px"]) for row in rows}))
    assert len(sizes) == 11
    for name in names:
        flops = yolobench(name, sizes).flops()
        assert np.all(np.diff(flops) > 0)


@pytest.mark.parametrize("name", ["yolo9n", "yolo8", "yolo6n-d1w1", "resnet50", ""])
def test_unknown_variant(name):
    with pytest.raises(pm.PerfmodelError, match="yolo8n"):
        yolobench(name)


PUBLISHED = [("n", 4.7e6, 11.4e9), ("s", 18.5e6, 45.3e9), ("m", 34.9e6, 85.8e9), ("l", 59.6e6, 150.7e9)]


@pytest.mark.parametrize(("scale", "parameters", "flops"), PUBLISHED)
def test_yolov6_release_4(scale, parameters, flops):
    """Table of the published code, release 0.4; its tool counts activations and pooling too."""
    model = Workload("six", "yolo_v6", pm.workload("yolov6s").dims).vary({"scale": scale, "release": "0.4"})
    assert model.parameters == pytest.approx(parameters, rel=0.012)
    assert model.flops() == pytest.approx(flops, rel=0.012)
