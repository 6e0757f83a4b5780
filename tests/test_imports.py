"""Importing the package is light: heavy libraries come with the function that needs them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("sympy", "scipy", "matplotlib", "pandas", "xarray", "rich", "onnx", "torch", "pymoo")


def modules_after(code: str) -> set[str]:
    """Top-level modules in sys.modules after running the code in a fresh interpreter."""
    program = f"{code}\nimport sys, json\nprint(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_is_light() -> None:
    loaded = modules_after("import perfmodel")
    assert not loaded & {*HEAVY, "numpy", "yaml"}


def test_a_prediction_needs_numpy_and_yaml_only() -> None:
    loaded = modules_after(
        "import perfmodel as pm\n"
        "r = pm.inference('llama-3.1-8b', 'h100-sxm5', batch=[1, 8])\n"
        "r.tpot, r.energy_per_token, r.bound, r.to_dict()"
    )
    assert {"numpy", "yaml"} <= loaded
    assert not loaded & set(HEAVY)


def test_help_needs_no_numpy() -> None:
    loaded = modules_after("from perfmodel.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass")
    assert not loaded & {*HEAVY, "numpy", "yaml"}


@pytest.mark.parametrize("command", ["run", "sweep", "kernel", "list", "show", "validate", "schema", "forward"])
def test_help_of_a_command_loads_no_heavy_library(command: str) -> None:
    loaded = modules_after(
        f"from perfmodel.cli import main\ntry:\n    main([{command!r}, '--help'])\nexcept SystemExit:\n    pass"
    )
    assert not loaded & set(HEAVY)


def test_every_public_name_resolves() -> None:
    import perfmodel as pm

    for name in (*pm._WHERE, *pm._MODULES):
        assert getattr(pm, name) is not None
    assert set(pm._WHERE) <= set(dir(pm))
    with pytest.raises(AttributeError):
        pm.no_such_name  # noqa: B018
