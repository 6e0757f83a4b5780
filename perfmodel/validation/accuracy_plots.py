"""Pictures for docs/accuracy.md: predicted against measured time of networks on devices left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from perfmodel.report.canvas import render
from perfmodel.report.files import write_atomic
from perfmodel.report.plots import predicted
from perfmodel.validation.measured import clsbench, hat, yolobench
from perfmodel.validation.measured.protocol import Task, few_shot
from perfmodel.validation.measured.tables import read

#: points of one device in a picture
POINTS = 300


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
    return names


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
