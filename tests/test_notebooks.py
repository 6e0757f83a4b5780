"""The notebooks run from top to bottom, and the committed .ipynb hold the same cells."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path

import matplotlib
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))


def cells(text: str) -> list[str]:
    """Bodies of the cells of a percent-format file, without its header."""
    parts = re.split(r"^# %%.*$", text, flags=re.M)[1:]
    return [part.strip() for part in parts]


def test_there_are_notebooks() -> None:
    assert len(NAMES) >= 2


@pytest.mark.parametrize("name", NAMES)
def test_runs_and_checks_itself(name: str) -> None:
    matplotlib.use("Agg")
    source = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    last = cells(source)[-1]
    assert re.search(r"^assert ", last, flags=re.M), "the last cell checks the headline number"
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(source, f"{name}.py", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("name", NAMES)
def test_notebook_file_is_current_and_executed(name: str) -> None:
    notebook = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code)
    assert any("image/png" in out.get("data", {}) for cell in code for out in cell["outputs"])
    assert not any(out["output_type"] == "error" for cell in code for out in cell["outputs"])
    expected = cells((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    found = ["".join(cell["source"]).strip() for cell in notebook["cells"]]
    plain = [re.sub(r"^# ?", "", body, flags=re.M) if not any(body == f for f in found) else body for body in expected]
    assert found == plain, f"run: make docs (notebooks/{name}.py has changed)"
