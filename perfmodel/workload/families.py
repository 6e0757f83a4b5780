"""YAML form of a workload: a name, a source, and the dimensions under the name of a family."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perfmodel import shipped
from perfmodel.algebra import Value
from perfmodel.errors import Fault, SpecError
from perfmodel.spec import block, load, quantity, text
from perfmodel.workload.decoder import Decoder
from perfmodel.workload.workload import PLACE, Workload


@dataclass(frozen=True, kw_only=True)
class WorkloadSpec:
    """A workload file: exactly one family block."""

    sources_required = False

    workload: str = text(doc="name used in pm.workload()")
    title: str = text(default="", doc="full name")
    source: str = text(doc="where the dimensions come from")
    parameters: Value | None = quantity("count", default=None, doc="published or counted parameters, checked")
    decoder: Decoder | None = block(Decoder, default=None, doc="decoder-only language model")
    notes: str = text(default="", doc="what a reader should know")


FAMILIES = ("decoder",)


def load_workload(path: Path) -> Workload:
    """Workload of a YAML file.  Raises SpecError with every fault."""
    spec = load(WorkloadSpec, path, resolve=lambda base: shipped.locate(base, PLACE, "workload"))
    return from_spec(spec, str(path))


def from_spec(spec: WorkloadSpec, file: str = "<workload>") -> Workload:
    """Workload of a loaded specification."""
    given: list[tuple[str, Any]] = [(f, getattr(spec, f)) for f in FAMILIES if getattr(spec, f) is not None]
    if len(given) != 1:
        found = ", ".join(name for name, _ in given) or "none"
        raise SpecError([Fault(file, 1, 1, "", f"{len(given)} families given ({found})",
                               "exactly one of " + ", ".join(FAMILIES))])
    family, dims = given[0]
    return Workload(spec.workload, family, dims, spec.source, spec.parameters)
