"""Rebuild what the documentation shows: the executed notebooks, the picture and the output in the README.

python docs/build.py            (part of `make docs`; arguments: beginnings of notebook names)
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEMO = "run llama-3.1-8b --on h100-sxm5 --batch 32 --input 1024 --output 1024"


def notebooks(only: list[str]) -> None:
    """Execute notebooks/*.py, or those whose names start with one of `only`; write them beside as .ipynb."""
    import jupytext
    from nbclient import NotebookClient

    os.environ["PYTHONPATH"] = str(ROOT)
    os.environ.pop("MPLBACKEND", None)  # the kernel's own backend shows pictures in the notebook
    for source in sorted((ROOT / "notebooks").glob("*.py")):
        if only and not source.name.startswith(tuple(only)):
            continue
        notebook = jupytext.read(source)
        NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
        for number, cell in enumerate(notebook.cells):  # the same input gives the same file
            cell["id"] = f"{source.stem[:2]}-{number:02}"
            cell.get("metadata", {}).pop("execution", None)
        notebook["metadata"].pop("language_info", None)
        jupytext.write(notebook, source.with_suffix(".ipynb"), fmt="ipynb")
        sys.stdout.write(f"{source.with_suffix('.ipynb').name}\n")


def perfmodel(arguments: str) -> str:
    """What a command prints."""
    words = [sys.executable, "-m", "perfmodel", *arguments.split()]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    return done.stdout


def readme() -> None:
    """Replace the text after each ``<!-- perfmodel ... -->`` by what the command prints now."""
    path = ROOT / "README.md"

    def fresh(match: re.Match[str]) -> str:
        command, keep = match["command"], match["keep"]
        lines = perfmodel(command).rstrip().splitlines()
        shown = lines if not keep else lines[-int(keep) :]
        head = f"$ perfmodel {command}\n"
        return f"{match['comment']}\n```\n{head}" + "\n".join(shown) + "\n```"

    pattern = (
        r"(?P<comment><!-- perfmodel (?P<command>[^|>]*?)(?: \| tail -n (?P<keep>\d+))? -->)\n```\n.*?\n```"
    )
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(pattern, fresh, text, flags=re.S), encoding="utf-8")


def main() -> int:
    """Everything."""
    perfmodel(f"{DEMO} -o docs/roofline.png")
    readme()
    notebooks(sys.argv[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main())
