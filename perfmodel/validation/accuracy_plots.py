"""Pictures for docs/accuracy.md: predicted against measured on devices left out, networks and kernels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from perfmodel.engine.kernels.calibration import calibrations
from perfmodel.explore.kernel_known import recognise
from perfmodel.explore.left_out import predictions
from perfmodel.explore.score_kernels import tables_of_file
from perfmodel.report.canvas import render
from perfmodel.report.files import write_atomic
from perfmodel.report.plots import predicted
from perfmodel.validation.measured import clsbench, hat, yolobench
from perfmodel.validation.measured.protocol import Task, few_shot
from perfmodel.validation.measured.tables import read

#: points of one device or kind of kernel in a picture
POINTS = 300
#: tables of GPU kernels in the picture of devices left out
KERNELS = {
    "products": "kernel_gemm.csv.gz", "decode attention": "kernel_attention_decode.csv.gz",
    "expert layers": "kernel_moe.csv.gz", "collectives": "kernel_collectives.csv",
}


def write(data: Path, target: Path) -> list[str]:
    """Draw the pictures; returns their names."""
    names = []
    for name, cases in (
        ("accuracy_yolobench.png", _yolobench(data)),
        ("accuracy_clsbench.png", _clsbench(data)),
        ("accuracy_hat.png", _hat(data)),
    ):
        measured, guess, groups = [], [], []
        for device, task, times in cases:
            rows, middle, _, _ = few_shot(task, device, times)[1]
            some = np.arange(len(rows))[:: max(1, len(rows) // POINTS)]
            measured += list(np.asarray(times)[rows][some] * 1e-3)
            guess += list(middle[some] * 1e-3)
            groups += [device] * len(some)
        write_atomic(target / name, render(predicted(measured, guess, groups), ".png"))
        names.append(name)
    write_atomic(target / "accuracy_kernels.png", render(_kernels(data / "aiconfigurator"), ".png"))
    return [*names, "accuracy_kernels.png"]


def _kernels(data: Path) -> Any:
    """GPU kernels of every measured device, its own calibration left out."""
    files = calibrations()
    measured, guess, groups = [], [], []
    for name, file in KERNELS.items():
        rows = tables_of_file(data / file)[0]
        scored = predictions(recognise(rows), rows, files)
        pairs = np.concatenate([[one.measured, one.predicted] for one in scored], axis=1)
        some = np.random.default_rng(0).permutation(pairs.shape[1])[:POINTS]
        measured += list(pairs[0, some])
        guess += list(pairs[1, some])
        groups += [name] * len(some)
    return predicted(measured, guess, groups)


def _yolobench(data: Path) -> Iterator[tuple[str, Task, Any]]:
    table = read(data / "yolobench" / "latency.csv")
    task = yolobench.task(table)
    for device, times in yolobench.devices(table).items():
        yield device, task, times


def _clsbench(data: Path) -> Iterator[tuple[str, Task, Any]]:
    for device, (models, times) in clsbench.devices(read(data / "clsbench" / "latency.csv")).items():
        yield device, clsbench.task(models), times


def _hat(data: Path) -> Iterator[tuple[str, Task, Any]]:
    table = read(data / "hat" / "latency.csv.gz")
    for (name, device), rows in hat.rows_of(table).items():
        if name == "wmt14ende":
            yield device, hat.decoder(table, rows), table.numbers("decoder_ms")[rows]
