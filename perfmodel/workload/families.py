"""YAML form of a workload: a name, a source, and the dimensions under the name of a family."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, make_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from perfmodel import shipped
from perfmodel.algebra import Value
from perfmodel.errors import Fault, SpecError
from perfmodel.spec import FrozenMap, Provenance, block, load, quantity, rules, text
from perfmodel.workload.decoder import Decoder
from perfmodel.workload.encoder import DualEncoder, Encoder
from perfmodel.workload.encoder_decoder import EncoderDecoder
from perfmodel.workload.nets.registry import NETS
from perfmodel.workload.workload import PLACE, Workload


@dataclass(frozen=True, kw_only=True)
class WorkloadHead:
    """A workload file: exactly one family block beside these fields."""

    sources_required = False

    workload: str = text(doc="name used in pm.workload()")
    title: str = text(default="", doc="full name")
    source: str = text(doc="where the dimensions come from")
    parameters: Value | None = quantity("count", default=None, doc="published or counted parameters, checked")
    flops: Value | None = quantity(
        "FLOP", default=None, doc="FLOP of the matrix products of one item at the sizes of the file, checked"
    )
    decoder: Decoder | None = block(Decoder, default=None, doc="decoder-only language model")
    encoder: Encoder | None = block(Encoder, default=None, doc="text or image encoder")
    encoder_decoder: EncoderDecoder | None = block(EncoderDecoder, default=None, doc="encoder-decoder")
    dual_encoder: DualEncoder | None = block(DualEncoder, default=None, doc="text and image encoder")
    notes: str = text(default="", doc="what a reader should know")
    provenance: FrozenMap[Provenance] = field(default_factory=FrozenMap, compare=False, repr=False)


def _summary(family: type[Any]) -> str:
    return (family.__doc__ or "").split("\n", 1)[0]


FAMILIES = ("decoder", "encoder", "encoder_decoder", "dual_encoder", *NETS)



@cache
def specification(names: tuple[str, ...] = tuple(NETS)) -> Any:
    """Class of a workload file: the head and one optional block for each network family of `names`."""
    blocks = [(name, NETS[name], block(NETS[name], default=None, doc=_summary(NETS[name]))) for name in names]
    return make_dataclass("WorkloadSpec", blocks, bases=(WorkloadHead,), frozen=True, kw_only=True)


def load_workload(path: Path) -> Workload:
    """Workload of a YAML file.  Raises SpecError with every fault."""
    cls = specification(_used(path))
    spec = load(cls, path, resolve=lambda base: shipped.locate(base, PLACE, "workload"))
    return from_spec(spec, str(path))


def _used(path: Path) -> tuple[str, ...]:
    """Network families that the top-level keys name; all of them if a key is unknown, for the message."""
    try:
        keys = set(re.findall(r"^([^\s#:]+):", path.read_text(encoding="utf-8"), re.MULTILINE))
    except (OSError, UnicodeDecodeError):
        return ()
    known = {*rules(WorkloadHead), *NETS, "sources"}
    return tuple(name for name in NETS if name in keys) if keys <= known else tuple(NETS)


def from_spec(spec: WorkloadHead, file: str = "<workload>") -> Workload:
    """Workload of a loaded specification."""
    found = ((family, getattr(spec, family, None)) for family in FAMILIES)
    given: list[tuple[str, Any]] = [(family, dims) for family, dims in found if dims is not None]
    if len(given) != 1:
        names = ", ".join(name for name, _ in given) or "none"
        raise SpecError([Fault(file, 1, 1, "", f"{len(given)} families given ({names})",
                               "exactly one of " + ", ".join(FAMILIES))])
    family, dims = given[0]
    if hasattr(dims, "check"):
        dims.check(lambda path: _place(spec, f"{family}.{path}", file))
    return Workload(
        spec.workload, family, dims, spec.source, spec.parameters, spec.flops, notes=spec.notes
    )


def _place(spec: WorkloadHead, path: str, file: str) -> str:
    """``file:line`` of the value at a path, or of the first value below it."""
    for known, entry in spec.provenance.items():
        if known == path or known.startswith(path + "."):
            return f"{entry.file}:{entry.line}"
    return file


def __getattr__(name: str) -> Any:
    if name == "WorkloadSpec":  # the whole file with every family, for the schema
        return specification()
    raise AttributeError(name)
