"""The documentation holds: links lead somewhere, examples run, shown commands are accepted."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

import perfmodel as pm
from perfmodel.cli import main

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.S | re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("name", ["README.md", "docs/results.md", "docs/descriptions.md"])
def test_python_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope = {"pm": pm, "r": pm.inference("llama-3.1-8b", "h100-sxm5", batch=[1, 8], output=16)}
    for block in blocks(ROOT / name, "python"):
        exec(compile(block, name, "exec"), scope)


def test_descriptions_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    texts = blocks(ROOT / "docs" / "descriptions.md", "yaml")
    assert len(texts) == 3
    for text in texts:
        key, name = re.findall(r"^(device|system|workload): (\S+)", text, flags=re.M)[0]
        Path(f"{name}.yaml").write_text(text, encoding="utf-8")
        load = {"device": pm.device, "system": pm.system, "workload": pm.workload}[key]
        assert load(f"./{name}.yaml").name == name
    assert pm.inference("./my-model.yaml", "./my-node.yaml", tp=8).feasible == 1.0


def commands() -> list[str]:
    found = []
    for page in (ROOT / "README.md", ROOT / "docs" / "descriptions.md"):
        for line in page.read_text(encoding="utf-8").splitlines():
            if line.startswith("perfmodel ") and "|" not in line and "./my-" not in line and "FILE" not in line:
                found.append(re.split(r"\s{3,}", line)[0].removeprefix("perfmodel "))
    return found


@pytest.mark.parametrize("line", commands())
def test_shown_commands_are_accepted(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(line)) == 0
    assert capsys.readouterr().out


def test_every_public_name_is_in_the_changelog_or_docs() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    functions = [n for n in pm._WHERE if n[0].islower() and n not in ("precision", "list", "device", "system", "workload")]
    missing = [name for name in functions if f"pm.{name}" not in text]
    assert not missing, f"mention in CHANGELOG.md or docs/: {missing}"


def test_ci_runs_the_test_command_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8") and "make test" in script
    assert os.access(ROOT / ".ci" / "run", os.X_OK) and "set -euo pipefail" in script
