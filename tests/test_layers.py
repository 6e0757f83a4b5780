"""A module imports only from layers above its own; imports inside functions may reach anywhere but the CLI.

The order is that of docs/architecture.md: a formula never sees a file, an op never sees hardware, an engine
never sees YAML, and only report and cli write text.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "perfmodel"

#: layers from the bottom up; a name stands for a module or a whole folder
LAYERS = (
    ("errors", "units", "algebra", "axes", "arguments", "formats", "counts", "shipped"),
    ("table", "spec"),
    ("ops",),
    ("hardware",),
    ("workload",),
    ("engine",),
    ("result",),
    ("scenario",),
    ("explore",),
    ("closed_forms", "listing"),
    ("report", "validation"),
    ("cli",),
    ("__main__", "__init__"),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
MODULES = sorted(PACKAGE.rglob("*.py"))


def place(module: str) -> str:
    """Layer name of ``perfmodel.engine.roofline``: engine."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(tree: ast.Module, module: str, top_only: bool) -> list[tuple[str, int]]:
    """Imported perfmodel modules with their line; `top_only` leaves out functions and TYPE_CHECKING blocks."""
    found: list[tuple[str, int]] = []

    def visit(nodes: list[ast.stmt]) -> None:
        for node in nodes:
            if isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    base = ".".join([*module.split(".")[: -node.level], *([base] if base else [])])
                if base == "perfmodel":
                    found.extend((f"perfmodel.{alias.name}", node.lineno) for alias in node.names)
                elif base.startswith("perfmodel."):
                    found.append((base, node.lineno))
            elif isinstance(node, ast.Import):
                found.extend((a.name, node.lineno) for a in node.names if a.name.startswith("perfmodel"))
            elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.If, ast.Try, ast.With, ast.For)):
                visit([] if top_only and isinstance(node, ast.FunctionDef) else node.body)

    visit(tree.body)
    return found


def name_of(path: Path) -> str:
    parts = ["perfmodel", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_layers(path: Path) -> None:
    module, tree = name_of(path), ast.parse(path.read_text(encoding="utf-8"))
    own = place(module)
    assert own in RANK, f"{own} has no layer: add it to LAYERS in {Path(__file__).name}"
    for imported, line in imports(tree, module + (".__init__" if path.name == "__init__.py" else ""), top_only=True):
        other = place(imported)
        if own == "validation" and other == "__init__":
            continue  # cases call the public API, as a reader would
        assert RANK[other] <= RANK[own], f"{path.name}:{line}: {own} imports {imported}, which is above it"
    for imported, line in imports(tree, module, top_only=False):
        if own not in ("cli", "__main__"):
            assert place(imported) != "cli", f"{path.name}:{line}: only the CLI imports the CLI"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_house_rules(path: Path) -> None:
    """No assert, print, eval, exec or sys.exit in the package; sympy only in closed_forms."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert), f"{path.name}:{getattr(node, 'lineno', 0)}: assert"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "eval", "exec", "exit"), f"{path.name}:{node.lineno}: {node.func.id}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "sys.exit":
            pytest.fail(f"{path.name}:{node.lineno}: sys.exit")
        if isinstance(node, (ast.Import, ast.ImportFrom)) and path.stem != "closed_forms":
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            assert not any(n.partition(".")[0] == "sympy" for n in names), f"{path.name}:{node.lineno}: sympy"


def test_modules_stay_small() -> None:
    for path in MODULES:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 450, f"{path.relative_to(PACKAGE)} has {lines} lines"
