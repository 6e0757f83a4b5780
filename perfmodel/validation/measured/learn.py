"""Write the shipped few-shot constants: ``python -m perfmodel.validation.measured.learn FOLDER``.

FOLDER holds the data sets.  Each file says the data it was learned from, its rows and its date; the values
are constants of devices, not measurements.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perfmodel.report.files import write_atomic
from perfmodel.shipped import folder
from perfmodel.validation.measured import clsbench, hat, help, yolobench
from perfmodel.validation.measured.protocol import Task, learn
from perfmodel.validation.measured.tables import read

#: data, and who made it
SOURCES = {
    "nasbench201": "HELP tables, github.com/HayeonLee/HELP, arXiv:2106.08630",
    "fbnet": "HELP tables, github.com/HayeonLee/HELP, arXiv:2106.08630",
    "ofa": "HELP tables, github.com/HayeonLee/HELP, arXiv:2106.08630",
    "yolobench": "github.com/Deeplite/deeplite-torch-zoo e4c8ea6, results/yolobench, Apache-2.0",
    "clsbench": "github.com/Deeplite/deeplite-torch-zoo e4c8ea6, results/clsbench, Apache-2.0",
    "hat_encoder": "github.com/mit-han-lab/hardware-aware-transformers 70e5a27, latency_dataset, MIT",
    "hat_decoder": "github.com/mit-han-lab/hardware-aware-transformers 70e5a27, latency_dataset, MIT",
}
Measured = Mapping[str, tuple[str, Task, Any]]


def measured(data: Path) -> Iterator[Measured]:
    """Per task: name -> (device, task, times)."""
    for space in ("nasbench201", "fbnet", "ofa"):
        table = read(data / "help" / f"{space}_latency.npz")
        made = help.task(table.columns)
        yield {name: (name, made, times) for name, times in help.devices(table).items()}
    table = read(data / "yolobench" / "latency.csv")
    made = yolobench.task(table)
    yield {name: (name, made, times) for name, times in yolobench.devices(table).items()}
    table = read(data / "clsbench" / "latency.csv")
    # one scale for all devices: they share the models up to a few
    yield {
        name: (name, clsbench.task(models), times)
        for name, (models, times) in clsbench.devices(table).items()
    }
    table = read(data / "hat" / "latency.csv.gz")
    for part, features in (("encoder", hat.encoder), ("decoder", hat.decoder)):
        times = table.numbers(f"{part}_ms")
        yield {
            f"{device} {name}": (device, features(table, rows), times[rows])
            for (name, device), rows in hat.rows_of(table).items()
        }


def text(found: Measured) -> tuple[str, str]:
    """Name of the task and the YAML text of its constants."""
    _, first, _ = next(iter(found.values()))
    scale = first.scale
    lines = [
        "# Device constants for few-shot latency; written by perfmodel.validation.measured.learn",
        "calibration: fewshot",
        f"data: {SOURCES[first.name]}",
        f"form: {first.form}",
        f"date: {datetime.datetime.now(datetime.UTC).date().isoformat()}",
        "features: [" + ", ".join(first.features) + "]",
        "scale: [" + ", ".join(f"{s:.4g}" for s in scale) + "]",
        "devices:",
    ]
    for name, (device, task, times) in found.items():
        use = np.isfinite(times)
        shared = Task(
            task.name,
            {k: v[..., use] / s for (k, v), s in zip(task.features.items(), scale, strict=True)},
            task.form,
            floor=task.floor,
            ridge=task.ridge,
        )
        weights, noise = learn(_unscaled(shared), times[use])
        numbers = ", ".join(f"{w:.4g}" for w in weights)
        facts = f"device: {device}, rows: {int(use.sum())}, noise: {noise:.4g}"
        lines.append(f"  {name}: {{{facts}, constants: [{numbers}]}}")
    return first.name, "\n".join(lines) + "\n"


class _Plain(Task):
    """A task whose features are scaled already."""

    @property
    def scale(self) -> list[float]:
        return [1.0] * len(self.features)


def _unscaled(task: Task) -> Task:
    return _Plain(task.name, task.features, task.form, floor=task.floor, ridge=task.ridge)


def main() -> None:
    """Learn all tasks and write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of the data sets")
    data = parser.parse_args().folder
    for found in measured(data):
        name, content = text(found)
        write_atomic(folder("hardware_specs") / "calibrations" / f"fewshot_{name}.yaml", content)


if __name__ == "__main__":
    main()
