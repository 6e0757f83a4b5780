"""Where the shipped descriptions are: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from perfmodel.errors import ArgumentError, UnknownNameError, nearest


@cache
def folder(name: str) -> Path:
    """Folder ``hardware_specs`` or ``workloads``."""
    package = Path(__file__).parent
    for place in (package / "_specs" / name, package.parent / name):
        if place.is_dir():
            return place
    raise ArgumentError("installation", name, "a folder of descriptions shipped with perfmodel")


@cache
def names(name: str, first_key: str) -> tuple[str, ...]:
    """Sorted names of the files of a folder whose first key is `first_key` (``device``, ``system`` ...)."""
    return tuple(sorted(p.stem for p in folder(name).glob("*.yaml") if _first_key(p) == first_key))


def _first_key(path: Path) -> str:
    # what is no text has no first key; whoever loads the file says what is wrong with it
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.strip() and not line.startswith("#"):
                return line.partition(":")[0].strip()
    return ""


def several(names: object) -> str:
    """Hint to append to an error about one name where a list was given."""
    return "; pm.sweep takes several" if isinstance(names, (list, tuple)) else ""


def locate(name: str | Path, place: str, first_key: str) -> Path:
    """File of a shipped name or of a path.

    Raises UnknownNameError (nearest match) for an unknown name, ArgumentError for a path that is no file.
    """
    if not isinstance(name, (str, Path)) or not str(name):
        raise ArgumentError(first_key, name, f"a shipped name or the path of a YAML file{several(name)}")
    text = str(name)
    if "/" in text or text.endswith((".yaml", ".yml", ".json", ".onnx")):
        path = Path(text)
        if not path.is_file():
            close = nearest(path.name, names(place, first_key))
            raise ArgumentError(first_key, text, "a shipped name or the path of an existing file", close)
        return path
    shipped = folder(place) / f"{text}.yaml"
    if text not in names(place, first_key):
        raise UnknownNameError(first_key, text, names(place, first_key))
    return shipped
